"""What a series of latencies knows about its own quantiles.

Latencies are strongly autocorrelated: on a busy disk 2,000 in a row are worth about 50 that know
nothing of each other. The interval of a quantile is the wider of two, since each alone is
too narrow where the series is short:

- a block bootstrap (Künsch 1989, https://doi.org/10.1214/aos/1176347265): blocks that are
  longer than the memory of the series are drawn with replacement, the quantile is taken anew;
- order statistics at the exact binomial interval of the level (Woodruff 1952,
  https://doi.org/10.1080/01621459.1952.10483443), counted with the effective number of samples:
  n over the integrated autocorrelation time of "above the quantile". With fewer effective
  samples than the largest one can bound the quantile by, the upper end is infinite: not known.

Own code in numpy: `arch` brings scipy and statsmodels (150 MB) and has the bootstrap only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opslib.bench.special import proportion

Series = npt.NDArray[np.float64]
LEVEL = 0.95
DRAWS = 999
_GRID = 160
_LONGEST = 1 << 18
_FEWEST_BLOCKS, _MOST_BLOCKS = 20, 400
_MEMORIES = 5
"""How many times the memory of a series one block is long."""


@dataclass(frozen=True)
class Interval:
    """A quantile of a series (in its unit) and where the true one lies. ``high`` may be inf.

    ``effective`` is how many independent samples the series is worth for this quantile;
    ``memory`` how many samples in a row are worth one.
    """

    quantile: float
    point: float
    low: float
    high: float
    level: float
    samples: int
    effective: float
    memory: float

    def as_dict(self) -> dict[str, Any]:
        """Return the interval as JSON; an unknown end is null."""
        return {
            "quantile": self.quantile,
            "point": finite(self.point),
            "low": finite(self.low),
            "high": finite(self.high),
            "level": self.level,
            "samples": self.samples,
            "effective_samples": round(self.effective, 1),
        }


def finite(value: float) -> float | None:
    """Return a number for JSON: what is infinite or none is null."""
    return round(float(value), 6) if math.isfinite(value) else None


def memory(values: Series) -> float:
    """Return the integrated autocorrelation time in samples, at least 1.

    Summed up to a window of five times itself (Sokal 1997,
    https://doi.org/10.1007/978-1-4899-0319-8_6).
    """
    whole = float(values.var()) if len(values) else 0.0
    if len(values) < 3 or whole == 0:
        return 1.0
    # A long series by means of neighbours: what they lose in spread is their own memory.
    step = -(-len(values) // _LONGEST)
    parts = values[: len(values) // step * step].reshape(-1, step).mean(axis=1)
    spread = float(parts.var())
    return max(1.0, step * spread / whole * _summed(parts)) if spread else 1.0


def _summed(values: Series) -> float:
    """Return the sum of the autocorrelations, both sides and itself, up to the window."""
    count = len(values)
    centred = values - values.mean()
    power = float(centred @ centred)
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)[:count] / power
    times = 2 * np.cumsum(correlation) - 1
    enough = np.arange(count) >= 5 * times
    at = int(np.argmax(enough)) if enough.any() else count - 1
    return float(times[at])


def memory_at(values: Series, quantile: float) -> float:
    """Return the memory of "above the quantile", or of nearer ones to the middle, the longest.

    Few samples are above a high quantile, so what they tell of their own memory is too little;
    what five times as many tell is somewhat too much.
    """
    far = min(quantile, 1 - quantile)
    out = 1.0
    for times, weight in ((1, 1.0), (2, 1.0), (5, 0.7)):
        distance = min(0.5, times * far)
        level = 1 - distance if quantile > 0.5 else distance
        above = values > np.quantile(values, level)
        out = max(out, weight * memory(above.astype(np.float64)))
    return out


def quantile_interval(
    values: npt.ArrayLike, quantile: float = 0.99, *, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Return a quantile of a series in the order in which it was measured, with its interval.

    ``values``: shape (n,), any unit; ``level``: the confidence. The same input gives the same
    interval. An empty series knows nothing: NaN within (0, inf).
    """
    series = np.asarray(values, dtype=np.float64).ravel()
    if len(series) == 0:
        return Interval(quantile, math.nan, 0.0, math.inf, level, 0, 0.0, 1.0)
    memories = memory_at(series, quantile)
    effective = len(series) / memories
    low, high = _by_order(np.sort(series), quantile, effective, level)
    drawn = bootstrap([series], quantile, _MEMORIES * memories, seed=seed)
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        quantile,
        float(np.quantile(series, quantile)),
        min(low, float(ends[0])),
        max(high, float(ends[1])),
        level,
        len(series),
        effective,
        memories,
    )


def _by_order(ordered: Series, quantile: float, effective: float, level: float) -> list[float]:
    """Return the order statistics that bound a quantile; beyond what was seen is 0 and inf."""
    count = len(ordered)
    low, high = proportion(quantile * effective, effective, level)
    tail = (1 - level) / 2
    lowest = quantile < 1 and (1 - quantile) ** effective > tail
    highest = quantile**effective > tail
    first = 0.0 if lowest else float(ordered[max(0, math.floor(low * count) - 1)])
    last = math.inf if highest else float(ordered[min(count - 1, math.ceil(high * count))])
    return [first, last]


def enough(quantile: float, level: float = LEVEL) -> float:
    """Return how many independent samples the largest needs to bound a quantile from above."""
    return math.log((1 - level) / 2) / math.log(quantile)


def bootstrap(
    parts: list[Series], quantile: float, length: float, *, draws: int = DRAWS, seed: int = 0
) -> Series:
    """Return the quantile of ``draws`` block-bootstrap series, shape (draws,).

    ``parts`` are drawn from together; no block spans two of them. Not the samples are copied:
    each block is counted on a grid of values once, and a draw is a sum of counts.
    """
    values = np.concatenate(parts)
    grid = tail_grid(values, quantile)
    counts, sizes = count_blocks(parts, grid, length)
    rng = np.random.default_rng(seed)
    weights = drawn_blocks(rng, len(sizes), np.ones(draws, dtype=np.int64))
    return read_off(weights @ counts, weights @ sizes, grid, quantile)


def drawn_blocks(
    rng: np.random.Generator, blocks: int, times: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return how often each block is drawn, shape (draws, blocks): ``times`` as many as there are.

    The same as a multinomial draw, a tenth of its time.
    """
    whole = times * blocks
    rows = np.repeat(np.arange(len(times)), whole)
    cells = rows * blocks + rng.integers(0, blocks, int(whole.sum()))
    counted = np.bincount(cells, minlength=len(times) * blocks)
    return counted.reshape(len(times), blocks).astype(np.float64)


def tail_grid(values: Series, quantile: float) -> Series:
    """Return values at which to count: dense around the quantile, by distance from the end."""
    far = 1 - quantile
    outer = np.geomspace(max(far / 50, 0.5 / len(values)), 1.0, _GRID)
    around = np.linspace(max(0.0, 1 - 3 * far), min(1.0, 1 - far / 3), _GRID)
    return np.unique(np.quantile(values, np.clip(np.concatenate([1 - outer, around, [1.0]]), 0, 1)))


def count_blocks(
    parts: list[Series], grid: Series, length: float
) -> tuple[npt.NDArray[np.float64], Series]:
    """Return for each block how many samples are at most each grid value, and its size."""
    whole = sum(len(one) for one in parts)
    longest = max(1, min(math.ceil(length), whole // _FEWEST_BLOCKS), whole // _MOST_BLOCKS)
    rows, sizes = [], []
    for part in parts:
        number = np.arange(len(part)) // longest
        blocks = int(number[-1]) + 1 if len(part) else 0
        cells = number * (len(grid) + 1) + np.searchsorted(grid, part, side="left")
        table = np.bincount(cells, minlength=blocks * (len(grid) + 1))
        rows.append(table.reshape(blocks, -1)[:, :-1].cumsum(axis=1))
        sizes.append(np.bincount(number, minlength=blocks))
    return np.concatenate(rows).astype(np.float64), np.concatenate(sizes).astype(np.float64)


def read_off(
    counts: npt.NDArray[np.float64], sizes: Series, grid: Series, quantile: float
) -> Series:
    """Return of each row the smallest grid value that has the quantile's share of it."""
    reached = counts >= quantile * sizes[:, None] - 1e-9
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), len(grid) - 1)
    return grid[at]


def naive_interval(
    values: npt.ArrayLike, quantile: float = 0.99, *, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Return what a bootstrap says that takes each sample for independent: far too narrow.

    Shown beside the real interval in tests and reports, never used for a verdict.
    """
    series = np.asarray(values, dtype=np.float64).ravel()
    rng = np.random.default_rng(seed)
    drawn = [np.quantile(rng.choice(series, len(series)), quantile) for _ in range(199)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
