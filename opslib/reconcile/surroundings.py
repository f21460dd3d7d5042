"""What else decides the outcome of an apply: the kinds that are served, and mutating admission.

A proof from a list (see ``proof``) holds as long as these stay as they were.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from opslib.core.errors import OpslibError
from opslib.core.hashes import digest
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery

_GROUP = "admissionregistration.k8s.io"
_MUTATING = (
    "MutatingWebhookConfiguration",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
)


def fingerprint(cluster: Cluster, discovery: Discovery) -> str:
    """Return a hash of the served kinds and of everything that may change objects on admission.

    "" where it cannot be read, which is no reason to trust anything.
    """
    versions = []
    for kind in filter(None, (discovery.preferred(_GROUP, name) for name in _MUTATING)):
        try:
            items, _ = cluster.list(kind.path())
        except OpslibError:
            return ""
        for item in items:
            metadata = item["metadata"]
            versions.append([kind.kind, metadata["uid"], metadata["resourceVersion"]])
    served = [[*key, sorted(kind.verbs)] for key, kind in discovery.all().items()]
    return digest({"served": sorted(served), "mutating": sorted(versions)})
