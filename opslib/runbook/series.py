"""The numbers of a plotly figure or a table, compared as series: medians and tails, in per cent.

Plotly keeps arrays as lists or as base64 ("bdata") of a numpy type:
https://github.com/plotly/plotly.js/blob/master/src/lib/array.js reads them; the types
are i1 to u4, f4 and f8, little-endian.
"""

from __future__ import annotations

import array
import base64
import binascii
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_TYPES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
_CLOSE = 1e-9
"""Relative difference of two numbers that counts as none: what a sum in another order may do."""

Series = list[Any]


def values_of(source: Any) -> Series | None:
    """Return an array of a figure as a flat list; None for what is not one.

    Of a matrix the rows follow each other.
    """
    if isinstance(source, Mapping):
        return _decoded(source)
    if not isinstance(source, list):
        return None
    if any(isinstance(one, list) for one in source):
        return [item for row in source for item in (row if isinstance(row, list) else [row])]
    return source


def _decoded(source: Mapping[str, Any]) -> Series | None:
    code, data = _TYPES.get(str(source.get("dtype"))), source.get("bdata")
    if code is None or not isinstance(data, str):
        return None
    try:
        found = array.array(code, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()


def numbers(values: Sequence[Any]) -> list[float] | None:
    """Return the numbers of a series without gaps (None, NaN); None when it holds anything else."""
    found = []
    for one in values:
        if one is None:
            continue
        if isinstance(one, bool) or not isinstance(one, int | float):
            return None
        try:
            number = float(one)
        except OverflowError:
            return None
        if not math.isnan(number):
            found.append(number)
    return found


def same(one: Sequence[Any], two: Sequence[Any]) -> bool:
    """Tell whether two series hold the same values at the same places."""
    return len(one) == len(two) and all(map(equal, one, two))


def equal(one: Any, two: Any) -> bool:
    """Compare two values; numbers that differ by the order of a sum are the same."""
    if _number(one) and _number(two):
        if one == two or (one != one and two != two):  # noqa: PLR0124  # NaN is like NaN here
            return True
        try:
            return math.isclose(one, two, rel_tol=_CLOSE)
        except OverflowError:
            return False
    return type(one) is type(two) and bool(one == two)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile by linear interpolation (numpy's default) of at least one number."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def change(before: float, after: float) -> dict[str, float | None]:
    """Return both values and the change in per cent; None where there is no such number."""
    percent = None
    if before and math.isfinite(before) and math.isfinite(after):
        percent = (after - before) / abs(before) * 100
        percent = percent if math.isfinite(percent) else None
    finite = [one if math.isfinite(one) else None for one in (before, after)]
    return {"before": finite[0], "after": finite[1], "percent": percent}


def changes(before: Sequence[float], after: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Return how median and 99th percentile of a series changed; {} when one side is empty."""
    if not before or not after:
        return {}
    shares = {"median": 0.5, "p99": 0.99}
    return {
        name: change(quantile(before, share), quantile(after, share))
        for name, share in shares.items()
    }


def in_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Say changes in one line: "median 1.2 → 1.5 (+25.0 %), p99 …"."""
    return ", ".join(f"{name} {_one(one)}" for name, one in found.items())


def _one(found: Mapping[str, Any]) -> str:
    before, after, percent = found["before"], found["after"], found["percent"]
    shown = " → ".join("-" if one is None else f"{one:.6g}" for one in (before, after))
    if percent is None:
        return shown
    return f"{shown} ({percent:+.1f} %)"
