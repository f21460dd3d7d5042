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
    runbook: Annotated[
        str, typer.Argument(help="Name of a runbook, or the path of a notebook.")
    ] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "-r", "--parameter", help="NAME VALUE (or NAME=VALUE). Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for records; default: outputs/.")
    ] = None,
    deadline: Annotated[str, typer.Option("--deadline", help="Longest run, such as 30m.")] = "",
    approve: Annotated[
        str, typer.Option("--approve", help="Let only the plan with this hash be applied.")
    ] = "",
    approve_from: Annotated[
        str,
        typer.Option(
            "--approve-from",
            help="An approval: a file of `opslib approve`, or commit:[REPOSITORY@]REVISION.",
        ),
    ] = "",
    approvers: Annotated[
        list[Path] | None,
        typer.Option(
            "--approvers",
            help="File of keys; with any, only what one of them signed approves. Repeatable. "
            "Added to OPSLIB_APPROVERS.",
        ),
    ] = None,
    resume: Annotated[
        str, typer.Option("--resume", help="Go on with the run of this record, by folder or id.")
    ] = "",
    redo: Annotated[
        list[str] | None,
        typer.Option("--redo", help="With --resume: run this effect again. Repeatable."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", help="With --resume: take this effect as done. Repeatable."),
    ] = None,
    parameters: Annotated[
        bool, typer.Option("--parameters", help="List the runbook's parameters, and end.")
    ] = False,
    json: Json = False,
) -> None:
    """Execute a runbook and leave its record; exit with the run's own code."""
    from opslib.core.clock import parse_duration
    from opslib.runbook import find, read_schema, resumed
    from opslib.runbook import run as execute
    from opslib.runbook.approvals import environment
    from opslib.view.assets import plotly_js

    if parameters:
        _list(read_schema(find(runbook)), as_json=json)
        return
    given = _given(parameter or [])
    limit = parse_duration(deadline, name="--deadline") if deadline else None
    env = environment(approve, approve_from, approvers or ())
    with bar() as progress:
        options: dict[str, Any] = {
            "progress": progress,
            "html_assets": plotly_js,
            "deadline": limit,
            "env": env,
        }
        if resume:
            folder = _record(resume, runbook, out)
            result = resumed(folder, given, redo=redo or (), skip=skip or (), **options)
        else:
            _check_alone(runbook, redo, skip)
            result = execute(runbook, given, out=out, **options)
    emit(document(result), _text(result), as_json=json)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _record(record: str, runbook: str, out: Path | None) -> Path:
    """Return the folder of the record to resume; it is of the runbook, where one is named."""
    from opslib.runbook import show

    summary = show(record, out).summary
    if runbook and Path(runbook).stem != summary.runbook:
        raise InputError(f"that run was of {summary.runbook}, not of {runbook}", where=record)
    return summary.folder


def _check_alone(runbook: str, *decisions: Sequence[str] | None) -> None:
    if not runbook:
        raise InputError("no runbook is named", expected="opslib run RUNBOOK, or --resume RECORD")
    if any(decisions):
        raise InputError("--redo and --skip are for a run that is resumed", where="--resume")


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
