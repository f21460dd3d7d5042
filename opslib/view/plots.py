"""Plots of operations, in colours that colour-blind readers can tell apart (Okabe and Ito)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from opslib.reconcile.plan import Plan

# https://jfly.uni-koeln.de/color/
GREEN, ORANGE, RED, GREY, BLUE = "#009E73", "#E69F00", "#D55E00", "#999999", "#0072B2"
_ACTIONS = {
    "create": GREEN,
    "update": ORANGE,
    "replace": RED,
    "delete": RED,
    "keep": BLUE,
    "unchanged": GREY,
}
_PHASES = {
    "ready": GREEN,
    "running": ORANGE,
    "starting": ORANGE,
    "pending": GREY,
    "scheduled": GREY,
    "failing": RED,
    "failed": RED,
    "terminating": BLUE,
}


def plan_figure(plan: Plan) -> tuple[go.Figure, pd.DataFrame]:
    """Draw how many objects of each kind a plan creates, changes, deletes, keeps or leaves."""
    rows = [(change.key.kind, str(change.action)) for change in plan.changes]
    data = (
        pd.DataFrame(rows, columns=["kind", "action"])
        .value_counts()
        .rename("objects")
        .reset_index()
        .sort_values(["kind", "action"])
    )
    fig = go.Figure()
    for action, colour in _ACTIONS.items():
        part = data[data["action"] == action]
        if not part.empty:
            fig.add_bar(
                y=part["kind"], x=part["objects"], name=action, orientation="h", marker_color=colour
            )
    fig.update_layout(
        barmode="stack",
        showlegend=True,
        title="What the plan does, by kind",
        xaxis={"title": "objects", "dtick": 1},
        yaxis={"autorange": "reversed"},
        height=140 + 32 * data["kind"].nunique(),
        margin={"l": 10, "r": 10, "t": 50, "b": 40},
        template="plotly_white",
    )
    return fig, data


def timeline_figure(rows: list[dict[str, Any]], title: str) -> tuple[go.Figure, pd.DataFrame]:
    """Draw a rollout as bars over time, one line per ReplicaSet and pod.

    ``rows`` have start and end (RFC 3339; an open end is now), subject, phase and detail.
    """
    data = pd.DataFrame(rows, columns=["subject", "phase", "start", "end", "detail"])
    starts = pd.to_datetime(data["start"], utc=True, format="ISO8601")
    ends = pd.to_datetime(data["end"], utc=True, format="ISO8601")
    fig = go.Figure()
    for phase in dict.fromkeys(data["phase"]):
        part = data["phase"] == phase
        milliseconds = (ends[part] - starts[part]).dt.total_seconds() * 1000
        fig.add_bar(
            base=[moment.isoformat() for moment in starts[part]],
            # A moment without length is still drawn.
            x=milliseconds.clip(lower=150).tolist(),
            y=data.loc[part, "subject"],
            name=phase,
            orientation="h",
            marker_color=_PHASES.get(phase.lower(), BLUE),
            customdata=data.loc[part, "detail"],
            hovertemplate="%{y}<br>%{customdata}<extra>" + phase + "</extra>",
        )
    fig.update_layout(
        barmode="overlay",
        title=title,
        xaxis={"type": "date", "title": "time (UTC)"},
        yaxis={"autorange": "reversed"},
        height=160 + 28 * max(1, data["subject"].nunique()),
        margin={"l": 10, "r": 10, "t": 50, "b": 40},
        template="plotly_white",
    )
    return fig, data
