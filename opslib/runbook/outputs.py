"""What two cells showed, compared: figures by their data, tables by their rows, text by lines."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from opslib.runbook import htmltable
from opslib.runbook.difference import Difference, differs
from opslib.runbook.facts import ERROR_MIME, RESULT_MIME
from opslib.runbook.htmltable import Table
from opslib.runbook.masking import Mask, is_noise
from opslib.runbook.page import PLOTLY
from opslib.runbook.reading import data_of, joined
from opslib.runbook.series import changes, numbers, same, values_of

A_SERIES = 8
"""From this many numbers on a change is told by its median and tail, not one by one."""
_IMAGES = ("image/png", "image/svg+xml", "image/jpeg")
_MOST = 20
_DATA = ("y", "x", "z", "values", "r", "theta", "close", "size")
_LABELS = ("x", "y", "labels", "text")
Masks = tuple[Mask, Mask]


def differences(
    where: str, one: Sequence[Any], two: Sequence[Any], masks: Masks
) -> Iterator[Difference]:
    """Yield what differs between the outputs of two cells; at most 20 of one cell's tables."""
    for kind, compare in (("figure", _figures), ("table", _tables), ("image", _images)):
        left, right = _of(kind, one), _of(kind, two)
        if len(left) != len(right):
            counts = [f"{len(side)} {kind}s" for side in (left, right)]
            yield differs("output", where, counts)
        for number, pair in enumerate(zip(left, right, strict=False), start=1):
            yield from compare(where, number, pair, masks)
    texts = [_lines(side, mask) for side, mask in zip((one, two), masks, strict=True)]
    if texts[0] != texts[1]:
        pairs = zip_longest(*texts, fillvalue="")
        yield differs("output", where, next(pair for pair in pairs if pair[0] != pair[1]))


def _of(kind: str, outputs: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for output in outputs:
        data = data_of(output) if isinstance(output, dict) else {}
        if RESULT_MIME in data:
            continue
        if PLOTLY in data:
            found += [data[PLOTLY]] if kind == "figure" else []
        elif kind == "table" and (page := joined(data.get("text/html"))):
            found += htmltable.read(page)[0]
        elif kind == "image":
            found += [joined(data[name]) for name in _IMAGES if name in data][:1]
    return found


def _lines(outputs: Sequence[Any], mask: Mask) -> list[str]:
    """Return what was shown as text, line by line, without what changes from run to run."""
    parts: list[str] = []
    for output in outputs:
        if not isinstance(output, dict) or output.get("name") == "stderr":
            continue
        if output.get("output_type") == "error":
            parts.append(f"{joined(output.get('ename'))}: {joined(output.get('evalue'))}\n")
        parts.append(joined(output.get("text")) or _text_of(data_of(output)))
    lines = (line.rstrip() for line in mask("".join(parts)).splitlines())
    return [line for line in lines if line]


def _text_of(data: Mapping[str, Any]) -> str:
    if PLOTLY in data or RESULT_MIME in data or ERROR_MIME in data:
        return ""
    if page := joined(data.get("text/html")):
        return htmltable.read(page)[1] + "\n"
    if any(name in data for name in _IMAGES):
        return ""
    return (joined(data.get("text/markdown")) or joined(data.get("text/plain"))) + "\n"


def _images(where: str, number: int, pair: tuple[str, str], masks: Masks) -> Iterator[Difference]:
    del masks
    if "".join(pair[0].split()) != "".join(pair[1].split()):
        sums = [f"SHA-256 {hashlib.sha256(one.encode()).hexdigest()[:12]}" for one in pair]
        yield differs("output", f"{where}, image {number}", sums)


# Figures


def _figures(where: str, number: int, pair: tuple[Any, Any], masks: Masks) -> Iterator[Difference]:
    one, two = (figure if isinstance(figure, dict) else {} for figure in pair)
    titles = [mask(_title(figure)) for mask, figure in zip(masks, (one, two), strict=True)]
    name = f"{where}, figure “{_title(two)}”" if titles[1] else f"{where}, figure {number}"
    if titles[0] != titles[1]:
        yield differs("output", f"{name}, title", titles)
    left, right = _traces(one), _traces(two)
    for trace in dict.fromkeys([*left, *right]):
        place = f"{name}, trace “{trace}”"
        if trace not in left or trace not in right:
            there = ["a series" if trace in side else None for side in (left, right)]
            yield differs("series", place, there)
        else:
            yield from _trace(place, left[trace], right[trace], masks)


def _title(figure: Mapping[str, Any]) -> str:
    layout = figure.get("layout")
    title = layout.get("title") if isinstance(layout, dict) else None
    text = title.get("text") if isinstance(title, dict) else title
    return " ".join(text.split()) if isinstance(text, str) else ""


def _traces(figure: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    listed = figure.get("data")
    for number, trace in enumerate(listed if isinstance(listed, list) else [], start=1):
        if isinstance(trace, dict):
            name = str(trace.get("name") or number)
            seen[name] += 1
            found[name if seen[name] == 1 else f"{name} ({seen[name]})"] = trace
    return found


def _trace(
    where: str, one: Mapping[str, Any], two: Mapping[str, Any], masks: Masks
) -> Iterator[Difference]:
    """Compare the data of two traces: counts per label one by one, numbers as a series."""
    labels = [_labels(side, mask) for side, mask in zip((one, two), masks, strict=True)]
    for key in _DATA:
        left, right = values_of(one.get(key)), values_of(two.get(key))
        if left is None and right is None:
            continue
        pair = [numbers(side or []) for side in (left, right)]
        if pair[0] is None or pair[1] is None:
            continue
        if all(labels) and {len(labels[0]), len(labels[1])} == {len(left or []), len(right or [])}:
            rows = [
                dict(zip(names, side or [], strict=False))
                for names, side in zip(labels, (left, right), strict=True)
            ]
            if max(map(len, rows)) < A_SERIES:
                yield from _by_label(where, rows[0], rows[1])
                continue
        yield from series(f"{where}, {key}", left or [], right or [], part="series") or []
    if labels[0] != labels[1] and not _has_numbers(one):
        yield differs("series", f"{where}, labels", labels)


def _has_numbers(trace: Mapping[str, Any]) -> bool:
    return any(numbers(found) for key in _DATA if (found := values_of(trace.get(key))))


def _labels(trace: Mapping[str, Any], mask: Mask) -> list[str]:
    for key in _LABELS:
        found = values_of(trace.get(key))
        if found and all(isinstance(one, str) for one in found):
            masked = [mask(one) for one in found]
            if "<time>" not in masked[0]:
                return masked
    return []


def _by_label(where: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[Difference]:
    for label in dict.fromkeys([*one, *two]):
        pair = one.get(label), two.get(label)
        if not same([pair[0]], [pair[1]]):
            yield differs("series", f"{where}, {label}", pair)


def series(
    where: str, one: Sequence[Any], two: Sequence[Any], part: str = "report"
) -> list[Difference] | None:
    """Compare two lists of numbers as series; None when one of them holds anything else."""
    pair = numbers(one), numbers(two)
    if pair[0] is None or pair[1] is None:
        return None
    if same(one, two):
        return []
    counts = (f"{len(one)} values", f"{len(two)} values")
    found = changes(pair[0], pair[1])
    extra: list[Difference] = []
    if len(one) != len(two):
        extra = [differs(part, f"{where}, length", counts)]
    if found:
        return [Difference(part, where, None, None, found), *extra]
    return extra or [differs(part, where, counts)]


# Tables


def _tables(
    where: str, number: int, pair: tuple[Table, Table], masks: Masks
) -> Iterator[Difference]:
    name = f"{where}, table {number}"
    one, two = pair
    if one.columns != two.columns:
        yield Difference("table", f"{name}, columns", list(one.columns), list(two.columns))
    counted = "" if _is_count(one) and _is_count(two) else None
    names = [c for c in one.columns if c in two.columns and c != counted]
    columns = [c for c in names if not is_noise(c)]
    rows = [_rows(table, columns, mask) for table, mask in zip(pair, masks, strict=True)]
    left, right = _keyed(rows[0]), _keyed(rows[1])
    if (
        left is None
        or right is None
        or len(set(left) & set(right)) * 2 < min(len(left), len(right))
    ):
        left, right = (dict(enumerate(side, start=1)) for side in rows)
    found = list(_rows_differ(name, columns, left, right))
    yield from found[:_MOST]
    if len(found) > _MOST:
        yield Difference("table", name, None, f"{len(found) - _MOST} more differences")


Rows = list[tuple[str, ...]]


def _is_count(table: Table) -> bool:
    """Tell whether the first column only counts the rows, as a pandas frame's own index does."""
    numbered = [str(number) for number in range(len(table.rows))]
    return table.columns[:1] == ("",) and [row[0] for row in table.rows] == numbered


def _rows(table: Table, columns: Sequence[str], mask: Mask) -> Rows:
    places = [table.columns.index(one) for one in columns]
    return [tuple(mask(row[place]) for place in places) for row in table.rows]


def _keyed(rows: Rows) -> dict[Any, tuple[str, ...]] | None:
    """Return the rows by the shortest run of first columns that tells them apart."""
    for width in range(1, min(4, len(rows[0]) + 1) if rows else 1):
        found = {" ".join(row[:width]): row for row in rows}
        if len(found) == len(rows) and all(key.strip() for key in found):
            return found
    return None if rows else {}


def _rows_differ(
    name: str, columns: Sequence[str], one: Mapping[Any, Any], two: Mapping[Any, Any]
) -> Iterator[Difference]:
    for key in dict.fromkeys([*one, *two]):
        if key not in one or key not in two:
            pair = [", ".join(side[key]) if key in side else None for side in (one, two)]
            yield differs("table", f"{name}, row {key}", pair)
    both = [key for key in one if key in two]
    for place, column in enumerate(columns):
        pairs = [(key, one[key][place], two[key][place]) for key in both]
        changed = [row for row in pairs if row[1] != row[2]]
        sides = [_floats([row[side] for row in pairs]) for side in (1, 2)]
        if len(changed) >= A_SERIES and sides[0] and sides[1]:
            found = changes(sides[0], sides[1])
            yield Difference("series", f"{name}, column {column}", None, None, found)
        else:
            for key, before, after in changed:
                yield Difference("table", f"{name}, row {key}, column {column}", before, after)


def _floats(texts: Sequence[str]) -> list[float] | None:
    try:
        return numbers([float(text.replace(",", "")) for text in texts])
    except ValueError:
        return None
