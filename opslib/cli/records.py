"""opslib records: the records that are there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from opslib.cli import records_verify
from opslib.cli.common import Json, emit, say
from opslib.core.errors import InputError

app = typer.Typer(help="The records of runs.", no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of the records; default: outputs/.")
]


@app.command("list")
def list_(
    out: Out = None,
    runbook: Annotated[str, typer.Option("--runbook", help="Name; * stands for anything.")] = "",
    outcome: Annotated[str, typer.Option("--outcome", help="ok, failed, timeout, …")] = "",
    since: Annotated[
        str, typer.Option("--since", help="Date, RFC 3339 time, or how long ago, such as 7d.")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="The same; a date means its end.")] = "",
    resource: Annotated[
        str,
        typer.Option("--resource", help="Object that it reported: [KIND] [NAMESPACE/]NAME."),
    ] = "",
    param: Annotated[
        list[str] | None, typer.Option("--param", help="NAME=VALUE; * in VALUE. Repeatable.")
    ] = None,
    person: Annotated[str, typer.Option("--person", help="Who ran it.")] = "",
    text: Annotated[
        str, typer.Option("--text", help="Words of its errors and outputs; all have to be there.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Most records to list.")
    ] = None,
    json: Json = False,
) -> None:
    """List records, the newest first."""
    from opslib.core.clock import human_seconds
    from opslib.runbook.index import search
    from opslib.runbook.query import Query
    from opslib.view.text import clean, columns

    query = Query(
        *(runbook, outcome, since, until, resource, _pairs(param or []), person, text, limit)
    )
    answer = search(query, out)
    for note in answer.refreshed.notes:
        say(f"opslib: {note}")
    found = answer.records
    rows = [
        [
            one.started[:19],
            one.runbook,
            one.outcome,
            human_seconds(one.seconds) if one.seconds is not None else "-",
            one.run_id,
            one.error,
        ]
        for one in found
    ]
    lines = columns([["STARTED", "RUNBOOK", "OUTCOME", "TIME", "RUN", ""], *rows])
    emit([dataclasses.asdict(one) for one in found], clean("\n".join(lines)), as_json=json)


def _pairs(given: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [one.partition("=") for one in given]
    for name, sign, value in pairs:
        if not sign or not name:
            raise InputError(
                f"--param {name}{sign}{value} is no filter", expected="--param NAME=VALUE"
            )
    return tuple((name, value) for name, _, value in pairs)


@app.command()
def show(
    record: Annotated[str, typer.Argument(help="Run id, folder of a record, or latest.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Show one record: outcome, parameters, what it reported, where its files are."""
    from opslib.runbook import show as find_record
    from opslib.view.text import clean, columns, value

    one = find_record(record, out)
    summary = one.summary
    rows = [
        ["runbook", summary.runbook],
        ["run", summary.run_id],
        ["outcome", summary.outcome + (f": {summary.error}" if summary.error else "")],
        ["started", summary.started],
        ["record", str(summary.folder / "record.html")],
    ]
    for part in ("parameters", "report"):
        rows += [[f"{part}.{k}", value(v, 100)] for k, v in (one.result.get(part) or {}).items()]
    document = {"folder": str(summary.folder), "result": one.result, "manifest": one.manifest}
    emit(document, clean("\n".join(columns(rows))), as_json=json)


# The verbs of what a record proves are in a module of their own.
records_verify.register(app)
