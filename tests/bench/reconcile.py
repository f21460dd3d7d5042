"""Plan and apply beside kubectl, on the same objects and server: outputs/bench/reconcile.json.

``python -m tests.bench.reconcile [OBJECTS ...]`` measures each number of objects (default: 100,
1000, 5000 and 20000), each as soon as it is done written into the results, where other numbers
stay as they were: what was interrupted goes on with the numbers that are missing. The machine
should have nothing else to do.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opslib.sandbox import cluster

from . import load
from .measure import Took, alternating, machine, ratio, read, run, table, write
from .work import DRIFTED, NAME, OPSLIB, Work

SIZES = (100, 1000, 5000, 20_000)
ROUNDS = 5
LARGE = 5000
"""From here on a first apply runs once, beside bare PATCHes of four workers."""
HUGE = 20_000
"""From here on what takes minutes runs once, and the rest three times."""
BARE = (1, 2, 4, 8, 16, 32)

PLAN = "opslib plan"
APPLY = "opslib apply"
ONLY = "opslib apply --no-wait"
DIFF = "kubectl diff --server-side"
PEER = "kubectl apply --server-side"
GET = "kubectl get -o json"
SECOND = "opslib plan again in one process"
DRIFT = f"opslib plan, {DRIFTED} drifted"
START = "opslib plan of one object"


def measure(work: Work) -> dict[str, Any]:
    """Measure one size; its objects are left."""
    started, objects = time.monotonic(), work.objects
    print(f"== {objects} objects", flush=True)
    first, bare = _first(work)
    _as_declared(work)
    steady = _steady(work)
    requests = work.count(work.plan)
    rounds = ROUNDS if objects < LARGE else 2
    drifted = alternating({PLAN: work.restored, DRIFT: work.drifted}, rounds, warm=0)
    row = {
        "objects": objects,
        **machine(),
        "first": first,
        "bare": bare,
        "steady": steady,
        "drifted": drifted,
        "requests of a plan": requests,
        "ratios": _ratios(first, bare, steady, drifted),
    }
    work.end()
    took = round(time.monotonic() - started)
    print(table({**first, **bare, **drifted, **steady}), flush=True)
    print(f"   {json.dumps(row['ratios'])}\n   in {took} s", flush=True)
    return {**row, "took_seconds": took}


def _first(work: Work) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Time the first apply beside bare PATCHes: all numbers of workers once, the best with it."""
    if work.objects >= HUGE:
        return alternating({ONLY: work.anew(work.apply_only)}, 1, warm=0), {}
    large = work.objects >= LARGE
    tried = {_bare(n): work.anew(work.bare(n)) for n in ((4,) if large else BARE)}
    bare = alternating(tried, 1, warm=0)
    sides = {ONLY: work.anew(work.apply_only), PEER: work.anew(work.peer_apply)}
    if large:
        return alternating(sides, 1, warm=0), bare
    sides[APPLY] = work.anew(work.apply)
    best = sorted(bare, key=lambda name: float(bare[name]["median_seconds"]))[:2]
    timed = alternating({**sides, **{name: tried[name] for name in best}}, ROUNDS, warm=0)
    again = {name: timed.pop(name) for name in best}
    return timed, {**bare, **again}


def _bare(workers: int) -> str:
    return f"bare PATCHes, {workers} workers"


def _as_declared(work: Work) -> None:
    """Bring about what a no-op pass finds: the objects, with both as their managers."""
    if work.objects < HUGE:
        work.empty()
        work.apply()
        work.peer_apply()


def _steady(work: Work) -> dict[str, dict[str, Any]]:
    sides = {
        PLAN: work.plan,
        DIFF: work.diff,
        PEER: work.peer_apply,
        GET: work.get,
        SECOND: work.second_pass,
    }
    if work.objects >= HUGE:
        del sides[PEER]  # the first time it would write all of them
        return alternating(sides, 3, warm=0, only={DIFF: 1})
    return alternating(sides, ROUNDS, warm=0 if work.objects >= LARGE else 1)


def _ratios(
    first: Mapping[str, Any],
    bare: Mapping[str, Any],
    steady: Mapping[str, Any],
    drifted: Mapping[str, Any],
) -> dict[str, float]:
    """Return the figures that are promised: how many times as long the first of two takes."""
    found = {
        "diff to plan": ratio(steady, DIFF, PLAN),
        "second pass to get": ratio(steady, SECOND, GET),
        "drifted to no-op": ratio(drifted, DRIFT, PLAN),
    }
    if PEER in steady:
        found["apply to plan"] = ratio(steady, PEER, PLAN)
    best = min(bare, key=lambda name: float(bare[name]["median_seconds"]), default="")
    for mark, name in (("", APPLY), (" --no-wait", ONLY)):
        if name in first and PEER in first:
            found[f"first: kubectl to opslib{mark}"] = ratio(first, PEER, name)
        if name in first and best:
            found[f"first: opslib{mark} to the best bare"] = ratio({**first, **bare}, name, best)
    return found


def start(place: Path) -> dict[str, Any]:
    """Time a plan of nearly nothing, beside an interpreter that starts and ends."""
    work = Work(place, 1)
    work.apply()
    rows = alternating(
        {START: work.plan, "python -c pass": lambda: run([OPSLIB[0], "-c", "pass"])}, ROUNDS + 2
    )
    work.empty()
    return {**machine(), "rows": rows}


def main(sizes: list[int]) -> None:
    """Measure all sizes on one control plane, and put them into the results."""
    cluster.down(NAME)  # of a run that was interrupted
    cluster.up(NAME)
    try:
        cluster.make_namespace(NAME, load.NAMESPACE)
        with tempfile.TemporaryDirectory() as place:
            _put("start", start(Path(place)))
            for size in sizes:
                work = Work(Path(place), size)
                _put(str(size), measure(work))  # before what only clears away, and may fail
                work.empty()
    finally:
        cluster.down(NAME)


def _put(name: str, row: Mapping[str, Any]) -> None:
    document = read("reconcile")
    rows = {**document.get("sizes", {}), name: row} if name != "start" else document.get("sizes")
    begun = row if name == "start" else document.get("start", {})
    order = sorted(rows or {}, key=int)
    sizes = {one: rows[one] for one in order} if rows else {}
    print(f"written: {write('reconcile', {'start': begun, 'sizes': sizes})}", flush=True)


def took(row: Mapping[str, Any], name: str) -> Took | None:
    """Return the median and the memory of one line of a size's results; None if it was not run."""
    for part in ("steady", "first", "bare", "drifted"):
        if found := row.get(part, {}).get(name):
            return Took(found["median_seconds"], found["peak_mb"])
    return None


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(SIZES))
