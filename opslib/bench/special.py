"""Exact intervals of a proportion and of a rate, without scipy (110 MB, a second to import)."""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-300


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function (https://dlmf.nist.gov/8.17)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of DLMF 8.17.22 by Lentz's method."""
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _away(1 + step * d)
            c = _away(1 + step / c)
            value *= d * c
        if abs(d * c - 1) < 1e-12:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _solved(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return (low + high) / 2


def proportion(successes: float, trials: float, level: float) -> tuple[float, float]:
    """Return the exact interval of a proportion (Clopper and Pearson 1934); counts may be broken.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval
    """
    tail = (1 - level) / 2
    failures = trials - successes
    low = high = 0.0
    if successes > 0:
        low = _solved(lambda p: beta_cdf(p, successes, failures + 1), tail, 0, 1)
    high = 1.0
    if failures > 0:
        high = _solved(lambda p: beta_cdf(p, successes + 1, failures), 1 - tail, 0, 1)
    return low, high


def rate(events: int, level: float) -> tuple[float, float]:
    """Return the exact interval of the expected number of events (Garwood 1936).

    https://en.wikipedia.org/wiki/Poisson_distribution#Confidence_interval
    """
    tail = (1 - level) / 2
    most = events + 10 * math.sqrt(events + 1) + 20
    low = _solved(lambda mean: 1 - poisson(events - 1, mean), tail, 0, most) if events else 0.0
    high = _solved(lambda mean: 1 - poisson(events, mean), 1 - tail, 0, most)
    return low, high


def poisson(most: int, mean: float) -> float:
    """Return the probability of at most so many events where ``mean`` are expected."""
    if mean <= 0:
        return 1.0
    logs = (k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(most + 1))
    return min(1.0, sum(math.exp(one) for one in logs))
