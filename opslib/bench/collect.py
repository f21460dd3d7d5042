"""Result files by name: one, many, or a folder of them; or measured now."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from opslib.bench.probe import result, run, wal
from opslib.bench.probe.result import Result
from opslib.core.clock import parse_duration
from opslib.core.errors import InputError, Interrupted
from opslib.core.progress import SILENT, Progress


def gather(paths: Sequence[str]) -> list[Result]:
    """Read files, and all ``*.parquet`` of folders. Raises InputError for what has no syncs."""
    files: list[Path] = []
    for text in paths:
        path = Path(text).expanduser()
        found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not found:
            raise InputError("no result file is in this folder", where=text, expected="*.parquet")
        files += found
    runs = [result.read(str(path)) for path in files]
    for one in runs:
        if "sync_ns" not in one.columns:
            raise InputError(f"a result of the probe {one.probe} has no syncs", where=one.name)
    return runs


def given_or_measured(paths: Sequence[str], folder: str, lasting: str) -> list[Result]:
    """Return the results that are named, or of a run of the probe on ``folder`` now."""
    if paths:
        return gather(paths)
    if not folder:
        raise InputError(
            "nothing to judge", where="results", expected="result files, or a folder to measure"
        )
    return [run.disk(folder, wal.Settings(seconds=parse_duration(lasting, name="lasting")))]


def alternating(
    folders: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    keep: Path | None = None,
    progress: Progress = SILENT,
) -> list[list[Result]]:
    """Measure folders in turns, in a random order each round; return the runs of each.

    ``seconds`` is one run, after a warm-up of a tenth of it. ``keep`` is a folder for the files.
    A run that was stopped ends it: Interrupted is raised, what was measured is kept.
    """
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    sides: list[list[Result]] = [[] for _ in folders]
    settings = wal.Settings(seconds, warmup_seconds=seconds / 10, block_seconds=min(seconds, 10))
    for number in range(rounds):
        for side in random.sample(range(len(folders)), len(folders)):
            progress.update(f"round {number + 1}: {folders[side]}", number, rounds)
            made = run.disk(folders[side], settings)
            if keep:
                result.write(str(keep / f"{'ABCDEFGH'[side]}-{number:03d}.parquet"), made)
            if not made.complete:
                raise Interrupted(f"round {number + 1}: {made.document['why']}")
            sides[side].append(made)
    return sides
