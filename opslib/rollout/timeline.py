"""A rollout over time: from when to when each ReplicaSet and pod was in which phase."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from opslib.core.clock import stamp
from opslib.kube.client import Cluster
from opslib.rollout.describe import Scene, event_time, revision_of, scene
from opslib.rollout.reasons import about, pod_reason
from opslib.rollout.targets import Target

Json = dict[str, Any]


@dataclass(frozen=True)
class TimelineRow:
    """One bar; times are RFC 3339 in UTC, and an open phase ends now.

    ``phase`` is pending, starting, ready, failing or terminating, or "revision" for a
    ReplicaSet.
    """

    start: str
    end: str
    subject: str
    phase: str
    detail: str

    def as_dict(self) -> Json:
        return asdict(self)


def timeline(cluster: Cluster, target: Target) -> list[TimelineRow]:
    """Return the bars of the ReplicaSets (oldest first) and pods of a workload."""
    found = scene(cluster, target)
    moment = _seconds(stamp())
    rows = [
        row
        for one in sorted(found.replica_sets, key=revision_of)
        if (row := _replica_set(one, found, moment)) is not None
    ]
    for pod in found.pods:
        rows += _pod(pod, about(found.events, pod), moment)
    return rows


def _replica_set(item: Json, found: Scene, now: str) -> TimelineRow | None:
    """Return the life of a ReplicaSet: to the creation of the next one, while it has pods."""
    metadata, pods = item["metadata"], int((item.get("status") or {}).get("replicas") or 0)
    later = [
        one["metadata"]["creationTimestamp"]
        for one in found.replica_sets
        if revision_of(one) > revision_of(item)
    ]
    start = metadata["creationTimestamp"]
    after = [moment for moment in later if moment >= start]
    end = now if pods or not after else min(after)
    detail = f"revision {revision_of(item)}, {pods} pods now"
    return TimelineRow(start, end, f"ReplicaSet {metadata['name']}", "revision", detail)


def _pod(pod: Json, events: list[Json], now: str) -> list[TimelineRow]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    subject = f"Pod {metadata['name']}"
    times = {c["type"]: c for c in status.get("conditions") or () if c.get("lastTransitionTime")}
    created = metadata["creationTimestamp"]
    scheduled = _since(times, "PodScheduled")
    ready = _since(times, "Ready")
    gone = metadata.get("deletionTimestamp")
    end = gone or now
    rows = [TimelineRow(created, scheduled or end, subject, "pending", "waits for a node")]
    if scheduled:
        trouble = _trouble(pod, events, scheduled)
        began = ready or trouble or end
        detail = f"on node {pod['spec'].get('nodeName', '')}"
        rows.append(TimelineRow(scheduled, began, subject, "starting", detail))
        if ready:
            rows.append(TimelineRow(ready, end, subject, "ready", "ready"))
        elif trouble:
            rows.append(TimelineRow(trouble, end, subject, "failing", pod_reason(pod, events)))
    if gone:
        rows.append(TimelineRow(gone, max(now, gone), subject, "terminating", "being deleted"))
    return [row for row in rows if row.end >= row.start]


def _since(conditions: dict[str, Json], kind: str) -> str:
    row = conditions.get(kind) or {}
    return str(row["lastTransitionTime"]) if row.get("status") == "True" else ""


def _trouble(pod: Json, events: list[Json], scheduled: str) -> str:
    """Return when a pod first reported what keeps it from being ready; "" when nothing does."""
    if not pod_reason(pod, events) or pod_reason(pod, events).startswith("is starting"):
        return ""
    warned = [_seconds(event_time(e)) for e in events if e.get("type") == "Warning"]
    return max(scheduled, min(warned)) if warned else scheduled


def _seconds(moment: str) -> str:
    """Cut a time to the whole seconds that conditions have, so that text compares as time."""
    return f"{moment[:19]}Z"
