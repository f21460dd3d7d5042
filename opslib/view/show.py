"""Show things in a runbook: a figure with its table, a sentence that stands out."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Mood = Literal["good", "bad", "note"]
_COLOURS = {"good": "#1a7f37", "bad": "#b42318", "note": "#57606a"}


def say(sentence: str, mood: Mood = "note") -> None:
    """Show one sentence with a coloured edge: what a reader should take from this step."""
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    style = f"border-left:4px solid {_COLOURS[mood]};padding:.4em .8em;margin:.4em 0"
    bundle = {
        "text/plain": sentence,
        "text/html": f'<div style="{style}">{html.escape(sentence)}</div>',
    }
    display(bundle, raw=True)


def figure(fig: go.Figure, data: pd.DataFrame) -> None:
    """Show a plotly figure together with the table it is drawn from.

    A reader without scripts, and a diff of two records, still have the numbers.
    """
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    bundle: dict[str, Any] = {
        "application/vnd.plotly.v1+json": _plain(fig),
        "text/html": table_html(data),
        "text/plain": data.to_string(index=False),
    }
    display(bundle, raw=True)


def table(data: pd.DataFrame, empty: str = "nothing") -> None:
    """Show a table without row numbers; a sentence when it has no rows."""
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    if data.empty:
        say(empty)
        return
    bundle = {"text/plain": data.to_string(index=False), "text/html": table_html(data)}
    display(bundle, raw=True)


def table_html(data: pd.DataFrame) -> str:
    """Return a table as HTML; everything in it is escaped."""
    return str(data.to_html(index=False, escape=True, border=0, na_rep=""))


def _plain(fig: go.Figure) -> Any:
    import json  # noqa: PLC0415  # beside its only use

    return json.loads(fig.to_json())
