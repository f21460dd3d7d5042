"""What an object needs that is named in it: when that could not be written, it has to wait.

References of the API's own kinds (https://kubernetes.io/docs/reference/kubernetes-api/), its
namespace, and the definition of a custom resource. References marked optional are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opslib.core.model import Manifest, ResourceKey, group_of, key_of

_RBAC = "rbac.authorization.k8s.io"
_CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")
_POD_SPECS = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
)


def needs(manifest: Manifest) -> frozenset[ResourceKey]:
    """Return the identities that an object names. They may be of this app or not."""
    key = key_of(manifest)
    return frozenset(_needs(manifest, key)) - {key}


def provides(manifest: Manifest) -> tuple[str, str] | None:
    """Return the (group, kind) that a CustomResourceDefinition brings."""
    key = key_of(manifest)
    if (key.group, key.kind) != _CRD:
        return None
    spec = manifest.get("spec") or {}
    return str(spec.get("group")), str((spec.get("names") or {}).get("kind"))


def waiting(
    manifests: Iterable[Manifest], lost: Iterable[Manifest]
) -> dict[ResourceKey, ResourceKey]:
    """Return which objects wait, each for what, given the ones that could not be written.

    Whatever waits makes others wait. ``manifests`` are those still to be written.
    """
    missing = {key_of(one) for one in lost}
    kinds = {found: key_of(one) for one in lost if (found := provides(one))}
    left = {key_of(one): one for one in manifests}
    held: dict[ResourceKey, ResourceKey] = {}
    moved = True
    while moved:
        moved = False
        for key, one in left.items():
            if key in held:
                continue
            cause = kinds.get((key.group, key.kind)) or next(
                iter(sorted(needs(one) & missing)), None
            )
            if cause:
                held[key] = cause
                missing.add(key)
                moved = True
    return held


def _needs(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    if key.namespace:
        yield ResourceKey("", "Namespace", "", key.namespace)
    for way in _POD_SPECS:
        node: Any = manifest
        for step in way:
            node = _map(node).get(step)
        if isinstance(node, dict) and "containers" in node:
            yield from _pod(node, key.namespace)
    rule = _RULES.get((key.group, key.kind)) or _RULES.get((key.group, "*"))
    if rule:
        yield from rule(manifest, key)


def _pod(spec: Mapping[str, Any], namespace: str) -> Iterator[ResourceKey]:
    if spec.get("serviceAccountName"):
        yield ResourceKey("", "ServiceAccount", namespace, str(spec["serviceAccountName"]))
    if spec.get("priorityClassName"):
        yield ResourceKey("scheduling.k8s.io", "PriorityClass", "", str(spec["priorityClassName"]))
    if spec.get("runtimeClassName"):
        yield ResourceKey("node.k8s.io", "RuntimeClass", "", str(spec["runtimeClassName"]))
    for volume in map(_map, _list(spec.get("volumes"))):
        projected = _list(_map(volume.get("projected")).get("sources"))
        for source in (volume, *map(_map, projected)):
            yield from _mounted(source, namespace)
    for field in ("containers", "initContainers"):
        for container in map(_map, _list(spec.get(field))):
            yield from _environment(container, namespace)


def _mounted(volume: Mapping[str, Any], namespace: str) -> Iterator[ResourceKey]:
    for field, kind, name in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName" if "name" in volume else "name"),
        ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
    ):
        yield from _named(_map(volume.get(field)), kind, name, namespace)


def _environment(container: Mapping[str, Any], namespace: str) -> Iterator[ResourceKey]:
    for source in map(_map, _list(container.get("envFrom"))):
        yield from _named(_map(source.get("configMapRef")), "ConfigMap", "name", namespace)
        yield from _named(_map(source.get("secretRef")), "Secret", "name", namespace)
    for variable in map(_map, _list(container.get("env"))):
        source = _map(variable.get("valueFrom"))
        yield from _named(_map(source.get("configMapKeyRef")), "ConfigMap", "name", namespace)
        yield from _named(_map(source.get("secretKeyRef")), "Secret", "name", namespace)


def _named(
    reference: Mapping[str, Any], kind: str, field: str, namespace: str
) -> Iterator[ResourceKey]:
    if reference.get(field) and not reference.get("optional"):
        yield ResourceKey("", kind, namespace, str(reference[field]))


def _binding(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    role = _map(manifest.get("roleRef"))
    if role.get("name"):
        kind = str(role.get("kind"))
        place = key.namespace if kind == "Role" else ""
        yield ResourceKey(_RBAC, kind, place, str(role["name"]))
    for subject in map(_map, _list(manifest.get("subjects"))):
        if subject.get("kind") == "ServiceAccount":
            place = str(subject.get("namespace") or key.namespace)
            yield ResourceKey("", "ServiceAccount", place, str(subject.get("name")))


def _scaled(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    target = _map(_map(manifest.get("spec")).get("scaleTargetRef"))
    if target.get("name"):
        group = group_of(str(target.get("apiVersion") or ""))
        yield ResourceKey(group, str(target.get("kind")), key.namespace, str(target["name"]))


def _governing(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    name = _map(manifest.get("spec")).get("serviceName")
    if name:
        yield ResourceKey("", "Service", key.namespace, str(name))


def _storage(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    del key
    spec = _map(manifest.get("spec"))
    if spec.get("storageClassName"):
        yield ResourceKey("storage.k8s.io", "StorageClass", "", str(spec["storageClassName"]))
    if spec.get("volumeName"):
        yield ResourceKey("", "PersistentVolume", "", str(spec["volumeName"]))


def _ingress(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    spec = _map(manifest.get("spec"))
    if spec.get("ingressClassName"):
        yield ResourceKey("networking.k8s.io", "IngressClass", "", str(spec["ingressClassName"]))
    backends = [_map(spec.get("defaultBackend"))]
    for rule in map(_map, _list(spec.get("rules"))):
        paths = _list(_map(rule.get("http")).get("paths"))
        backends += [_map(_map(path).get("backend")) for path in paths]
    for backend in backends:
        yield from _named(_map(backend.get("service")), "Service", "name", key.namespace)


def _services(manifest: Manifest, key: ResourceKey) -> Iterator[ResourceKey]:
    """Find the Services that answer for webhooks and for an aggregated API."""
    del key
    clients = [_map(_map(one).get("clientConfig")) for one in _list(manifest.get("webhooks"))]
    for client in (*clients, _map(manifest.get("spec"))):
        service = _map(client.get("service"))
        if service.get("name"):
            place = str(service.get("namespace") or "")
            yield ResourceKey("", "Service", place, str(service["name"]))


_RULES = {
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    ("autoscaling", "HorizontalPodAutoscaler"): _scaled,
    ("apps", "StatefulSet"): _governing,
    ("", "PersistentVolumeClaim"): _storage,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("admissionregistration.k8s.io", "*"): _services,
    ("apiregistration.k8s.io", "*"): _services,
}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
