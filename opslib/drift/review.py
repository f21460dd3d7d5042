"""One drift review: what differs, who did it, since when, what was decided."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from opslib.core.clock import stamp
from opslib.core.errors import OpslibError
from opslib.core.memory import uncollected
from opslib.core.model import Revision
from opslib.drift.attribute import attribute
from opslib.drift.audit import AuditSource
from opslib.drift.blame import declared
from opslib.drift.bounds import bounded
from opslib.drift.find import Found, find, grouped
from opslib.drift.ignoring import Rule, ignoring, rules_of
from opslib.drift.model import Drift, Plane, Review
from opslib.drift.planes import Source, looked_at
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.planned import Planned
from opslib.reconcile.repofiles import appfile_at
from opslib.reconcile.session import Session

AuditLog = AuditSource | str | Path | Sequence[str] | None
MOST_PENDING = 50
"""So many commits that are not applied yet are counted."""


@dataclass
class Forbidden:
    """Paths that the API server did not let us read, and what it said."""

    paths: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: str, why: str) -> None:
        self.paths.setdefault(path, why)


@dataclass(frozen=True)
class Taken:
    """A review with what it was made from: needed to decide on it, never shown."""

    review: Review
    planned: Planned
    found: Found
    audit: AuditLog = None


def take(
    session: Session,
    revision: Revision | None = None,
    *,
    audit: AuditLog = None,
    planes: Sequence[Source] = (),
) -> Review:
    """Review an app against the last commit that was applied whole; change nothing.

    ``revision`` names another commit, which the mirror has. Without one the source is fetched,
    for its newest rules and to say what is not applied yet; where it cannot be had, the last
    applied commit is reviewed without. ``audit`` is the API server's log, where it can be had;
    ``planes`` are what is looked at beside Kubernetes objects. Raises Unreachable and Refused,
    and InputError where neither the source nor the mirror has anything to compare with.
    """
    return taken(session, revision, audit=audit, planes=planes).review


def taken(
    session: Session,
    revision: Revision | None = None,
    *,
    audit: AuditLog = None,
    full: bool = False,
    planes: Sequence[Source] = (),
) -> Taken:
    """Take a review and keep what decisions on it need; ``full`` as in ``Session.plan``."""
    with uncollected():
        return _taken(session, revision, audit=audit, full=full, planes=planes)


def _taken(
    session: Session,
    revision: Revision | None,
    *,
    audit: AuditLog,
    full: bool,
    planes: Sequence[Source],
) -> Taken:
    at = stamp()
    chosen = _choose(session, revision)
    forbidden = Forbidden()
    with _lenient(session, forbidden):
        planned = session.plan(chosen.revision, full=full)
        found = find(planned, session, rules=chosen.rules, forbidden=forbidden.paths)
    drifts, covered = attribute(
        found.drifts,
        found.live,
        app_manager=session.app.manager,
        log=audit,
        kinds=session.discovery,
        read_at=at,
    )
    drifts = declared(session.mirror, chosen.revision.commit, drifts)
    more, unread, said = looked_at(planes)
    kept, ignored = ignoring(more, chosen.rules)
    told = ((str(one.key), one.path, reason) for one, reason in ignored)
    plan = planned.prepared.plan
    review = Review(
        plan.app,
        plan.revision,
        plan.server,
        plan.cluster_uid,
        at,
        tuple(map(_bounded, (*drifts, *kept))),
        (*found.explained, *grouped(told)),
        (*found.unread, *unread),
        tuple(dict.fromkeys((*chosen.warnings, *plan.warnings, *found.warnings))),
        found.objects,
        covered,
        {str(Plane.OBJECTS): "compared", str(Plane.SECRETS): "compared", **said},
    )
    return Taken(review, planned, found, audit)


def _bounded(drift: Drift) -> Drift:
    """Return a drift without values that are too large to be shown."""
    return replace(drift, declared=bounded(drift.declared), live=bounded(drift.live))


@contextlib.contextmanager
def _lenient(session: Session, forbidden: Forbidden) -> Iterator[None]:
    """Let a session go on in the block without what it may not read."""
    plain, session.cluster = session.cluster, session.cluster.lenient(forbidden)
    try:
        yield
    finally:
        session.cluster = plain


@dataclass(frozen=True)
class _Chosen:
    """Against which commit, by which rules, and what a reader has to know about that."""

    revision: Revision
    rules: tuple[Rule, ...]
    warnings: tuple[str, ...] = ()


def _choose(session: Session, revision: Revision | None) -> _Chosen:
    if revision is not None:
        return _Chosen(revision, _rules(session, revision))
    forbidden = Forbidden()
    with _lenient(session, forbidden):
        applied = read_inventory(session.cluster, session.app).commit
    try:
        head = session.fetch()
    except OpslibError as error:
        if not applied:
            raise
        last = session.pinned(applied)
        text = f"the source cannot be had, so the last applied commit is reviewed: {error.what}"
        return _Chosen(last, _rules(session, last), (text,))
    rules = _rules(session, head)
    if not applied:
        unknown = "which commit was applied last is not known, so the newest is reviewed"
        never = "nothing of this app was applied whole yet"
        return _Chosen(head, rules, (unknown if forbidden.paths else never,))
    if applied == head.commit:
        return _Chosen(head, rules)
    try:
        last = session.pinned(applied)
    except OpslibError:
        text = f"the last applied commit {applied[:12]} is not in the source: its head is reviewed"
        return _Chosen(head, rules, (text,))
    return _Chosen(last, rules, tuple(filter(None, (_pending(session, last, head),))))


def _rules(session: Session, revision: Revision) -> tuple[Rule, ...]:
    return rules_of(appfile_at(session.mirror, revision))


def _pending(session: Session, last: Revision, head: Revision) -> str:
    """Say how many commits of the app's folder the cluster does not have yet; "" for none."""
    mirror = session.mirror
    if not mirror.is_ancestor(last.commit, head.commit):
        return f"what is applied ({last.short}) is not in the history of {head.short}"
    count = 0
    for one in mirror.log(head.commit, head.path, MOST_PENDING):
        if mirror.is_ancestor(one.commit, last.commit):
            break
        count += 1
    if not count:
        return ""
    many = f"{count} or more" if count == MOST_PENDING else str(count)
    are = "commit is" if count == 1 else "commits are"
    return f"{many} {are} not applied yet: {head.short} is the newest"
