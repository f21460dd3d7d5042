"""Going on with a run that did not end well: what it left, read from its record with distrust.

The kernel's memory is gone, so the cells before the first unfinished step are read again;
effects that ended are not run again (see ``effects``).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError, LockBusy
from opslib.core.hashes import digest
from opslib.runbook import facts
from opslib.runbook.folder import EVENTS, is_live
from opslib.runbook.ledger import BEGUN, DONE, FAILED, PARTS, Before, Effect, effects_of
from opslib.runbook.notebook import Notebook, runs_code, source_of, tags_of

REREAD = "re-read"
"""Tag of a cell that ran in the interrupted run already, and is run again for what it reads."""
_MAX_BYTES = 256 * 1024 * 1024
_KERNEL_SECONDS = 10.0
"""How long to wait for the kernel of a killed runner to notice and end."""


@dataclass(frozen=True)
class Parent:
    """An interrupted run. ``given`` are the parameters it was given, ``done`` its ended cells."""

    folder: Path
    run_id: str
    notebook: Path
    sources: str
    given: dict[str, Any]
    given_digest: str
    done: frozenset[int]
    events: str
    before: Before = field(default_factory=Before)

    def link(self) -> dict[str, Any]:
        """Return what the resumed run's result.json says of it."""
        return {"run_id": self.run_id, "folder": self.folder.name, "events_sha256": self.events}


def sources_of(notebook: Notebook) -> str:
    """Return the hash of what a notebook would run: sources and tags of its code cells."""
    return digest(
        [
            [source_of(cell), sorted(tags_of(cell))]
            for cell in notebook["cells"]
            if cell.get("cell_type") == "code"
        ]
    )


def read_parent(folder: Path, redo: Sequence[str] = (), skip: Sequence[str] = ()) -> Parent:
    """Read an interrupted run from its record's events.

    Raises InputError for a run that ended ok, was resumed already, or whose events are
    damaged; LockBusy while it is still written.
    """
    if is_live(folder):
        raise LockBusy("this run is still going on", where=str(folder))
    data, rows = _rows(folder / EVENTS)
    start = rows[0] if rows else {}
    texts = ("run_id", "notebook", "sources", "given_digest")
    if start.get("event") != "run-start" or not all(isinstance(start.get(n), str) for n in texts):
        raise InputError("this record does not say how its run began", where=str(folder / EVENTS))
    if any(one.get("event") == "run-end" and one.get("outcome") == "ok" for one in rows):
        raise InputError("this run ended ok: there is nothing to resume", where=str(folder))
    parent = Parent(
        folder,
        start["run_id"],
        Path(start["notebook"]),
        start["sources"],
        start["given"] if isinstance(start.get("given"), dict) else {},
        start["given_digest"],
        frozenset(_done(rows)),
        hashlib.sha256(data).hexdigest(),
        Before(start["run_id"], _effects(rows), _gates(rows), frozenset(redo), frozenset(skip)),
    )
    _check_decisions(parent)
    return parent


def _rows(path: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Read the events; a last line that was cut off does not count, any other fault is one."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"the events cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > _MAX_BYTES:
        raise InputError("the events are too large to be read", where=str(path))
    whole = data[: data.rfind(b"\n") + 1]
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or row.get("seq") != number:
            raise InputError("an event is damaged or missing", where=f"{path}:{number}")
        rows.append(row)
    return data, rows


def _done(rows: list[dict[str, Any]]) -> Iterator[int]:
    for row in rows:
        if row.get("event") == "cell-end" and row.get("outcome") in {"ok", "skipped"}:
            cell = row.get("cell")
            if isinstance(cell, int):
                yield cell


def _effects(rows: list[dict[str, Any]]) -> tuple[Effect, ...]:
    known = {one.name: one for one in effects_of(rows[0].get("effects") or ())}
    states = {"effect-begin": BEGUN, "effect-end": DONE, "effect-failed": FAILED}
    for row in rows:
        state, name = states.get(str(row.get("event"))), row.get("name")
        if state and isinstance(name, str):
            plan, error = str(row.get("plan") or ""), str(row.get("error") or "")
            at = str(row.get("time") or "")
            known[name] = Effect(name, state, at, row.get("result"), plan, error)
    return tuple(known.values())


def _gates(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = rows[0].get("gates")
    pairs = found.items() if isinstance(found, dict) else ()
    known = {name: one for name, one in pairs if isinstance(one, dict)}
    for row in rows:
        name, approval = row.get("name"), row.get("approval")
        if (
            row.get("event") != "gate"
            or not isinstance(name, str)
            or not isinstance(approval, dict)
        ):
            continue
        # What was approved once stays known: a later run of the chain may not reach its gate.
        if approval.get("status") == "approved" or name not in known:
            parts = row.get(PARTS)
            known[name] = {**approval, PARTS: parts if isinstance(parts, list) else []}
    return known


def _check_decisions(parent: Parent) -> None:
    unfinished = {one.name for one in parent.before.effects if one.state != DONE}
    for option, names in (("--redo", parent.before.redo), ("--skip", parent.before.skip)):
        for name in sorted(names - unfinished):
            raise InputError(
                f"{name} is no effect that began without an end",
                where=f"{option} {name}",
                expected=f"one of {', '.join(sorted(unfinished))}" if unfinished else "none at all",
            )
    if both := parent.before.redo & parent.before.skip:
        raise InputError(f"{min(both)} cannot be done again and skipped", where="--redo, --skip")


def check_same(parent: Parent, source: Notebook, given: Mapping[str, Any]) -> None:
    """Raise InputError when the notebook or the parameters are not those of the parent."""
    hint = "start a new run"
    if sources_of(source) != parent.sources:
        raise InputError("the notebook changed since that run", where=parent.run_id, hint=hint)
    if digest(dict(given)) != parent.given_digest:
        raise InputError(
            "the parameters are not those of that run",
            where=parent.run_id,
            expected=json.dumps(parent.given, ensure_ascii=False),
            hint=f"{hint}; a parameter that the record masks has to be given again with -p",
        )


def start_of(
    path: Path, source: Notebook, given: dict[str, Any], parent: Parent | None
) -> dict[str, Any]:
    """Return what the first event of a run says, so that it can be resumed."""
    fields: dict[str, Any] = {
        "notebook": str(path),
        "sources": sources_of(source),
        "given": given,
        "given_digest": digest(given),
    }
    if parent:
        fields["parent"] = parent.link()
        fields["effects"] = [asdict(one) for one in parent.before.effects]
        fields["gates"] = parent.before.gates
    return fields


def mark(nb: Any, parent: Parent) -> None:
    """Tag the cells that the interrupted run had ended: they are read again."""
    code = [index for index, cell in enumerate(nb.cells) if runs_code(cell)]
    first = next((index for index in code if index not in parent.done), len(nb.cells))
    for index in code:
        if index < first:
            tags = nb.cells[index].metadata.get("tags", [])
            nb.cells[index].metadata["tags"] = [*tags, REREAD]
    nb.metadata["opslib"]["parent"] = {**parent.link(), "first_cell": first}


@contextlib.contextmanager
def alone(parent: Parent) -> Iterator[None]:
    """Be the only one that resumes this run, once its kernel is gone.

    Raises LockBusy while its kernel lives or somebody else resumes it, and InputError when
    it was resumed already: the newest run of a chain is the one to resume.
    """
    path = facts.effects_lock(parent.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(handle, parent)
        if child := _child(parent):
            raise InputError(
                f"this run was resumed already, by {child}",
                where=parent.run_id,
                hint=f"resume that one: opslib run --resume {child}",
            )
        yield
    finally:
        os.close(handle)


def _lock(handle: int, parent: Parent) -> None:
    until = time.monotonic() + _KERNEL_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise LockBusy(
                    "the kernel of this run still works, or somebody else resumes it",
                    where=str(parent.folder),
                ) from None
            time.sleep(0.05)


def _child(parent: Parent) -> str:
    """Return the id of the run that resumed the parent; "" without one."""
    for path in parent.folder.parent.parent.glob(f"*/*/{EVENTS}"):
        with contextlib.suppress(OSError, ValueError, AttributeError), path.open("rb") as stream:
            first = json.loads(stream.readline(_MAX_BYTES))
            if (first.get("parent") or {}).get("run_id") == parent.run_id:
                return str(first["run_id"])
    return ""
