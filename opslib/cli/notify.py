"""opslib notify: messages that a target did not take."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from opslib.cli.common import Json, emit, say
from opslib.core.errors import OpslibError

app = typer.Typer(
    help="Messages about the ends of runs.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def group() -> None:
    """Keep the group a group while it has one verb."""


@app.command()
def flush(json: Json = False) -> None:
    """Send what waits; exit 1 when something still does."""
    from opslib.runbook.notify import flush as send

    done = send()
    for note in done.notes:
        say(f"opslib: {note}")
    text = f"{done.delivered} delivered, {done.waiting} waiting"
    emit(dataclasses.asdict(done), text, as_json=json)
    if done.waiting:
        raise typer.Exit(1)


@contextlib.contextmanager
def telling(runbook: str, targets: list[str], on: str) -> Iterator[Callable[[Path], None]]:
    """Tell the targets of a run's end; also of one that could not start. Check them before.

    What waits from earlier runs goes first. Without targets this imports and does nothing.
    """
    if not targets:
        yield lambda _: None
        return
    from opslib.runbook import notify

    chosen = [word for word in on.split(",") if word]
    notifier = notify.notifier(targets, chosen)
    _say(notify.flush().notes)
    ended: list[Path] = []
    try:
        yield ended.append
    except OpslibError as error:
        if not ended:
            _say(notifier.send(notify.refused(runbook, error.what), "failed"))
        raise
    for folder in ended:
        _say(notifier.tell(folder))


def _say(lines: tuple[str, ...] | list[str]) -> None:
    for line in lines:
        say(f"opslib: {line}")
