"""How long a runbook takes: the median of its newest good runs."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

from opslib.runbook.folder import RESULT
from opslib.runbook.outcome import Outcome

RUNS = 5
"""Good runs that are asked; records looked at are limited to four times as many."""


def expected_seconds(out: Path, runbook: str) -> float | None:
    """Return the median seconds of the newest good runs below ``out``; None without any.

    Whatever cannot be read is passed over: records are hostile input, and this is a hint.
    """
    found: list[float] = []
    for number, folder in enumerate(_newest(out, f"{runbook}-")):
        if len(found) == RUNS or number == 4 * RUNS:
            break
        if (seconds := _seconds(folder / RESULT, runbook)) is not None:
            found.append(seconds)
    return statistics.median(found) if found else None


def _newest(out: Path, prefix: str) -> Iterator[Path]:
    """Yield folders of records, the newest first: days and run ids sort by time."""
    for day in _sorted(out, ""):
        yield from _sorted(day, prefix)


def _sorted(folder: Path, prefix: str) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            names = [one.name for one in found if one.name.startswith(prefix)]
    except OSError:
        return []
    return [folder / name for name in sorted(names, reverse=True)]


def _seconds(path: Path, runbook: str) -> float | None:
    try:
        result = json.loads(path.read_bytes())
        good = result["outcome"] == Outcome.OK.value and result["runbook"] == runbook
        return float(result["seconds"]) if good else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
