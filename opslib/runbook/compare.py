"""Two records compared by meaning: what was found and done, not when, where and for how long.

Left out are ids, times, durations, folders (masking.py), how a figure looks, standard error,
and what the injected parameters cell repeats.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.runbook import outputs, plans
from opslib.runbook.difference import Difference, differs, shown
from opslib.runbook.entry import PLAN
from opslib.runbook.folder import RECORD
from opslib.runbook.masking import Mask, is_noise
from opslib.runbook.notebook import headings, runs_code, source_of, tags_of
from opslib.runbook.outcome import Outcome
from opslib.runbook.parameters import INJECTED_TAG
from opslib.runbook.reading import NOTEBOOK_LIMIT, read_object
from opslib.runbook.records import show
from opslib.runbook.series import equal

__all__ = ["Difference", "compare"]

_MOST_CELLS = 2000
_DEPTH = 50


@dataclass(frozen=True)
class _Cell:
    """A code cell that a kernel would run: position from 1, step, what it says and gave."""

    number: int
    step: str
    source: str
    outcome: str
    outputs: list[Any]

    def __str__(self) -> str:
        return f"step “{self.step}”, cell {self.number}" if self.step else f"cell {self.number}"


@dataclass(frozen=True)
class _Side:
    """One of the two records."""

    result: Mapping[str, Any]
    cells: list[_Cell]
    plans: dict[str, plans.Planned]
    mask: Mask
    folder: Path = field(repr=False)


def compare(before: str | Path, after: str | Path, out: Path | None = None) -> list[Difference]:
    """Return what differs between two records, each named as ``runbook.show`` takes it.

    Two runs that found and did the same give an empty list. Raises InputError for a record
    that is not there or cannot be read.
    """
    one, two = _side(before, out), _side(after, out)
    return [
        *_outcome(one, two),
        *_values("parameter", one, two, "parameters"),
        *plans.differences(one.plans, two.plans),
        *_report(one, two),
        *_cells(one, two),
    ]


def _side(record: str | Path, out: Path | None) -> _Side:
    found = show(record, out)
    folder = found.summary.folder
    mask = Mask(folder, found.summary.run_id)
    try:
        notebook = read_object(folder / RECORD, NOTEBOOK_LIMIT)
    except FileNotFoundError:
        notebook = {}
    except InputError as error:
        error.hint = "opslib records show tells what else is in the record"
        raise
    try:
        plan = read_object(folder / PLAN)
    except (OSError, InputError):
        plan = {}
    result = {**found.result, "outcome": found.summary.outcome}
    planned = plans.find(result.get("report"), result.get("plan"), plan)
    return _Side(result, list(_code_cells(notebook)), planned, mask, folder)


def _code_cells(notebook: dict[str, Any]) -> Iterator[_Cell]:
    listed = notebook.get("cells")
    cells = [one for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)]
    try:
        rows = list(zip(cells, headings({"cells": cells}), strict=True))
        for number, (cell, step) in enumerate(rows, start=1):
            if runs_code(cell) and INJECTED_TAG not in tags_of(cell):
                state = cell["metadata"].get("opslib", {}).get("outcome", Outcome.NEVER_RUN.value)
                found = cell.get("outputs")
                given = found if isinstance(found, list) else []
                yield _Cell(number, step, source_of(cell).strip(), str(state), given)
    except (TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{RECORD} is not a notebook: {error}", where=RECORD) from None


def _outcome(one: _Side, two: _Side) -> Iterator[Difference]:
    for key in ("runbook", "outcome"):
        if one.result.get(key) != two.result.get(key):
            yield Difference(key, "run", one.result.get(key), two.result.get(key))
    errors = [_error(side) for side in (one, two)]
    if errors[0] != errors[1]:
        yield differs("error", "run", errors)


def _error(side: _Side) -> str | None:
    error = side.result.get("error")
    if not isinstance(error, dict):
        return None
    return side.mask(" ".join(str(error.get("message", "")).split()))


def _values(part: str, one: _Side, two: _Side, key: str) -> Iterator[Difference]:
    left, right = (_mapping(side.result.get(key)) for side in (one, two))
    for name in dict.fromkeys([*left, *right]):
        pair = (left.get(name, _ABSENT), right.get(name, _ABSENT))
        masked = [side.mask(v) if isinstance(v, str) else v for side, v in zip((one, two), pair)]  # noqa: B905  # two and two
        if pair[0] != pair[1] and not _alike(masked[0], masked[1]):
            yield differs(part, name, pair)


_ABSENT = "(absent)"


def _alike(one: Any, two: Any) -> bool:
    """Parameters are what a person chose: only the place of a folder in them is left out."""
    folder = isinstance(one, str) and isinstance(two, str) and one.startswith("<folder>")
    return folder and one == two


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _report(one: _Side, two: _Side) -> Iterator[Difference]:
    pair = [plans.without(_mapping(side.result.get("report"))) for side in (one, two)]
    yield from _deep("report", pair[0], pair[1], (one.mask, two.mask), 0)


def _deep(
    where: str, one: Any, two: Any, masks: tuple[Mask, Mask], depth: int
) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(two, dict) and depth < _DEPTH:
        for key in dict.fromkeys([*one, *two]):
            if not is_noise(key):
                pair = one.get(key, _ABSENT), two.get(key, _ABSENT)
                yield from _deep(f"{where}.{key}", *pair, masks, depth + 1)
    elif isinstance(one, list) and isinstance(two, list) and depth < _DEPTH:
        yield from _lists(where, one, two, masks, depth)
    else:
        texts = [m(v) if isinstance(v, str) else v for m, v in zip(masks, (one, two), strict=True)]
        if not equal(texts[0], texts[1]):
            yield Difference("report", where, one, two)


def _lists(
    where: str, one: list[Any], two: list[Any], masks: tuple[Mask, Mask], depth: int
) -> Iterator[Difference]:
    series = outputs.series(where, one, two) if min(len(one), len(two)) >= outputs.A_SERIES else []
    if series is not None and (series or len(one) >= outputs.A_SERIES):
        yield from series
        return
    if len(one) != len(two):
        lines = [[masks[n](shown(v)) for v in side] for n, side in enumerate((one, two))]
        gone = [v for v in lines[0] if v not in lines[1]]
        new = [v for v in lines[1] if v not in lines[0]]
        yield Difference("report", where, gone or f"{len(one)} items", new or f"{len(two)} items")
        return
    for number, pair in enumerate(zip(one, two, strict=True)):
        yield from _deep(f"{where}[{number}]", *pair, masks, depth + 1)


def _cells(one: _Side, two: _Side) -> Iterator[Difference]:
    for left, right in _paired(one.cells, two.cells):
        if left is None or right is None:
            cell = left or right
            lines = [None if c is None else c.source for c in (left, right)]
            yield differs("source", str(cell), lines)
            continue
        if left.source != right.source:
            yield differs("source", str(right), _first_line(left.source, right.source))
        if left.outcome != right.outcome:
            yield Difference("outcome", str(right), left.outcome, right.outcome)
        pair = (left.outputs, right.outputs)
        yield from outputs.differences(str(right), *pair, (one.mask, two.mask))


def _first_line(one: str, two: str) -> tuple[str, str]:
    left, right = one.splitlines(), two.splitlines()
    width = max(len(left), len(right))
    padded = [side + [""] * (width - len(side)) for side in (left, right)]
    return next(pair for pair in zip(*padded, strict=True) if pair[0] != pair[1])


def _paired(one: list[_Cell], two: list[_Cell]) -> Iterator[tuple[_Cell | None, _Cell | None]]:
    """Pair cells of the same source; between those, by their order."""
    if max(len(one), len(two)) > _MOST_CELLS:
        yield from _side_by_side(one, two)
        return
    left, right = ([cell.source for cell in cells] for cells in (one, two))
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for _, low, high, begin, end in matcher.get_opcodes():
        yield from _side_by_side(one[low:high], two[begin:end])


def _side_by_side(
    one: list[_Cell], two: list[_Cell]
) -> Iterator[tuple[_Cell | None, _Cell | None]]:
    for number in range(max(len(one), len(two))):
        yield (
            one[number] if number < len(one) else None,
            two[number] if number < len(two) else None,
        )
