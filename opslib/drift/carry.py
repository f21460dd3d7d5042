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
from opslib.core.errors import OpslibError
from opslib.core.hashes import digest
from opslib.core.settings import state_dir
from opslib.drift.choices import ANSWERS, would
from opslib.drift.model import Decision, Difference, Disposition, Drift, Review
from opslib.drift.order import named
from opslib.reconcile.repofiles import policy_at

if TYPE_CHECKING:
    from opslib.drift.propose import Proposal
    from opslib.drift.revert import Revert
    from opslib.drift.review import Taken
    from opslib.reconcile.session import Session

_MOST_LINES = 200
Effect = tuple[str, Callable[[], dict[str, Any]], bool]
"""An effect's name, what it does, and whether doing it twice is the same as once."""


@dataclass(frozen=True)
class Acts:
    """What the decisions on a review come to; a gate takes it as its subject.

    ``decided`` are the differences with their decisions. ``problems`` name decisions that
    cannot be carried out, by id.
    """

    review: Review
    decided: tuple[Drift, ...]
    revert: Revert | None = None
    proposal: Proposal | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    author: str = ""

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
        return digest(
            [review.app, review.cluster_uid, review.revision.commit, rows, revert, diff]
        )

    @property
    def counts(self) -> dict[str, int]:
        """Return how many differences have each answer."""
        found = Counter(one.decision.disposition for one in self.decided)
        return {str(answer): found[answer] for answer in ANSWERS if found[answer]}

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
        return any(
            one.difference is Difference.EXTRA for one in self.of(Disposition.REVERT)
        ) or bool(self.revert and getattr(self.revert, "destructive", False))

    @property
    def consequences(self) -> tuple[str, ...]:
        """Return one line for each decision."""
        lines = [
            f"{one.decision.disposition} {named(one.key)} {one.path}".rstrip()
            + f": {self.problems.get(one.id) or would(one, one.decision.disposition)}"
            for one in self.decided
        ]
        left = len(lines) - _MOST_LINES
        return (*lines[:_MOST_LINES], *([f"and {left} more"] if left > 0 else []))


def prepare(session: Session, taken: Taken, decided: Sequence[Drift], author: str = "") -> Acts:
    """Plan what decisions come to; nothing is written. ``decided`` carry their decisions."""
    problems: dict[str, str] = {}
    adopts = _with(decided, Disposition.ADOPT)
    proposal = _proposal(session, taken, adopts) if adopts else None
    if proposal:
        problems |= {one.drift.id: f"cannot be adopted: {one.why}" for one in proposal.refused}
    reverts = [one.id for one in _with(decided, Disposition.REVERT)]
    revert = None
    if reverts:
        from opslib.drift.revert import plan_revert  # noqa: PLC0415  # only where it is asked for

        revert = plan_revert(session, taken.planned, taken.review.drifts, reverts)
    return Acts(taken.review, tuple(decided), revert, proposal, problems, author)


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
    place = folder or state_dir() / "drift" / acts.review.app / stamp()[:19].replace(":", "")
    if ids := acts.ids(Disposition.ESCALATE):
        yield "escalate", partial(_escalate, acts, ids, place), True
    if acts.of(Disposition.ADOPT):
        yield "adopt", partial(_adopt, session, acts, place, push=push), False
    for number, told in enumerate(_ignores(acts), start=1):
        name = "ignore" if number == 1 else f"ignore-{number}"
        yield name, partial(_ignore, session, acts, told, place, push=push), False
    if acts.revert is not None:
        yield "revert", partial(_revert, session, acts.revert, place), True


def _ignores(acts: Acts) -> list[Decision]:
    """Return the different reasons and days of the ignores: each is a commit."""
    found = {
        (one.decision.reason, one.decision.until): one.decision
        for one in acts.of(Disposition.IGNORE)
    }
    return list(found.values())
