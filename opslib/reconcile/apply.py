"""Apply a plan: what was shown and nothing else, in stages, pruned last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.errors import ConflictError, InputError, OpslibError
from opslib.core.model import Manifest, ResourceKey
from opslib.core.progress import SILENT, Progress
from opslib.kube.apply import Lock, delete, server_side_apply
from opslib.kube.client import MERGE, Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.errors import ApiError, Unreachable
from opslib.kube.pace import workers
from opslib.reconcile.app import SYSTEM_NAMESPACE
from opslib.reconcile.desired import Target
from opslib.reconcile.evidence import keep_evidence
from opslib.reconcile.health import SHIPPED, Health, HealthRules
from opslib.reconcile.inventory import Inventory, settle, write_ahead
from opslib.reconcile.mask import scrubbed
from opslib.reconcile.needs import waiting
from opslib.reconcile.order import FIRST, stage_of, staged, wave_of
from opslib.reconcile.ownership import takeover
from opslib.reconcile.plan import Action, Change
from opslib.reconcile.planner import Judge, Prepared, with_commit
from opslib.reconcile.replace import replace_object
from opslib.reconcile.retry import RETRY_SECONDS, retrying
from opslib.reconcile.wait import HealthOf, wait_healthy

_CONFLICTS = 3
_NOT_TRIED = "not tried: the API server does not answer"


@dataclass(frozen=True)
class Failure:
    """One object that was not written, and why."""

    key: ResourceKey
    what: str
    kind: str = "failed"
    where: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"object": str(self.key), "what": self.what, "kind": self.kind, "where": self.where}


@dataclass(frozen=True)
class Applied:
    """What an apply did. ``ok``: everything written, healthy, and pruned as planned."""

    written: tuple[ResourceKey, ...] = ()
    deleted: tuple[ResourceKey, ...] = ()
    failures: tuple[Failure, ...] = ()
    health: tuple[HealthOf, ...] = ()
    seconds: float = 0.0
    evidence: Path | None = None

    @property
    def unhealthy(self) -> tuple[HealthOf, ...]:
        return tuple(state for state in self.health if state.health is not Health.CURRENT)

    @property
    def ok(self) -> bool:
        return not self.failures and not self.unhealthy

    def summary(self) -> dict[str, Any]:
        """Return what a record should say at a glance: counts, and what went wrong in words."""
        return {
            "ok": self.ok,
            "written": len(self.written),
            "deleted": len(self.deleted),
            "failures": [f"{f.key}: {f.what}" for f in self.failures],
            "unhealthy": [f"{s.key}: {s.health}: {s.message}" for s in self.unhealthy],
            "seconds": round(self.seconds, 1),
            "evidence": str(self.evidence) if self.evidence else None,
        }

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "written": [str(key) for key in self.written],
            "deleted": [str(key) for key in self.deleted],
            "failures": [failure.as_dict() for failure in self.failures],
            "health": [state.as_dict() for state in self.health],
            "seconds": round(self.seconds, 3),
            "evidence": str(self.evidence) if self.evidence else None,
        }


@dataclass
class _Run:
    """One apply under way."""

    cluster: Cluster
    discovery: Discovery
    prepared: Prepared
    progress: Progress
    go_on: Callable[[], bool]
    deadline: float
    rules: HealthRules = SHIPPED
    written: list[ResourceKey] = field(default_factory=list)
    seen: dict[ResourceKey, Manifest] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    away: bool = False
    """Whether the server did not answer as long as a request is repeated: the rest is not tried."""

    def __post_init__(self) -> None:
        writes = self.prepared.plan.writes
        self.planned = {c.key: c for c in writes if c.action is not Action.DELETE}

    def write_all(self, *, wait: bool) -> None:
        """Write wave by wave; one that failed, or is not healthy, holds back those after it."""
        targets = self.prepared.desired.targets
        waves = sorted({target.wave for target in targets})
        for number, wave in enumerate(waves):
            members = [target for target in targets if target.wave == wave]
            if number and (why := self._not_ready(waves[number - 1], wait=wait)):
                self._hold_back({t.key: why for t in members if t.key in self.planned})
            else:
                self._write_wave(members)

    def _not_ready(self, wave: int, *, wait: bool) -> str:
        """Return why the waves after this one have to wait; "" when it is whole and healthy."""
        if self.failures:
            return f"wave {wave} was not written whole"
        if not wait:
            return ""
        before = [t for t in self.prepared.desired.targets if t.wave <= wave]
        bad = [one for one in self.wait(before) if one.health is not Health.CURRENT]
        return f"wave {wave} is not healthy: {bad[0].key}: {bad[0].message}" if bad else ""

    def _write_wave(self, members: Sequence[Target]) -> None:
        """Write stage by stage; what needs something that failed waits, the rest goes on."""
        targets = [target for target in members if target.key in self.planned]
        for stage in staged(targets, lambda target: target.key):
            held = self._waiting(stage)
            self._hold_back({key: f"{cause} was not written" for key, cause in held.items()})
            free = [target for target in stage if target.key not in held]
            with workers() as pool:
                jobs = [pool.submit(self._write, t, self.planned[t.key]) for t in free]
                for job in jobs:
                    failure = job.result()
                    if failure:
                        self.failures.append(failure)
                    self.progress.update("applying", len(self.written), len(self.planned))
            if stage_of(stage[0].key) == FIRST and free:
                self._establish(free)

    def _waiting(self, stage: Sequence[Target]) -> dict[ResourceKey, ResourceKey]:
        if not self.failures:
            return {}
        lost = {failure.key for failure in self.failures}
        every = self.prepared.desired.targets
        manifests = (target.resource.manifest for target in stage)
        return waiting(manifests, [t.resource.manifest for t in every if t.key in lost])

    def _hold_back(self, held: Mapping[ResourceKey, str]) -> None:
        origins = {t.key: str(t.resource.origin) for t in self.prepared.desired.targets}
        self.failures += [
            Failure(key, f"not tried: {why}", "held-back", origins[key])
            for key, why in held.items()
        ]

    def _establish(self, stage: Sequence[Target]) -> None:
        """Wait until CRDs and Namespaces can be used, then read the server's kinds again."""
        lost = {failure.key for failure in self.failures}
        kinds = {target.key: target.kind for target in stage if target.key not in lost}
        left = max(1.0, min(60.0, self.deadline - time.monotonic()))
        for state in self._watched(kinds, left):
            if state.health is not Health.CURRENT:
                self.failures.append(Failure(state.key, f"not usable: {state.message}"))
        self.discovery.refresh()

    def _write(self, target: Target, change: Change) -> Failure | None:
        try:
            self._write_locked(target, change)
        except OpslibError as error:
            self.away = self.away or isinstance(error, Unreachable)
            text = scrubbed(error.what, target.resource.manifest)
            return Failure(target.key, text, error.kind, str(target.resource.origin))
        self.written.append(target.key)
        return None

    def _write_locked(self, target: Target, change: Change) -> None:
        """Write under the lock of the plan; plan anew what moved, go on if it is the same."""
        live = self.prepared.live.get(target.key)
        for _ in range(_CONFLICTS):
            if not self.go_on():
                raise OpslibError("stopped before this object was written")
            if self.away:
                raise Unreachable(_NOT_TRIED)
            try:
                self._send(target, change, live)
                return
            except ApiError as error:
                if error.code not in {404, 409, 422} or not self._moved(target, change):
                    raise
            change, live = self._again(target, change)
            if change.action is Action.UNCHANGED:
                return
        raise ConflictError(f"{target.key} changes faster than it can be written")

    def _send(self, target: Target, change: Change, live: Manifest | None) -> None:
        """Send one change; ``live`` is the object that it was planned for, at that version."""
        prepared, manifest = self.prepared, target.resource.manifest
        body = with_commit(
            prepared.optouts.adopt(target.key, manifest, live, prepared.app.manager),
            prepared.plan.revision.commit,
        )
        lock = Lock(change.uid, change.resource_version) if change.uid else None
        if lock and change.action is Action.REPLACE:
            made = self._replace(target, lock)
        else:
            if lock and change.takeovers:
                lock = self._take_over(target, body, lock)
            # Without a lock it was absent: what somebody made meanwhile is not overwritten.
            made = retrying(
                lambda: server_side_apply(
                    self.cluster,
                    self.discovery.of(target.resource.manifest, str(target.resource.origin)),
                    body,
                    manager=self.prepared.app.manager,
                    lock=lock,
                    force=lock is not None,
                ),
                seconds=self._patience(),
            )
        if target.key.kind == "Job":  # the only kind that may be gone, and well, at the first look
            self.seen[target.key] = made

    def _patience(self) -> float:
        """Return for how many seconds a request may be repeated: not past the whole's deadline."""
        return max(0.0, min(RETRY_SECONDS, self.deadline - time.monotonic()))

    def _replace(self, target: Target, lock: Lock) -> Manifest:
        prepared = self.prepared
        return replace_object(
            self.cluster,
            target.kind,
            with_commit(target.resource.manifest, prepared.plan.revision.commit),
            lock,
            manager=prepared.app.manager,
            go_on=self.go_on,
        )

    def _take_over(self, target: Target, body: Manifest, lock: Lock) -> Lock:
        """Make the fields of forgotten managers the app's own; return the lock on what is then.

        Values stay as they are until the apply that follows. Killed in between, the next plan
        finds the fields owned and not declared, and shows that they go.
        """
        manager = self.prepared.app.manager
        after = retrying(
            lambda: server_side_apply(
                self.cluster,
                target.kind,
                body,
                manager=manager,
                lock=lock,
                force=True,
                dry_run=True,
            )
        )
        taken = takeover(after, manager)
        if taken is None:
            return lock
        metadata = {
            "uid": lock.uid,
            "resourceVersion": lock.resource_version,
            "managedFields": taken.managed_fields,
        }
        live = self.cluster.request(
            "PATCH",
            target.kind.path(target.key.namespace, target.key.name),
            query={"fieldManager": manager},
            body={"metadata": metadata},
            content_type=MERGE,
        )
        return Lock.of(live)

    def _moved(self, target: Target, change: Change) -> bool:
        """Tell whether the object is another, or at another version, than the plan read."""
        live = self.cluster.find(target.kind.path(target.key.namespace, target.key.name))
        if live is None:
            return bool(change.uid)
        now = Lock.of(live)
        return (now.uid, now.resource_version) != (change.uid, change.resource_version)

    def _again(self, target: Target, change: Change) -> tuple[Change, Manifest | None]:
        fresh, live = Judge(self.cluster, self.prepared).again(target)
        if fresh.action is Action.UNCHANGED or fresh.same_as(change):
            return fresh, live
        raise ConflictError(
            f"{target.key} is not what was planned for: {_what_moved(change, fresh, live)}",
            hint="plan again and look at the difference",
        )

    def wait(self, targets: Iterable[Target]) -> tuple[HealthOf, ...]:
        """Wait for the health of what the revision declares."""
        ended = self.prepared.ended
        kinds = {
            t.key: self.discovery.of(t.resource.manifest, str(t.resource.origin))
            for t in targets
            if t.key not in ended
        }
        return self._watched(kinds, max(0.0, self.deadline - time.monotonic()))

    def _watched(self, kinds: Mapping[ResourceKey, Kind], seconds: float) -> tuple[HealthOf, ...]:
        """Wait for health; where it cannot be read it is Unknown, for what was written is told."""
        try:
            return wait_healthy(
                self.cluster,
                kinds,
                timeout=seconds,
                progress=self.progress,
                go_on=self.go_on,
                rules=self.rules,
                seen=self.seen,
            )
        except OpslibError as error:
            text = f"it cannot be read: {error.what}"
            return tuple(HealthOf(key, Health.UNKNOWN, text) for key in kinds)

    def settle(self, ahead: Inventory, gone: Sequence[ResourceKey]) -> None:
        """Let the inventory say what is there now, and that this commit is the last good one.

        Where it cannot be written it stays the union, which is true too, and that is told.
        """
        try:
            self._settle(ahead, gone)
        except OpslibError as error:
            key = ResourceKey("", "ConfigMap", SYSTEM_NAMESPACE, self.prepared.app.inventory)
            text = f"all was done, but the inventory was not settled: {error.what}"
            self.failures.append(Failure(key, text, error.kind))

    def _settle(self, ahead: Inventory, gone: Sequence[ResourceKey]) -> None:
        prepared, revision = self.prepared, self.prepared.plan.revision
        declared = prepared.desired.keys
        vanished = [k for k in ahead.objects if k not in declared and k not in prepared.live]
        settle(
            self.cluster,
            prepared.app,
            ahead,
            gone=[*gone, *vanished],
            commit=revision.commit,
            url=revision.url,
            path=revision.path,
        )

    def prune(self) -> list[ResourceKey]:
        """Delete what the plan says, the last stages first; what fails stays in the inventory."""
        deletes = [c for c in self.prepared.plan.changes if c.action is Action.DELETE]
        gone: list[ResourceKey] = []
        for change in sorted(deletes, key=self._last_first):
            kind = self.prepared.kinds[change.key]
            lock = Lock(change.uid, change.resource_version)
            if not self.go_on():
                text = "stopped before this object was deleted"
                self.failures.append(Failure(change.key, text, "interrupted"))
                continue
            if self.away:
                self.failures.append(Failure(change.key, _NOT_TRIED, Unreachable.kind))
                continue
            try:
                retrying(
                    lambda c=change, k=kind, held=lock: self._delete(c, k, held),  # type: ignore[misc]  # bound per pass
                    seconds=self._patience(),
                )
            except OpslibError as error:
                self.away = isinstance(error, Unreachable)
                self.failures.append(Failure(change.key, error.what, error.kind))
            else:
                gone.append(change.key)
            self.progress.update("pruning", len(gone), len(deletes))
        return gone

    def _last_first(self, change: Change) -> tuple[int, int]:
        live = self.prepared.live[change.key]
        try:
            wave = wave_of(live)
        except (TypeError, ValueError):
            wave = 0  # somebody wrote into the annotation
        return -wave, -stage_of(change.key)

    def _delete(self, change: Change, kind: Any, lock: Lock) -> bool:
        return delete(self.cluster, kind, change.key.namespace, change.key.name, lock=lock)


def _what_moved(planned: Change, fresh: Change, live: Manifest | None) -> str:
    if live is None:
        return "it was deleted since"
    if not planned.uid:
        return "somebody created it since"
    if planned.uid != fresh.uid:
        return "it was deleted and made anew since"
    shown = {(f.path, repr(f.before), repr(f.after)) for f in planned.fields}
    fields = [f for f in fresh.fields if (f.path, repr(f.before), repr(f.after)) not in shown]
    names = ", ".join(f.path for f in fields[:4]) or "fields of it"
    return f"{names} changed since"


def apply_plan(
    cluster: Cluster,
    discovery: Discovery,
    prepared: Prepared,
    *,
    timeout: float = 300,
    wait: bool = True,
    progress: Progress = SILENT,
    evidence: Path | None = None,
    go_on: Callable[[], bool] = lambda: True,
    rules: HealthRules = SHIPPED,
) -> Applied:
    """Write what the plan says, wait for health, prune, and settle the inventory.

    ``timeout`` in seconds is for the whole. ``evidence`` is the folder for what was live
    before. Without ``wait`` nobody looks at health, so that nothing is pruned and the commit
    does not count as the last good one. ``go_on`` is asked before each write and says whether
    this process may still write (its lease holds, nobody asked it to stop). ``rules`` are the
    repository's, for the health of kinds that conditions do not tell. Failures of single
    objects are collected; nothing is pruned unless everything else is written and healthy. Raises
    InputError for a plan with problems, before anything is written.
    """
    started = time.monotonic()
    plan = prepared.plan
    if plan.problems:
        raise InputError(f"the plan has {len(plan.problems)} problems: nothing was written")
    kept = keep_evidence(plan, prepared.live, evidence)
    run = _Run(cluster.paced(go_on), discovery, prepared, progress, go_on, started + timeout, rules)
    versions = {t.key: t.resource.api_version for t in prepared.desired.targets}
    ahead = write_ahead(cluster, prepared.app, prepared.inventory, versions)
    run.write_all(wait=wait)
    health: tuple[HealthOf, ...] = ()
    gone: list[ResourceKey] = []
    if wait and not run.failures:
        health = run.wait(prepared.desired.targets)
        if all(state.health is Health.CURRENT for state in health) and go_on():
            gone = run.prune()
            if not run.failures and go_on():
                run.settle(ahead, gone)
    return Applied(
        tuple(run.written),
        tuple(gone),
        tuple(run.failures),
        health,
        time.monotonic() - started,
        kept,
    )
