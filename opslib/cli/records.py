"""opslib records: the records that are there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from opslib.cli import records_verify
from opslib.cli.common import Json, emit

app = typer.Typer(help="The records of runs.", no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of the records; default: outputs/.")
]


@app.command("list")
def list_(out: Out = None, json: Json = False) -> None:
    """List records, the newest first."""
    from opslib.core.clock import human_seconds
    from opslib.runbook import list_records
    from opslib.view.text import clean, columns

    found = list_records(out)
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
    text = clean("\n".join(columns([["STARTED", "RUNBOOK", "OUTCOME", "TIME", "RUN", ""], *rows])))
    emit([dataclasses.asdict(one) for one in found], text, as_json=json)


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
