"""Whole processes, timed in turn: wall time, and the most memory that they held."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
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
    timed = [sys.executable, "-I", "-S", str(Path(__file__).with_name("timed.py"))]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with tempfile.NamedTemporaryFile("r", encoding="ascii") as result:
            words = [*timed, result.name, *words]
            subprocess.run(words, env=env, stdout=out, stderr=err, check=False)
            seconds, peak, code = result.read().split()
        if int(code) not in codes:
            err.seek(0)
            text = err.read()[-800:].decode(errors="replace")
            raise SystemExit(f"{' '.join(words[5:])[:200]} ended with {code}: {text}")
    return Took(float(seconds), int(peak) * 1024 / 1e6)


def alternating(
    work: Mapping[str, Callable[[], Took]],
    rounds: int,
    *,
    warm: int = 1,
    only: Mapping[str, int] | None = None,
) -> dict[str, dict[str, Any]]:
    """Run each in turn, ``rounds`` times after ``warm`` rounds; return medians and ranges.

    ``only`` limits the rounds of single ones, which then are not warmed up either.
    """
    samples: dict[str, list[Took]] = {name: [] for name in work}
    limits = only or {}
    for number in range(rounds + warm):
        for name, one in work.items():
            if name in limits and not warm <= number < warm + limits[name]:
                continue
            took = one()
            if number >= warm:
                samples[name].append(took)
            said = "" if number >= warm else " (to warm up)"
            print(f"   {name}: {took.seconds:.2f} s{said}", flush=True)
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


def machine() -> dict[str, Any]:
    """Return what was measured with on what."""
    return {
        "opslib": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_before": round(os.getloadavg()[0], 2),
    }


def results(name: str) -> Path:
    """Return where the results of a benchmark are."""
    return PROJECT / "outputs" / "bench" / f"{name}.json"


def read(name: str) -> dict[str, Any]:
    """Read earlier results; none are an empty document."""
    path = results(name)
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return document


def write(name: str, document: Mapping[str, Any]) -> Path:
    """Write outputs/bench/NAME.json."""
    path = results(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as lines of text."""
    return "\n".join(
        f"{name:50} {row['median_seconds']:8.3f} s  ({row['min_seconds']}-{row['max_seconds']})"
        f"  {row['peak_mb']:7.1f} MB"
        for name, row in results.items()
    )
