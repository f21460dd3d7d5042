"""Fields that are left to others on purpose: an autoscaler's replicas.

What is left to others keeps its live value: it is declared with that value, under the lock of
the object that was read. To leave it out instead would remove it wherever the app alone owned
it, and a Deployment without replicas has one.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.model import Manifest, ResourceKey, group_of
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.desired import Desired
from opslib.reconcile.retry import retrying

_SCALER = ("autoscaling", "HorizontalPodAutoscaler")


@dataclass(frozen=True)
class OptOuts:
    """Which objects are scaled by whom: the autoscaler's name by the object's identity."""

    scalers: Mapping[ResourceKey, str]

    def adopt(self, key: ResourceKey, manifest: Manifest, live: Manifest | None) -> Manifest:
        """Return the manifest with the live value of each field that is left to others."""
        if key not in self.scalers or live is None:
            return manifest
        spec, replicas = manifest.get("spec") or {}, (live.get("spec") or {}).get("replicas")
        if "replicas" not in spec or replicas is None:
            return manifest
        return {**manifest, "spec": {**spec, "replicas": replicas}}

    def notes(self, key: ResourceKey, manifest: Manifest) -> tuple[str, ...]:
        """Say which declared fields are left to whom."""
        if key not in self.scalers or "replicas" not in (manifest.get("spec") or {}):
            return ()
        return (f"spec.replicas is left to HorizontalPodAutoscaler {self.scalers[key]}",)


NOTHING = OptOuts({})


def opt_outs(cluster: Cluster, discovery: Discovery, desired: Desired) -> OptOuts:
    """Find the autoscalers of the desired objects, declared or live in their namespaces."""
    scaled = {
        t.key for t in desired.targets if "replicas" in (t.resource.manifest.get("spec") or {})
    }
    declared = [t.resource.manifest for t in desired.targets if _is_scaler(t.key)]
    kind = discovery.preferred(*_SCALER)
    live: list[dict[str, Any]] = []
    if kind and scaled:
        for namespace in sorted({key.namespace for key in scaled}):
            items, _ = retrying(lambda where=namespace: cluster.list(kind.path(where)))  # type: ignore[misc]  # bound per pass
            live += items
    return OptOuts({key: name for key, name in _targets((*live, *declared)) if key in scaled})


def _is_scaler(key: ResourceKey) -> bool:
    return (key.group, key.kind) == _SCALER


def _targets(scalers: Iterable[Manifest]) -> Iterable[tuple[ResourceKey, str]]:
    for one in scalers:
        reference = (one.get("spec") or {}).get("scaleTargetRef") or {}
        metadata = one["metadata"]
        yield (
            ResourceKey(
                group_of(str(reference.get("apiVersion", ""))),
                str(reference.get("kind", "")),
                str(metadata.get("namespace", "")),
                str(reference.get("name", "")),
            ),
            str(metadata["name"]),
        )
