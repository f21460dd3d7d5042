"""How a pod reads a Secret, and so whether it has to be started anew to have a new value.

https://kubernetes.io/docs/concepts/configuration/secret/#using-a-secret
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

ENVIRONMENT, SUB_PATH, FILES, PULL = "environment", "files by subPath", "files", "image pull"
STARTS_ONLY = frozenset({ENVIRONMENT, SUB_PATH})
"""What a container reads when it starts and never again; other files the kubelet renews."""
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_CONTAINERS = ("initContainers", "containers")


def uses(spec: Any, secret: str) -> tuple[str, ...]:
    """Return how a pod's spec reads a Secret of its namespace; nothing where it does not."""
    if not isinstance(spec, Mapping):
        return ()
    found = list(_mounted(spec, secret))
    for container in (one for part in _CONTAINERS for one in _maps(spec.get(part))):
        names = [_map(row.get("secretRef")).get("name") for row in _maps(container.get("envFrom"))]
        names += [
            _map(_map(row.get("valueFrom")).get("secretKeyRef")).get("name")
            for row in _maps(container.get("env"))
        ]
        found += [ENVIRONMENT] if secret in names else []
    pulls = (one.get("name") for one in _maps(spec.get("imagePullSecrets")))
    found += [PULL] if secret in pulls else []
    return tuple(dict.fromkeys(found))


def reads(manifest: Any, namespace: str, secret: str) -> bool:
    """Tell whether a document is a workload of a namespace whose pods read a Secret."""
    if not isinstance(manifest, Mapping) or manifest.get("kind") not in WORKLOADS:
        return False
    template = _map(_map(manifest.get("spec")).get("template"))
    near = _map(manifest.get("metadata")).get("namespace") in {None, "", namespace}
    return near and bool(uses(template.get("spec"), secret))


def marked(manifest: Mapping[str, Any], secret: str, mark: str) -> dict[str, Any]:
    """Return a workload whose pods are made anew, by an annotation of their template."""
    template = manifest["spec"]["template"]
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), mark_of(secret): mark}
    fresh = {**template, "metadata": {**metadata, "annotations": annotations}}
    return {**manifest, "spec": {**manifest["spec"], "template": fresh}}


def marks(manifest: Mapping[str, Any], secret: str) -> str:
    """Return the mark that a workload's pod template has for a Secret; "" for none."""
    template = _map(_map(manifest.get("spec")).get("template"))
    found = _map(_map(template.get("metadata")).get("annotations"))
    return str(found.get(mark_of(secret)) or "")


def mark_of(secret: str) -> str:
    """Return the annotation of a pod template that changes with a sealed Secret."""
    short = secret if len(secret) <= 50 else hashlib.sha256(secret.encode()).hexdigest()[:16]
    return f"opslib.dev/sealed-{short}"


def _mounted(spec: Mapping[str, Any], secret: str) -> Iterator[str]:
    volumes = {one.get("name") for one in _maps(spec.get("volumes")) if _is_of(one, secret)}
    for container in (one for part in _CONTAINERS for one in _maps(spec.get(part))):
        for mount in _maps(container.get("volumeMounts")):
            if mount.get("name") in volumes:
                sub = mount.get("subPath") or mount.get("subPathExpr")
                yield SUB_PATH if sub else FILES


def _is_of(volume: Mapping[str, Any], secret: str) -> bool:
    if _map(volume.get("secret")).get("secretName") == secret:
        return True
    sources = _maps(_map(volume.get("projected")).get("sources"))
    return any(_map(one.get("secret")).get("name") == secret for one in sources)


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
