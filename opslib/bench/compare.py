"""A against B: ratios of quantiles with intervals, and "no difference" where that is so.

The interval of a ratio is the wider of two:

- a hierarchical bootstrap: machines are drawn with replacement, then their runs, then blocks of
  samples, so that the lottery between machines is in it (with one machine a side it is not,
  and that is said). Few machines or runs are drawn too much alike: their spread is widened by
  sqrt(k/(k-1)) (Davison and Hinkley 1997, section 3.8);
- the two sides' own intervals, combined (MOVER, Donner and Zou 2012,
  https://doi.org/10.1177/0962280210383199), which keep their width where the series are short.

Equal is what lies within the stated margin as a whole (two one-sided tests, Schuirmann 1987).
Both metrics are asked at once, so each gets half of the error (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from opslib.bench import stats
from opslib.bench.probe.result import Result
from opslib.bench.stats import Series, finite
from opslib.core.errors import InputError

MARGIN = 1.25
"""Half of what a person calls "twice as fast", and the margin of bioequivalence (0.8 to 1.25)."""
QUANTILES = (0.5, 0.99)
_DRAWS = 799


class Said(StrEnum):
    """What a comparison of one quantile comes to."""

    FASTER = "A is faster"
    SLOWER = "A is slower"
    EQUAL = "no difference: equal within the margin"
    OPEN = "no difference shown"


@dataclass(frozen=True)
class Ratio:
    """One quantile of A over that of B, with its interval; ``high`` may be inf."""

    quantile: float
    point: float
    low: float
    high: float
    said: Said

    def as_dict(self) -> dict[str, Any]:
        return {
            "quantile": self.quantile,
            "ratio": finite(self.point),
            "interval": [finite(self.low), finite(self.high)],
            "said": str(self.said),
        }


@dataclass(frozen=True)
class Comparison:
    """A against B. ``difference``: whether any quantile shows one."""

    difference: bool
    said: str
    ratios: tuple[Ratio, ...]
    margin: float
    level: float
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "difference": self.difference,
            "said": self.said,
            "ratios": [one.as_dict() for one in self.ratios],
            "margin": self.margin,
            "level": self.level,
            "warnings": list(self.warnings),
        }


Machines = list[list[Series]]
"""The series of one side: machines, their runs, their samples in order."""


def compare(
    first: Sequence[Result], second: Sequence[Result], *, margin: float = MARGIN, seed: int = 0
) -> Comparison:
    """Compare the runs of A with those of B. Raises InputError for a side without samples."""
    sides = [_side(runs, name) for runs, name in ((first, "A"), (second, "B"))]
    return compare_series(
        sides[0], sides[1], margin=margin, seed=seed, warnings=_warnings(first, second, sides)
    )


def compare_series(
    first: Machines,
    second: Machines,
    *,
    margin: float = MARGIN,
    level: float = stats.LEVEL,
    seed: int = 0,
    warnings: Sequence[str] = (),
) -> Comparison:
    """Compare latencies, as machines -> runs -> samples in the order of time, of one unit."""
    if not margin > 1:
        raise InputError("a margin is above 1", where="--margin", expected="such as 1.25")
    each = 1 - (1 - level) / len(QUANTILES)
    ratios = tuple(_ratio((first, second), at, each, margin, seed) for at in QUANTILES)
    return Comparison(
        any(one.said in {Said.FASTER, Said.SLOWER} for one in ratios),
        _summary(ratios),
        ratios,
        margin,
        level,
        tuple(warnings),
    )


def _ratio(
    sides: tuple[Machines, Machines], quantile: float, level: float, margin: float, seed: int
) -> Ratio:
    ends = [_ends(side, quantile, level, seed + 7 * n) for n, side in enumerate(sides)]
    (a, a_low, a_high), (b, b_low, b_high) = ends
    point = a - b
    low = point - math.hypot(a - a_low, b_high - b)
    high = point + math.hypot(a_high - a, b - b_low)
    drawn = _drawn(sides[0], quantile, seed + 1) - _drawn(sides[1], quantile, seed + 2)
    tails = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    low, high = min(low, float(tails[0])), max(high, float(tails[1]))
    return Ratio(quantile, math.exp(point), math.exp(low), math.exp(high), _said(low, high, margin))


def _said(low: float, high: float, margin: float) -> Said:
    inside = -math.log(margin) < low and high < math.log(margin)
    if inside:
        return Said.EQUAL
    if high < 0:
        return Said.FASTER
    return Said.SLOWER if low > 0 else Said.OPEN


def _ends(side: Machines, quantile: float, level: float, seed: int) -> tuple[float, float, float]:
    """Return the logarithms of a side's quantile and its interval."""
    series = np.concatenate([run for machine in side for run in machine])
    found = stats.quantile_interval(series, quantile, level=level, seed=seed)
    floor = max(float(series.min()), 1e-9)
    return (
        math.log(max(found.point, floor)),
        math.log(max(found.low, floor)),
        math.log(found.high) if found.high > 0 else math.inf,
    )


def _drawn(side: Machines, quantile: float, seed: int) -> Series:
    """Return log-quantiles of hierarchical bootstrap draws, shape (draws,)."""
    rng = np.random.default_rng(seed)
    series = np.concatenate([run for machine in side for run in machine])
    grid = stats.tail_grid(series, quantile)
    length = 5 * stats.memory_at(series, quantile)
    tables = [[stats.count_blocks([run], grid, length) for run in machine] for machine in side]
    counts = np.zeros((_DRAWS, len(grid)))
    sizes = np.zeros(_DRAWS)
    chosen = rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size=_DRAWS)
    for machine, times in zip(tables, chosen.T, strict=True):
        share = np.full(len(machine), 1 / len(machine))
        runs = rng.multinomial(len(machine), share, size=_DRAWS) * times[:, None]
        for (table, size), often in zip(machine, runs.T, strict=True):
            blocks = stats.drawn_blocks(rng, len(size), often)
            counts += blocks @ table
            sizes += blocks @ size
    drawn = np.log(np.maximum(stats.read_off(counts, sizes, grid, quantile), 1e-9))
    clusters = len(side) if len(side) > 1 else len(side[0])
    spread = math.sqrt(clusters / (clusters - 1)) if clusters > 1 else 1.0
    middle = float(np.median(drawn))
    return np.asarray(middle + (drawn - middle) * spread)


def _summary(ratios: Sequence[Ratio]) -> str:
    shown = [one for one in ratios if one.said in {Said.FASTER, Said.SLOWER}]
    if not shown:
        equal = all(one.said is Said.EQUAL for one in ratios)
        return str(Said.EQUAL if equal else Said.OPEN)
    return "; ".join(f"{one.said} at p{100 * one.quantile:g}" for one in shown)


def _side(runs: Sequence[Result], name: str) -> Machines:
    machines: dict[str, list[Series]] = {}
    for run in runs:
        series = np.asarray(run.columns["sync_ns"], dtype=np.float64) / 1e6
        if len(series):
            machines.setdefault(machine_of(run.document), []).append(series)
    if not machines:
        raise InputError(f"side {name} has no samples to compare", where=name)
    return list(machines.values())


def machine_of(document: Mapping[str, Any]) -> str:
    """Return what tells one machine from another: its boot-independent id, else its name."""
    facts = document.get("facts") or {}
    return str(facts.get("machine_id") or facts.get("hostname") or "unknown")


def _warnings(
    first: Sequence[Result], second: Sequence[Result], sides: Sequence[Machines]
) -> list[str]:
    out = []
    if min(len(side) for side in sides) < 3:
        out.append(
            "fewer than 3 machines a side: this compares these machines, not what is behind them"
        )
    hours = [{str(run.document["started"])[:13] for run in runs} for runs in (first, second)]
    if not hours[0] & hours[1]:
        out.append("A and B were measured at different hours: their neighbours were others")
    if any(not run.complete for run in (*first, *second)):
        out.append("a run is partial")
    kinds = {str(run.document["settings"].get("record")) for run in (*first, *second)}
    if len(kinds) > 1:
        out.append(f"the records have different sizes: {', '.join(sorted(kinds))} bytes")
    return out
