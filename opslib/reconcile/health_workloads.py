"""Health of what runs pods: Deployments, sets, Jobs, and the pods themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opslib.reconcile.health_object import Assessment, Health, Look
from opslib.reconcile.health_words import vocabulary

GRACE_SECONDS = 15.0
"""How long a pod may be unschedulable, or uncreatable, before it is Failed: kstatus's window."""

_WILL_NOT_START = vocabulary(
    "CrashLoopBackOff ImagePullBackOff ErrImagePull ErrImageNeverPull InvalidImageName "
    "ImageInspectError RegistryUnavailable CreateContainerConfigError CreateContainerError "
    "RunContainerError PreStartHookError PostStartHookError"
)
"""Reasons of waiting containers that the kubelet reports as failures, though it tries again:
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-states."""

_NO_IMAGE = vocabulary("ImagePullBackOff ErrImagePull ErrImageNeverPull InvalidImageName")


def _busy(text: str) -> Assessment:
    return Assessment(Health.IN_PROGRESS, text)


def _failed(text: str) -> Assessment:
    return Assessment(Health.FAILED, text)


def _current(text: str) -> Assessment:
    return Assessment(Health.CURRENT, text)


def _replicas(look: Look) -> int:
    wanted = look.spec.get("replicas")
    return 1 if wanted is None else int(wanted)


def _short(name: str, have: int, want: int) -> Assessment | None:
    return _busy(f"{have} of {want} replicas are {name}") if have < want else None


def _uncreatable(look: Look) -> Assessment | None:
    """ReplicaFailure: a quota, an admission webhook or a missing account keeps pods out."""
    failure = look.condition("ReplicaFailure")
    if not (failure and failure.true):
        return None
    text = f"pods cannot be created: {failure.text}"
    return _failed(text) if look.since(failure) >= GRACE_SECONDS else _busy(text)


def deployment(look: Look) -> Assessment:
    """Follow the counters in the order of ``kubectl rollout status``.

    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
    """
    progress, available = look.condition("Progressing"), look.condition("Available")
    if progress and progress.reason == "ProgressDeadlineExceeded":
        return _failed(f"the rollout does not progress: {progress.text}")
    missing = _uncreatable(look) or _deployment_counts(look)
    if missing and look.spec.get("paused") and missing.health is Health.IN_PROGRESS:
        return _busy(f"the rollout is paused and waits to be resumed; {missing.message}")
    if missing:
        return missing
    deadline = look.spec.get("progressDeadlineSeconds")
    limited = deadline is not None and deadline != 2**31 - 1
    if limited and not look.spec.get("paused"):
        done = progress and progress.true and progress.reason == "NewReplicaSetAvailable"
        if not done:
            return _busy("the rollout is not complete yet")
    if not (available and available.true):
        return _busy(available.text if available else "it is not available yet")
    paused = "; its rollout is paused" if look.spec.get("paused") else ""
    return _current(f"all {_replicas(look)} replicas are updated and available{paused}")


def _deployment_counts(look: Look) -> Assessment | None:
    want = _replicas(look)
    updated, total = look.number("updatedReplicas"), look.number("replicas")
    if look.observed is None:
        return _busy("its controller has not looked at it yet")
    short = _short("updated", updated, want)
    if short:
        return short
    if total > updated:
        return _busy(f"{total - updated} old replicas are still to end")
    return _short("available", look.number("availableReplicas"), updated) or _short(
        "ready", look.number("readyReplicas"), want
    )


def replica_set(look: Look) -> Assessment:
    want = _replicas(look)
    missing = _uncreatable(look)
    missing = missing or _short("there", look.number("fullyLabeledReplicas"), want)
    missing = missing or _short("available", look.number("availableReplicas"), want)
    missing = missing or _short("ready", look.number("readyReplicas"), want)
    if missing:
        return missing
    if look.number("replicas") > want:
        return _busy(f"{look.number('replicas') - want} replicas are still to end")
    return _current(f"all {want} replicas are available")


def stateful_set(look: Look) -> Assessment:
    """https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#update-strategies."""
    want = _replicas(look)
    if look.observed is None and want:
        return _busy("its controller has not looked at it yet")
    missing = _short("there", look.number("replicas"), want)
    missing = missing or _short("ready", look.number("readyReplicas"), want)
    if look.spec.get("minReadySeconds"):
        missing = missing or _short("available", look.number("availableReplicas"), want)
    if missing:
        return missing
    if look.number("replicas") > want:
        return _busy(f"{look.number('replicas') - want} replicas are still to end")
    return _stateful_update(look, want)


def _stateful_update(look: Look, want: int) -> Assessment:
    strategy = look.spec.get("updateStrategy") or {}
    updated = look.number("updatedReplicas")
    moved = look.text("currentRevision") != look.text("updateRevision")
    if strategy.get("type") == "OnDelete":
        note = f"; {want - updated} run an older revision until somebody deletes them"
        return _current(f"all {want} replicas are ready{note if moved and updated < want else ''}")
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if partition:
        target = max(0, want - partition)
        short = _short("updated", updated, target)
        return short or _current(f"all {want} replicas are ready, {target} of them to be updated")
    if moved:
        return _busy(f"{updated} of {want} replicas are updated")
    return _current(f"all {want} replicas are updated and ready")


def daemon_set(look: Look) -> Assessment:
    if look.observed is None:
        return _busy("its controller has not looked at it yet")
    want = look.number("desiredNumberScheduled")
    counts = {"there": "currentNumberScheduled", "updated": "updatedNumberScheduled"}
    strategy = (look.spec.get("updateStrategy") or {}).get("type")
    if strategy == "OnDelete":
        del counts["updated"]
    counts |= {"available": "numberAvailable", "ready": "numberReady"}
    for name, field in counts.items():
        if look.number(field) < want:
            return _busy(f"{look.number(field)} of {want} pods are {name}")
    old = want - look.number("updatedNumberScheduled") if strategy == "OnDelete" else 0
    note = f"; {old} run an older revision until somebody deletes them" if old > 0 else ""
    return _current(f"all {want} pods are ready{note}")


def job(look: Look) -> Assessment:
    """Wait for the end of a Job: one that only started may still fail.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup
    """
    failed, complete = look.condition("Failed", "FailureTarget"), look.condition("Complete")
    if failed and failed.true:
        return _failed(f"the job failed: {failed.text}")
    if complete and complete.true:
        return _current(f"the job is complete, {look.number('succeeded')} pods succeeded")
    suspended = look.condition("Suspended")
    if look.spec.get("suspend") or (suspended and suspended.true):
        return _current("the job is suspended and waits to be resumed")
    if not look.status.get("startTime"):
        return _busy("the job has not started yet")
    counts = ", ".join(
        f"{look.number(field)} {field}" for field in ("active", "succeeded", "failed")
    )
    return _busy(f"the job runs: {counts}")


def cron_job(look: Look) -> Assessment:
    """Take a CronJob as current always, as kstatus does: how its runs end is theirs to say."""
    if look.spec.get("suspend"):
        return _current("its schedule is suspended")
    last, good = look.text("lastScheduleTime"), look.text("lastSuccessfulTime")
    if not last:
        return _current("not scheduled yet")
    running = bool(look.status.get("active"))
    late = "" if running or good >= last else "; that run has not succeeded"
    return _current(f"last scheduled at {last}{late}")


def pod(look: Look) -> Assessment:  # noqa: PLR0911  # one return per state of a pod
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/."""
    phase = look.text("phase")
    ready = look.condition("Ready")
    if phase == "Succeeded":
        return _current("the pod has completed")
    if phase == "Failed":
        reason = look.text("message") or look.text("reason") or _ended(look) or "no reason is given"
        return _failed(f"the pod failed: {reason}")
    if phase == "Running" and ready and ready.true:
        return _current("the pod is ready")
    broken = broken_containers(look)
    if broken:
        return _failed(broken)
    scheduled = look.condition("PodScheduled")
    if scheduled and scheduled.false and scheduled.reason == "Unschedulable":
        late = look.age is None or look.age >= GRACE_SECONDS
        text = f"no node takes the pod: {scheduled.text}"
        return _failed(text) if late else _busy(text)
    if phase == "Running":
        return _busy("the pod runs and is not ready yet")
    if scheduled and scheduled.reason == "SchedulingGated":
        return _busy(f"the pod waits for its scheduling gates: {scheduled.text}")
    return _busy("the pod is starting")


def _containers(look: Look) -> list[dict[str, Any]]:
    fields = ("initContainerStatuses", "containerStatuses")
    return [entry for field in fields for entry in look.status.get(field) or ()]


def broken_containers(look: Look) -> str:
    """Return why a pod's containers cannot run, as the kubelet says it; "" where they can."""
    for entry in _containers(look):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _WILL_NOT_START:
            said = " ".join(str(waiting.get("message") or "").split())
            return (
                f"container {entry.get('name')}: {waiting['reason']}{': ' + said if said else ''}"
            )
    return _ended(look) if look.spec.get("restartPolicy") == "Never" else ""


def lacks_image(look: Look) -> bool:
    """Whether a container waits for an image that the kubelet could not get."""
    states = [(entry.get("state") or {}).get("waiting") or {} for entry in _containers(look)]
    return any(state.get("reason") in _NO_IMAGE for state in states)


def _ended(look: Look) -> str:
    for entry in _containers(look):
        over = (entry.get("state") or {}).get("terminated") or {}
        if over.get("exitCode"):
            reason = over.get("reason") or "Error"
            return f"container {entry.get('name')} ended: {reason}, exit code {over['exitCode']}"
    return ""


RULES: dict[tuple[str, str], Callable[[Look], Assessment]] = {
    ("", "Pod"): pod,
    ("", "ReplicationController"): replica_set,
    ("apps", "Deployment"): deployment,
    ("apps", "ReplicaSet"): replica_set,
    ("apps", "StatefulSet"): stateful_set,
    ("apps", "DaemonSet"): daemon_set,
    ("extensions", "Deployment"): deployment,
    ("extensions", "ReplicaSet"): replica_set,
    ("extensions", "DaemonSet"): daemon_set,
    ("batch", "Job"): job,
    ("batch", "CronJob"): cron_job,
}
