"""From outputs/bench/ to docs: the tables of docs/benchmarks.md, and the plot.

``python -m tests.bench.report`` rewrites what stands between its marks, and nothing else.
What was missed is said as plainly as what was reached.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import driftreport, runbook
from .measure import PROJECT, Took, read
from .reconcile import APPLY, BARE, DIFF, DRIFT, GET, ONLY, PEER, PLAN, SECOND, START, took

RUNBOOK = "<!-- the same, of outputs/bench/runbook.json -->"
DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PICTURE = PROJECT / "docs" / "reconcile-cost.png"
BEGIN, END = "<!-- python -m tests.bench.report -->", "<!-- end of what it writes -->"
MEMORY_MB = 350.0
START_SECONDS = 0.9

Row = Mapping[str, Any]


def section(document: Mapping[str, Any]) -> str:
    """Return the section of the documentation that results make."""
    sizes: Mapping[str, Row] = document.get("sizes", {})
    lines = ["## Plan and apply beside kubectl", "", _on_what(document), ""]
    lines += _table(("work", "must reach", "measured", ""), _promises(document))
    grows = "How cost grows, medians in seconds; `opslib apply` waits for health, kubectl does not:"
    lines += ["", grows, ""]
    lines += _table(("", *(f"{int(size):,} objects" for size in sizes)), _growth(sizes))
    lines += ["", "![Seconds and memory by number of objects](reconcile-cost.png)"]
    return "\n".join(lines) + "\n"


def _on_what(document: Mapping[str, Any]) -> str:
    sizes = document.get("sizes", {})
    some = next(iter(sizes.values()), document.get("start", {}))
    rounds = {size: len(row["steady"][PLAN]["samples"]) for size, row in sizes.items()}
    least = min(rounds.values(), default=0)
    few = [
        f"{name} at {int(size):,} objects: {len(line['samples'])}"
        for size, row in sizes.items()
        for name, line in {**row["first"], **row["steady"]}.items()
        if len(line["samples"]) < min(5, least)
    ]
    text = (
        f"{some.get('machine', '?')}, Python {some.get('python', '?')}, Kubernetes on the same "
        "machine; one third each of ConfigMaps, headless Services and Deployments with 0 replicas. "
        f"Whole processes in alternating runs, medians of at least {least}"
    )
    return text + (f", but of fewer here: {'; '.join(few)}." if few else ".")


def _promises(document: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Yield the rows of what must be reached: the work, the bound, the figure, the verdict."""
    sizes = document.get("sizes", {})
    for size, to_diff, to_apply in (("1000", 6, 3), ("5000", 15, 8)):
        if row := sizes.get(size):
            ratios = row["ratios"]
            what = f"no-op `opslib plan`, {int(size):,} objects"
            yield _at_least(f"{what}, to `{DIFF}`", to_diff, ratios["diff to plan"])
            yield _at_least(f"{what}, to `{PEER}`", to_apply, ratios["apply to plan"])
    if row := sizes.get("5000"):
        peak = float(row["steady"][PLAN]["peak_mb"])
        yield _row("its peak memory", f"under {MEMORY_MB:.0f} MB", f"{peak:.0f} MB", peak < 350)
        yield _requests(row)
    if row := sizes.get("1000"):
        ratios = row["ratios"]
        yield _at_most(f"the same pass in one process, to `{GET}`", 1, ratios["second pass to get"])
        yield _at_most("10 of 1,000 drifted, to the no-op plan", 1.3, ratios["drifted to no-op"])
        for name, mark in ((ONLY, " --no-wait"), (APPLY, "")):
            what = f"first `{name}`, 1,000 objects"
            figure = ratios[f"first: kubectl to opslib{mark}"]
            yield _at_least(f"{what}, to `{PEER}`", 2, figure)
            figure = ratios[f"first: opslib{mark} to the best bare"]
            yield _at_most(f"{what}, to the best of bare PATCHes", 1.25, figure)
    if rows := document.get("start", {}).get("rows"):
        seconds = float(rows[START]["median_seconds"])
        least = f"at most {START_SECONDS} s"
        yield _row(f"start: `{START}`", least, f"{seconds:.2f} s", seconds <= START_SECONDS)


def _requests(row: Row) -> Sequence[str]:
    """Count LIST requests by kind and page of 500 objects."""
    counts: Mapping[str, int] = row["requests of a plan"]
    kinds = ("configmaps", "services", "deployments")
    lists = sum(counts.get(f"list {kind}", 0) for kind in kinds)
    pages = len(kinds) * -(-int(row["objects"]) // len(kinds) // 500)
    total = sum(counts.values())
    figure = f"{lists} for {pages} pages, {total} in all"
    return _row("its requests", "at most 2 for each kind and page", figure, total <= 2 * pages)


def _at_least(what: str, bound: float, figure: float) -> Sequence[str]:
    return _row(what, f"{bound:g} times as fast", f"{figure:.1f} times", figure >= bound)


def _at_most(what: str, bound: float, figure: float) -> Sequence[str]:
    text = f"at most {bound:g} times as long"
    return _row(what, text, f"{figure:.2f} times", figure <= bound)


def _row(what: str, bound: str, figure: str, reached: bool) -> Sequence[str]:
    return what, bound, figure, "reached" if reached else "**missed**"


def _growth(sizes: Mapping[str, Row]) -> Iterator[Sequence[str]]:
    steady = (PLAN, SECOND, GET, DIFF, PEER, DRIFT)
    for name in steady:
        yield f"no-op: `{name}`" if name != DRIFT else f"`{name}`", *_seconds(sizes, name)
    for name in (ONLY, APPLY):
        cells = [_figure(took({"first": row["first"]}, name)) for row in sizes.values()]
        yield f"first: `{name}`", *cells
    cells = [_figure(took({"first": row["first"]}, PEER)) for row in sizes.values()]
    yield f"first: `{PEER}`", *cells
    yield "first: the best of bare PATCHes", *[_best(row) for row in sizes.values()]
    memory = [f"{row['steady'][PLAN]['peak_mb']:.0f} MB" for row in sizes.values()]
    yield f"peak memory of `{PLAN}`", *memory
    totals = [str(sum(row["requests of a plan"].values())) for row in sizes.values()]
    yield f"requests of `{PLAN}`", *totals


def _seconds(sizes: Mapping[str, Row], name: str) -> list[str]:
    return [_figure(took({**row, "first": {}}, name)) for row in sizes.values()]


def _figure(one: Took | None) -> str:
    return "-" if one is None else f"{one.seconds:.2f}"


def _best(row: Row) -> str:
    found = [(row["bare"][name]["median_seconds"], name) for name in row["bare"]]
    if not found:
        return "-"
    seconds, name = min(found)
    return f"{seconds:.2f} ({name.split(', ')[1]})"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]


def runbooks(document: Mapping[str, Any]) -> str:
    """Return the section on runs beside papermill's own."""
    rows: Mapping[str, Mapping[str, Row]] = document["rows"]
    said = (
        f"{document['machine']}, Python {document['python']}, load {document['load_before']} "
        f"before. Whole processes in alternating runs, medians of {document['rounds']}. "
        "papermill's own engine writes one notebook; ours leaves a whole record besides."
    )
    head = ("notebook", *next(iter(rows.values())), "", "must reach", "")
    lines = ["## Runs beside papermill", "", said, ""]
    return "\n".join([*lines, *_table(head, _runs(rows))]) + "\n"


def _runs(rows: Mapping[str, Mapping[str, Row]]) -> Iterator[Sequence[str]]:
    for name, ways in rows.items():
        took = [float(row["median_seconds"]) for row in ways.values()]
        cells = [f"{seconds:.2f} s" for seconds in took]
        if name == runbook.SMALL:
            factor, bound = took[1] / took[0], f"at most {runbook.MOST:g} times as long"
            verdict, figure = factor <= runbook.MOST, f"{factor:.2f} times as long"
        else:
            factor, bound = took[0] / took[1], f"{runbook.LEAST:g} times as fast"
            verdict, figure = factor >= runbook.LEAST, f"{factor:.1f} times as fast"
        yield name, *cells, figure, bound, "reached" if verdict else "**missed**"


def rewrite(text: str, fresh: str, mark: str = BEGIN) -> str:
    """Return a document with what stands between the marks made anew; at its end at first."""
    before, begin, rest = text.partition(mark)
    after = rest.partition(END)[2] if begin else "\n"
    head = before if begin else before.rstrip("\n") + "\n\n"
    return f"{head}{mark}\n{fresh}{END}{after}"


def plot(sizes: Mapping[str, Row], png: Path) -> None:
    """Draw seconds and memory by the number of objects, with the system's Chromium."""
    import plotly.graph_objects as go  # half a second
    from plotly.subplots import make_subplots  # with it

    titles = ("Nothing to do, seconds", "First apply, seconds", "Peak memory, MB")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles)
    lines = [(name, 1, "seconds", "steady") for name in (PLAN, SECOND, GET, DIFF, PEER)]
    lines += [(name, 2, "seconds", "first") for name in (ONLY, APPLY, PEER)]
    lines += [(name, 3, "peak", "steady") for name in (PLAN, DIFF, PEER)]
    for name, column, what, part in lines:
        points = [(int(size), took({part: row[part]}, name)) for size, row in sizes.items()]
        found = [(x, getattr(one, what)) for x, one in points if one]
        trace = go.Scatter(
            x=[x for x, _ in found],
            y=[y for _, y in found],
            name=name,
            legendgroup=name,
            mode="lines+markers",
            line={"color": _COLOURS[name], "width": 3 if "opslib" in name else 2},
            showlegend=not any(name == other for other, at, *_ in lines if at < column),
        )
        figure.add_trace(trace, row=1, col=column)
    best = [(int(size), min((row["bare"][n]["median_seconds"] for n in row["bare"]), default=None))
            for size, row in sizes.items()]  # fmt: skip
    bare = go.Scatter(
        x=[x for x, y in best if y],
        y=[y for _, y in best if y],
        name=f"bare PATCHes, the best of {BARE[0]} to {BARE[-1]} workers",
        mode="lines+markers",
        line={"color": "#888888", "dash": "dot"},
    )
    figure.add_trace(bare, row=1, col=2)
    ticks = [int(size) for size in sizes]
    figure.update_xaxes(type="log", title="objects", tickvals=ticks)
    figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(type="linear", rangemode="tozero", dtick=None, row=1, col=3)
    figure.update_layout(
        template="plotly_white", width=1500, height=560, legend={"orientation": "h", "y": -0.2}
    )
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "plot.html"
        figure.write_html(page, include_plotlyjs=True, config={"staticPlot": True})
        words = [sys.executable, str(PROJECT / "tools" / "picture.py"), str(page), str(png)]
        subprocess.run([*words, "1520", "580"], check=True)


_COLOURS = {
    PLAN: "#0b6e4f",
    SECOND: "#6bbf59",
    ONLY: "#0b6e4f",
    APPLY: "#6bbf59",
    GET: "#888888",
    DIFF: "#c8553d",
    PEER: "#2d5d9f",
}


def main() -> None:
    """Rewrite the sections of which there are results, and draw the plot."""
    document, runs = read("reconcile"), read("runbook")
    found = driftreport.reviews(read("drift"), read("drift-recall"))
    if not document.get("sizes") and not runs and not found:
        raise SystemExit("there are no results: run `make bench` first")
    text = DOCUMENT.read_text(encoding="utf-8")
    if found:
        text = rewrite(text, found, driftreport.MARK)
    if runs:
        text = rewrite(text, runbooks(runs), RUNBOOK)
    if document.get("sizes"):
        text = rewrite(text, section(document))
        plot(document["sizes"], PICTURE)
        print(f"written: {PICTURE}")
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"written: {DOCUMENT}")


if __name__ == "__main__":
    main()
