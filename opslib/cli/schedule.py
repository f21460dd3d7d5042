"""opslib schedule: when runbooks run by themselves, and the form of each scheduler for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Json, emit, say
from opslib.core.errors import InputError, Problems

if TYPE_CHECKING:
    from opslib.runbook.schedule import Schedule

app = typer.Typer(
    help="Schedules of runbooks, and their forms.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of runbooks; default: notebooks/.")
    ] = None,
    json: Json = False,
) -> None:
    """List the runbooks that have a schedule, with their next runs in their own zone."""
    from opslib.runbook.schedule import schedules
    from opslib.view.text import clean, columns

    found, problems = schedules(folder)
    rows = [["RUNBOOK", "WHEN", "ZONE", "MISSED", "NEXT RUNS"]]
    for one in found:
        times = ", ".join(f"{run:%Y-%m-%d %H:%M %Z}" for run in one.next_runs())
        rows.append([one.name, one.cron, one.timezone, one.missed, times])
    emit([one.as_dict() for one in found], clean("\n".join(columns(rows))), as_json=json)
    if problems:
        raise Problems(problems)


@app.command()
def render(
    form: Annotated[str, typer.Argument(help="cron, systemd, cronjob or jupyter.")],
    runbooks: Annotated[
        list[str] | None, typer.Argument(help="Names or paths; default: all that have a schedule.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write the files into.")] = None,
    program: Annotated[
        str, typer.Option("--program", help="opslib where the runs happen; default: this one.")
    ] = "",
    workdir: Annotated[
        Path | None, typer.Option("--workdir", help="The project's folder there.")
    ] = None,
    image: Annotated[
        str, typer.Option("--image", help="Image of a CronJob, best by its digest.")
    ] = "opslib:latest",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Of a CronJob.")] = "opslib",
    service_account: Annotated[
        str, typer.Option("--service-account", help="Of a CronJob.")
    ] = "opslib",
    claim: Annotated[
        str, typer.Option("--claim", help="Volume claim for the records of a CronJob.")
    ] = "opslib-records",
    json: Json = False,
) -> None:
    """Print a schedule in a scheduler's own form, or write it to files."""
    from opslib.core.files import write_atomic
    from opslib.runbook.render import FORMS, Place
    from opslib.runbook.render import render as files_of

    if form not in FORMS:
        raise InputError(f"there is no form {form}", expected=f"one of {', '.join(FORMS)}")
    words = program or ("opslib" if form == "cronjob" else _this_program())
    place = Place(words, workdir, image, namespace, service_account, claim)
    files = files_of(form, _chosen(runbooks or []), place)
    if to is None:
        parts = [
            content if len(files) == 1 else f"# {n}\n{content}" for n, content in files.items()
        ]
        emit(files, ("---\n" if form == "cronjob" else "\n").join(parts).rstrip(), as_json=json)
        return
    for name, content in files.items():
        write_atomic(to / name, content)
    paths = [str(to / name) for name in files]
    emit(paths, "\n".join(paths), as_json=json)


def _this_program() -> str:
    """Return the opslib that runs now; schedulers have another PATH."""
    import shutil
    import sys

    beside = Path(sys.executable).with_name("opslib")
    return str(beside) if beside.is_file() else shutil.which("opslib") or "opslib"


def _chosen(names: list[str]) -> list[Schedule]:
    from opslib.runbook import find
    from opslib.runbook.schedule import read_schedule, schedules

    if not names:
        found, problems = schedules()
        if problems:
            raise Problems(problems)
        if not found:
            say("opslib: no runbook has a schedule (metadata.opslib.schedule)")
        return found
    chosen = []
    for name in names:
        path = find(name)
        one = read_schedule(path)
        if one is None:
            raise InputError(
                f"{name} has no schedule", where=str(path), expected="metadata.opslib.schedule"
            )
        chosen.append(one)
    return chosen
