"""What has to change in an object, besides its apiVersion, when its API version is gone.

A conversion keeps the behaviour: a default that changed between the versions is written
out where the new one would act differently on the running system. What changed without
touching running pods is said in the reason of the change. Every rule is from the
migration guide (https://kubernetes.io/docs/reference/using-api/deprecation-guide/) and,
for defaults, from the API reference of the version.
"""

from __future__ import annotations

from collections.abc import Callable

from yaml.nodes import MappingNode

from opslib.source import convert_workloads
from opslib.source.conversion import Job
from opslib.source.textedit import Tree
from opslib.source.yamlnodes import Entry, Stuck, dig, find, lacks, members, scalar


def convert(job: Job) -> list[tuple[int, str, str]]:
    """Make the edits of one object; raises Stuck when a person has to do it."""
    kind = job.removal.kind
    if not job.removal.replacement or kind in _BY_HAND:
        why, fix = _BY_HAND.get(kind, ("nothing replaces it", "take it out of Git"))
        raise Stuck(why, job.root, fix)
    version, named = find(job.root, "apiVersion"), find(job.root, "kind")
    if version is None or named is None or scalar(named.value) != kind:
        raise Stuck("it is a typed list", job.root, "write its items as objects of their own")
    old, new = job.removal.api_version, job.removal.replacement
    why = f"{old} {kind} is not served since Kubernetes {job.removal.version}"
    extra = _RULES.get(kind, _plain)(job)
    job.editor.replace(version.value, new)
    if job.editor.clash():
        raise Stuck("a YAML alias stands in what is to be changed", job.root)
    job.note(version.value, f"apiVersion {old} is now {new}", f"{why}. {extra}".rstrip(" ."))
    return sorted(job.found or [])


def _plain(job: Job) -> str:
    del job
    return ""


def _ingress(job: Job) -> str:
    spec = dig(job.root, "spec")
    default = find(spec, "backend")
    if default is not None:
        job.editor.rename(default, "defaultBackend")
        job.note(default.key, "backend is now defaultBackend", "networking.k8s.io/v1 renamed it")
        _backend(job, default)
    for rule in members(dig(spec, "rules")):
        for path in members(dig(rule, "http", "paths")):
            backend = find(path, "backend")
            if backend is not None:
                _backend(job, backend)
            if lacks(path, "pathType"):
                job.editor.add(path, {"pathType": "ImplementationSpecific"}, before="backend")
                job.note(
                    path,
                    "pathType ImplementationSpecific added",
                    "it is required now, and this is how the path was matched until now",
                )
    return ""


def _backend(job: Job, backend: Entry) -> None:
    service = find(backend.value, "serviceName")
    port = find(backend.value, "servicePort")
    if service is None and port is None:
        return
    if backend.aliased or service is None or port is None:
        raise Stuck("its backend is not a plain serviceName and servicePort", backend.key)
    number = str(scalar(port.value) or "").isdecimal()
    field = ("service", "port", "number" if number else "name")
    job.editor.nest(backend.value, {"serviceName": ("service", "name"), "servicePort": field})
    if number and port.value.tag != "tag:yaml.org,2002:int":
        job.editor.retype(port.value, str(scalar(port.value)))
    job.note(
        service.key,
        "serviceName and servicePort are now service.name and service.port",
        "networking.k8s.io/v1 renamed them",
    )


def _budget(job: Job) -> str:
    selector = find(dig(job.root, "spec"), "selector")
    if selector is None or not isinstance(selector.value, MappingNode):
        return ""
    if not any(value.value for _, value in selector.value.value):
        raise Stuck(
            "its selector is empty: it chose no pod until now and would choose every pod of"
            " the namespace in policy/v1",
            selector.key,
        )
    return ""


def _autoscaler(job: Job) -> str:
    if job.removal.api_version != "autoscaling/v2beta1":
        return ""
    for metric in members(dig(job.root, "spec", "metrics")):
        resource = dig(metric, "resource")
        if scalar(dig(metric, "type")) != "Resource" or not isinstance(resource, MappingNode):
            raise Stuck("only metrics of type Resource are converted", metric)
        _resource_metric(job, resource)
    return ""


def _resource_metric(job: Job, resource: MappingNode) -> None:
    for old, kind, new in (
        ("targetAverageUtilization", "Utilization", "averageUtilization"),
        ("targetAverageValue", "AverageValue", "averageValue"),
    ):
        entry = find(resource, old)
        if entry is None:
            continue
        job.editor.wrap(resource, entry, "target", {"type": kind}, new)
        job.note(entry.key, f"{old} is now target.{new}", "autoscaling/v2 moved it")


def _webhooks(job: Job) -> str:
    """Keep what v1beta1 assumed; a webhook's side effects only its author can declare."""
    kept: Tree = {
        "failurePolicy": "Ignore",
        "matchPolicy": "Exact",
        "timeoutSeconds": "30",
        "admissionReviewVersions": "[v1beta1]",
    }
    for hook in members(dig(job.root, "webhooks")):
        if scalar(dig(hook, "sideEffects")) not in ("None", "NoneOnDryRun"):
            raise Stuck("sideEffects must be None or NoneOnDryRun, as its author knows", hook)
        missing: Tree = {name: text for name, text in kept.items() if lacks(hook, name)}
        if missing and not job.partial:
            job.editor.add(hook, missing)
            job.note(hook, f"{', '.join(missing)} written out", "the defaults of v1beta1")
    return ""


def _signing_request(job: Job) -> str:
    signer = scalar(dig(job.root, "spec", "signerName"))
    if signer in (None, "kubernetes.io/legacy-unknown"):
        raise Stuck("a signerName other than kubernetes.io/legacy-unknown is required", job.root)
    if not members(dig(job.root, "spec", "usages")):
        raise Stuck("usages are required", job.root)
    return ""


def _endpoint_slice(job: Job) -> str:
    for endpoint in members(dig(job.root, "endpoints")):
        if (topology := find(endpoint, "topology")) is not None:
            raise Stuck("topology is replaced by nodeName and zone", topology.key)
    return ""


def _priority_level(job: Job) -> str:
    limited = dig(job.root, "spec", "limited")
    shares = find(limited, "nominalConcurrencyShares") or find(limited, "assuredConcurrencyShares")
    if shares is None:
        return ""
    if scalar(shares.value) == "0":
        raise Stuck("0 shares meant 30 until now and mean none in v1", shares.key)
    if shares.key.value == "assuredConcurrencyShares":
        job.editor.rename(shares, "nominalConcurrencyShares")
        job.note(shares.key, "assuredConcurrencyShares renamed", "nominalConcurrencyShares in v1")
    return ""


def _binding(job: Job) -> str:
    """v1alpha1 named a subject's API by version, and everybody by the user "*"."""
    if job.removal.api_version.endswith("v1alpha1"):
        for subject in members(dig(job.root, "subjects")):
            if find(subject, "apiVersion") or scalar(dig(subject, "name")) == "*":
                raise Stuck("its subjects are written as in v1alpha1", subject)
    return ""


def _runtime_class(job: Job) -> str:
    if job.removal.api_version.endswith("v1alpha1"):
        raise Stuck("v1alpha1 had its handler under spec", job.root, "move it to handler")
    return ""


def _access_review(job: Job) -> str:
    group = find(dig(job.root, "spec"), "group")
    if group is not None:
        job.editor.rename(group, "groups")
        job.note(group.key, "group is now groups", "authorization.k8s.io/v1 renamed it")
    return ""


_RULES: dict[str, Callable[[Job], str]] = {
    "Deployment": convert_workloads.deployment,
    "DaemonSet": convert_workloads.daemon_set,
    "StatefulSet": convert_workloads.stateful_set,
    "ReplicaSet": convert_workloads.replica_set,
    "Ingress": _ingress,
    "PodDisruptionBudget": _budget,
    "HorizontalPodAutoscaler": _autoscaler,
    "MutatingWebhookConfiguration": _webhooks,
    "ValidatingWebhookConfiguration": _webhooks,
    "CertificateSigningRequest": _signing_request,
    "EndpointSlice": _endpoint_slice,
    "PriorityLevelConfiguration": _priority_level,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "RuntimeClass": _runtime_class,
    "LocalSubjectAccessReview": _access_review,
    "SelfSubjectAccessReview": _access_review,
    "SubjectAccessReview": _access_review,
}

# Kinds that no rule can convert: what is in the way, and what a person does.
_BY_HAND = {
    "PodSecurityPolicy": (
        "nothing replaces it one to one",
        "label the namespaces with pod-security.kubernetes.io/enforce, and take it out of Git",
    ),
    "CustomResourceDefinition": (
        "v1 requires a structural schema for every version",
        "take the v1 definition from whoever publishes it, or write versions[*].schema by hand",
    ),
    "PetSet": ("it became the StatefulSet", "write a StatefulSet of apps/v1"),
    "Event": ("its fields were renamed", "take it out of Git: events are written by programs"),
    "ResourceClaim": ("v1 has another form of requests", "rewrite it for resource.k8s.io/v1"),
    "ResourceClaimTemplate": (
        "v1 has another form of requests",
        "rewrite it for resource.k8s.io/v1",
    ),
    "ResourceSlice": ("it is written by drivers", "take it out of Git"),
}
