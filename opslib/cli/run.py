"""opslib run: one runbook, headless, into a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import Json, bar, emit
from opslib.cli.notify import telling
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
    anchor: Annotated[
        str, typer.Option("--anchor", help="Anchor the record in Git: notes, commit or tag.")
    ] = "",
    sign_key: Annotated[
        str, typer.Option("--sign-key", help="Sign the record: ssh key file, or OpenPGP key id.")
    ] = "",
    timestamp: Annotated[
        str, typer.Option("--timestamp", help="URL of a time-stamp server (RFC 3161).")
    ] = "",
    notify: Annotated[
        list[str] | None,
        typer.Option("--notify", help="Setting (or address of apprise) to tell. Repeatable."),
    ] = None,
    notify_on: Annotated[
        str, typer.Option("--notify-on", help="Outcomes to tell of; default: all but ok.")
    ] = "",
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="With --parameters: as one JSON Schema.")
    ] = False,
    json: Json = False,
) -> None:
    """Execute a runbook and leave its record; exit with the run's own code."""
    from opslib.core.clock import parse_duration
    from opslib.runbook import find, read_schema, resumed
    from opslib.runbook import run as execute
    from opslib.runbook.anchor import from_environment
    from opslib.runbook.approvals import environment
    from opslib.view.assets import plotly_js

    if json_schema:
        _json_schema(runbook)
        return
    if parameters:
        _list(read_schema(find(runbook)), as_json=json)
        return
    given = _given(parameter or [])
    anchoring = from_environment(anchor, sign_key, timestamp)
    limit = parse_duration(deadline, name="--deadline") if deadline else None
    each = parse_duration(cell_timeout, name="--cell-timeout") if cell_timeout else None
    env = environment(approve, approve_from, approvers or ())
    with telling(runbook, notify or [], notify_on) as told, bar() as progress:
        options: dict[str, Any] = {
            "progress": progress,
            "html_assets": plotly_js,
            "deadline": limit,
            "cell_timeout": each,
            "lock": lock,
            "anchoring": anchoring,
            "env": env,
        }
        if resume:
            folder = _record(resume, runbook, out)
            result = resumed(folder, given, redo=redo or (), skip=skip or (), **options)
        else:
            _check_alone(runbook, redo, skip)
            result = execute(runbook, given, out=out, **options)
        told(result.folder)
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
            # Only the name: what follows may be a secret.
            raise InputError(f"-p {name} is not a parameter", expected="-p NAME VALUE")
        if name in given:
            raise InputError(f"parameter {name} is given twice", where=f"-p {name}")
        given[name] = value
    return given


def _text(result: RunResult) -> str:
    lines = [f"{result.runbook}: {result.outcome}", f"record: {result.html}"]
    error = result.result.get("error")
    if error:
        lines.insert(1, str(error["message"]))
    return "\n".join([*lines, *_anchors(result)])


def _anchors(result: RunResult) -> list[str]:
    """Say what became of --sign-key, --anchor and --timestamp."""
    import json

    try:
        rows = json.loads((result.folder / "anchors.json").read_bytes())["anchors"]
    except FileNotFoundError:
        return []
    return [f"{one['kind']}: {one.get('error') or one['name']}" for one in rows]


def _json_schema(name: str) -> None:
    from opslib.runbook import find, read_schema
    from opslib.runbook.jsonschema import json_schema

    path = find(name)
    emit(json_schema(read_schema(path), path.stem), "", as_json=True)


def _list(schema: Schema, *, as_json: bool) -> None:
    from opslib.runbook.facts import to_plain
    from opslib.view.text import columns, value

    rows = [
        {
            "name": one.name,
            "type": one.type,
            "default": to_plain(one.default, one.name),
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
