"""opslib scan: secrets that stand in the open, in files, in what is staged, in all history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Json, bar, emit

if TYPE_CHECKING:
    from opslib.seal.scan.model import Report


def scan(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders; default: this folder.")
    ] = None,
    staged: Annotated[
        bool, typer.Option("--staged", help="What is staged for the next commit, for a hook.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Everything that any branch, tag or stash ever had.")
    ] = False,
    exceptions: Annotated[
        Path | None,
        typer.Option("--exceptions", help="File of exceptions; default: scan.yaml here or above."),
    ] = None,
    ignored: Annotated[
        bool, typer.Option("--ignored", help="Also files that Git ignores.")
    ] = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report to this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Find secret values in the open; exit 1 if there is one. No value is ever shown."""
    from opslib.core.errors import InputError
    from opslib.seal.scan import collect

    if staged and history:
        raise InputError("--staged and --history are different things", where="options")
    if sarif and json:
        raise InputError("--sarif and --json are different things", where="options")
    places = paths or [Path()]
    if (staged or history) and len(places) > 1:
        raise InputError(
            "one repository at a time", where="options", hint="give its folder, or none"
        )
    options = collect.Options(exceptions, ignored)
    with bar() as progress:
        if staged:
            report = collect.staged(places[0], options, progress)
        elif history:
            report = collect.history(places[0], options, progress)
        else:
            report = collect.tree(places, options, progress)
    _print(report, sarif=sarif, as_json=json, output=output)
    if not report.ok:
        raise typer.Exit(1)


def _print(report: Report, *, sarif: bool, as_json: bool, output: Path | None) -> None:
    import json

    from opslib.core.files import write_atomic
    from opslib.seal.scan.sarif import document

    made = document(report) if sarif else report.as_dict()
    text = _text(report)
    if output is None:
        emit(made, text, as_json=as_json or sarif)
        return
    shown = json.dumps(made, indent=2, ensure_ascii=False) if as_json or sarif else text
    write_atomic(output, shown + "\n")
    emit({"written": str(output), "ok": report.ok}, _summary(report), as_json=False)


def _text(report: Report) -> str:
    from opslib.view.text import clean

    lines = [clean(str(one)) for one in report.findings]
    lines += [clean(f"not read: {one}") for one in report.unread if not one.failing]
    lines += [clean(f"note: {one}") for one in report.notes]
    return "\n".join([*lines, _summary(report)])


def _summary(report: Report) -> str:
    of = (
        f"{report.files} contents of {report.commits} commits"
        if report.commits
        else f"{report.files} files"
    )
    text = f"{of}: {len(report.findings)} findings"
    return text + (f", {len(report.excused)} excused" if report.excused else "")
