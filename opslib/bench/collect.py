"""Result files by name: one, many, or a folder of them; or measured now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opslib.bench.probe import result, run, wal
from opslib.bench.probe.result import Result
from opslib.core.clock import parse_duration
from opslib.core.errors import InputError


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
