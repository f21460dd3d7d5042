"""API versions that Kubernetes no longer serves: since when, and what takes their place.

Source of every row: the deprecated API migration guide
(https://kubernetes.io/docs/reference/using-api/deprecation-guide/), and for what was
removed outside of it (alpha versions, the years before 1.16, and versions whose removal
the guide does not list) the release notes at https://kubernetes.io/releases/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

GUIDE = "https://kubernetes.io/docs/reference/using-api/deprecation-guide/"
_NOTES = "https://github.com/kubernetes/kubernetes/tree/master/CHANGELOG"
_RBAC = "ClusterRole ClusterRoleBinding Role RoleBinding"
_FLOW = "FlowSchema PriorityLevelConfiguration"
_HOOKS = "MutatingWebhookConfiguration ValidatingWebhookConfiguration"
_POLICIES = "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
_CLAIMS = "ResourceClaim ResourceClaimTemplate ResourceSlice"
_PSP = "https://kubernetes.io/docs/tasks/configure-pod-container/migrate-from-psp/"

# (apiVersion, kinds, first release without it, replacement or "", anchor in the guide or a URL)
_ROWS = (
    ("extensions/v1beta1", "Deployment", "1.16", "apps/v1", "deployment-v116"),
    ("extensions/v1beta1", "DaemonSet", "1.16", "apps/v1", "daemonset-v116"),
    ("extensions/v1beta1", "ReplicaSet", "1.16", "apps/v1", "replicaset-v116"),
    ("extensions/v1beta1", "NetworkPolicy", "1.16", "networking.k8s.io/v1", "networkpolicy-v116"),
    ("extensions/v1beta1", "PodSecurityPolicy", "1.16", "", _PSP),
    ("extensions/v1beta1", "Ingress", "1.22", "networking.k8s.io/v1", "ingress-v122"),
    ("extensions/v1beta1", "Job", "1.6", "batch/v1", _NOTES),
    ("apps/v1alpha1", "PetSet", "1.5", "apps/v1", _NOTES),
    ("apps/v1beta1", "Deployment", "1.16", "apps/v1", "deployment-v116"),
    ("apps/v1beta1", "StatefulSet", "1.16", "apps/v1", "statefulset-v116"),
    ("apps/v1beta1", "ReplicaSet", "1.16", "apps/v1", "replicaset-v116"),
    ("apps/v1beta1 apps/v1beta2", "ControllerRevision", "1.16", "apps/v1", "v1-16"),
    ("apps/v1beta2", "Deployment", "1.16", "apps/v1", "deployment-v116"),
    ("apps/v1beta2", "DaemonSet", "1.16", "apps/v1", "daemonset-v116"),
    ("apps/v1beta2", "StatefulSet", "1.16", "apps/v1", "statefulset-v116"),
    ("apps/v1beta2", "ReplicaSet", "1.16", "apps/v1", "replicaset-v116"),
    ("networking.k8s.io/v1beta1", "Ingress", "1.22", "networking.k8s.io/v1", "ingress-v122"),
    (
        "networking.k8s.io/v1beta1",
        "IngressClass",
        "1.22",
        "networking.k8s.io/v1",
        "ingressclass-v122",
    ),
    ("policy/v1beta1", "PodDisruptionBudget", "1.25", "policy/v1", "poddisruptionbudget-v125"),
    ("policy/v1beta1", "PodSecurityPolicy", "1.25", "", _PSP),
    ("batch/v2alpha1", "CronJob", "1.21", "batch/v1", "cronjob-v125"),
    ("batch/v1beta1", "CronJob", "1.25", "batch/v1", "cronjob-v125"),
    (
        "autoscaling/v2beta1",
        "HorizontalPodAutoscaler",
        "1.25",
        "autoscaling/v2",
        "horizontalpodautoscaler-v125",
    ),
    (
        "autoscaling/v2beta2",
        "HorizontalPodAutoscaler",
        "1.26",
        "autoscaling/v2",
        "horizontalpodautoscaler-v126",
    ),
    (
        "rbac.authorization.k8s.io/v1alpha1 rbac.authorization.k8s.io/v1beta1",
        _RBAC,
        "1.22",
        "rbac.authorization.k8s.io/v1",
        "rbac-resources-v122",
    ),
    (
        "apiextensions.k8s.io/v1beta1",
        "CustomResourceDefinition",
        "1.22",
        "apiextensions.k8s.io/v1",
        "customresourcedefinition-v122",
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        _HOOKS,
        "1.22",
        "admissionregistration.k8s.io/v1",
        "webhook-resources-v122",
    ),
    (
        "apiregistration.k8s.io/v1beta1",
        "APIService",
        "1.22",
        "apiregistration.k8s.io/v1",
        "apiservice-v122",
    ),
    (
        "scheduling.k8s.io/v1alpha1 scheduling.k8s.io/v1beta1",
        "PriorityClass",
        "1.22",
        "scheduling.k8s.io/v1",
        "priorityclass-v122",
    ),
    (
        "storage.k8s.io/v1beta1",
        "CSIDriver CSINode StorageClass VolumeAttachment",
        "1.22",
        "storage.k8s.io/v1",
        "storage-resources-v122",
    ),
    (
        "storage.k8s.io/v1beta1",
        "CSIStorageCapacity",
        "1.27",
        "storage.k8s.io/v1",
        "csistoragecapacity-v127",
    ),
    ("coordination.k8s.io/v1beta1", "Lease", "1.22", "coordination.k8s.io/v1", "lease-v122"),
    (
        "certificates.k8s.io/v1beta1",
        "CertificateSigningRequest",
        "1.22",
        "certificates.k8s.io/v1",
        "certificatesigningrequest-v122",
    ),
    (
        "authentication.k8s.io/v1beta1",
        "TokenReview",
        "1.22",
        "authentication.k8s.io/v1",
        "tokenreview-v122",
    ),
    (
        "authorization.k8s.io/v1beta1",
        "LocalSubjectAccessReview SelfSubjectAccessReview SubjectAccessReview",
        "1.22",
        "authorization.k8s.io/v1",
        "subjectaccessreview-resources-v122",
    ),
    (
        "discovery.k8s.io/v1beta1",
        "EndpointSlice",
        "1.25",
        "discovery.k8s.io/v1",
        "endpointslice-v125",
    ),
    ("events.k8s.io/v1beta1", "Event", "1.25", "events.k8s.io/v1", "event-v125"),
    ("node.k8s.io/v1alpha1", "RuntimeClass", "1.22", "node.k8s.io/v1", "runtimeclass-v125"),
    ("node.k8s.io/v1beta1", "RuntimeClass", "1.25", "node.k8s.io/v1", "runtimeclass-v125"),
    ("flowcontrol.apiserver.k8s.io/v1alpha1", _FLOW, "1.25", "flowcontrol.apiserver.k8s.io/v1", ""),
    (
        "flowcontrol.apiserver.k8s.io/v1beta1",
        _FLOW,
        "1.26",
        "flowcontrol.apiserver.k8s.io/v1",
        "flowcontrol-resources-v126",
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1beta2",
        _FLOW,
        "1.29",
        "flowcontrol.apiserver.k8s.io/v1",
        "flowcontrol-resources-v129",
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1beta3",
        _FLOW,
        "1.32",
        "flowcontrol.apiserver.k8s.io/v1",
        "flowcontrol-resources-v132",
    ),
    (
        "admissionregistration.k8s.io/v1alpha1",
        _POLICIES,
        "1.32",
        "admissionregistration.k8s.io/v1",
        _NOTES,
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        _POLICIES,
        "1.34",
        "admissionregistration.k8s.io/v1",
        _NOTES,
    ),
    (
        "networking.k8s.io/v1alpha1",
        "IPAddress ServiceCIDR",
        "1.31",
        "networking.k8s.io/v1",
        _NOTES,
    ),
    (
        "networking.k8s.io/v1beta1",
        "IPAddress ServiceCIDR",
        "1.37",
        "networking.k8s.io/v1",
        _NOTES,
    ),
    ("storage.k8s.io/v1alpha1", "VolumeAttributesClass", "1.35", "storage.k8s.io/v1", _NOTES),
    ("storage.k8s.io/v1beta1", "VolumeAttributesClass", "1.37", "storage.k8s.io/v1", _NOTES),
    ("resource.k8s.io/v1alpha2", _CLAIMS, "1.31", "resource.k8s.io/v1", _NOTES),
    ("resource.k8s.io/v1alpha3", _CLAIMS, "1.34", "resource.k8s.io/v1", _NOTES),
    ("settings.k8s.io/v1alpha1", "PodPreset", "1.20", "", _NOTES),
    ("auditregistration.k8s.io/v1alpha1", "AuditSink", "1.19", "", _NOTES),
)


@dataclass(frozen=True)
class Removal:
    """One kind in one API version that is gone.

    ``version`` is the first release without it ("1.16"); ``replacement`` the apiVersion
    that takes its place, "" where nothing does; ``source`` the page that says so.
    """

    api_version: str
    kind: str
    version: str
    replacement: str
    source: str

    def gone_in(self, version: str) -> bool:
        """Tell whether a cluster of ``version`` ("1.37", "v1.37.2"; "": the newest) lacks it."""
        return not version or parse_version(version) >= parse_version(self.version)


def parse_version(version: str) -> tuple[int, int]:
    """Read major and minor of a Kubernetes version; (0, 0) when it is not one."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def removed_in(api_version: str, kind: str) -> Removal | None:
    """Return what is known of a removed API version, or None when it is not known to be removed."""
    return removals().get((api_version, kind))


@cache
def removals() -> dict[tuple[str, str], Removal]:
    """Return the whole table by (apiVersion, kind)."""
    table = {}
    for versions, kinds, version, replacement, where in _ROWS:
        source = where if where.startswith("https:") else f"{GUIDE}#{where}".rstrip("#")
        for api_version in versions.split():
            for kind in kinds.split():
                table[api_version, kind] = Removal(api_version, kind, version, replacement, source)
    return table
