"""The section of docs/benchmarks.md on drift reviews, from their two files of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
MARK = "<!-- the same, of outputs/bench/drift.json and drift-recall.json -->"
MOST = 1.5


def reviews(cost: Row, recall: Row) -> str:
    """Return the section that results make; "" where there are none."""
    if not cost and not recall:
        return ""
    lines = ["## Drift reviews", ""]
    if recall:
        lines += [*_recall(recall), ""]
    if cost:
        lines += _cost(cost)
    return "\n".join(lines).rstrip("\n") + "\n"


def _recall(row: Row) -> Iterator[str]:
    """Yield what was found of what was done by hand, by class and writer."""
    table: Mapping[str, Mapping[str, Sequence[int]]] = row["by class and writer"]
    peer: Mapping[str, Sequence[int]] = row["kubectl diff --server-side"]
    yield (
        f"{row['edits']:,} edits under {row['identities']} identities on {row['objects']:,} "
        f"objects, of which {row['untouched']:,} are touched only by controllers, autoscalers and "
        f"a mutating webhook: {row['found']:,} found, {row['reported beside']} reported beside "
        f"them; {row['reported before any edit']} reported before the first edit. Each cell is "
        "found of done; kubectl diff compares the same objects as the same manager."
    )
    yield ""
    writers = list(next(iter(table.values())))
    yield _line(["", *writers, "all", "kubectl diff --server-side"])
    yield _line(["---"] * (len(writers) + 3))
    for what, cells in table.items():
        found = [_of(cells[writer]) for writer in writers]
        every = [sum(pair[side] for pair in cells.values()) for side in (0, 1)]
        yield _line([what, *found, _of(every), _of(peer[what])])


def _of(pair: Sequence[int]) -> str:
    return f"{pair[0]}/{pair[1]}" if pair[1] else "-"


def _cost(row: Row) -> Iterator[str]:
    """Yield what a review costs beside the plan that finds nothing."""
    yield (
        f"{row['machine']}, Python {row['python']}; {row['objects']:,} objects, whole processes "
        "in alternating runs, medians."
    )
    yield ""
    yield _line(["process", "median", "peak memory"])
    yield _line(["---"] * 3)
    for name, one in row["rows"].items():
        yield _line([name, f"{one['median_seconds']:.2f} s", f"{one['peak_mb']:.0f} MB"])
    times = float(row["review to plan"])
    verdict = "reached" if times <= MOST else "**missed**"
    yield ""
    yield f"The review takes {times:.2f} times the plan; at most {MOST:g} is asked: {verdict}."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
