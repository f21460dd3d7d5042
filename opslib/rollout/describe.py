"""What a workload is like now, the reason first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from opslib.core.clock import now, parse_stamp
from opslib.core.errors import InputError
from opslib.core.model import ResourceKey
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.rollout.reasons import about, pod_reason, workload_reason
from opslib.rollout.targets import PLURALS, Target, owned_by, read, selector_of

COMMIT = "opslib.dev/commit"
Json = dict[str, Any]


@dataclass(frozen=True)
class PodView:
    """One pod: where it runs, how far it is, why not further. Ages are in seconds."""

    name: str
    node: str
    phase: str
    ready: str
    restarts: int
    reason: str
    age_seconds: float
    revision: str

    def as_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class EventView:
    """One event: last seen, how often, about what."""

    time: str
    type: str
    reason: str
    object: str
    message: str
    count: int

    def as_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Description:
    """A workload (or the pods of a selector). ``reason`` is the sentence to read first."""

    target: str
    namespace: str
    reason: str
    ready: bool
    images: tuple[str, ...]
    manager: str
    commit: str
    conditions: tuple[Json, ...]
    pods: tuple[PodView, ...]
    events: tuple[EventView, ...]

    def as_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Scene:
    """Everything about a workload as the API server has it."""

    live: Json
    replica_sets: list[Json]
    pods: list[Json]
    events: list[Json]

    def current(self) -> list[Json]:
        """Return the pods of the present revision."""
        if self.live["kind"] != "Deployment":
            revision = (self.live.get("status") or {}).get("updateRevision")
            hashed = "controller-revision-hash"
            same = [p for p in self.pods if p["metadata"].get("labels", {}).get(hashed) == revision]
            return same if revision else self.pods
        newest = newest_replica_set(self.live, self.replica_sets)
        return owned_by(self.pods, newest["metadata"]["uid"]) if newest else []


def newest_replica_set(live: Json, replica_sets: Sequence[Json]) -> Json | None:
    """Return the ReplicaSet of the present revision: the one with the highest revision."""
    del live
    return max(replica_sets, key=revision_of, default=None)


def revision_of(item: Json) -> int:
    """Return the revision that the Deployment controller noted on an object."""
    annotations = item["metadata"].get("annotations") or {}
    return int(annotations.get("deployment.kubernetes.io/revision") or 0)


def scene(cluster: Cluster, target: Target) -> Scene:
    """Read a workload, its ReplicaSets, its pods and the events about them."""
    live = read(cluster, target)
    live.setdefault("kind", target.kind)
    query = {"labelSelector": selector_of(live)}
    root = f"/apis/apps/v1/namespaces/{target.namespace}"
    uid = live["metadata"]["uid"]
    sets = []
    if target.kind == "Deployment":
        sets = owned_by(cluster.list(f"{root}/replicasets", query)[0], uid)
    pods, _ = cluster.list(f"/api/v1/namespaces/{target.namespace}/pods", query)
    owners = {uid, *(one["metadata"]["uid"] for one in sets)}
    mine = [pod for owner in owners for pod in owned_by(pods, owner)]
    mine.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    known = {*owners, *(pod["metadata"]["uid"] for pod in mine)}
    return Scene(live, sets, mine, events_of(cluster, target.namespace, known))


def events_of(cluster: Cluster, namespace: str, uids: set[str]) -> list[Json]:
    """Return the events about some objects, oldest first; none where they may not be read."""
    try:
        items, _ = cluster.list(f"/api/v1/namespaces/{namespace}/events")
    except ApiError as error:
        if error.code == 403:
            return []
        raise
    mine = [e for e in items if (e.get("involvedObject") or {}).get("uid") in uids]
    return sorted(mine, key=event_time)


def event_time(event: Json) -> str:
    """Return when an event was last seen."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((t for t in times if t), event["metadata"].get("creationTimestamp", "")))


def describe(cluster: Cluster, target: Target) -> Description:
    """Describe a workload: why it is not ready first, then conditions, pods and events."""
    found = scene(cluster, target)
    ready, reason = workload_reason(found.live, found.current(), found.events)
    metadata = found.live["metadata"]
    return Description(
        f"{target.kind} {target.name}",
        target.namespace,
        reason,
        ready,
        images_of(found.live["spec"]["template"]),
        manager_of(found.live),
        str((metadata.get("annotations") or {}).get(COMMIT, "")),
        tuple((found.live.get("status") or {}).get("conditions") or ()),
        tuple(pod_view(pod, found.events) for pod in found.pods),
        tuple(event_view(event) for event in found.events),
    )


def explain(cluster: Cluster, keys: Iterable[ResourceKey]) -> list[str]:
    """Return, for each workload among some objects that is not ready, the sentence that says why.

    What has no rollout, and what is gone or may not be read, is left out: this explains,
    it does not judge.
    """
    said = []
    for key in keys:
        if key.kind in PLURALS and key.group == "apps":
            with contextlib.suppress(InputError, ApiError):
                found = describe(cluster, Target(key.kind, key.namespace, key.name))
                if not found.ready:
                    said.append(f"{found.target}: {found.reason}")
    return said


def describe_selector(cluster: Cluster, selector: str, namespace: str) -> Description:
    """Describe the pods that a label selector finds. Raises InputError when there are none."""
    query = {"labelSelector": selector}
    pods, _ = cluster.list(f"/api/v1/namespaces/{namespace}/pods", query)
    if not pods:
        raise InputError(
            f"no pod has the labels {selector}",
            where=f"namespace {namespace}",
            hint="look at the labels that there are: kubectl get pods --show-labels",
        )
    events = events_of(cluster, namespace, {pod["metadata"]["uid"] for pod in pods})
    made_up = {"kind": "Pods", "spec": {"replicas": len(pods)}, "metadata": {}}
    ready, reason = workload_reason(made_up, pods, events)
    images = tuple(dict.fromkeys(i for pod in pods for i in images_of(pod)))
    views = tuple(pod_view(pod, events) for pod in pods)
    shown = tuple(event_view(event) for event in events)
    return Description(
        f"pods {selector}", namespace, reason, ready, images, "", "", (), views, shown
    )


def pod_view(pod: Json, events: Sequence[Json]) -> PodView:
    """Return one pod as a row."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    total = len(pod["spec"].get("containers") or ())
    labels = metadata.get("labels") or {}
    age = (now() - parse_stamp(metadata["creationTimestamp"])).total_seconds()
    return PodView(
        metadata["name"],
        str(pod["spec"].get("nodeName") or ""),
        "Terminating" if metadata.get("deletionTimestamp") else str(status.get("phase", "")),
        f"{sum(bool(c.get('ready')) for c in containers)}/{total}",
        sum(int(c.get("restartCount") or 0) for c in containers),
        pod_reason(pod, about(events, pod)),
        round(age, 1),
        str(labels.get("pod-template-hash") or labels.get("controller-revision-hash") or ""),
    )


def event_view(event: Json) -> EventView:
    """Return one event as a row."""
    item = event.get("involvedObject") or {}
    series = event.get("series") or {}
    return EventView(
        event_time(event),
        str(event.get("type", "")),
        str(event.get("reason", "")),
        f"{item.get('kind', '')} {item.get('name', '')}",
        " ".join(str(event.get("message", "")).split()),
        int(series.get("count") or event.get("count") or 1),
    )


def images_of(template: Json) -> tuple[str, ...]:
    """Return the images of a pod template, init containers first."""
    spec = template["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return tuple(str(container.get("image", "")) for container in containers)


def manager_of(live: Json) -> str:
    """Return the field manager of the app that applies an object, or ""."""
    entries = live["metadata"].get("managedFields") or ()
    names = [str(e.get("manager")) for e in entries if e.get("operation") == "Apply"]
    return next((name for name in names if name.startswith("opslib-")), next(iter(names), ""))
