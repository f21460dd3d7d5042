"""Wait until what was applied is healthy, failed for good, or out of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.clock import now
from opslib.core.model import Manifest, ResourceKey
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.reconcile.health import SHIPPED, Assessment, Health, HealthRules, assess
from opslib.reconcile.health_pods import WORKLOADS, read_children, with_pods
from opslib.reconcile.live import read_live

POLL_SECONDS = 0.5
PODS_SECONDS = 3.0
"""How often pods are read while workloads are in progress, in seconds."""
_FINAL = (Health.FAILED, Health.NOT_FOUND)


@dataclass(frozen=True)
class HealthOf:
    """The health of one object and the sentence that explains it."""

    key: ResourceKey
    health: Health
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"object": str(self.key), "health": str(self.health), "message": self.message}


def health_of(
    cluster: Cluster, kinds: Mapping[ResourceKey, Kind], rules: HealthRules = SHIPPED
) -> tuple[HealthOf, ...]:
    """Read the objects once and assess each; one that does not exist is NotFound."""
    return _look(cluster, kinds, rules, {}, pods=True)


def _look(
    cluster: Cluster,
    kinds: Mapping[ResourceKey, Kind],
    rules: HealthRules,
    seen: dict[ResourceKey, Manifest],
    *,
    pods: bool,
) -> tuple[HealthOf, ...]:
    live = read_live(cluster, kinds)
    assessed = {key: assess(live.get(key), seen=seen.get(key), rules=rules) for key in kinds}
    seen.update(live)
    if pods:
        assessed |= _by_pods(cluster, live, assessed)
    return tuple(HealthOf(key, a.health, a.message) for key, a in assessed.items())


def _by_pods(
    cluster: Cluster,
    live: Mapping[ResourceKey, Manifest],
    assessed: Mapping[ResourceKey, Assessment],
) -> dict[ResourceKey, Assessment]:
    """Assess workloads in progress again, with what their pods say."""
    moving = [
        key
        for key, answer in assessed.items()
        if answer.health is Health.IN_PROGRESS and (key.group, key.kind) in WORKLOADS
    ]
    spaces = {key.namespace for key in moving if key in live}
    children = {space: read_children(cluster, space) for space in spaces}
    return {
        key: with_pods(live[key], assessed[key], children[key.namespace], now())
        for key in moving
        if key in live
    }


def wait_healthy(
    cluster: Cluster,
    kinds: Mapping[ResourceKey, Kind],
    *,
    timeout: float,
    progress: Progress = SILENT,
    go_on: Callable[[], bool] = lambda: True,
    rules: HealthRules = SHIPPED,
    seen: Mapping[ResourceKey, Manifest] | None = None,
) -> tuple[HealthOf, ...]:
    """Poll until all are Current, or what is not cannot become it, or time is up.

    That is so of what failed, and of what somebody deleted meanwhile: who waits here is who
    would write it again.

    ``timeout`` is in seconds; 0 looks once. ``go_on`` is asked between two looks: a loop that
    is told to stop answers False. ``seen`` is what was written just now: a Job may end and be
    cleared away by its TTL before the first look. Returns the last look; it never raises for
    bad health.
    """
    until = time.monotonic() + timeout
    pending = dict(kinds)
    known = dict(seen or {})
    settled: dict[ResourceKey, HealthOf] = {}
    read_pods_at = time.monotonic() + PODS_SECONDS
    while True:
        pods = time.monotonic() >= min(read_pods_at, until)
        if pods:
            read_pods_at = time.monotonic() + PODS_SECONDS
        for state in _look(cluster, pending, rules, known, pods=pods):
            settled[state.key] = state
        pending = {k: kinds[k] for k, s in settled.items() if s.health is not Health.CURRENT}
        done = len(kinds) - len(pending)
        progress.update("waiting for health", done, len(kinds))
        moving = [k for k in pending if settled[k].health not in _FINAL]
        if not moving or time.monotonic() > until or not go_on():
            return tuple(settled[key] for key in kinds)
        time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))
