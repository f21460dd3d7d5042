"""Measure side by side with the peers: ``make bench``. Whole processes, alternating runs, medians.

Uses a sandbox of its own; writes outputs/bench/start.json, records.json, index.json, runbook.json,
drift-recall.json, drift.json, seal.json, scan.json, disk.json, and reconcile.json for the numbers
of objects named (``make bench ARGS='100 1000'``; see ``reconcile``).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opslib import __version__
from opslib.sandbox import cluster
from opslib.sandbox.binaries import own_kubectl
from opslib.source.example import create_example

from . import disk, drift, index, recall, reconcile, records, runbook, scan, seal

PROJECT = Path(__file__).parents[2]
ROUNDS = 7
NAME = "bench"
Words = Sequence[str]


def seconds(words: Words, env: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> float:
    """Return the wall time of one whole process."""
    started = time.perf_counter()
    done = subprocess.run(words, env=env, capture_output=True, check=False)
    took = time.perf_counter() - started
    if done.returncode not in codes:
        raise SystemExit(f"{words} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return took


def alternating(work: Mapping[str, Callable[[], float]]) -> dict[str, dict[str, Any]]:
    """Run each in turn, ROUNDS times after one warm-up, and return medians and ranges."""
    samples: dict[str, list[float]] = {name: [] for name in work}
    for number in range(ROUNDS + 1):
        for name, one in work.items():
            took = one()
            if number:
                samples[name].append(round(took, 4))
    return {
        name: {
            "median_seconds": round(statistics.median(values), 4),
            "min_seconds": min(values),
            "max_seconds": max(values),
            "samples": values,
        }
        for name, values in samples.items()
    }


def main() -> None:
    """Measure start-up and the plan of the example, and write the results."""
    cluster.up(NAME)
    try:
        with tempfile.TemporaryDirectory() as place:
            results = measure(Path(place) / "payment-platform")
    finally:
        cluster.down(NAME)
    document = {
        "opslib": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rounds": ROUNDS,
        "results": results,
    }
    path = PROJECT / "outputs" / "bench" / "start.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    for name, row in results.items():
        print(
            f"{name:45} {row['median_seconds']:.3f} s  ({row['min_seconds']}-{row['max_seconds']})"
        )
    print(f"written: {path}")


def measure(repo: Path) -> dict[str, dict[str, Any]]:
    """Apply the example once, then time the verbs on it beside kubectl's."""
    create_example(repo)
    env = {**os.environ, **cluster.environment(NAME)}
    opslib = [sys.executable, "-m", "opslib"]
    where = ["--repo", str(repo), "--path", "production"]
    seconds([*opslib, "apply", *where, "--yes"], env)
    folder = str(repo / "production")
    diff = [str(own_kubectl()), "diff", "--server-side", "--field-manager=bench", "-k", folder]
    return alternating(
        {
            "python -c pass": lambda: seconds([sys.executable, "-c", "pass"], env),
            "opslib --help": lambda: seconds([*opslib, "--help"], env),
            "opslib plan (example, nothing to change)": lambda: seconds(
                [*opslib, "plan", *where], env
            ),
            "kubectl diff --server-side (the same)": lambda: seconds(diff, env, (0, 1)),
        }
    )


if __name__ == "__main__":
    main()
    records.main()
    index.main()
    runbook.main()
    recall.main()
    drift.main(drift.OBJECTS)
    seal.main()
    scan.main()
    disk.main()
    reconcile.main([int(word) for word in sys.argv[1:]] or list(reconcile.SIZES))
