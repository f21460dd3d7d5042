"""One app between its repository and its cluster: fetch, plan, apply, in one place.

The command line, the loop and the runbooks all go through here, so that they do the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from opslib.core.clock import now
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Revision
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.lease import Lease, identity
from opslib.policy import ADVISORY, Policy, Report, check, load_policy
from opslib.reconcile.app import SYSTEM_NAMESPACE, App, app_of
from opslib.reconcile.apply import Applied, apply_plan
from opslib.reconcile.desired import Desired, declare
from opslib.reconcile.inventory import make_namespace
from opslib.reconcile.planner import Memory, Prepared, make_plan
from opslib.reconcile.prune import PruneLimits
from opslib.source.mirror import Mirror, Source
from opslib.source.render import Rendered, render

Kinds = dict[tuple[str, str], Kind]

POLICY_FILE = "policy.yaml"
LEASE_SECONDS = 15.0


@dataclass(frozen=True)
class Planned:
    """A plan with all that a person should see beside it."""

    prepared: Prepared
    rendered: Rendered
    policy: Report

    @property
    def blocking(self) -> tuple[str, ...]:
        """Why this plan cannot be applied, one line each; empty when it can."""
        problems = [f"{p.origin}: {p.key}: {p.message}" for p in self.prepared.plan.problems]
        broken = [f"{f.origin}: {f.key}: {f.message}" for f in self.policy.errors]
        return (*problems, *broken)

    def as_dict(self) -> dict[str, Any]:
        return {**self.prepared.plan.as_dict(), "policy": self.policy.as_dict()}


@dataclass
class Session:
    """One app of one source on one cluster."""

    cluster: Cluster
    mirror: Mirror
    app: App
    namespace: str = "default"
    limits: PruneLimits = field(default_factory=PruneLimits)
    progress: Progress = SILENT

    def __post_init__(self) -> None:
        self.discovery = Discovery(self.cluster)
        self._last: tuple[tuple[Revision, str, date], Rendered, Report] | None = None
        self._declared: tuple[Rendered, Kinds, Desired] | None = None
        self._memory: Memory = {}

    def fetch(self, *, timeout: float = 60, accept_rewrite: bool = False) -> Revision:
        """Fetch the source and return the commit of its ref.

        A history that was rewritten is an error until it is accepted once.
        """
        return self.mirror.fetch(
            timeout=timeout, progress=self.progress, accept_rewrite=accept_rewrite
        )

    def plan(self, revision: Revision, *, full: bool = False) -> Planned:
        """Render a revision, check it against the policy, and compare it with the cluster.

        ``full`` asks the server about every object, also about those proven unchanged.
        """
        rendered, report = self._checked(revision)
        desired = self._desired(rendered)
        prepared = make_plan(
            self.cluster,
            self.discovery,
            self.app,
            revision,
            desired,
            is_ancestor=self.mirror.is_ancestor,
            limits=self.limits,
            full=full,
            memory=self._memory,
            warnings=(*self.mirror.warnings, *rendered.warnings),
            progress=self.progress,
        )
        return Planned(prepared, rendered, report)

    def _checked(self, revision: Revision) -> tuple[Rendered, Report]:
        """Render and check; a loop asks for the same commit again, on the same day.

        The day counts because exceptions of the policy end on one.
        """
        asked = (revision, self.cluster.version, now().date())
        if self._last is None or self._last[0] != asked:
            rendered = render(self.mirror, revision, revision.path, progress=self.progress)
            report = check(rendered.resources, self.policy(revision), version=self.cluster.version)
            self._last = (asked, rendered, report)
        return self._last[1:]

    def _desired(self, rendered: Rendered) -> Desired:
        """Bind what was rendered to the server's kinds; once, while both stay the same."""
        kinds, last = self.discovery.all(), self._declared
        if last is None or last[0] is not rendered or last[1] != kinds:
            desired = declare(rendered.resources, self.discovery, namespace=self.namespace)
            last = self._declared = rendered, kinds, desired
            self._memory.clear()
        return last[2]

    def policy(self, revision: Revision) -> Policy:
        """Return the policy at the root of the repository at this commit, else mere advice."""
        if POLICY_FILE not in self.mirror.files(revision.commit, ""):
            return ADVISORY
        text = self.mirror.read(revision.commit, POLICY_FILE)
        return load_policy(text.decode("utf-8", errors="replace"), POLICY_FILE)

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

        Raises Problems when the plan or the policy says no, before anything is written.
        """
        if planned.blocking:
            raise Problems([InputError(line) for line in planned.blocking])
        return apply_plan(
            self.cluster,
            self.discovery,
            planned.prepared,
            timeout=timeout,
            wait=wait,
            progress=self.progress,
            evidence=evidence,
            go_on=go_on,
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

        Raises LockBusy, naming the holder, when a loop or another apply has it.
        """
        # Imported here: threads and timers are not for those who only plan.
        from opslib.reconcile.keeper import Keeper  # noqa: PLC0415  # start-up time

        make_namespace(self.cluster)
        lease = self.lease()
        if not lease.try_acquire():
            raise lease.busy()
        with Keeper(lease) as keeper:
            yield keeper.held


def open_session(
    cluster: Cluster,
    source: Source,
    *,
    app: str = "",
    namespace: str = "",
    limits: PruneLimits | None = None,
    progress: Progress = SILENT,
) -> Session:
    """Open the mirror of a source and bind it to a cluster.

    ``app`` defaults to a name made of the repository and the folder. ``namespace`` is for
    resources that name none; default: that of the kubeconfig's context.
    """
    mirror = Mirror.open(source, progress=progress)
    return Session(
        cluster,
        mirror,
        App(app) if app else app_of(mirror.url, source.path),
        namespace or cluster.namespace,
        limits or PruneLimits(),
        progress,
    )


def require_ok(applied: Applied) -> None:
    """Raise OpslibError that names what failed or is not healthy, if anything."""
    if applied.ok:
        return
    lines = [f"{f.key}: {f.what}" for f in applied.failures]
    lines += [f"{s.key}: {s.health}: {s.message}" for s in applied.unhealthy]
    raise OpslibError(
        f"{len(applied.failures)} objects were not written, "
        f"{len(applied.unhealthy)} are not healthy",
        where="; ".join(lines[:5]),
        hint="`opslib rollout describe` says why; mend it in Git and apply again",
    )
