"""Measure the index of records: made anew, looked through again, asked. 1,000 realistic records.

``python -m tests.bench.index [COUNT]`` writes outputs/bench/index.json; in-process, medians.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib import __version__
from opslib.runbook.index import FILE, refresh, search
from opslib.runbook.query import Query

PROJECT = Path(__file__).parents[2]
COUNT = 1000
ROUNDS = 7
QUERIES = {
    "everything": Query(),
    "words of outputs": Query(text="registry refused"),
    "words that all have": Query(text="ready after"),
    "an object": Query(resource="Deployment payments/service-7"),
    "a parameter": Query(parameters=(("replicas", "4"),)),
    "a person": Query(person="ada"),
    "runbook, outcome, time": Query(runbook="rollout", outcome="ok", since="2026-01-20"),
}


def _times(work: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    samples = []
    for number in range(ROUNDS + 1):
        before()
        started = time.perf_counter()
        work()
        if number:
            samples.append(round(time.perf_counter() - started, 5))
    median = round(statistics.median(samples), 5)
    return {"median_seconds": median, "max_seconds": max(samples), "samples": samples}


def measure(out: Path) -> dict[str, Any]:
    """Return the times of an index made anew, of one with nothing new, and of each query."""
    results: dict[str, Any] = {
        "made anew": _times(
            lambda: refresh(out), before=lambda: (out / FILE).unlink(missing_ok=True)
        ),
        "nothing new": _times(lambda: refresh(out)),
    }
    for name, query in QUERIES.items():
        found = len(search(query, out).records)
        one = _times(lambda query=query: search(query, out))  # type: ignore[misc]  # bound at once
        results[f"query: {name}"] = {**one, "records": found}
    return results


def main(count: int = COUNT) -> None:
    """Make the records from one real run, measure, and write the results."""
    many = importlib.import_module("tests.runbook.many")
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "many"
        many.multiply(many.one_real(Path(place)), out, count)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        results = measure(out)
        index = (out / FILE).stat().st_size
    document = {
        "opslib": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rounds": ROUNDS,
        "records": count,
        "megabytes": round(size / 1e6, 1),
        "index_megabytes": round(index / 1e6, 1),
        "results": results,
    }
    path = PROJECT / "outputs" / "bench" / "index.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    for name, row in results.items():
        print(f"{name:32} {1000 * row['median_seconds']:8.1f} ms")
    print(f"written: {path}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
