"""From decisions to what is done: one plan for the gate, and the effects that carry it out.

The plan is shown before anything is written: what a revert writes, the edit that adopts, and
why something cannot be done. Its hash covers all of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.clock import stamp
from opslib.core.errors import DriftFound, OpslibError
from opslib.core.hashes import digest
from opslib.core.model import Manifest, ResourceKey
from opslib.core.settings import state_dir
from opslib.drift.choices import ANSWERS, would
from opslib.drift.encode import headline
from opslib.drift.model import Decision, Disposition, Drift, Review
from opslib.drift.order import is_decided, named
from opslib.drift.remember import decided, resolved
from opslib.reconcile.repofiles import policy_at

if TYPE_CHECKING:
    from opslib.drift.commits import Adopted
    from opslib.drift.propose import Proposal
    from opslib.drift.revert import Revert
    from opslib.drift.review import AuditLog, Taken
    from opslib.reconcile.session import Session

_MOST_LINES, _MOST_DIFF = 200, 20_000
Effect = tuple[str, Callable[[], dict[str, Any]], bool]
"""An effect's name, what it does, and whether doing it twice is the same as once."""


@dataclass(frozen=True)
class Acts:
    """What the decisions on a review come to; a gate takes it as its subject.

    ``decided`` are the differences with their decisions. ``problems`` name decisions that
    cannot be carried out, by id. ``live`` has Secrets: it is never shown.
    """

    review: Review
    decided: tuple[Drift, ...]
    revert: Revert | None = None
    proposal: Proposal | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    author: str = ""
    live: Mapping[ResourceKey, Manifest] = field(default_factory=dict, repr=False)
    audit: AuditLog = None

    def of(self, answer: Disposition) -> list[Drift]:
        """Return the differences that have one answer."""
        return [one for one in self.decided if one.decision.disposition is answer]

    def ids(self, answer: Disposition) -> list[str]:
        """Return their ids."""
        return [one.id for one in self.of(answer)]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the decisions, the values they are about, and what they would write."""
        rows = [
            [one.id, one.declared, one.live, str(told.disposition), told.reason, told.until]
            for one in self.decided
            for told in (one.decision,)
        ]
        revert = self.revert.hash if self.revert else ""
        diff = self.proposal.diff if self.proposal else ""
        review = self.review
        return digest([review.app, review.cluster_uid, review.revision.commit, rows, revert, diff])

    @property
    def counts(self) -> dict[str, int]:
        """Return how many differences have each answer."""
        found = Counter(one.decision.disposition for one in self.decided)
        return {str(answer): found[answer] for answer in ANSWERS if found[answer]}

    @property
    def alike(self) -> list[list[Drift]]:
        """Return the decided differences, those with the same answer and reason together."""
        found: dict[tuple[str, ...], list[Drift]] = {}
        for one in self.decided:
            told = one.decision
            found.setdefault((told.disposition, told.by, told.reason, told.until), []).append(one)
        return list(found.values())

    @property
    def summary(self) -> str:
        """Return the answers in one sentence."""
        text = ", ".join(f"{number} to {answer}" for answer, number in self.counts.items())
        left = len(self.review.drifts) - len(self.decided)
        return f"{text or 'nothing decided'}, {left} left open, on {self.review.server}"

    @property
    def target(self) -> str:
        return self.review.app

    @property
    def cluster(self) -> str:
        return self.review.cluster_uid

    @property
    def empty(self) -> bool:
        return not self.decided

    @property
    def destructive(self) -> bool:
        """Whether an object is deleted."""
        return self.revert is not None and self.revert.destructive

    @property
    def consequences(self) -> tuple[str, ...]:
        """Return one line for each decision; of a revert, one for each field or object."""
        lines = [f"revert: {line}" for line in (self.revert.consequences if self.revert else ())]
        lines += [
            f"{one.decision.disposition} {named(one.key)} {one.path}".rstrip()
            + f": {self.problems.get(one.id) or would(one, one.decision.disposition)}"
            for one in self.decided
            if one.decision.disposition is not Disposition.REVERT
        ]
        lines += [f"adopt: {line}" for line in (self.proposal.warnings if self.proposal else ())]
        left = len(lines) - _MOST_LINES
        return (*lines[:_MOST_LINES], *([f"and {left} more"] if left > 0 else []))


def prepare(session: Session, taken: Taken, drifts: Sequence[Drift], author: str = "") -> Acts:
    """Plan what decisions come to; nothing is written. ``drifts`` carry their decisions."""
    problems: dict[str, str] = {}
    adopts = _with(drifts, Disposition.ADOPT)
    proposal = _proposal(session, taken, adopts) if adopts else None
    if proposal:
        problems |= {one.drift.id: f"cannot be adopted: {one.why}" for one in proposal.refused}
    reverts = [one.id for one in _with(drifts, Disposition.REVERT)]
    revert = None
    if reverts:
        from opslib.drift.revert import plan_revert  # noqa: PLC0415  # only where it is asked for

        revert = plan_revert(session, taken.planned, taken.review.drifts, reverts)
        why = {one.key: f"cannot be reverted: {one.message}" for one in revert.plan.problems}
        problems |= {one.id: why[one.key] for one in revert.drifts if one.key in why}
    live = taken.found.live
    return Acts(taken.review, tuple(drifts), revert, proposal, problems, author, live, taken.audit)


def _with(drifts: Sequence[Drift], answer: Disposition) -> list[Drift]:
    return [one for one in drifts if one.decision.disposition is answer]


def _proposal(session: Session, taken: Taken, drifts: list[Drift]) -> Proposal:
    """Find the edit that adopts, onto the newest commit, as ``adopt`` will."""
    from opslib.drift.propose import propose  # noqa: PLC0415  # only where it is asked for
    from opslib.source.trees import Commit  # noqa: PLC0415  # as above

    base = session.mirror.resolve("")
    tree = Commit(session.mirror, base.commit)
    policy = policy_at(session.mirror, base)
    live = taken.found.live
    return propose(tree, base.path, drifts, live, namespace=session.namespace, policy=policy)


def effects(
    session: Session, acts: Acts, *, push: bool = False, folder: Path | None = None
) -> Iterator[Effect]:
    """Yield what is to be done, the harmless first: what fails then has left the cluster alone.

    ``folder`` is for bundles and patches; default: of the state.
    """
    own = state_dir() / "drift" / acts.review.app / stamp()[:19].replace(":", "")
    place = folder.absolute() if folder else own
    if ids := acts.ids(Disposition.ESCALATE):
        yield "escalate", partial(_escalate, acts, ids, place), True
    if acts.of(Disposition.ADOPT):
        yield "adopt", partial(_adopt, session, acts, place, push=push), False
    for number, told in enumerate(_ignores(acts), start=1):
        name = "ignore" if number == 1 else f"ignore-{number}"
        yield name, partial(_ignore, session, acts, told, place, push=push), False
    if acts.revert is not None:
        yield "revert", partial(_revert, session, acts, place), True


def _ignores(acts: Acts) -> list[Decision]:
    """Return the different reasons and days of the ignores: each is a commit."""
    found = {
        (one.decision.reason, one.decision.until): one.decision
        for one in acts.of(Disposition.IGNORE)
    }
    return list(found.values())


def _escalate(acts: Acts, ids: Sequence[str], place: Path) -> dict[str, Any]:
    from opslib.drift.entries import entries  # noqa: PLC0415  # as below
    from opslib.drift.escalate import escalate  # noqa: PLC0415  # only where it is asked for

    drifts = acts.of(Disposition.ESCALATE)
    path = escalate(
        acts.review,
        ids,
        place,
        live=acts.live,
        audit=entries(drifts, acts.live, acts.audit),
        by=drifts[0].decision.by,
        reason=_reasons(drifts),
    )
    said = decided(acts.review.app, acts.review.cluster_uid, drifts)
    return {
        "warnings": list(said),
        "ok": True,
        "ids": list(ids),
        "path": str(path),
        "next": f"hand over {path}",
    }


def _adopt(session: Session, acts: Acts, place: Path, *, push: bool) -> dict[str, Any]:
    from opslib.drift.adopt import adopt  # noqa: PLC0415  # as above

    drifts = acts.of(Disposition.ADOPT)
    made = adopt(
        session,
        drifts,
        [one.id for one in drifts],
        author=acts.author,
        reason=_reasons(drifts),
        push=push,
        folder=place,
    )
    return _committed(acts, drifts, made)


def _committed(acts: Acts, drifts: Sequence[Drift], made: Adopted) -> dict[str, Any]:
    """Note the decisions that are in a commit, and return the commit for the record."""
    done = {one.id for one in made.done}
    noted = [one for one in drifts if one.id in done]
    said = decided(acts.review.app, acts.review.cluster_uid, noted)
    refused = [
        {"id": one.drift.id, "object": str(one.drift.key), "path": one.drift.path, "why": one.why}
        for one in made.refused[:_MOST_LINES]
    ]
    return {
        **made.as_dict(),
        "diff": made.diff[:_MOST_DIFF],
        "message": made.message[:_MOST_DIFF],
        "refused": refused,
        "warnings": [*made.warnings, *said],
        "ok": not made.refused,
    }


def _ignore(
    session: Session, acts: Acts, told: Decision, place: Path, *, push: bool
) -> dict[str, Any]:
    from opslib.drift.ignore import ignore  # noqa: PLC0415  # as above

    same = (told.reason, told.until)
    drifts = [
        one
        for one in acts.of(Disposition.IGNORE)
        if (one.decision.reason, one.decision.until) == same
    ]
    made = ignore(
        session,
        drifts,
        [one.id for one in drifts],
        author=acts.author,
        reason=told.reason,
        until=told.until,
        push=push,
        folder=place,
    )
    return _committed(acts, drifts, made)


def _reasons(drifts: Sequence[Drift]) -> str:
    return "; ".join(dict.fromkeys(one.decision.reason for one in drifts if one.decision.reason))


def _revert(session: Session, acts: Acts, place: Path) -> dict[str, Any]:
    from opslib.drift.entries import entries  # noqa: PLC0415  # as above
    from opslib.drift.reverting import apply_revert  # noqa: PLC0415  # as above

    assert acts.revert is not None  # noqa: S101  # effects yields this only where it is
    drifts = acts.of(Disposition.REVERT)
    by = next((one.decision.by for one in drifts), "")
    with session.holding() as held:
        applied = apply_revert(
            session,
            acts.revert,
            evidence=place,
            go_on=held,
            audit=entries(drifts, acts.live, acts.audit, kinds=session.discovery),
            by=by,
            reason=_reasons(drifts),
        )
    said = decided(acts.review.app, acts.review.cluster_uid, drifts)
    text = f"{len(applied.written)} written, {len(applied.deleted)} deleted"
    return {**applied.as_dict(), "next": text, "warnings": list(said)}


def verify(session: Session, acts: Acts, results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the cluster once more: which of the reverted differences are gone, and which stay.

    None where nothing was written to the cluster.
    """
    if "revert" not in results:
        return None
    from opslib.drift.review import taken  # noqa: PLC0415  # it is there: the review was taken

    again = taken(session, session.pinned(acts.review.revision.commit)).review
    there = {one.id for one in again.drifts}
    asked = acts.ids(Disposition.REVERT)
    stay = [name for name in asked if name in there]
    gone = [one for one in acts.of(Disposition.REVERT) if one.id not in there]
    resolved(acts.review.app, acts.review.cluster_uid, gone, again.taken_at)
    text = f"{len(asked) - len(stay)} of {len(asked)} reverted differences are gone"
    return {
        "ok": not stay,
        "sentence": f"{text}; {headline(again)}",
        "gone": [one.id for one in gone],
        "stay": stay,
        "at": again.taken_at,
    }


def require_ok(results: Mapping[str, Any], verified: Mapping[str, Any] | None) -> None:
    """Raise OpslibError where an answer was not carried out, or a reverted difference stays."""
    bad = [name for name, one in results.items() if not one.get("ok", True)]
    stay = list(verified["stay"]) if verified else []
    if bad or stay:
        what = f"not carried out as decided: {', '.join(bad)}" if bad else "what was reverted stays"
        hint = "the cells above say why; decide again in a new review"
        raise OpslibError(what, where=", ".join(stay[:5]) or None, hint=hint)


def alarm(acts: Acts, *, on: bool) -> None:
    """Raise DriftFound (exit 4) where differences are left that nobody decided about."""
    now = {one.id for one in acts.decided}
    left = sum(one.id not in now and not is_decided(one) for one in acts.review.drifts)
    if on and left:
        raise DriftFound(
            headline(acts.review),
            where=acts.review.app,
            expected=f"no open difference; {left} are",
            hint="decide: opslib drift list, or the notebook drift-review",
        )
