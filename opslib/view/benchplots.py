"""Plots of latencies: shares on a log axis, percentiles, time, queue depth, ratios.

Each returns the figure with the table that it is drawn from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from opslib.bench import changes, limits
from opslib.bench.compare import Comparison
from opslib.bench.fio import Sweep
from opslib.bench.probe.result import Result
from opslib.bench.verdict import Verdict, judge, pooled
from opslib.view.plots import BLUE, GREEN, GREY, ORANGE, RED

Named = Mapping[str, Sequence[Result]]
_INK = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9")
_LINES = ((10.0, "10 ms: guideline"), (200.0, "200 ms: heartbeat late"), (1000.0, "1 s: election"))
_POINTS = np.concatenate([np.linspace(0, 0.9, 91), 1 - np.geomspace(0.1, 0.0001, 60)])


def ecdf_figure(groups: Named, limit: float = 10.0) -> tuple[go.Figure, pd.DataFrame]:
    """Draw the share of syncs that took at most so long, with the p99 and its interval."""
    fig, rows = go.Figure(), []
    for colour, (name, runs) in zip(_cycle(len(groups)), groups.items(), strict=True):
        series = pooled(runs)
        if not len(series):
            continue
        fig.add_scatter(
            x=np.quantile(series, _POINTS), y=_POINTS, name=name, line={"color": colour}
        )
        told = judge(runs, limit, rates=()).quantiles[2]
        high = told.high if np.isfinite(told.high) else float(series.max())
        rows.append((name, told.samples, told.point, told.low, told.high))
        fig.add_scatter(
            x=[told.low, told.point, high],
            y=[0.99] * 3,
            name=f"{name}: p99 and where it lies",
            mode="lines+markers",
            line={"color": colour, "width": 4},
            marker={"size": [6, 12, 6]},
        )
    for value, words in _LINES:
        fig.add_vline(x=value, line={"color": GREY, "dash": "dot"})
        # On a log axis a shape is placed by the value and a text by its logarithm.
        fig.add_annotation(x=np.log10(value), y=0.05, text=words, showarrow=False, textangle=-90)
    shortest = min(
        (float(pooled(runs).min()) for runs in groups.values() if _some(runs)), default=1
    )
    fig.update_xaxes(
        type="log", title="fdatasync, ms", range=[np.log10(max(shortest, 1e-4)) - 0.1, 3.3]
    )
    fig.update_yaxes(title="share of syncs", range=[0, 1.01])
    columns = ["what", "samples", "p99 ms", "at least", "at most"]
    return _styled(fig, "How long a sync takes"), pd.DataFrame(rows, columns=columns)


def percentile_figure(groups: Named) -> tuple[go.Figure, pd.DataFrame]:
    """Draw latency by percentile, so that each nine is as wide as the one before."""
    fig, rows = go.Figure(), []
    levels = np.array([0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999])
    for colour, (name, runs) in zip(_cycle(len(groups)), groups.items(), strict=True):
        series = pooled(runs)
        # A percentile beyond the samples is the largest of them, which says nothing of it.
        known = levels[levels <= 1 - 1 / max(len(series), 2)]
        values = np.quantile(series, known) if len(series) else []
        fig.add_scatter(x=1 / (1 - known), y=values, name=name, line={"color": colour})
        rows += [(name, f"p{100 * p:g}", round(float(v), 3)) for p, v in zip(known, values)]  # noqa: B905  # one made of the other
    ticks = 1 / (1 - levels)
    words = [f"p{100 * one:g}" for one in levels]
    fig.update_xaxes(type="log", tickvals=ticks, ticktext=words, title="percentile")
    fig.update_yaxes(type="log", title="fdatasync, ms")
    return _styled(fig, "By percentile"), pd.DataFrame(rows, columns=["what", "percentile", "ms"])


def time_figure(run: Result) -> tuple[go.Figure, pd.DataFrame]:
    """Draw p50 and p99 over time, steal and pressure below, slow times shaded with their cause."""
    seen = changes.windows(run)
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35])
    at = [one.start for one in seen]
    for name, colour in (("p50", BLUE), ("p99", RED)):
        values = [getattr(one, name) for one in seen]
        fig.add_scatter(x=at, y=values, name=name, line={"color": colour}, row=1, col=1)
    told = {"steal_percent": "steal %", "pressure_io": "waits for I/O %"}
    told |= {"pressure_cpu": "waits for CPU %"}
    for colour, (key, words) in zip((RED, ORANGE, GREEN), told.items(), strict=True):
        values = [one.told.get(key) for one in seen]
        fig.add_scatter(x=at, y=values, name=words, line={"color": colour}, row=2, col=1)
    for one in changes.episodes(run):
        words = f"{one.ratio:.1f}x: {one.cause}"
        fig.add_vrect(
            x0=one.onset,
            x1=one.end,
            fillcolor=ORANGE,
            opacity=0.2,
            annotation_text=words,
            row=1,
            col=1,
        )
    fig.update_yaxes(type="log", title="ms", row=1, col=1)
    fig.update_xaxes(title="seconds of measuring", row=2, col=1)
    rows = [
        (one.began, round(one.p50, 3), round(one.p99, 3), *(one.told.get(key) for key in told))
        for one in seen
    ]
    columns = ["began", "p50 ms", "p99 ms", *told.values()]
    return _styled(fig, "Over time", 480), pd.DataFrame(rows, columns=columns)


def knee_figure(sweep: Sweep) -> tuple[go.Figure, pd.DataFrame]:
    """Draw latency over throughput, a point for each queue depth, the knee marked."""
    points = sweep.points
    iops = [one.latency.iops for one in points]
    p99 = [one.latency.percentiles.get(99.0, np.nan) for one in points]
    colours = [RED if one.depth == sweep.knee else BLUE for one in points]
    fig = go.Figure()
    fig.add_scatter(
        x=iops,
        y=p99,
        text=[str(one.depth) for one in points],
        mode="lines+markers+text",
        textposition="top center",
        marker={"color": colours, "size": 10},
    )
    fig.update_xaxes(title="I/Os a second")
    fig.update_yaxes(type="log", title="p99, ms")
    rows = [(one.depth, round(a), b) for one, a, b in zip(points, iops, p99, strict=True)]
    title = f"Queue depth, {sweep.pattern}: the knee is at {sweep.knee}"
    return _styled(fig, title), pd.DataFrame(rows, columns=["depth", "IOPS", "p99 ms"])


def ratio_figure(found: Comparison) -> tuple[go.Figure, pd.DataFrame]:
    """Draw the ratios of A to B with their intervals, and the margin within which is equal."""
    fig, rows = go.Figure(), []
    for one in found.ratios:
        low, high = max(one.low, 0.01), min(one.high, 100.0)
        name = f"p{100 * one.quantile:g}"
        fig.add_scatter(
            x=[low, one.point, high],
            y=[name] * 3,
            mode="lines+markers",
            marker={"size": [6, 14, 6]},
            showlegend=False,
            line={"color": BLUE, "width": 4},
        )
        rows.append((name, round(one.point, 3), one.low, one.high, str(one.said)))
    fig.add_vrect(x0=1 / found.margin, x1=found.margin, fillcolor=GREEN, opacity=0.15)
    fig.add_vline(x=1, line={"color": GREY})
    fig.update_xaxes(type="log", title="A to B: left of 1, A is faster")
    columns = ["quantile", "A to B", "at least", "at most", "said"]
    return _styled(fig, found.said, 260), pd.DataFrame(rows, columns=columns)


def providers(groups: Named, limit: float = 10.0) -> pd.DataFrame:
    """Return one row for each group: what it is, its latencies with interval, its verdict."""
    rows = []
    for name, runs in groups.items():
        told: Verdict = judge(runs, limit, rates=(100.0,))
        place = runs[0].document["place"]
        layers = " on ".join(str(one["kind"]) for one in place.get("layers") or ()) or "no disk"
        p50, _, p99, _ = told.quantiles
        high = f"{p99.high:.2f}" if np.isfinite(p99.high) else "not known"
        request = f"{told.rates[0].p99:.2f}" if told.rates else ""
        late = f"{told.numbers[1].point:.1f}"
        rows.append(
            (
                name,
                f"{place.get('filesystem')} on {layers}",
                p99.samples,
                f"{p50.point:.3f}",
                f"{p99.point:.2f} [{p99.low:.2f}, {high}]",
                request,
                late,
                str(told.answer),
            )
        )
    columns = ["what", "disk", "samples", "p50 ms", "p99 ms [interval]"]
    columns += ["request p99 at 100/s, ms", f"{limits.LATE.name}, per hour", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def machines(groups: Named) -> pd.DataFrame:
    """Return the facts of each group's first machine side by side, those that differ first."""
    told = {name: _flat(runs[0].document) for name, runs in groups.items()}
    keys = list(dict.fromkeys(key for facts in told.values() for key in facts))
    rows = [(key, *(facts.get(key, "") for facts in told.values())) for key in keys]
    rows.sort(key=lambda row: len(set(row[1:])) == 1)
    return pd.DataFrame(rows, columns=["fact", *told])


def _flat(document: Mapping[str, Any]) -> dict[str, str]:
    out: dict[str, str] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                walk(f"{name}.{key}" if name else str(key), one)
        else:
            out[name] = value if isinstance(value, str) else json.dumps(value)

    walk("", {"place": document["place"], **(document.get("facts") or {})})
    return out


def _some(runs: Sequence[Result]) -> bool:
    return any(run.samples for run in runs)


def _cycle(count: int) -> list[str]:
    return [_INK[number % len(_INK)] for number in range(count)]


def _styled(fig: go.Figure, title: str, height: int = 380) -> go.Figure:
    margin = {"l": 10, "r": 10, "t": 50, "b": 40}
    fig.update_layout(title=title, height=height, margin=margin, template="plotly_white")
    return fig
