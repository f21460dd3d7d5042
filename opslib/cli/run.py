"""opslib run: one runbook, headless, into a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import Json, bar, emit
from opslib.core.errors import InputError

if TYPE_CHECKING:
    from opslib.runbook.execute import RunResult
    from opslib.runbook.parameters import Schema

_FLAGS = ("-p", "-r", "--parameter")


def run(
    runbook: Annotated[str, typer.Argument(help="Name of a runbook, or the path of a notebook.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "-r", "--parameter", help="NAME VALUE (or NAME=VALUE). Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for records; default: outputs/.")
    ] = None,
    deadline: Annotated[str, typer.Option("--deadline", help="Longest run, such as 30m.")] = "",
    cell_timeout: Annotated[
        str, typer.Option("--cell-timeout", help="Longest run of one cell, such as 5m.")
    ] = "",
    lock: Annotated[
        str,
        typer.Option(
            "--lock",
            help="One run at a time for this scope, such as app/{app}, or lease:NAMESPACE/NAME "
            "for all of a cluster; names in braces are parameters.",
        ),
    ] = "",
    parameters: Annotated[
        bool, typer.Option("--parameters", help="List the runbook's parameters, and end.")
    ] = False,
    json: Json = False,
) -> None:
    """Execute a runbook and leave its record; exit with the run's own code."""
    from opslib.core.clock import parse_duration
    from opslib.runbook import find, read_schema
    from opslib.runbook import run as execute
    from opslib.view.assets import plotly_js

    if parameters:
        _list(read_schema(find(runbook)), as_json=json)
        return
    given = _given(parameter or [])
    limit = parse_duration(deadline, name="--deadline") if deadline else None
    each = parse_duration(cell_timeout, name="--cell-timeout") if cell_timeout else None
    with bar() as progress:
        result = execute(
            runbook,
            given,
            out=out,
            progress=progress,
            html_assets=plotly_js,
            deadline=limit,
            cell_timeout=each,
            lock=lock,
        )
    emit(document(result), _text(result), as_json=json)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def joined(args: Sequence[str]) -> list[str]:
    """Turn papermill's ``-p NAME VALUE`` into ``-p NAME=VALUE``, which the parser takes.

    A name is an identifier, so one without "=" is always followed by its value.
    """
    words: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        words.append(word)
        if word in _FLAGS and len(rest) > 1 and rest[0].isidentifier():
            name, value = rest.pop(0), rest.pop(0)
            words.append(f"{name}={value}")
    return words


def document(result: RunResult) -> dict[str, Any]:
    """Return a run as one JSON document: result.json and where the record is."""
    return {**result.result, "folder": str(result.folder), "html": str(result.html)}


def _given(pairs: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.isidentifier():
            raise InputError(f"-p {pair} is not a parameter", expected="-p NAME VALUE")
        if name in given:
            raise InputError(f"parameter {name} is given twice", where=f"-p {name}")
        given[name] = value
    return given


def _text(result: RunResult) -> str:
    lines = [f"{result.runbook}: {result.outcome}", f"record: {result.html}"]
    error = result.result.get("error")
    if error:
        lines.insert(1, str(error["message"]))
    return "\n".join(lines)


def _list(schema: Schema, *, as_json: bool) -> None:
    from opslib.view.text import columns, value

    rows = [
        {
            "name": one.name,
            "type": one.type,
            "default": one.default,
            "required": one.required,
            "help": one.help,
        }
        for one in schema.parameters
    ]
    lines = columns(
        [
            [r["name"], r["type"], "required" if r["required"] else value(r["default"]), r["help"]]
            for r in rows
        ]
    )
    emit(rows, "\n".join(lines), as_json=as_json)
