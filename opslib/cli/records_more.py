"""opslib records diff, gallery: two records compared, and all of them as a page to share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opslib.cli.common import Json, emit
from opslib.cli.records import Out, app

__all__ = ["app"]

_Record = typer.Argument(help="Run id, folder of a record, or latest.")


@app.command("diff")
def compare(
    before: Annotated[str, _Record],
    after: Annotated[str, _Record],
    out: Out = None,
    json: Json = False,
) -> None:
    """Say what two records found and did differently; exit 1 when they differ, as diff(1)."""
    from opslib.runbook.compare import compare as differences
    from opslib.view.text import clean

    found = differences(before, after, out)
    text = "\n".join(str(one) for one in found)
    if json or text:
        emit([one.as_dict() for one in found], clean(text), as_json=json)
    if found:
        raise typer.Exit(1)


@app.command()
def gallery(
    to: Annotated[Path, typer.Option("--to", help="Folder to write; index.html is the page.")],
    out: Out = None,
    runbook: Annotated[str, typer.Option("--runbook", help="Name; * stands for anything.")] = "",
    outcome: Annotated[str, typer.Option("--outcome", help="ok, failed, timeout, …")] = "",
    since: Annotated[
        str, typer.Option("--since", help="Date, RFC 3339 time, or how long ago, such as 7d.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most records, newest first.")] = 200,
    json: Json = False,
) -> None:
    """Write a page that lists records and finds them by typing, with a copy of each, to share."""
    import dataclasses

    from opslib.runbook.gallery import gallery as write
    from opslib.runbook.query import Query

    done = write(to, Query(runbook=runbook, outcome=outcome, since=since, limit=limit), out)
    emit(dataclasses.asdict(done), f"{done.page}: {done.records} records", as_json=json)
