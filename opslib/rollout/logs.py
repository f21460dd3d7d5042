"""What containers write: many pods as one stream."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from opslib.core.errors import InputError, OpslibError
from opslib.kube.client import Cluster
from opslib.rollout.targets import Target, read, selector_of

Json = dict[str, Any]
MAX_STREAMS = 50
"""Containers read at once; more is a mistake in the selector more often than a wish."""

_JOIN_SECONDS = 2.0
_SILENCE = 3600.0


@dataclass(frozen=True)
class LogLine:
    """One line; ``container`` is "" for a warning about the reading itself."""

    pod: str
    container: str
    text: str

    def as_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class _Options:
    follow: bool
    query: dict[str, str | int | bool]
    container: str | None
    all_containers: bool


@dataclass
class _Streams:
    """The streams under way, each in a thread that ends with its answer."""

    cluster: Cluster
    namespace: str
    options: _Options
    lines: queue.Queue[LogLine | None] = field(default_factory=lambda: queue.Queue(1000))
    stop: threading.Event = field(default_factory=threading.Event)
    seen: set[tuple[str, str]] = field(default_factory=set)
    running: int = 0

    def join(self, pods: list[Json]) -> None:
        """Start a stream for each container that has none yet and has started."""
        for pod in pods:
            for name in _containers(pod, self.options):
                key = (pod["metadata"]["uid"], name)
                if key in self.seen or (self.options.follow and not _started(pod, name)):
                    continue
                self.seen.add(key)
                self.running += 1
                words = (pod["metadata"]["name"], name)
                threading.Thread(target=self._read, args=words, daemon=True).start()

    def _read(self, pod: str, container: str) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        query = {**self.options.query, "container": container}
        try:
            for raw in self.cluster.stream(path, query=query, timeout=_SILENCE):
                if not self._put(LogLine(pod, container, raw.decode(errors="replace"))):
                    return
        except OpslibError as error:
            self._put(LogLine(pod, "", f"warning: {error.what}"))
        finally:
            self._put(None)

    def _put(self, line: LogLine | None) -> bool:
        while not self.stop.is_set():
            try:
                self.lines.put(line, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False


def logs(
    cluster: Cluster,
    target: Target | str,
    *,
    namespace: str,
    follow: bool = False,
    tail: int | None = None,
    since: float | None = None,
    previous: bool = False,
    container: str | None = None,
    all_containers: bool = False,
    timestamps: bool = False,
) -> Iterator[LogLine]:
    """Yield the lines of all pods of a workload, or of a label selector, as they come.

    ``since`` is in seconds, ``tail`` lines per container. With ``follow`` pods that appear
    later join in; close the generator to stop. A container that cannot be read gives one
    warning line. Raises InputError where no pod is found, or more than MAX_STREAMS.
    """
    selector = target if isinstance(target, str) else selector_of(read(cluster, target))
    query: dict[str, str | int | bool] = {"follow": follow, "previous": previous}
    query["timestamps"] = timestamps
    if tail is not None:
        query["tailLines"] = tail
    if since is not None:
        query["sinceSeconds"] = max(1, round(since))
    options = _Options(follow, query, container, all_containers)
    pods = _pods(cluster, selector, namespace)
    if not pods and not follow:
        raise InputError(f"no pod has the labels {selector}", where=f"namespace {namespace}")
    count = sum(len(_containers(pod, options)) for pod in pods)
    if pods and container and not count:
        known = sorted({name for pod in pods for name in _every(pod)})
        raise InputError(
            f"no pod has a container {container}",
            where=selector,
            expected=f"one of: {', '.join(known)}",
        )
    if count > MAX_STREAMS:
        raise InputError(
            f"{count} containers would be read at once",
            where=selector,
            expected=f"{MAX_STREAMS} at most",
            hint="narrow the selector, or name a container with -c",
        )
    return _merged(_Streams(cluster, namespace, options), selector, pods)


def _merged(streams: _Streams, selector: str, pods: list[Json]) -> Iterator[LogLine]:
    try:
        streams.join(pods)
        looked = time.monotonic()
        while streams.running or streams.options.follow:
            try:
                line = streams.lines.get(timeout=0.2)
            except queue.Empty:
                line = None
            else:
                if line is None:
                    streams.running -= 1
            if line is not None:
                yield line
            if streams.options.follow and time.monotonic() - looked > _JOIN_SECONDS:
                looked = time.monotonic()
                streams.join(_pods(streams.cluster, selector, streams.namespace))
    finally:
        streams.stop.set()


def _pods(cluster: Cluster, selector: str, namespace: str) -> list[Json]:
    path = f"/api/v1/namespaces/{namespace}/pods"
    items, _ = cluster.list(path, {"labelSelector": selector})
    return sorted(items, key=lambda pod: str(pod["metadata"]["name"]))


def _containers(pod: Json, options: _Options) -> list[str]:
    every = _every(pod)
    if options.container:
        return [name for name in every if name == options.container]
    if options.all_containers:
        return every
    chosen = (pod["metadata"].get("annotations") or {}).get(
        "kubectl.kubernetes.io/default-container"
    )
    return [str(chosen) if chosen in every else str(pod["spec"]["containers"][0]["name"])]


def _every(pod: Json) -> list[str]:
    spec = pod["spec"]
    return [c["name"] for c in (*(spec.get("initContainers") or ()), *spec["containers"])]


def _started(pod: Json, name: str) -> bool:
    status = pod.get("status") or {}
    rows = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    states = [row.get("state") or {} for row in rows if row.get("name") == name]
    return any("running" in state or "terminated" in state for state in states)
