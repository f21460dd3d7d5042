"""One difference between two records, and how it is said in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 80


@dataclass(frozen=True)
class Difference:
    """``part`` is runbook, outcome, error, parameter, plan, report, source, series, table, output.

    ``where`` names the parameter, object and field, or step, cell, figure and trace.
    ``changes`` has for a series how its median and p99 changed: before, after, percent.
    """

    part: str
    where: str
    before: Any
    after: Any
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        from opslib.runbook.series import in_words  # noqa: PLC0415  # only to be read

        if self.changes:
            return f"{self.part}: {self.where}: {in_words(self.changes)}"
        return f"{self.part}: {self.where}: {shown(self.before)} → {shown(self.after)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as the JSON object that ``--json`` prints."""
        return {
            "part": self.part,
            "where": self.where,
            "before": self.before,
            "after": self.after,
            "changes": {name: dict(one) for name, one in self.changes.items()},
        }


def differs(part: str, where: str, pair: Sequence[Any]) -> Difference:
    """Return a difference of a pair: before and after."""
    before, after = pair
    return Difference(part, where, before, after)


def shown(value: Any) -> str:
    """Return a value on one line of at most 80 characters; None is nothing there."""
    if value is None:
        return "(nothing)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
