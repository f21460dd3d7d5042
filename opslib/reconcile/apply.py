"""Apply a plan: what was shown and nothing else, in stages, pruned last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import ResourceKey
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.pace import workers
from opslib.reconcile.app import SYSTEM_NAMESPACE
from opslib.reconcile.desired import Target
from opslib.reconcile.evidence import keep_evidence
from opslib.reconcile.health import SHIPPED, Health, HealthRules
from opslib.reconcile.inventory import Inventory, settle, write_ahead
from opslib.reconcile.judge import Prepared
from opslib.reconcile.needs import waiting
from opslib.reconcile.order import FIRST, stage_of, staged, wave_of
from opslib.reconcile.plan import Action, Change
from opslib.reconcile.prune import apply_managers
from opslib.reconcile.unsealed import SECONDS, is_sealed, wait_unsealed
from opslib.reconcile.vaulted import refuse_too_large, wanted_by
from opslib.reconcile.wait import HealthOf, wait_healthy
from opslib.reconcile.writer import Failure, Writer


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
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = Writer(self.cluster, self.discovery, self.prepared, self.go_on, self.deadline)
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
        stages = staged(targets, lambda target: target.key)
        for stage in stages:
            held = self._waiting(stage)
            self._hold_back({key: f"{cause} was not written" for key, cause in held.items()})
            free = [target for target in stage if target.key not in held]
            with workers() as pool:
                jobs = [pool.submit(self.writer.write, t, self.planned[t.key]) for t in free]
                for job in jobs:
                    failure = job.result()
                    if failure:
                        self.failures.append(failure)
                    self.progress.update("applying", len(self.writer.written), len(self.planned))
            if stage_of(stage[0].key) == FIRST and free:
                self._establish(free)
            if stage is not stages[-1]:
                self._unseal(free)

    def _waiting(self, stage: Sequence[Target]) -> dict[ResourceKey, ResourceKey]:
        if not self.failures:
            return {}
        lost = {failure.key for failure in self.failures}
        every = self.prepared.desired.targets
        manifests = (target.resource.manifest for target in stage)
        return waiting(manifests, [t.resource.manifest for t in every if t.key in lost])

    def _hold_back(self, held: Mapping[ResourceKey, str]) -> None:
        if not held:
            return
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

    def _unseal(self, stage: Sequence[Target]) -> None:
        """Let the controller unseal what was written, before anything starts that reads it."""
        lost = {failure.key for failure in self.failures}
        kinds = {t.key: t.kind for t in stage if is_sealed(t.key) and t.key not in lost}
        if not kinds:
            return
        seconds = max(0.0, min(SECONDS, self.deadline - time.monotonic()))
        with contextlib.suppress(OpslibError):  # health tells of a server that is away
            wait_unsealed(self.cluster, kinds, seconds, go_on=self.go_on, progress=self.progress)

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
                seen=self.writer.seen,
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
            gone=[*gone, *vanished, *self._given_away()],
            commit=revision.commit,
            url=revision.url,
            path=revision.path,
        )

    def _given_away(self) -> list[ResourceKey]:
        """Return what another app has taken over: no field of it is this one's any more."""
        prepared = self.prepared
        kept = (c.key for c in prepared.plan.changes if c.action is Action.KEEP)
        owners = {key: apply_managers(prepared.live[key]) for key in kept}
        return [key for key, apps in owners.items() if apps and prepared.app.manager not in apps]

    def prune(self) -> list[ResourceKey]:
        """Delete what the plan says, the last stages first; what fails stays in the inventory."""
        deletes = [c for c in self.prepared.plan.changes if c.action is Action.DELETE]
        gone: list[ResourceKey] = []
        for change in sorted(deletes, key=self._last_first):
            failure = self.writer.delete(change, self.prepared.kinds[change.key])
            if failure:
                self.failures.append(failure)
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


def obtain(prepared: Prepared) -> None:
    """Read the values that this plan writes from Vault; those that are there are not read again.

    Raises VaultError with file and line, and InputError where no Vault is named, or where a
    Secret would be larger than any cluster stores.
    """
    writes = {change.key for change in prepared.plan.writes}
    targets = [t for t in prepared.desired.targets if t.key in writes]
    prepared.values.obtain(wanted_by((t.resource, t.sourced) for t in targets))
    for target in targets:
        refuse_too_large(target.resource, target.sourced, prepared.values)


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
    InputError for a plan with problems, and VaultError for a value that cannot be had, before
    anything is written.
    """
    started = time.monotonic()
    plan = prepared.plan
    if plan.problems:
        raise InputError(f"the plan has {len(plan.problems)} problems: nothing was written")
    obtain(prepared)
    kept = keep_evidence(plan, prepared.live, evidence)
    run = _Run(cluster.paced(go_on), discovery, prepared, progress, go_on, started + timeout, rules)
    versions = {t.key: t.resource.api_version for t in prepared.desired.targets}
    ahead = write_ahead(cluster, prepared.app, prepared.inventory, versions)
    try:
        run.write_all(wait=wait)
    finally:
        prepared.values.forget()
    health: tuple[HealthOf, ...] = ()
    gone: list[ResourceKey] = []
    if wait and not run.failures:
        health = run.wait(prepared.desired.targets)
        if all(state.health is Health.CURRENT for state in health) and go_on():
            gone = run.prune()
            if not run.failures and go_on():
                run.settle(ahead, gone)
    return Applied(
        tuple(run.writer.written),
        tuple(gone),
        tuple(run.failures),
        health,
        time.monotonic() - started,
        kept,
    )
