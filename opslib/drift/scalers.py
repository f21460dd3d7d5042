"""Replicas that an autoscaler sets, also where Git declares none."""

from __future__ import annotations

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.additions import Addition
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.kube.errors import ApiError
from opslib.reconcile.judge import Prepared
from opslib.reconcile.optouts import SCALER, scaled_by
from opslib.reconcile.retry import retrying

_REPLICAS = ("spec", "replicas")


class Scalers:
    """Who scales what; the autoscalers of a namespace are read when they are asked for."""

    def __init__(self, cluster: Cluster, discovery: Discovery, prepared: Prepared) -> None:
        self._cluster = cluster
        self._discovery = discovery
        self._known = dict(prepared.optouts.scalers)
        self._read: set[str] = set()

    def why(self, key: ResourceKey, live: Manifest, one: Addition) -> str:
        """Explain replicas of what an autoscaler scales; "" for everything else."""
        del live
        if one.place != _REPLICAS:
            return ""
        if key not in self._known and key.namespace not in self._read:
            self._read.add(key.namespace)
            self._known |= self._of(key.namespace)
        name = self._known.get(key)
        return f"is left to HorizontalPodAutoscaler {name}" if name else ""

    def _of(self, namespace: str) -> dict[ResourceKey, str]:
        kind = self._discovery.preferred(*SCALER)
        if kind is None:
            return {}
        path = kind.path(namespace)
        try:
            items, _ = retrying(lambda: self._cluster.list(path))
        except ApiError:
            return {}
        return dict(scaled_by(items))
