"""fio, for what lies beyond one request at a time; its JSON read in full, the sync block too.

The latency of fdatasync is in ``jobs[].sync.lat_ns``; ``write.clat_ns`` of a buffered job is the
page cache. fio's own bins are at most 1/128 wide. Which file a job finds changes its result two-
and threefold, so each job says it: ``fresh`` (allocated, never written) or ``overwrite``.
https://fio.readthedocs.io/en/latest/fio_doc.html#json-output
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.bench.probe import place
from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import find_program, run
from opslib.core.progress import SILENT, Progress

DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PATTERNS = ("randread", "randwrite", "read", "write")
_MOST_JSON = 64 << 20
_SPARE = 60.0


@dataclass(frozen=True)
class Latency:
    """One direction of a job: ``count`` I/Os; latencies in ms; ``bins``: ns to count (json+)."""

    count: int
    iops: float
    mb_per_second: float
    mean: float
    low: float
    high: float
    percentiles: Mapping[float, float]
    bins: Mapping[int, int]

    def as_dict(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "iops": round(self.iops, 1),
            "mb_per_second": round(self.mb_per_second, 3),
            "mean_ms": round(self.mean, 6),
            "max_ms": round(self.high, 6),
            "percentiles_ms": {f"{k:g}": round(v, 6) for k, v in self.percentiles.items()},
        }


@dataclass(frozen=True)
class Job:
    """One job's results by direction: read, write, sync; only those that it did."""

    name: str
    directions: Mapping[str, Latency]
    options: Mapping[str, str]


@dataclass(frozen=True)
class Point:
    """One depth of a sweep."""

    depth: int
    pattern: str
    latency: Latency

    def as_dict(self) -> dict[str, Any]:
        return {"depth": self.depth, "pattern": self.pattern, **self.latency.as_dict()}


@dataclass(frozen=True)
class Sweep:
    """A pattern over queue depths. ``knee``: beyond it, depth buys latency only."""

    pattern: str
    state: str
    engine: str
    direct: bool
    points: tuple[Point, ...]
    knee: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "file_state": self.state,
            "engine": self.engine,
            "direct": self.direct,
            "knee_depth": self.knee,
            "points": [one.as_dict() for one in self.points],
        }


def program() -> str:
    """Return where fio is. Raises InputError with how to get it."""
    return find_program(
        "fio",
        why="for queue depths above 1",
        hint="install it (Debian, Ubuntu: apt-get install fio); `opslib bench disk` needs none",
    )


def read_jobs(text: str, where: str = "fio") -> list[Job]:
    """Read fio's JSON (json or json+), whatever it warned before it.

    Raises OpslibError for output that is cut off, of no job, or of a job that failed.
    """
    start = text.find("{")
    try:
        document = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        document = None
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list) or not jobs:
        raise OpslibError("fio's results are cut off or not JSON", where=where)
    out = []
    for one in jobs:
        if one.get("error"):
            number = int(one["error"])
            raise OpslibError(f"fio's job failed: {os.strerror(number)}", where=one.get("jobname"))
        found = {name: _latency(one.get(name) or {}) for name in ("read", "write", "trim", "sync")}
        done = {name: latency for name, latency in found.items() if latency.count}
        out.append(Job(str(one.get("jobname")), done, dict(one.get("job options") or {})))
    return out


def _latency(told: Mapping[str, Any]) -> Latency:
    """Return one direction; sync counts in lat_ns.N, for its total_ios is always 0."""
    lat = told.get("lat_ns") or {}
    clat = told.get("clat_ns") or lat
    detailed = lat if lat.get("percentile") else clat
    count = int(told.get("total_ios") or lat.get("N") or clat.get("N") or 0)
    percentiles = {float(k): v / 1e6 for k, v in (detailed.get("percentile") or {}).items()}
    return Latency(
        count,
        float(told.get("iops") or 0),
        float(told.get("bw_bytes") or 0) / 1e6,
        float(lat.get("mean") or 0) / 1e6,
        float(lat.get("min") or 0) / 1e6,
        float(lat.get("max") or 0) / 1e6,
        dict(sorted(percentiles.items())),
        {int(k): int(v) for k, v in (detailed.get("bins") or {}).items()},
    )


def run_job(
    options: Mapping[str, Any], folder: str, *, seconds: float, env: Mapping[str, str] | None = None
) -> Job:
    """Run one job with fio's own options in ``folder`` and return its results.

    ``seconds`` is how long it should take; it is ended a minute later. The results come through
    a file, as warnings can stand before them on standard output.
    """
    fio = program()
    with tempfile.TemporaryDirectory(prefix="opslib-fio-") as place_:
        output = Path(place_) / "out.json"
        words = [fio, f"--output={output}", "--output-format=json+", "--eta=never"]
        words += ["--name=opslib", f"--directory={folder}"]
        words += [f"--{name}={value}" for name, value in options.items()]
        done = run(words, timeout=seconds + _SPARE, env=env, check=False)
        text = output.read_text(errors="replace")[:_MOST_JSON] if output.exists() else ""
    if done.code != 0:
        last = next((line for line in text.splitlines() if "fio:" in line), done.last_error_line)
        raise OpslibError(f"fio failed: {last.strip()[:300]}", where=folder)
    return read_jobs(text, folder)[0]


def engine(folder: str) -> tuple[str, bool]:
    """Return the best engine that works here and whether it can go around the page cache."""
    failed: OpslibError | None = None
    for name, direct in (("io_uring", 1), ("libaio", 1), ("io_uring", 0), ("psync", 0)):
        options = {"ioengine": name, "direct": direct, "rw": "randread", "bs": "4k", "size": "1m"}
        try:
            run_job({**options, "unlink": 1}, folder, seconds=10)
        except OpslibError as error:
            failed = error
            continue
        return name, bool(direct)
    raise failed or OpslibError("no engine of fio works here", where=folder)


def sweep(
    folder: str,
    pattern: str = "randread",
    *,
    depths: Sequence[int] = DEPTHS,
    seconds: float = 5.0,
    size: int = 256 << 20,
    block: int = 4096,
    state: str = "overwrite",
    any_filesystem: bool = False,
    progress: Progress = SILENT,
) -> Sweep:
    """Run a pattern at each depth for ``seconds`` on a file of ``size`` bytes.

    ``state``: "overwrite" writes the file once before; "fresh" gives each depth a new one. All
    files are removed. Raises InputError for bad input and where fio is missing, OpslibError where
    it fails.
    """
    _check(pattern, depths, state)
    program()
    where = place.look(folder)
    if not any_filesystem:
        place.refuse_what_is_no_disk(where)
    with place.alone(where):
        place.need_room(where, 2 * size)
        with place.own_folder(where) as own:
            name, direct = engine(own)
            job = {"ioengine": name, "direct": int(direct), "rw": pattern, "bs": block}
            job |= {"size": size, "filename": "sweep", "group_reporting": 1}
            if state == "overwrite":
                _written(own, size, direct=direct)
            points = []
            for number, depth in enumerate(depths):
                progress.update(f"{pattern} at depth {depth}", number, len(depths))
                points.append(_point(job, own, depth, seconds, state))
    return Sweep(pattern, state, name, direct, tuple(points), knee(points))


def _check(pattern: str, depths: Sequence[int], state: str) -> None:
    if pattern not in PATTERNS:
        raise InputError("not a pattern", where=pattern, expected=", ".join(PATTERNS))
    if state not in {"fresh", "overwrite"}:
        raise InputError("not a state of a file", where=state, expected="fresh or overwrite")
    if not depths or any(not 1 <= depth <= 4096 for depth in depths):
        raise InputError("not queue depths", where=str(list(depths)), expected="1 to 4096")


def _written(own: str, size: int, *, direct: bool) -> None:
    """Write the whole file once, so that every later write finds its blocks in place."""
    options = {"rw": "write", "bs": "1m", "size": size, "filename": "sweep", "end_fsync": 1}
    run_job({**options, "ioengine": "psync", "direct": int(direct)}, own, seconds=600)


def _point(job: Mapping[str, Any], own: str, depth: int, seconds: float, state: str) -> Point:
    if state == "fresh":
        Path(own, "sweep").unlink(missing_ok=True)
    timed = {"iodepth": depth, "runtime": seconds, "time_based": 1, "ramp_time": 1}
    done = run_job({**job, **timed}, own, seconds=seconds + 30)
    wanted = "write" if "write" in str(job["rw"]) else "read"
    if wanted not in done.directions:
        raise OpslibError("fio did nothing at this depth", where=f"depth {depth}")
    return Point(depth, str(job["rw"]), done.directions[wanted])


def knee(points: Sequence[Point]) -> int:
    """Return the depth of the greatest "power": throughput over latency (Kleinrock 1979).

    By Little's law latency is depth over throughput, so the power is throughput^2 over depth.
    """
    return max(points, key=lambda one: one.latency.iops**2 / one.depth).depth
