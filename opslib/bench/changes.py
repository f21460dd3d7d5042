"""When a disk became slower or faster, and who did it: itself, a CPU or a storage neighbour.

Each window gives log p50 and log p90. A series is cut where that lowers the sum of squares by more
than noise would (optimal partitioning, Jackson et al. 2005, https://arxiv.org/abs/math/0309285,
with a penalty as in BIC, widened by the series' own memory), into parts of at least 3 windows;
a change counts from 1.5 times on. Own code: `ruptures` needs scipy (110 MB) for the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opslib.bench import stats
from opslib.bench.probe.result import Result
from opslib.bench.stats import Series

PERSIST = 3
EFFECT = 1.5
_PENALTY = 3.0
SELF, CPU, STORAGE, OPEN = "self", "CPU neighbour", "storage neighbour", "open"


@dataclass(frozen=True)
class Window:
    """One window: seconds since the start, latencies (ms), and what moved beside them."""

    start: float
    seconds: float
    began: str
    p50: float
    p90: float
    p99: float
    stalls: int
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Episode:
    """A time in which the disk was slower than its usual level, and whose doing it was."""

    onset: float
    end: float
    onset_utc: str
    ratio: float
    cause: str
    evidence: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "onset_s": round(self.onset, 1),
            "end_s": round(self.end, 1),
            "onset": self.onset_utc,
            "times_slower": round(self.ratio, 2),
            "cause": self.cause,
            "evidence": self.evidence,
        }


def windows(run: Result) -> list[Window]:
    """Return the windows of a watch (or the blocks of a wal run) that have samples."""
    block = np.asarray(run.columns["block"], dtype=np.int64)
    took = np.asarray(run.columns["sync_ns"], dtype=np.float64) / 1e6
    out, at = [], 0.0
    for number, told in enumerate(run.document["blocks"]):
        part = _part(block, took, number)
        seconds = float(told.get("seconds") or 0)
        if len(part):
            p50, p90, p99 = (float(one) for one in np.quantile(part, [0.5, 0.9, 0.99]))
            stalls = int(np.count_nonzero(part >= 200))
            began = str(told.get("started"))
            out.append(Window(at, seconds, began, p50, p90, p99, stalls, told))
        at += seconds
    return out


def _part(block: npt.NDArray[np.int64], took: Series, number: int) -> Series:
    first, last = np.searchsorted(block, [number, number + 1])
    return took[first:last]


def segments(values: Series) -> list[int]:
    """Return where the parts of a series of one level begin, 0 first."""
    count = len(values)
    if count < 2 * PERSIST:
        return [0]
    noise = _noise(values)
    middle = np.median(values)
    held = np.clip(values, middle - 40 * noise, middle + 40 * noise)
    sums = np.concatenate([[0.0], np.cumsum(held)])
    squares = np.concatenate([[0.0], np.cumsum(held**2)])
    penalty = _PENALTY * noise**2 * math.log(count) * _lasting(values)
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    came = np.zeros(count + 1, dtype=np.int64)
    for end in range(PERSIST, count + 1):
        start = np.arange(end - PERSIST + 1)
        size = end - start
        cost = squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / size
        total = best[start] + cost + penalty
        came[end] = int(np.argmin(total))
        best[end] = total[came[end]]
    out, end = [], count
    while end > 0:
        end = int(came[end])
        out.append(end)
    return out[::-1]


def _noise(values: Series) -> float:
    """Return the spread from one window to the next, which no change of level is in."""
    steps = np.abs(np.diff(values))
    return max(float(np.median(steps)) / 0.6745 / math.sqrt(2), 0.02)


def _lasting(values: Series) -> float:
    """Return how many windows in a row are worth one, by the steps around a running median."""
    wide = 2 * PERSIST + 1
    padded = np.pad(values, wide // 2, mode="edge")
    level = np.median(np.lib.stride_tricks.sliding_window_view(padded, wide), axis=1)
    return min(4.0, stats.memory(values - level))


def episodes(run: Result) -> list[Episode]:
    """Return when the disk was at least 1.5 times slower than usual, each with its cause."""
    seen = windows(run)
    if len(seen) < 2 * PERSIST:
        return []
    slow = np.zeros(len(seen), dtype=bool)
    factor = np.ones(len(seen))
    for name in ("p50", "p90"):
        values = np.log(np.maximum([getattr(one, name) for one in seen], 1e-6))
        level = _levels(values)
        above = np.exp(level - _usual(level))
        slow |= above >= EFFECT
        factor = np.maximum(factor, above)
    return [_episode(seen, slow, factor, *ends) for ends in _runs(slow)]


def _levels(values: Series) -> Series:
    """Return for each window the median of the part that it is in."""
    starts = [*segments(values), len(values)]
    out = np.empty(len(values))
    for first, last in itertools.pairwise(starts):
        out[first:last] = np.median(values[first:last])
    return out


def _usual(level: Series) -> float:
    """Return the level at which the disk is most of the time."""
    return float(np.median(level))


def _runs(marks: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _episode(
    seen: Sequence[Window], slow: npt.NDArray[np.bool_], factor: Series, first: int, last: int
) -> Episode:
    calm = [one for one, is_slow in zip(seen, slow, strict=True) if not is_slow]
    cause, evidence = attribute(seen[first:last], calm)
    end = seen[last - 1].start + seen[last - 1].seconds
    ratio = float(factor[first:last].max())
    return Episode(seen[first].start, end, seen[first].began, ratio, cause, evidence)


def attribute(during: Sequence[Window], calm: Sequence[Window]) -> tuple[str, str]:
    """Say who made the disk slow, by what moved with it: (cause, evidence).

    Own writes or own CPU up: self. Steal up: a CPU neighbour. Neither, and both can be read: a
    storage neighbour. Several, or unreadable: left open.
    """
    facts = {name: _moved(during, calm, *rule) for name, rule in _RULES.items()}
    unreadable = [name for name, moved in facts.items() if moved is None]
    up = [name for name, moved in facts.items() if moved and moved[2]]
    words = ", ".join(
        f"{name} {moved[0]:.3g} to {moved[1]:.3g}" for name, moved in facts.items() if moved
    )
    if unreadable:
        words = f"{words}; unreadable: {', '.join(unreadable)}".lstrip("; ")
    causes = {SELF if name != "steal %" else CPU for name in up}
    if len(causes) == 1:
        return causes.pop(), words
    if causes or unreadable:
        return OPEN, words
    return STORAGE, words


def _others_mb(told: Mapping[str, Any], seconds: float) -> float | None:
    sectors = [told.get("disk_write_sectors"), told.get("disk_read_sectors")]
    if None in sectors or told.get("own_written") is None:
        return None
    moved = sum(512 * int(one) for one in sectors if one is not None) - int(told["own_written"])
    return moved / 1e6 / max(seconds, 1e-3)


def _per_second(told: Mapping[str, Any], seconds: float) -> float | None:
    both = [told.get("disk_writes"), told.get("disk_reads")]
    return None if None in both else sum(int(one or 0) for one in both) / max(seconds, 1e-3)


def _steal(told: Mapping[str, Any], seconds: float) -> float | None:
    del seconds
    return told.get("steal_percent")


def _waiting(told: Mapping[str, Any], seconds: float) -> float | None:
    del seconds
    found = told.get("pressure_cpu")
    return told.get("busy_percent") if found is None else found


# What moves: how it is read, how much more it must be (absolute), how many times as much.
_RULES: dict[str, tuple[Any, float, float]] = {
    "own MB/s": (_others_mb, 2.0, 2.0),
    "own I/O a second": (_per_second, 100.0, 2.0),
    "tasks waiting for CPU %": (_waiting, 25.0, 1.5),
    "steal %": (_steal, 3.0, 2.0),
}


def _moved(
    during: Sequence[Window], calm: Sequence[Window], read: Any, least: float, times: float
) -> tuple[float, float, bool] | None:
    pairs = []
    for part in (calm, during):
        values = [read(one.told, one.seconds) for one in part]
        known = [float(one) for one in values if one is not None]
        if not known:
            return None
        pairs.append(float(np.median(known)))
    before, after = pairs
    return before, after, after - before >= least and after >= times * before


def own_cpu(run: Result) -> float | None:
    """Return what a run cost in percent of one CPU, the mean over its windows."""
    told = [(one.get("own_cpu_percent"), one.get("seconds")) for one in run.document["blocks"]]
    known = [(float(cost), float(time)) for cost, time in told if cost is not None and time]
    whole = sum(time for _, time in known)
    return round(sum(cost * time for cost, time in known) / whole, 3) if whole else None
