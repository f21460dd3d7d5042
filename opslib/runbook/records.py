"""The records that are there: a list, and one of them. Read from the folders, nothing cached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.runbook.folder import MANIFEST, RESULT, is_live
from opslib.runbook.outcome import Outcome
from opslib.runbook.places import records_folder
from opslib.runbook.reading import read_object


@dataclass(frozen=True)
class RecordSummary:
    """One line about a record. ``seconds`` and ``exit_code`` are None for an unfinished run.

    ``outcome`` is "running" only while a process writes the record; a run whose process
    is gone without an end counts as interrupted. ``error`` is one sentence, or empty.
    """

    run_id: str
    runbook: str
    outcome: str
    exit_code: int | None
    started: str
    seconds: float | None
    folder: Path
    error: str = ""


@dataclass(frozen=True)
class Record:
    """One record: its summary, result.json and manifest.json ({} while it is not written)."""

    summary: RecordSummary
    result: dict[str, Any]
    manifest: dict[str, Any]


def list_records(out: Path | None = None) -> list[RecordSummary]:
    """Return the records below ``out`` (outputs/ of the present folder by default), newest first.

    A folder whose result.json cannot be read is listed with outcome "unknown" and the reason.
    """
    found = [summary_of(folder) for folder in _folders(out or records_folder())]
    return sorted(found, key=lambda one: (one.started, one.run_id), reverse=True)


def show(record: str | Path, out: Path | None = None) -> Record:
    """Return one record: by its folder, its run id, the beginning or end of one, or ``latest``.

    Raises InputError when there is none, or more than one.
    """
    folder = _find(record, out or records_folder())
    return Record(summary_of(folder), _load(folder / RESULT), _load(folder / MANIFEST, {}))


def _folders(out: Path) -> Iterator[Path]:
    yield from (one.parent for one in out.glob(f"*/*/{RESULT}"))


def _find(record: str | Path, out: Path) -> Path:
    if (Path(record) / RESULT).is_file():
        return Path(record).resolve()
    name = str(record)
    if name == "latest" and (known := list_records(out)):
        return known[0].folder.resolve()
    near = [
        folder
        for folder in _folders(out)
        if name
        and (folder.name == name or _run_id(folder).startswith(name) or folder.name.endswith(name))
    ]
    if len(near) == 1:
        return near[0].resolve()
    problem = f"{len(near)} records match {name}" if near else f"there is no record {name}"
    names = ", ".join(sorted(folder.name for folder in near)[:5])
    raise InputError(
        problem,
        where=str(out),
        expected=f"one of {names}" if near else "a record's folder or run id",
        hint="opslib records list",
    )


def _run_id(folder: Path) -> str:
    return "-".join(folder.name.rsplit("-", 2)[-2:])


def _load(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        return read_object(path)
    except FileNotFoundError:
        if default is not None:
            return default
        raise InputError("the file is not in the record", where=str(path)) from None


def summary_of(folder: Path) -> RecordSummary:
    """Return one line about the record in a folder, whatever is in it."""
    try:
        result = _load(folder / RESULT)
        _check_types(result)
        outcome, error = str(result["outcome"]), result.get("error") or {}
        if outcome == Outcome.RUNNING.value and not is_live(folder):
            outcome = Outcome.INTERRUPTED.value
            error = {"message": "the process of the run ended before it could finish the record"}
        return RecordSummary(
            run_id=result["run_id"],
            runbook=result["runbook"],
            outcome=outcome,
            exit_code=result["exit_code"],
            started=result["started"],
            seconds=result["seconds"],
            folder=folder.resolve(),
            error=" ".join(str(error.get("message", "")).split()),
        )
    except (InputError, KeyError, TypeError, AttributeError) as error:
        reason = f"result.json is not as it was written: {error}".splitlines()[0]
        name = folder.name.rsplit("-", 2)[0]
        run_id = _run_id(folder)
        return RecordSummary(run_id, name, "unknown", None, "", None, folder.resolve(), reason)


def _check_types(result: dict[str, Any]) -> None:
    """Refuse a result.json whose fields are of other types: a record may come from anybody."""
    code, seconds = result["exit_code"], result["seconds"]
    wrong = [key for key in ("run_id", "runbook", "started") if not isinstance(result[key], str)]
    if code is not None and (type(code) is not int or abs(code) > 255):
        wrong.append("exit_code")
    if seconds is not None and (type(seconds) not in {int, float} or not 0 <= seconds < 1e12):
        wrong.append("seconds")
    if wrong:
        raise TypeError(f"{', '.join(wrong)} is of another type")
