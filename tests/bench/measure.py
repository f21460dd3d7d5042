"""Whole processes, timed in turn: wall time, and the most memory that they held."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib import __version__

PROJECT = Path(__file__).parents[2]
Words = Sequence[str]


@dataclass(frozen=True)
class Took:
    """One run: ``seconds`` of wall time, ``peak`` resident memory in MB (10^6 bytes)."""

    seconds: float
    peak: float


def run(words: Words, env: Mapping[str, str] | None = None, codes: Sequence[int] = (0,)) -> Took:
    """Run one whole process to its end; its output goes to a file, so that no pipe is a brake."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        with subprocess.Popen(words, env=env, stdout=out, stderr=err) as process:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            err.seek(0)
            text = err.read()[-800:].decode(errors="replace")
            raise SystemExit(f"{' '.join(words)[:200]} ended with {process.returncode}: {text}")
    return Took(seconds, usage.ru_maxrss * 1024 / 1e6)


def alternating(work: Mapping[str, Callable[[], Took]], rounds: int) -> dict[str, dict[str, Any]]:
    """Run each in turn, ``rounds`` times after one to warm up; return medians and ranges."""
    samples: dict[str, list[Took]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, one in work.items():
            took = one()
            if number:
                samples[name].append(took)
    return {name: summary(values) for name, values in samples.items()}


def summary(samples: Sequence[Took]) -> dict[str, Any]:
    """Return the median, the range and all samples."""
    seconds = [round(one.seconds, 4) for one in samples]
    return {
        "median_seconds": round(statistics.median(seconds), 4),
        "min_seconds": min(seconds),
        "max_seconds": max(seconds),
        "peak_mb": round(max(one.peak for one in samples), 1),
        "samples": seconds,
    }


def ratio(results: Mapping[str, Mapping[str, Any]], peer: str, ours: str) -> float:
    """Return how many times as long the peer takes."""
    one, other = (float(results[name]["median_seconds"]) for name in (peer, ours))
    return round(one / other, 2)


def write(name: str, document: Mapping[str, Any]) -> Path:
    """Write outputs/bench/NAME.json with the machine that it was measured on."""
    head = {
        "opslib": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    path = PROJECT / "outputs" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**head, **document}, indent=1) + "\n")
    return path


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as lines of text."""
    return "\n".join(
        f"{name:50} {row['median_seconds']:8.3f} s  ({row['min_seconds']}-{row['max_seconds']})"
        f"  {row['peak_mb']:7.1f} MB"
        for name, row in results.items()
    )
