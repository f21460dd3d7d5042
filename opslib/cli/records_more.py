"""opslib records diff, gallery: two records compared, and all of them as a page to share."""

from __future__ import annotations

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
