"""One app between its repository and its cluster: fetch, plan, apply, in one place.

The command line, the loop and the runbooks all go through here, so that they do the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from opslib.core.clock import now, stamp
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.memory import uncollected
from opslib.core.model import Revision
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.lease import Lease, identity
from opslib.policy import Report, check
from opslib.reconcile.app import SYSTEM_NAMESPACE, App, app_of
from opslib.reconcile.apply import Applied, apply_plan, obtain
from opslib.reconcile.circles import Folders, in_cluster, refuse_circle
from opslib.reconcile.depends import NotReady, not_ready
from opslib.reconcile.desired import Desired, declare
from opslib.reconcile.health import Health
from opslib.reconcile.health_file import HealthRules
from opslib.reconcile.inventory import make_namespace, read_inventory
from opslib.reconcile.judge import Memory
from opslib.reconcile.moves import moves_of
from opslib.reconcile.planned import Planned
from opslib.reconcile.planner import make_plan
from opslib.reconcile.prune import PruneLimits
from opslib.reconcile.repofiles import appfile_at, health_at, policy_at
from opslib.reconcile.trials import Trial, Trials, change_trials, read_trials
from opslib.reconcile.verdict import put_on_trial
from opslib.seal.vaultaccess import Find, later, nobody
from opslib.source.mirror import Mirror, Source
from opslib.source.render import Rendered, render
from opslib.source.trust import UNVERIFIED, Verification
from opslib.source.verify import Verifier, verification

Kinds = dict[tuple[str, str], Kind]

LEASE_SECONDS = 15.0


@dataclass
class Session:
    """One app of one source on one cluster."""

    cluster: Cluster
    mirror: Mirror
    app: App
    namespace: str = "default"
    limits: PruneLimits = field(default_factory=PruneLimits)
    progress: Progress = SILENT
    verification: Verification = UNVERIFIED
    fetch_seconds: float = 60.0
    vault: Find = nobody

    def __post_init__(self) -> None:
        self.discovery = Discovery(self.cluster)
        self._accepted = ""
        self._signers: dict[str, str] = {}
        self._last: tuple[tuple[Revision, str, date], Rendered, Report, HealthRules] | None = None
        self._declared: tuple[Rendered, Kinds, Desired] | None = None
        self._memory: Memory = {}

    def fetch(self, *, timeout: float = 0, accept_rewrite: bool = False) -> Revision:
        """Fetch the source and return the commit of its ref.

        ``timeout`` is in seconds; 0 is the session's own, ``fetch_seconds``.

        A history that was rewritten is an error until it is accepted once. Where signatures
        are asked for, a commit that lacks them raises Unverified, and so does one that does
        not follow the last applied one until it is accepted (see ``source.verify``).
        """
        verifier = self._verifier(accept=accept_rewrite) if self.verification.on else None
        revision = self.mirror.fetch(
            timeout=timeout or self.fetch_seconds,
            progress=self.progress,
            accept_rewrite=accept_rewrite,
            verifier=verifier,
        )
        if accept_rewrite:
            self._accepted = revision.commit
        self._signers[revision.commit] = revision.signed_by
        return revision

    def pinned(self, commit: str) -> Revision:
        """Return a commit that was fetched before, without network; it is not verified again.

        Raises InputError when the mirror does not have it.
        """
        revision = self.mirror.resolve(commit)
        return replace(revision, signed_by=self._signers.get(revision.commit, ""))

    def vouched(self, commit: str) -> bool:
        """Whether a commit that was fetched before may be gone on with: it is verified now.

        Without network; a tag's signature does not count here.
        """
        if self.verification.on:
            try:
                self._signers[commit] = self.mirror.verify(commit, self._verifier())
            except OpslibError:
                return False
        return True

    def _verifier(self, *, accept: bool = False) -> Verifier:
        last = read_inventory(self.cluster, self.app).commit
        return Verifier(self.verification, last, accept, self._accepted)

    @uncollected()
    def plan(
        self, revision: Revision, *, full: bool = False, confirmed: frozenset[str] = frozenset()
    ) -> Planned:
        """Render a revision, check it against the policy, and compare it with the cluster.

        ``full`` asks the server about every object, also about those proven unchanged.
        ``confirmed`` names objects that may be deleted beside those that ``limits`` names.
        """
        rendered, report, rules = self._checked(revision)
        trials = read_trials(self.cluster, self.app)
        limits = replace(
            self.limits,
            confirmed=self.limits.confirmed | confirmed,
            spared=frozenset(map(str, trials.adopted)),
            new=frozenset(map(str, trials.created | trials.adopted)),
        )
        desired = self._desired(rendered)
        own = appfile_at(self.mirror, revision)
        folders = Folders(self.mirror, revision, self.app, own)
        refuse_circle(folders, self.app)
        prepared = make_plan(
            self.cluster,
            self.discovery,
            self.app,
            revision,
            desired,
            is_ancestor=self.mirror.is_ancestor,
            limits=limits,
            leave=own.leave,
            full=full,
            memory=self._memory,
            moves=lambda: moves_of(self.mirror, revision, self.app),
            vault=self.vault,
            warnings=(*self.mirror.warnings, *rendered.warnings, *_warned(trials, revision)),
            progress=self.progress,
        )
        needed = own.depends_on if prepared.plan.writes else ()
        says = in_cluster(self.cluster, folders, self.mirror.url)
        waits = not_ready(self.cluster, self.discovery, self.app, needed, says)
        return Planned(prepared, rendered, report, waits, rules, trials, own.depends_on)

    def _checked(self, revision: Revision) -> tuple[Rendered, Report, HealthRules]:
        """Render and check; a loop asks for the same commit again, on the same day.

        The day counts because exceptions of the policy end on one.
        """
        asked = (revision, self.cluster.version, now().date())
        if self._last is None or self._last[0] != asked:
            rendered = render(self.mirror, revision, revision.path, progress=self.progress)
            report = check(
                rendered.resources, policy_at(self.mirror, revision), version=self.cluster.version
            )
            self._last = (asked, rendered, report, health_at(self.mirror, revision))
        return self._last[1:]

    def _desired(self, rendered: Rendered) -> Desired:
        """Bind what was rendered to the server's kinds; once, while both stay the same."""
        kinds, last = self.discovery.all(), self._declared
        if last is None or last[0] is not rendered or last[1] != kinds:
            desired = declare(rendered.resources, self.discovery, namespace=self.namespace)
            last = self._declared = rendered, kinds, desired
            self._memory.clear()
        return last[2]

    def apply(
        self,
        planned: Planned,
        *,
        timeout: float = 300,
        wait: bool = True,
        go_on: Callable[[], bool] = lambda: True,
        evidence: Path | None = None,
    ) -> Applied:
        """Apply what was planned; the caller holds the app's lease (see ``holding``).

        Raises Problems when the plan or the policy says no, and NotReady when an app that
        this one depends on is not whole and healthy, both before anything is written.
        """
        if planned.blocking:
            raise Problems([InputError(line) for line in planned.blocking])
        if planned.waits:
            raise NotReady(
                "; ".join(planned.waits),
                where=f"dependsOn of {self.app.name}",
                hint="apply it when they are healthy; a loop does so by itself",
            )
        self.obtain(planned)
        self.begin(planned)
        applied = apply_plan(
            self.cluster,
            self.discovery,
            planned.prepared,
            timeout=timeout,
            wait=wait,
            progress=self.progress,
            evidence=evidence,
            go_on=go_on,
            rules=planned.health,
        )
        if applied.ok and wait and go_on():
            self._settle_trials(planned)
        return applied

    def obtain(self, planned: Planned) -> None:
        """Read from Vault what the plan writes, before anything is; see ``apply.obtain``."""
        obtain(planned.prepared)

    def begin(self, planned: Planned) -> Trial | None:
        """Put the plan's revision on trial, before its first write; None where it is good already.

        What is new with a revision can only be told from the plan before it.
        """
        prepared, since = planned.prepared, stamp()
        if prepared.inventory.commit == prepared.plan.revision.commit:
            return None
        return change_trials(
            self.cluster,
            self.app,
            lambda known: put_on_trial(known, prepared, planned.health, since),
        ).trial

    def _settle_trials(self, planned: Planned) -> None:
        """Forget the failures before a revision that is whole and healthy now."""
        commit, known = planned.prepared.plan.revision.commit, planned.trials
        # A break after the inventory was settled leaves a good revision on trial.
        pending = known.quarantined(commit) or (known.trial and known.trial.commit == commit)
        if commit == planned.prepared.inventory.commit and not pending:
            return
        declared = planned.prepared.desired.keys
        change_trials(
            self.cluster,
            self.app,
            lambda t: t.settled(lambda old: self.mirror.is_ancestor(old, commit), declared),
        )

    def lease(self, holder: str = "") -> Lease:
        """Return the lease that only one writer of this app holds."""
        return Lease(
            self.cluster,
            SYSTEM_NAMESPACE,
            self.app.lease,
            holder=holder or identity(),
            duration=LEASE_SECONDS,
        )

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[], bool]]:
        """Hold the app's lease for one apply; yields ``held``, to be asked before each write.

        Raises LockBusy, naming the holder, when a loop or another apply has it. What a dead
        holder left is taken: at once where it was killed on this machine, else after its term.
        """
        # Imported here: threads and timers are not for those who only plan.
        from opslib.reconcile.keeper import Keeper  # noqa: PLC0415  # start-up time

        make_namespace(self.cluster)
        lease = self.lease()
        if not lease.acquire():
            raise lease.busy()
        with Keeper(lease) as keeper, self.fenced(keeper.held):
            yield keeper.held

    @contextlib.contextmanager
    def fenced(self, held: Callable[[], bool]) -> Iterator[None]:
        """Let nothing be written in the block once ``held`` says no, at the last moment."""
        plain, self.cluster = self.cluster, self.cluster.fenced(held)
        try:
            yield
        finally:
            self.cluster = plain


def _warned(trials: Trials, revision: Revision) -> list[str]:
    """Say that a person is about to apply what the loop took back."""
    one = trials.quarantined(revision.commit)
    if one is None:
        return []
    text = f"revision {one.short} is quarantined since {one.since[:19]}Z: {one.reason}"
    return [f"{text}; an apply that ends healthy releases it"]


def open_session(
    cluster: Cluster,
    source: Source,
    *,
    app: str = "",
    namespace: str = "",
    limits: PruneLimits | None = None,
    progress: Progress = SILENT,
    verify: Verification | None = None,
) -> Session:
    """Open the mirror of a source and bind it to a cluster.

    ``app`` defaults to a name made of the repository and the folder. ``namespace`` is for
    resources that name none; default: that of the kubeconfig's context. ``verify`` says
    what must be signed; default: what the environment says. Raises InputError for what
    cannot be used of these.
    """
    verify = verification() if verify is None else verify
    mirror = Mirror.open(source, progress=progress)
    verify.refuse_inside(mirror.url)
    return Session(
        cluster,
        mirror,
        App(app) if app else app_of(mirror.url, source.path),
        namespace or cluster.namespace,
        limits or PruneLimits(),
        progress,
        verify,
        vault=later(),
    )


def require_ok(applied: Mapping[str, Any]) -> None:
    """Raise OpslibError that names what failed or is not healthy, if anything.

    ``applied`` is Applied as its ``as_dict`` gives it, as a record keeps it.
    """
    if applied["ok"]:
        return
    unhealthy = [s for s in applied["health"] if s["health"] != Health.CURRENT]
    lines = [f"{f['object']}: {f['what']}" for f in applied["failures"]]
    lines += [f"{s['object']}: {s['health']}: {s['message']}" for s in unhealthy]
    raise OpslibError(
        f"{len(applied['failures'])} objects were not written, {len(unhealthy)} are not healthy",
        where="; ".join(lines[:5]),
        hint="`opslib rollout describe` says why; mend it in Git and apply again",
    )
