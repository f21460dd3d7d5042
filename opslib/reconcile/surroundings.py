"""What else decides the outcome of an apply: the served kinds, their schemas, mutating admission.

A proof from a list (see ``proof``) holds as long as these stay as they were.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from opslib.core.errors import OpslibError
from opslib.core.hashes import digest
from opslib.kube.client import METADATA, Cluster
from opslib.kube.discovery import Discovery

_GROUP = "admissionregistration.k8s.io"
_MUTATING = (
    "MutatingWebhookConfiguration",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
)
_DEFINITION = ("apiextensions.k8s.io", "CustomResourceDefinition")


def fingerprint(cluster: Cluster, discovery: Discovery) -> str:
    """Return a hash of the served kinds, their schemas, and all that changes objects on admission.

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
    told = {"served": sorted(served), "mutating": sorted(versions)}
    return digest({**told, "schemas": _schemas(cluster, discovery)})


def _schemas(cluster: Cluster, discovery: Discovery) -> list[list[str | int]]:
    """Return each definition's generation: another schema has other defaults, and other types.

    Where they may not be read, a change of one is seen by the next pass that asks about all.
    """
    kind = discovery.preferred(*_DEFINITION)
    try:
        found = cluster.list(kind.path(), accept=METADATA)[0] if kind else []
    except OpslibError:
        return []
    return sorted([item["metadata"]["uid"], item["metadata"]["generation"]] for item in found)
