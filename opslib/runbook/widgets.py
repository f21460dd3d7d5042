"""Widgets in a record: their last value as text and HTML, for readers without a kernel.

The states come from the notebook's metadata, where nbclient collects them from the kernel's
comm messages: https://ipywidgets.readthedocs.io/en/stable/dev_docs.html (widget state JSON).
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
MAX_DEPTH = 20
"""Boxes in boxes: a box may hold itself."""
_WORDS = ("HTML", "HTMLMath", "Label")
"""Models that are a text of their own, without a label."""
_SECRET = ("PasswordModel",)

Data = dict[str, Any]


def keep_state(client: Any) -> None:
    """Put the widgets' last states into the notebook, but no password."""
    for state in client.widget_state.values():
        if state.get("_model_name") in _SECRET and state.get("value"):
            state["value"] = "***"
    client.set_widgets_metadata()


def states(nb: Any) -> Data:
    """Return the widgets' states of a notebook by model id; {} where there are none."""
    found = nb.metadata.get("widgets", {}).get(STATE, {})
    state = found.get("state", {}) if isinstance(found, Mapping) else {}
    return dict(state) if isinstance(state, Mapping) else {}


def outputs(model_id: str, known: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what Output widgets at or below a widget captured: nbformat's outputs."""
    for state in _walk(model_id, known):
        if isinstance(captured := state.get("outputs"), list):
            yield from captured


def shown(model_id: str, known: Mapping[str, Any]) -> str:
    """Return a widget and what it holds as HTML; "" for one whose state is not there."""
    rows = [row for state in _walk(model_id, known) if (row := _row(state))]
    return f"<table class='widgets'>{''.join(rows)}</table>" if rows else ""


def _walk(model_id: str, known: Mapping[str, Any]) -> Iterator[Data]:
    seen: set[str] = set()

    def visit(name: str, depth: int) -> Iterator[Data]:
        model = known.get(name)
        if name in seen or depth > MAX_DEPTH or not isinstance(model, Mapping):
            return
        seen.add(name)
        state = model.get("state")
        state = dict(state) if isinstance(state, Mapping) else {}
        yield {**state, "_model_name": model.get("model_name")}
        children = state.get("children")
        for child in children if isinstance(children, list) else []:
            yield from visit(str(child).removeprefix("IPY_MODEL_"), depth + 1)

    yield from visit(model_id, 0)


def _row(state: Data) -> str:
    name = str(state.get("_model_name") or "").removesuffix("Model")
    if "children" in state or name in {"", "Output"}:
        titles = [str(one) for one in _list(state.get("titles")) if one]
        return f"<tr><th colspan=2>{html.escape(' · '.join(titles))}</th></tr>" if titles else ""
    value = _VALUES.get(name, _plain)(state)
    if name in _WORDS and not state.get("description"):
        return f"<tr><td colspan=2>{value}</td></tr>"
    label = html.escape(str(state.get("description") or name))
    return f"<tr><th>{label}</th><td>{value}</td></tr>"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    if value is None:
        return "<i>none</i>"
    if isinstance(value, list):  # a range
        return " to ".join(_text(one) for one in value)
    if isinstance(value, Mapping) and {"year", "month", "date"} <= set(value):
        # ipywidgets counts months from 0, as JavaScript does.
        parts = [f"{value['year']:04}", f"{value['month'] + 1:02}", f"{value['date']:02}"]
        return html.escape("-".join(parts))
    return html.escape(str(value))


def _plain(state: Data) -> str:
    if "index" in state:
        return _chosen(state)
    return _text(state["value"]) if "value" in state else ""


def _chosen(state: Data) -> str:
    """Return what was chosen of a list: the labels at index, which may be several."""
    labels, index = _list(state.get("_options_labels")), state.get("index")
    numbers = index if isinstance(index, list) else [index]
    inside = [one for one in numbers if isinstance(one, int) and 0 <= one < len(labels)]
    return ", ".join(html.escape(str(labels[one])) for one in inside) or "<i>none</i>"


def _yes_no(state: Data) -> str:
    return "yes" if state.get("value") else "no"


def _share(state: Data) -> str:
    try:
        low, high = float(state["min"]), float(state["max"])
        share = 100 * (float(state["value"]) - low) / (high - low)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return _text(state.get("value"))
    return f"{_text(state['value'])} of {_text(state['max'])} ({share:.0f} %)"


def _html(state: Data) -> str:
    """Return the HTML that a cell wrote; the page's policy stops its scripts and addresses."""
    value = str(state.get("value", ""))
    return html.escape(value) if "<script" in value.lower() else value


_VALUES: Mapping[str, Callable[[Data], str]] = {
    **dict.fromkeys(("Checkbox", "ToggleButton", "Valid"), _yes_no),
    **dict.fromkeys(("IntProgress", "FloatProgress"), _share),
    **dict.fromkeys(("HTML", "HTMLMath"), _html),
    "Button": lambda _: "<i>button</i>",
    "Image": lambda _: "<i>image</i>",
    "FileUpload": lambda state: f"{len(_list(state.get('value')))} files",
}
