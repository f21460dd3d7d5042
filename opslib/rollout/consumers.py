"""Who reads a Secret, and whether their pods have started since it changed.

A container reads environment variables and files by subPath once, when it starts; other files
the kubelet renews within about a minute:
https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets-as-files-from-a-pod
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from opslib.core.clock import parse_stamp, stamp
from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.rollout.describe import Scene, scene
from opslib.rollout.reasons import pod_reason
from opslib.rollout.status import daemon_set, deployment, stateful_set
from opslib.rollout.targets import PLURALS, Target
from opslib.seal.uses import STARTS_ONLY, mark_of, uses

State = Literal["restarted", "renewed", "restarting", "old", "none", "unknown"]
_JUDGES = {"Deployment": deployment, "DaemonSet": daemon_set, "StatefulSet": stateful_set}
Json = dict[str, Any]


@dataclass(frozen=True)
class Restart:
    """One workload that reads the Secret.

    ``state``: restarted; renewed (files that the kubelet renews, no start is needed);
    restarting; old (nothing starts it anew); none (it has no pods); unknown. ``why`` says so
    for people. ``since`` is when its oldest container started, RFC 3339, "" without pods.
    """

    workload: str
    uses: tuple[str, ...]
    state: State
    why: str
    since: str = ""

    @property
    def done(self) -> bool:
        return self.state in {"restarted", "renewed", "none"}

    @property
    def waits(self) -> bool:
        """Whether it may still come: something is under way."""
        return self.state == "restarting"

    def as_dict(self) -> Json:
        return asdict(self)


def restarts(
    cluster: Cluster, namespace: str, secret: str, changed: datetime, mark: str = ""
) -> list[Restart]:
    """Judge each Deployment, StatefulSet and DaemonSet that reads a Secret.

    ``changed`` is when the Secret got its present values (the API server keeps whole seconds);
    ``mark`` is the annotation that the pods of its commit have, see ``seal.uses``.
    """
    return [
        _judged(cluster, target, found, secret, changed, mark)
        for target, found in consumers(cluster, namespace, secret)
    ]


def consumers(
    cluster: Cluster, namespace: str, secret: str
) -> Iterator[tuple[Target, tuple[str, ...]]]:
    """Yield the workloads of a namespace that read a Secret, and how."""
    for kind in PLURALS:
        items, _ = cluster.list(Target(kind, namespace, "").collection)
        for item in items:
            template = (item.get("spec") or {}).get("template") or {}
            if found := uses(template.get("spec"), secret):
                yield Target(kind, namespace, item["metadata"]["name"]), found


def _judged(  # noqa: PLR0917  # the six things that decide
    cluster: Cluster,
    target: Target,
    found: tuple[str, ...],
    secret: str,
    changed: datetime,
    mark: str,
) -> Restart:
    name = f"{target.kind} {target.name}"
    try:
        seen = scene(cluster, target)
    except (ApiError, OpslibError) as error:
        return Restart(name, found, "unknown", f"cannot be looked at: {error.what}")
    pods = [pod for pod in seen.pods if _lives(pod)]
    started = [moment for pod in pods for moment in _starts(pod)]
    since = stamp(min(started)) if started else ""
    old = [pod for pod in pods if not _new(pod, changed, mark_of(secret), mark)]
    verdict = _JUDGES[target.kind](seen.live) if _rolls(seen.live) else None
    whole = verdict is None or (verdict.done and verdict.ok)
    if not pods and whole:
        return Restart(name, found, "none", "it has no pods, and wants none")
    if not old and pods and whole:
        return Restart(name, found, "restarted", f"all {_count(pods)} started since", since)
    if not STARTS_ONLY & set(found):
        why = "its files are renewed by the kubelet within about a minute, without a start"
        return Restart(name, found, "renewed", why, since)
    return _not_yet(Restart(name, found, "old", "", since), seen, old, verdict)


def _not_yet(one: Restart, seen: Scene, old: list[Json], verdict: Any) -> Restart:
    """Say why a workload still has pods of before."""
    stuck = [reason for pod in seen.current() if (reason := pod_reason(pod, ()))]
    if verdict is not None and not (verdict.done and verdict.ok):
        why = verdict.message + (f" {stuck[0]}" if stuck else "")
        state: State = "old" if verdict.done else "restarting"
        return Restart(one.workload, one.uses, state, why, one.since)
    waiting = [pod for pod in old if not _starts(pod)]
    if waiting:
        why = stuck[0] if stuck else "its containers have not started"
        return Restart(one.workload, one.uses, "restarting", why, one.since)
    how = "deletes its pods" if verdict is None else "changes its pod template in Git"
    why = f"{_count(old)} started before the change, and nothing has restarted them"
    return Restart(one.workload, one.uses, "old", f"{why}: until somebody {how}", one.since)


def _rolls(live: Json) -> bool:
    """Tell whether a workload replaces its pods by itself when its template changes."""
    strategy = live["spec"].get("updateStrategy") or {}
    return strategy.get("type") != "OnDelete"


def _lives(pod: Json) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return not pod["metadata"].get("deletionTimestamp") and phase not in {"Succeeded", "Failed"}


def _starts(pod: Json) -> list[datetime]:
    rows: Iterable[Json] = (pod.get("status") or {}).get("containerStatuses") or ()
    running = [(row.get("state") or {}).get("running") or {} for row in rows]
    return [parse_stamp(one["startedAt"]) for one in running if one.get("startedAt")]


def _new(pod: Json, changed: datetime, name: str, mark: str) -> bool:
    """Tell whether a pod's containers started after the change.

    Within the same second nobody knows, unless the pod was made of the commit that brought it.
    """
    started = _starts(pod)
    if not started:
        return False
    same = bool(mark) and (pod["metadata"].get("annotations") or {}).get(name) == mark
    return min(started) >= changed if same else min(started) > changed


def _count(pods: list[Json]) -> str:
    return "1 pod" if len(pods) == 1 else f"{len(pods)} pods"
