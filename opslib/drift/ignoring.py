"""The rules of an app's own file: differences that have a reason, until a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from opslib.core.clock import now
from opslib.core.model import Origin
from opslib.drift.model import Drift
from opslib.policy.model import Target
from opslib.reconcile.appfile import AppFile
from opslib.reconcile.fieldpath import FieldPath


@dataclass(frozen=True)
class Rule:
    """One rule of ``ignore`` or ``leave``; without ``fields`` it is for the whole object."""

    target: Target
    fields: tuple[FieldPath, ...]
    why: str
    expires: date
    origin: Origin

    def covers(self, drift: Drift) -> bool:
        """Tell whether a difference is one that this rule is about."""
        if not self.target.matches(drift.key):
            return False
        return not self.fields or any(path.covers(drift.place) for path in self.fields)


def rules_of(own: AppFile) -> tuple[Rule, ...]:
    """Return the rules of a file in one form."""
    ignored = [
        Rule(one.target, one.fields, f"ignored until {one.expires}: {one.reason}", one.expires,
             one.origin)
        for one in own.ignore
    ]  # fmt: skip
    left = [
        Rule(one.target, one.fields, f"left to {one.to} until {one.expires}: {one.reason}",
             one.expires, one.origin)
        for one in own.leave
    ]  # fmt: skip
    return (*ignored, *left)


def ignoring(
    drifts: Iterable[Drift], rules: Sequence[Rule], today: date | None = None
) -> tuple[list[Drift], list[tuple[Drift, str]]]:
    """Return the drifts that no rule explains, and those that one does with its words.

    A rule past its last day explains nothing: the drift's note says so.
    """
    day = today or now().date()
    kept: list[Drift] = []
    explained: list[tuple[Drift, str]] = []
    for drift in drifts:
        fitting = [rule for rule in rules if rule.covers(drift)]
        holds = next((rule for rule in fitting if rule.expires >= day), None)
        if holds:
            explained.append((drift, f"{holds.why} ({holds.origin})"))
        elif fitting:
            over = max(fitting, key=lambda rule: rule.expires)
            note = f"it was {over.why} ({over.origin}); that day is past"
            kept.append(replace(drift, note=joined(drift.note, note)))
        else:
            kept.append(drift)
    return kept, explained


def joined(*notes: str) -> str:
    """Return several notes as one."""
    return "; ".join(filter(None, notes))
