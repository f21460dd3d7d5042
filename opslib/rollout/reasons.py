"""Why a pod is not ready, in one sentence: pure functions of what the API server says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_REFUSED = ("FailedCreate", "ReplicaSetCreateError", "FailedPlacement")

Json = dict[str, Any]


def pod_reason(pod: Json, events: Sequence[Json] = ()) -> str:
    """Say why one pod is not ready; "" when it is, or has ended well.

    ``events`` are those about this pod, oldest first. Reasons are those of the kubelet and
    the scheduler (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/).
    """
    status = pod.get("status") or {}
    phase = status.get("phase", "")
    if phase == "Succeeded" or _is_ready(status):
        return ""
    if pod["metadata"].get("deletionTimestamp"):
        held = ", ".join(pod["metadata"].get("finalizers") or ())
        return "is being deleted" + (f", held by the finalizer {held}" if held else "")
    if phase == "Failed":
        return f"failed: {status.get('message') or status.get('reason') or 'no reason was given'}"
    return (
        _unscheduled(status)
        or _container_reason(status, "initContainerStatuses", "init container ")
        or _container_reason(status, "containerStatuses", "")
        or _probe(pod, status, events)
        or _starting(status, events)
    )


def _is_ready(status: Json) -> bool:
    return _condition(status, "Ready").get("status") == "True"


def _condition(status: Json, kind: str) -> Json:
    rows = status.get("conditions") or ()
    return next((row for row in rows if row.get("type") == kind), {})


def _unscheduled(status: Json) -> str:
    row = _condition(status, "PodScheduled")
    if row.get("status") == "False":
        return f"cannot be placed on a node: {row.get('message') or row.get('reason', '')}"
    return ""


def _container_reason(status: Json, field: str, prefix: str) -> str:
    for container in status.get(field) or ():
        name = f"{prefix}{container.get('name')}"
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), _short(waiting.get("message", ""))
        if reason in _PULL:
            tail = f": {message}" if message else f" ({reason})"
            return f"cannot pull image {container.get('image')}{tail}"
        if reason == "CrashLoopBackOff":
            return f"{name} keeps crashing: {_last_end(container)}"
        if reason in _CONFIG:
            return f"{name} cannot be started: {message or reason}"
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended and ended.get("exitCode", 0) != 0:
            return f"{name} ended: {_how(ended)}"
        if prefix and not container.get("ready") and "running" in (container.get("state") or {}):
            return f"{name} has not finished"
    return ""


def _last_end(container: Json) -> str:
    last = (container.get("lastState") or {}).get("terminated") or {}
    restarts = container.get("restartCount", 0)
    times = "1 restart" if restarts == 1 else f"{restarts} restarts"
    return f"{_how(last)}, {times}" if last else times


def _how(ended: Json) -> str:
    code, reason = ended.get("exitCode"), ended.get("reason", "")
    if reason == "OOMKilled":
        return "killed because it used more memory than its limit"
    text = f"exit code {code}"
    if ended.get("signal"):
        text = f"killed by signal {ended['signal']}"
    message = _short(ended.get("message", ""))
    return f"{text} ({message or reason})" if message or reason not in {"", "Error"} else text


def _probe(pod: Json, status: Json, events: Sequence[Json]) -> str:
    waiting = [c for c in status.get("containerStatuses") or () if not c.get("ready")]
    running = [c["name"] for c in waiting if "running" in (c.get("state") or {})]
    if not running:
        return ""
    said = [e for e in events if "probe failed" in str(e.get("message", ""))]
    if said:
        return f"{running[0]} runs, but is not ready: {_short(said[-1]['message'])}"
    probed = {c["name"] for c in pod["spec"].get("containers") or () if c.get("readinessProbe")}
    why = "its readiness probe has not succeeded" if running[0] in probed else "not ready yet"
    return f"{running[0]} runs, but {why}"


def _starting(status: Json, events: Sequence[Json]) -> str:
    bad = [e for e in events if e.get("type") == "Warning"]
    if bad:
        return f"is starting: {_short(bad[-1].get('message', ''))}"
    waiting = [
        (c.get("state") or {}).get("waiting", {}).get("reason", "")
        for c in status.get("containerStatuses") or ()
    ]
    reason = next((one for one in waiting if one), "")
    return f"is starting ({reason})" if reason else "is starting"


def workload_reason(live: Json, pods: Sequence[Json], events: Sequence[Json]) -> tuple[bool, str]:
    """Say in one sentence whether a workload is ready and, if not, why not; and whether it is.

    ``pods`` are those of the present revision; ``events`` are about the workload, its
    ReplicaSets and its pods, oldest first.
    """
    wanted = wanted_pods(live)
    reasons = [(pod, pod_reason(pod, about(events, pod))) for pod in pods]
    bad = [(pod, why) for pod, why in reasons if why]
    good = len(reasons) - len(bad)
    if not bad and good >= wanted:
        if _is_old_generation(live):
            return False, "the controller has not seen the newest change yet"
        return True, _all_ready(wanted)
    if bad:
        return False, _most(bad, len(pods), wanted)
    if (live["spec"] or {}).get("paused"):
        return False, "the rollout is paused: `kubectl rollout resume` lets it go on"
    refused = [e for e in events if e.get("reason") in _REFUSED]
    missing = wanted - good
    if refused:
        text = _short(refused[-1].get("message", ""))
        return False, f"{missing} of {wanted} pods cannot be created: {text}"
    return False, f"{missing} of {wanted} pods are not there yet"


def wanted_pods(live: Json) -> int:
    """Return how many pods a workload should have."""
    if live["kind"] == "DaemonSet":
        return int((live.get("status") or {}).get("desiredNumberScheduled") or 0)
    replicas = live["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def about(events: Iterable[Json], item: Json) -> list[Json]:
    """Return the events about one object."""
    uid = item["metadata"]["uid"]
    return [e for e in events if (e.get("involvedObject") or {}).get("uid") == uid]


def _is_old_generation(live: Json) -> bool:
    seen = (live.get("status") or {}).get("observedGeneration", 0)
    return int(seen or 0) < int(live["metadata"].get("generation") or 0)


def _all_ready(wanted: int) -> str:
    if wanted == 0:
        return "no pods are wanted (scaled to 0)"
    return "the one pod is ready" if wanted == 1 else f"all {wanted} pods are ready"


def _most(bad: Sequence[tuple[Json, str]], present: int, wanted: int) -> str:
    """Name the reason that most pods have, the most telling first among equals."""
    counts = Counter(why for _, why in bad)
    why, number = max(counts.items(), key=lambda row: (row[1], not row[0].startswith("is ")))
    total = max(wanted, present)
    subject = f"{number} of {total} pods" if total > 1 else "the pod"
    verb = why
    if total > 1 and why.startswith("is "):
        verb = "are " + why[3:]
    elif not why.startswith(("is ", "cannot ", "failed")):
        verb = "not ready: " + why
        subject += " are" if total > 1 else " is"
    return f"{subject} {verb}"


def _short(text: str, width: int = 240) -> str:
    clean = " ".join(str(text).split())
    return clean if len(clean) <= width else clean[: width - 1] + "…"
