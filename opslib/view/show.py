"""Show things in a runbook: a figure with its table, a sentence that stands out."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Mood = Literal["good", "bad", "note"]
_COLOURS = {"good": "#1a7f37", "bad": "#b42318", "note": "#57606a"}
_WIDTH = 28
_SHORT = "text-align:left;white-space:nowrap"
_LONG = "text-align:left;overflow-wrap:anywhere;white-space:normal;min-width:9em"

# In JupyterLab a letter typed at a list or a button is a command to the notebook ("r" makes the
# cell raw, "d d" deletes it): only text fields are spared. These keys are the form's own.
_KEYS = """
if (!window.opslibKeys) {
  window.opslibKeys = true;
  document.body.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
    const runs = event.shiftKey && event.key === "Enter";
    const field = event.target.closest(".jupyter-widgets select, .jupyter-widgets button, "
      + ".jupyter-widgets input, .jp-OutputArea summary");
    if (field && !command && !runs) event.stopPropagation();
  });
}
"""


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


def widget(one: Any, fallback_html: str) -> None:
    """Show a widget, with HTML for wherever it cannot live: the record, a page without scripts."""
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    display({"application/javascript": _KEYS, "text/plain": ""}, raw=True)
    view = one._repr_mimebundle_()  # how ipywidgets hands over its view
    display({**view, "text/html": fallback_html}, raw=True)


def table_html(data: pd.DataFrame) -> str:
    """Return a table as HTML; everything in it is escaped.

    Short columns stay on one line and long ones wrap anywhere, so that a wide table fits
    a page instead of hiding its last columns.
    """
    cells = [[_cell(item) for item in row] for row in data.itertuples(index=False)]
    names = [str(name) for name in data.columns]
    styles = [
        _SHORT if max((len(row[i]) for row in cells), default=0) <= _WIDTH else _LONG
        for i in range(len(names))
    ]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{html.escape(text)}</td>'
            for style, text in zip(styles, row, strict=True)
        )
        + "</tr>"
        for row in cells
    )
    return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(item: Any) -> str:
    if isinstance(item, tuple | list):
        return ", ".join(map(str, item))
    missing = item is None or (isinstance(item, float) and math.isnan(item))
    return "" if missing else str(item)


def _plain(fig: go.Figure) -> Any:
    import json  # noqa: PLC0415  # beside its only use

    return json.loads(fig.to_json())
