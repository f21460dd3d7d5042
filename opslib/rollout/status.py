"""How far a rollout is: kubectl's verdicts, in kubectl's words."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from opslib.core.errors import DeadlineExceeded, InputError
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.watch import watch as watch_objects
from opslib.rollout.describe import describe, revision_of
from opslib.rollout.targets import Target, read

Json = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """How far a rollout is. ``done``: it will go no further; ``ok``: it went well."""

    done: bool
    ok: bool
    message: str
    revision: int = 0
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    seconds: float = 0.0

    def as_dict(self) -> Json:
        return asdict(self)


def status(
    cluster: Cluster,
    target: Target,
    *,
    timeout: float | None = None,
    watch: bool = True,
    revision: int | None = None,
    progress: Progress = SILENT,
) -> Verdict:
    """Return the verdict on a rollout; with ``watch`` wait until it is done.

    ``timeout`` in seconds (None: no limit). A rollout that failed is a verdict with ok
    False, not an exception. Raises DeadlineExceeded, with the reason, when it is not done
    in time, and InputError for a ``revision`` that is not the present one.
    The rules are kubectl's: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/kubectl_rollout_status/
    """
    started = time.monotonic()
    limit = started + timeout if timeout else float("inf")
    verdict = _judge(read(cluster, target), target, revision)
    while watch and not verdict.done and time.monotonic() < limit:
        left = min(300.0, max(1.0, limit - time.monotonic()))
        query = {"fieldSelector": f"metadata.name={target.name}"}
        for event in watch_objects(cluster, target.collection, query=query, seconds=left):
            if event.type == "DELETED":
                raise InputError(f"{target} was deleted while its rollout was watched")
            verdict = _judge(event.object, target, revision)
            progress.update(verdict.message, verdict.available, verdict.replicas)
            if verdict.done or time.monotonic() >= limit:
                break
    if watch and not verdict.done:
        reason = describe(cluster, target).reason
        raise DeadlineExceeded(
            f"the rollout did not end within {timeout:g} s: {reason}",
            where=f"{target.namespace}/{target.name}",
            hint="opslib rollout describe",
        )
    return replace(verdict, seconds=round(time.monotonic() - started, 3))


def _judge(live: Json, target: Target, revision: int | None) -> Verdict:
    judge = {"Deployment": deployment, "DaemonSet": daemon_set, "StatefulSet": stateful_set}
    if revision and target.kind == "Deployment" and revision_of(live) != revision:
        raise InputError(
            f"desired revision ({revision}) is different from the running revision "
            f"({revision_of(live)})",
            where=str(target),
        )
    return judge[target.kind](live)


def _seen(live: Json) -> bool:
    observed = int((live.get("status") or {}).get("observedGeneration") or 0)
    return int(live["metadata"].get("generation") or 0) <= observed


def _base(revision: int, replicas: int, updated: int, ready: int, available: int) -> Verdict:
    return Verdict(
        done=False,
        ok=True,
        message="",
        revision=revision,
        replicas=replicas,
        updated=updated,
        ready=ready,
        available=available,
    )


def deployment(live: Json) -> Verdict:
    """Judge a Deployment."""
    name, state = live["metadata"]["name"], live.get("status") or {}
    wanted = live["spec"].get("replicas", 1)
    numbers = [int(state.get(f) or 0) for f in ("updatedReplicas", "replicas", "availableReplicas")]
    updated, present, available = numbers
    ready = int(state.get("readyReplicas") or 0)
    base = _base(revision_of(live), wanted, updated, ready, available)
    head = f'Waiting for deployment "{name}" rollout to finish: '
    if not _seen(live):
        return replace(base, message="Waiting for deployment spec update to be observed...")
    rows = state.get("conditions") or ()
    moving: Json = next((row for row in rows if row.get("type") == "Progressing"), {})
    if moving.get("reason") == "ProgressDeadlineExceeded":
        text = f'deployment "{name}" exceeded its progress deadline'
        return replace(base, done=True, ok=False, message=text)
    if updated < wanted:
        text = f"{updated} out of {wanted} new replicas have been updated..."
    elif present > updated:
        text = f"{present - updated} old replicas are pending termination..."
    elif available < updated:
        text = f"{available} of {updated} updated replicas are available..."
    else:
        return replace(base, done=True, message=f'deployment "{name}" successfully rolled out')
    return replace(base, message=head + text)


def daemon_set(live: Json) -> Verdict:
    """Judge a DaemonSet."""
    name, state = live["metadata"]["name"], live.get("status") or {}
    if (live["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        raise InputError("rollout status is only available for RollingUpdate strategy type")
    wanted, updated, available = (
        int(state.get(field) or 0)
        for field in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    ready = int(state.get("numberReady") or 0)
    base = _base(0, wanted, updated, ready, available)
    head = f'Waiting for daemon set "{name}" rollout to finish: '
    if not _seen(live):
        return replace(base, message="Waiting for daemon set spec update to be observed...")
    if updated < wanted:
        text = f"{updated} out of {wanted} new pods have been updated..."
    elif available < wanted:
        text = f"{available} of {wanted} updated pods are available..."
    else:
        return replace(base, done=True, message=f'daemon set "{name}" successfully rolled out')
    return replace(base, message=head + text)


def stateful_set(live: Json) -> Verdict:
    """Judge a StatefulSet."""
    state, strategy = live.get("status") or {}, live["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        raise InputError("rollout status is only available for RollingUpdate strategy type")
    wanted = int(live["spec"].get("replicas", 1))
    updated, ready = (int(state.get(f) or 0) for f in ("updatedReplicas", "readyReplicas"))
    base = _base(0, wanted, updated, ready, ready)
    if not _seen(live) or not state.get("observedGeneration"):
        return replace(base, message="Waiting for statefulset spec update to be observed...")
    if ready < wanted:
        return replace(base, message=f"Waiting for {wanted - ready} pods to be ready...")
    partition = (strategy.get("rollingUpdate") or {}).get("partition")
    if partition is not None:
        if updated < wanted - partition:
            text = (
                "Waiting for partitioned roll out to finish: "
                f"{updated} out of {wanted - partition} new pods have been updated..."
            )
            return replace(base, message=text)
        text = f"partitioned roll out complete: {updated} new pods have been updated..."
        return replace(base, done=True, message=text)
    if state.get("updateRevision") != state.get("currentRevision"):
        text = (
            f"waiting for statefulset rolling update to complete {updated} pods at revision "
            f"{state.get('updateRevision')}..."
        )
        return replace(base, message=text)
    text = (
        f"statefulset rolling update complete {state.get('currentReplicas', 0)} pods at "
        f"revision {state.get('currentRevision')}..."
    )
    return replace(base, done=True, message=text)
