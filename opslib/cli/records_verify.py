"""opslib records verify | export: what a record proves, and how it leaves the house."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opslib.cli.common import Json, emit

Records = Annotated[
    list[str] | None,
    typer.Argument(help="Run ids, folders of records, or folders that hold some; default: all."),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of the records; default: outputs/.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to ``opslib records``."""
    app.command()(verify)
    app.command()(export)


def verify(
    records: Records = None,
    out: Out = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option("--trust", help="File of public keys, one of which must vouch. Repeatable."),
    ] = None,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="Repository that must name the record's head.")
    ] = None,
    tsa: Annotated[
        Path | None, typer.Option("--tsa", help="Certificates of the time server (PEM).")
    ] = None,
    json: Json = False,
) -> None:
    """Tell whether records are as they were written; exit 1 and name each change if not."""
    from opslib.runbook.audit import Vouching, audit, folders
    from opslib.runbook.verify import NOT_PROVEN

    vouching = Vouching(tuple(trust or ()), repo, tsa)
    verdicts = [audit(folder, vouching) for folder in folders(records or [], out)]
    text = "\n".join([*map(str, verdicts), "", NOT_PROVEN])
    emit([one.as_dict() for one in verdicts], text, as_json=json)
    if not all(one.ok for one in verdicts):
        raise typer.Exit(1)


def export(
    record: Annotated[str, typer.Argument(help="Run id, folder of a record, or latest.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Bundle to write: .zip or .tar.gz; default: .zip.")
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option("--pdf", help="Write record.html as a PDF here (by Chromium).")
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Write a record as one file that needs nothing else, with the program that verifies it."""
    from opslib.runbook.bundle import bundle, to_pdf
    from opslib.runbook.records import show

    folder = show(record, out).summary.folder
    written = []
    if pdf:
        written.append(to_pdf(folder, pdf))
    if to or not pdf:
        written.append(bundle(folder, to or Path(f"{folder.name}.zip")))
    emit({"written": [str(one) for one in written]}, "\n".join(map(str, written)), as_json=json)
