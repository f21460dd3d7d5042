"""What record.html shows, as plain data: the template only lays it out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.clock import human_seconds, parse_stamp
from opslib.runbook import widgets
from opslib.runbook.facts import ERROR_MIME, RESULT_MIME
from opslib.runbook.notebook import headings, runs_code
from opslib.runbook.outcome import Outcome
from opslib.runbook.plans import CHANGES, is_plan

PLOTLY = "application/vnd.plotly.v1+json"
_ORDER = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex")
_SEVERITY = [
    *(Outcome.FAILED, Outcome.KERNEL_DEAD, Outcome.TIMEOUT, Outcome.INTERRUPTED, Outcome.DENIED),
    *(Outcome.RUNNING, Outcome.OK, Outcome.SKIPPED, Outcome.NEVER_RUN),
]

_LONG = 600
"""Characters of a list or object in the report beyond which result.json alone has it."""

Data = dict[str, Any]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def build(
    nb: Any, result: Mapping[str, Any], around: Mapping[str, Any], *, draw_figures: bool
) -> Data:
    """Return everything the template prints; no text in it is escaped yet."""
    show = _Shower(draw_figures, widgets.states(nb))
    cells = list(_cells(nb, result["title"], show))
    figures = [one for cell in cells for one in cell.get("outputs", []) if one["kind"] == "figure"]
    for number, figure in enumerate(figures, start=1):
        figure["id"] = f"figure-{number}"
    given = nb.metadata.get("papermill", {}).get("parameters") or {}
    return {
        "title": result["title"],
        "runbook": result["runbook"],
        "outcome": result["outcome"],
        "verdict": _verdict(result),
        "error": _error(result.get("error"), cells),
        "facts": list(_facts(result, around)),
        "report": _pairs(result["report"]),
        "parameters": [(name, text, name in given) for name, text in _pairs(result["parameters"])],
        "steps": _steps(cells, result["title"]),
        "cells": cells,
        "has_figures": bool(figures),
        "footer": f"Run {result['run_id']}. The files of this record and their SHA-256 sums are "
        "listed in manifest.json; the executed notebook is record.ipynb.",
    }


def _verdict(result: Mapping[str, Any]) -> str:
    counts = result["cells"]
    total = sum(counts.values())
    done = counts.get("ok", 0)
    rest = [f"{number} {name}" for name, number in counts.items() if name != "ok"]
    tail = f" ({', '.join(rest)})" if rest else ""
    return f"{done} of {total} cells ok{tail}, in {human_seconds(result['seconds'] or 0.0)}."


def _facts(result: Mapping[str, Any], around: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    report = result["report"]
    if report.get("revision"):
        yield "Revision", _text(report["revision"])
    if report.get("cluster"):
        yield "Cluster", _text(report["cluster"])
    yield "Started", _moment(result["started"])
    yield "Ended", _moment(result["ended"])
    yield "By", f"{around['user']} on {around['host']}"
    yield "Exit code", str(result["exit_code"])
    if commit := around.get("commit"):
        yield "Runbook's commit", commit["id"] + (" with local changes" if commit["dirty"] else "")
    yield "Notebook (SHA-256)", around["notebook"]["sha256"]
    versions = around["versions"]
    yield "opslib", f"{versions.get('opslib', 'not installed')} on Python {versions['python']}"


def _moment(text: str | None) -> str:
    return f"{parse_stamp(text):%Y-%m-%d %H:%M:%S} UTC" if text else "not known"


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in values.items()]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if is_plan(value):  # the cell that showed it has it as a table
        counted = f"{len(value[CHANGES])}, one by one in result.json"
        value = {**value, CHANGES: counted}
    if isinstance(value, dict) and all(not isinstance(one, dict | list) for one in value.values()):
        return "\n".join(f"{name}: {_text(one)}" for name, one in value.items())
    shown = json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict | list) and len(shown) > _LONG:
        return f"{len(value)} entries, one by one in result.json"
    return shown


def _error(error: Mapping[str, Any] | None, cells: list[Data]) -> Data | None:
    if error is None:
        return None
    found = next((one for one in cells if one.get("index") == error["cell"]), None)
    detail = error.get("detail") or {}
    names = {"where": "where", "expected": "expected", "hint": "to do"}
    rows = [(label, detail[key]) for key, label in names.items() if detail.get(key)]
    place = f"cell {error['cell'] + 1}" if found else ""
    if found and found["heading"]:
        place += f", “{found['heading']}”"
    return {
        "name": error["name"],
        "message": detail.get("what") or error["message"],
        "rows": rows,
        "anchor": found["anchor"] if found else None,
        "place": place,
    }


def _steps(cells: list[Data], title: str) -> list[Data]:
    """Return one row per heading with code under it: the worst outcome and the sum of times."""
    steps: list[Data] = []
    for cell in (one for one in cells if one["kind"] == "code"):
        heading = "Start" if cell["heading"] in ("", title) else cell["heading"]
        if not steps or steps[-1]["heading"] != heading:
            steps.append({"heading": heading, "anchor": cell["anchor"], "cells": []})
        steps[-1]["cells"].append(cell)
    for step in steps:
        step["outcome"] = min((one["outcome"] for one in step["cells"]), key=_SEVERITY.index)
        seconds = [one["seconds"] for one in step.pop("cells") if one["seconds"] is not None]
        step["time"] = human_seconds(sum(seconds)) if seconds else ""
    return steps


def _cells(nb: Any, title: str, show: _Shower) -> Iterator[Data]:
    for index, (cell, heading) in enumerate(zip(nb.cells, headings(nb), strict=True)):
        if cell.cell_type == "markdown":
            if source := _without_title(cell.source, title):
                given = cell.get("attachments", {})
                yield {"kind": "markdown", "source": source, "attachments": given}
        elif runs_code(cell):
            yield _code_cell(cell, index, heading, show)


def _without_title(source: str, title: str) -> str:
    """Drop the heading that the page's own header repeats."""
    first, _, rest = source.lstrip().partition("\n")
    return rest.strip() if first.strip(" #") == title and first.startswith("# ") else source


def _code_cell(cell: Any, index: int, heading: str, show: _Shower) -> Data:
    state = cell.metadata.get("opslib", {})
    seconds = state.get("seconds")
    label = f"Cell {index + 1}"
    tags = cell.metadata.get("tags", [])
    names = {"parameters": "parameters", "injected-parameters": "parameters of this run"}
    extra = next((text for tag, text in names.items() if tag in tags), "")
    return {
        "kind": "code",
        "index": index,
        "anchor": f"cell-{index + 1}",
        "heading": heading,
        "label": f"{label}, {extra}" if extra else label,
        "outcome": state.get("outcome", Outcome.NEVER_RUN.value),
        "seconds": seconds,
        "time": "" if seconds is None else human_seconds(seconds),
        "source": cell.source,
        "first_line": cell.source.strip().splitlines()[0],
        "outputs": [shown for one in cell.outputs for shown in show.output(one)],
    }


def _node(value: Any) -> Any:
    from nbformat import from_dict  # noqa: PLC0415  # for the rare output within a widget

    return from_dict(value)


@dataclass(frozen=True)
class _Shower:
    """What outputs need from outside of themselves to be shown."""

    draw_figures: bool
    widgets: Data

    def output(self, output: Any) -> Iterator[Data]:
        """Yield what is shown of an output: one thing, or none; of a widget all that it holds."""
        data = output.get("data", {})
        view = data.get(widgets.VIEW)
        if view is None or "text/html" in data:
            if found := _output(output, draw_figures=self.draw_figures):
                yield found
            return
        model = str(view.get("model_id")) if isinstance(view, Mapping) else ""
        captured = [_node(one) for one in widgets.outputs(model, self.widgets)]
        if table := widgets.shown(model, self.widgets):
            yield {"kind": "html", "content": table}
        elif not captured:
            yield {"kind": "text", "content": data.get("text/plain") or "A widget without a value."}
        for one in captured:
            yield from self.output(one)


def _output(output: Any, *, draw_figures: bool) -> Data | None:
    kind = output.output_type
    if kind == "stream":
        return {"kind": "stderr" if output.name == "stderr" else "text", "content": output.text}
    if kind == "error":
        trace = "\n".join(output.traceback)
        plain = _ANSI.sub("", trace).strip() == f"{output.ename}: {output.evalue}".strip()
        return {
            "kind": "error",
            "name": output.ename,
            "content": output.evalue,
            "traceback": "" if plain else trace,
        }
    return _bundle(output.data, draw_figures=draw_figures)


def _bundle(data: Mapping[str, Any], *, draw_figures: bool) -> Data | None:
    if ERROR_MIME in data:
        return None
    if PLOTLY in data and draw_figures:
        table = data.get("text/html", "")
        return {
            "kind": "figure",
            "content": json.dumps(data[PLOTLY], sort_keys=True).replace("<", "\\u003c"),
            "fallback": "" if "<script" in table else table,
        }
    mime = next((one for one in _ORDER if one in data and not _is_program(data[one])), "text/plain")
    content = data.get(mime)
    if not content:
        return (
            {"kind": "text", "content": "A figure that was not drawn."} if PLOTLY in data else None
        )
    if mime.startswith("image/"):
        return {"kind": "image", "content": _data_uri(mime, content)}
    kinds = {"text/html": "html", "text/markdown": "markdown"}
    shown = kinds.get(mime, "text")
    is_report = RESULT_MIME in data
    return {"kind": shown, "content": content, "report": is_report}


def _is_program(content: Any) -> bool:
    """Tell HTML that only works with its script, which the page's policy does not run."""
    return isinstance(content, str) and "<script" in content.lower()


def _data_uri(mime: str, content: str) -> str:
    import base64  # noqa: PLC0415  # only for the rare figure that is an image

    if mime == "image/svg+xml":
        encoded = base64.b64encode(content.encode("utf-8", "replace")).decode()
    else:
        encoded = "".join(content.split())
        encoded = base64.b64encode(base64.b64decode(encoded)).decode()
    return f"data:{mime};base64,{encoded}"
