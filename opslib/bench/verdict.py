"""Pass, fail or inconclusive, with the interval that says so and how long it takes to know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from opslib.bench import arrivals, limits, special
from opslib.bench.arrivals import AtRate
from opslib.bench.limits import Limit
from opslib.bench.probe import honesty
from opslib.bench.probe.result import Result
from opslib.bench.stats import LEVEL, Interval, Series, enough, finite, quantile_interval

LONGEST = 7 * 86400.0
"""Beyond a week nobody waits: the value is too near to its limit to be told from it."""


class Answer(StrEnum):
    """A verdict has three values: what is not known is not passed and not failed."""

    PASS = "pass"  # noqa: S105  # a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judged:
    """One number against its limit. ``more_seconds``: how much longer to know, None: never."""

    limit: Limit
    answer: Answer
    point: float
    low: float
    high: float
    more_seconds: float | None
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.limit.name,
            "limit": self.limit.value,
            "unit": self.limit.unit,
            "answer": str(self.answer),
            "point": finite(self.point),
            "interval": [finite(self.low), finite(self.high)],
            "level": LEVEL,
            "more_seconds": self.more_seconds,
            "why": self.why,
            "source": self.limit.source,
        }


@dataclass(frozen=True)
class Verdict:
    """What is known of a disk. ``findings`` that are grave keep it from passing."""

    answer: Answer
    why: str
    numbers: tuple[Judged, ...]
    quantiles: tuple[Interval, ...]
    findings: tuple[honesty.Finding, ...]
    seconds: float
    rates: tuple[AtRate, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "answer": str(self.answer),
            "why": self.why,
            "seconds": round(self.seconds, 1),
            "numbers": [one.as_dict() for one in self.numbers],
            "quantiles_ms": [one.as_dict() for one in self.quantiles],
            "service_p99_ms": finite(self.numbers[0].point),
            "requests": [one.as_dict() for one in self.rates],
            "findings": [one.as_dict() for one in self.findings],
            "guideline": limits.GUIDELINE,
        }


def judge(
    runs: Sequence[Result],
    p99_ms: float = limits.P99.value,
    *,
    rates: Sequence[float] = arrivals.RATES,
) -> Verdict:
    """Judge one or more runs of one disk together: their samples are pooled, not their p99s.

    ``rates``: requests a second, for each of which the latency of a request is replayed.
    """
    series = pooled(runs)
    seconds = sum(measured_seconds(run) for run in runs)
    found = tuple(dict.fromkeys(one for run in runs for one in honesty.findings(run)))
    quantiles = tuple(quantile_interval(series, level) for level in (0.5, 0.95, 0.99, 0.999))
    limit = Limit(**{**limits.P99.__dict__, "value": p99_ms})
    numbers = (
        against(quantiles[2], limit, seconds),
        stalls(runs, limits.LATE_NS, limits.LATE, 3600, seconds),
        stalls(runs, limits.ELECTION_NS, limits.ELECTION, 86400, seconds),
    )
    answer, why = _together(numbers, found, len(series))
    replayed = (arrivals.replay(_service(runs), rate) for rate in rates)
    at_rates = tuple(one for one in replayed if one)
    return Verdict(answer, why, numbers, quantiles, found, seconds, at_rates)


def _service(runs: Sequence[Result]) -> Series:
    """Return what each batch of etcd waits for, in ms: its write and its fdatasync."""
    writes = [np.asarray(run.columns["write_ns"], dtype=np.float64) for run in runs]
    return pooled(runs) + (np.concatenate(writes) / 1e6 if writes else 0)


def pooled(runs: Sequence[Result]) -> Series:
    """Return all fdatasync times in milliseconds, in the order in which they were measured."""
    parts = [np.asarray(run.columns["sync_ns"], dtype=np.float64) for run in runs]
    return np.concatenate(parts) / 1e6 if parts else np.empty(0)


def measured_seconds(run: Result) -> float:
    """Return how long a run measured: its blocks, without warm-up and pauses."""
    return float(sum(float(one.get("seconds") or 0) for one in run.document["blocks"]))


def against(interval: Interval, limit: Limit, seconds: float) -> Judged:
    """Compare the interval of a quantile with a limit of the same unit."""
    more: float | None = 0.0
    if interval.high < limit.value:
        answer, why = Answer.PASS, "the whole interval is below the limit"
    elif interval.low > limit.value:
        answer, why = Answer.FAIL, "the whole interval is above the limit"
    else:
        answer, more = Answer.INCONCLUSIVE, longer(interval, limit.value, seconds)
        why = _open(interval, more)
    return Judged(limit, answer, interval.point, interval.low, interval.high, more, why)


def _open(interval: Interval, more: float | None) -> str:
    if not interval.samples:
        return "nothing was measured"
    worth = f"{interval.samples:,} samples are worth {interval.effective:,.0f} independent ones"
    if math.isinf(interval.high):
        return f"{worth}: too few to bound it from above"
    near = "" if more is not None else "; it is too near to the limit to be told from it"
    return f"{worth}: the limit lies within the interval{near}"


def longer(interval: Interval, limit: float, seconds: float) -> float | None:
    """Return how many more seconds should decide it: an interval's width falls with the root.

    None where that is more than a week, or nothing was measured.
    """
    if not interval.samples or seconds <= 0 or interval.point in (0.0, limit):
        return None
    factor = 1.0
    if math.isinf(interval.high):
        # Twice what the largest sample needs: then an end of finite use is there.
        factor = 2 * enough(interval.quantile, interval.level) / max(interval.effective, 1)
    else:
        end = interval.high if interval.point < limit else interval.low
        wide = abs(math.log(max(end, 1e-9) / interval.point))
        factor = (wide / abs(math.log(limit / interval.point))) ** 2
    more = seconds * max(factor * 1.2 - 1, 0.2)
    return round(more, 1) if more <= LONGEST else None


def stalls(
    runs: Sequence[Result], longer_than: int, limit: Limit, per: float, seconds: float
) -> Judged:
    """Judge how often the log stood still for so many nanoseconds; neighbours are one stall."""
    events = sum(count_stalls(run, longer_than) for run in runs)
    if seconds <= 0:
        why = "nothing was measured"
        return Judged(limit, Answer.INCONCLUSIVE, math.nan, 0.0, math.inf, None, why)
    low, high = (count * per / seconds for count in special.rate(events, LEVEL))
    point = events * per / seconds
    seen = f"{events} seen in {seconds:,.0f} s"
    if high < limit.value:
        return Judged(limit, Answer.PASS, point, low, high, 0.0, seen)
    if low > limit.value:
        return Judged(limit, Answer.FAIL, point, low, high, 0.0, seen)
    # Without another one: the interval of so many events ends at `high * seconds` of them.
    more = high * seconds / limit.value - seconds
    needed = round(more, 1) if more <= LONGEST else None
    return Judged(limit, Answer.INCONCLUSIVE, point, low, high, needed, seen)


def count_stalls(run: Result, longer_than: int) -> int:
    """Count stalls of at least so many nanoseconds; those within a second are one."""
    took = np.asarray(run.columns["sync_ns"], dtype=np.int64)
    began = np.asarray(run.columns["start_ns"], dtype=np.int64)
    at = np.flatnonzero(took >= longer_than)
    if not len(at):
        return 0
    ended = began[at] + took[at]
    return 1 + int(np.count_nonzero(began[at][1:] - ended[:-1] > 1_000_000_000))


def _together(
    numbers: tuple[Judged, ...], found: tuple[honesty.Finding, ...], samples: int
) -> tuple[Answer, str]:
    """Return one answer: a failed number fails; what is not believed never passes.

    Stalls that a short run cannot rule out leave a pass of the p99 standing, and are said.
    """
    if not samples:
        return Answer.INCONCLUSIVE, "nothing was measured"
    failed = [one for one in numbers if one.answer is Answer.FAIL]
    if failed:
        names = ", ".join(one.limit.name for one in failed)
        waited = next((one.what for one in found if one.code == "cpu"), "")
        return Answer.FAIL, f"{names}; {waited}" if waited else names
    grave = [one.what for one in found if one.grave]
    if grave:
        return Answer.INCONCLUSIVE, f"not believed: {grave[0]}"
    first = numbers[0]
    if first.answer is Answer.INCONCLUSIVE:
        return first.answer, first.why
    unknown = [one.limit.name for one in numbers[1:] if one.answer is Answer.INCONCLUSIVE]
    more = f"; too short to know about {' and '.join(unknown)}" if unknown else ""
    return Answer.PASS, f"{first.limit.name} is below {first.limit.value:g} ms{more}"
