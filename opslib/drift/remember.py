"""A review beside the ledger: it starts from the last one, and the next one starts from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opslib.core.clock import human_age
from opslib.core.errors import OpslibError
from opslib.drift.ledger import Compared, Figures, Ledger
from opslib.drift.model import Drift
from opslib.drift.order import age

if TYPE_CHECKING:
    from opslib.drift.review import Taken

NO_FIGURES = Figures(None, 0, None, 0, 0, None)


@dataclass(frozen=True)
class Remembered:
    """A review with times and decisions of earlier ones; ``last`` is None where it was not noted.

    ``gone`` names what the last review had and this one has not, with what ended it.
    """

    taken: Taken
    figures: Figures
    last: Compared | None = None
    gone: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Say what is new since the last review, and how long things take here."""
        figures, last = self.figures, self.last
        lines = []
        if last and last.last_taken_at:
            counts = f"{len(last.new)} new, {len(last.still)} still there, {len(last.gone)} gone"
            lines.append(f"The last review was {age(last.last_taken_at)} ago: {counts}.")
        elif last:
            lines.append("This is the first review of this app from here.")
        means = [("seen", figures.detect_seconds), ("settled", figures.resolve_seconds)]
        told = [f"{word} after {human_age(mean)}" for word, mean in means if mean is not None]
        if told:
            lines.append(f"In the mean a difference is {', '.join(told)}.")
        return lines


def remember(taken: Taken, *, note: bool = True) -> Remembered:
    """Return a review with what earlier ones knew; ``note``: this one counts for the next.

    A review of another commit than the applied one is not noted: what is pending there would
    look like drift.
    """
    try:
        return _noted(taken) if note else _known(taken)
    except (OSError, OpslibError) as error:  # nothing of a review depends on its ledger
        return Remembered(taken, NO_FIGURES, warnings=(_unwritten(error),))


def _known(taken: Taken) -> Remembered:
    review = taken.review
    ledger = Ledger.open(review.app, review.cluster_uid)
    known = replace(review, drifts=tuple(map(ledger.known, review.drifts)))
    return Remembered(replace(taken, review=known), ledger.figures(), warnings=ledger.warnings)


def _noted(taken: Taken) -> Remembered:
    ledger = Ledger.open(taken.review.app, taken.review.cluster_uid)
    known, last = ledger.take(taken.review)
    gone = tuple(
        f"{entry.what} {entry.path}".strip() + f": {entry.now.how}"
        for name in last.gone
        if (entry := ledger.entries.get(name))
    )
    found = replace(taken, review=known)
    return Remembered(found, ledger.figures(), last, gone, ledger.warnings)


def decided(app: str, cluster: str, drifts: Iterable[Drift]) -> tuple[str, ...]:
    """Note the decisions that differences carry; return what a reader has to know.

    What was decided is done by then: a ledger that cannot be written is a warning.
    """
    by_decision: dict[object, list[Drift]] = {}
    for one in drifts:
        by_decision.setdefault(one.decision, []).append(one)
    try:
        ledger = Ledger.open(app, cluster)
        for same in by_decision.values():
            ledger.decide(same, same[0].decision)
    except (OSError, OpslibError) as error:
        return (_unwritten(error),)
    return ledger.warnings


def resolved(app: str, cluster: str, drifts: Iterable[Drift], at: str) -> tuple[str, ...]:
    """Note that reverted differences are gone; return what a reader has to know."""
    try:
        ledger = Ledger.open(app, cluster)
        ledger.resolve(drifts, at, "revert")
    except (OSError, OpslibError) as error:
        return (_unwritten(error),)
    return ledger.warnings


def _unwritten(error: Exception) -> str:
    return f"the ledger cannot be kept, the next review will not know of this one: {error}"
