"""The record of a session in JupyterLab, where no runner writes one.

From ``runbook.load`` on the kernel notes what its cells put out. ``runbook.record()`` in the
last cell writes the same five files as a headless run, by the same code. The folder is begun
before the first effect or approval, so that these are on disk when they happen. A cell that
was run several times is in the record as it ran last; each of its runs is an event.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import InputError
from opslib.runbook import facts

_BEGINS = {"effect-begin"}


@dataclass
class _Cell:
    """A cell as it ran last."""

    source: str
    started: str = field(default_factory=stamp)
    begun: float = field(default_factory=time.monotonic)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    count: int | None = None
    error: tuple[str, str] | None = None
    ended: str = ""
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        return "running" if not self.ended else "failed" if self.error else "ok"


class Recorder:
    """Notes what the cells of this kernel do, and writes the record."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.cells: dict[str, _Cell] = {}
        self.typed: dict[str, Any] = {}
        self.given: dict[str, Any] = {}
        self._by_message: dict[str, _Cell] = {}
        self._gate: _Cell | None = None
        self._run: Any = None
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._finish: Callable[[], str] | None = None
        self._files: dict[str, str] = {}
        self._earlier()
        self._listen()

    def _earlier(self) -> None:
        """Take over the cells that ran before, by what they were; their outputs are not known."""
        for number, source in enumerate(self.shell.user_ns.get("In", ())[1:], start=1):
            if source.strip():
                cell = self.cells[f"in-{number}"] = _Cell(source, count=number)
                cell.ended = cell.started
        if self.cells:
            key, cell = self.cells.popitem()  # the present one: it loads the parameters
            cell.ended = ""
            self._present(key, cell)

    def _present(self, key: str, cell: _Cell) -> None:
        parent = self.shell.kernel.get_parent()
        self.cells.pop(key, None)
        self.cells[str(parent.get("metadata", {}).get("cellId") or key)] = cell
        self._by_message[parent.get("header", {}).get("msg_id", "")] = cell
        self._now = cell

    def _listen(self) -> None:
        self.shell.events.register("pre_run_cell", self._before)
        self.shell.events.register("post_run_cell", self._after)
        session = self.shell.kernel.session
        plain = session.send

        @functools.wraps(plain)
        def send(stream: Any, message: Any, *rest: Any, **named: Any) -> Any:
            with contextlib.suppress(Exception):  # the session itself must go on
                self._note(message, rest, named)
            return plain(stream, message, *rest, **named)

        session.send = send

    def _before(self, info: Any) -> None:
        if info.raw_cell.strip():
            self._present(f"in-{self.shell.execution_count}", _Cell(info.raw_cell))
            self.event("cell-start", source=info.raw_cell[:200])

    def _after(self, result: Any) -> None:
        cell = self._now
        error = result.error_before_exec or result.error_in_exec
        cell.error = (type(error).__name__, str(error)) if error else None
        cell.count = result.execution_count
        cell.ended, cell.seconds = stamp(), round(time.monotonic() - cell.begun, 3)
        self.event("cell-end", outcome=cell.outcome, seconds=cell.seconds)
        if self._finish is not None:
            finish, self._finish = self._finish, None
            finish()

    def _note(self, message: Any, rest: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Keep an output that goes to the front end."""
        if isinstance(message, str):
            content = named.get("content", rest[0] if rest else None)
            parent = named.get("parent", rest[1] if len(rest) > 1 else None) or {}
            message = {
                "msg_type": message,
                "content": content,
                "parent_header": parent.get("header"),
            }
        kind = message["msg_type"]
        cell = self._by_message.get((message.get("parent_header") or {}).get("msg_id", ""))
        has_gate = facts.APPROVAL_MIME in (message["content"].get("data") or {})
        cell = self._gate if cell is None and has_gate else cell
        if cell is None:
            return
        if has_gate:
            self._gate = cell
        if kind == "clear_output":
            cell.outputs.clear()
        elif kind in {"display_data", "execute_result", "stream", "error"}:
            cell.outputs.append({"msg_type": kind, "content": copy.deepcopy(message["content"])})

    def event(self, name: str, /, *, sync: bool = False, **fields: Any) -> None:
        """Note an event; on disk from the first effect or approval on."""
        approved = name == "gate" and fields.get("approval", {}).get("status") == "approved"
        if self._run is None and (name in _BEGINS or approved):
            self._begin()
        if self._run is None:
            self._waiting.append((name, {**fields, "at": stamp()}))
        else:
            self._run.folder.event(name, sync=sync, **fields)

    def _begin(self) -> None:
        from opslib.runbook import current, places  # noqa: PLC0415  # only when a record is left
        from opslib.runbook.notebook import read_notebook  # noqa: PLC0415  # as above

        path = Path(os.environ.get("JPY_SESSION_NAME", ""))
        if path.suffix != ".ipynb" or not path.is_file():
            raise InputError(
                "the file of this notebook is not known, so its record cannot be left",
                where=str(path),
                hint="save it; other front ends than JupyterLab: use opslib run",
            )
        self._source = read_notebook(path)
        out = places.project_root(path) / places.OUTPUTS
        self._run = current.known(
            path, self._source, self.typed, self.given, out=out, scope="", parent=None
        )
        self._run.begin()
        for name, fields in self._waiting:
            self._run.folder.event(name, **fields)
        self._waiting.clear()
        for name, text in self._files.items():
            self._run.folder.write(name, text)
        self._files.clear()

    def keep(self, name: str, text: str) -> None:
        """Note a file for the record; on disk at once where the record has begun."""
        if self._run is None:
            self._files[name] = text
        else:
            self._run.folder.write(name, text)

    def arm(self, html_assets: Callable[[], str] | None) -> Path:
        """Write the record when the present cell has ended; return its folder."""
        if self._run is None:
            self._begin()
        self._finish = functools.partial(self._write, html_assets)
        return Path(self._run.folder.path)

    def _write(self, html_assets: Callable[[], str] | None) -> str:
        from opslib.runbook import current, finish  # noqa: PLC0415  # as above
        from opslib.runbook.anchor import from_environment  # noqa: PLC0415  # as above
        from opslib.runbook.engine import to_text  # noqa: PLC0415  # as above
        from opslib.runbook.folder import RECORD  # noqa: PLC0415  # as above

        run, self._run = self._run, None
        run.parameters = {name: facts.to_plain(one, name) for name, one in self.typed.items()}
        run.nb = current.prepared(self._source, run, self.given)
        run.ending = self._fill(run.nb)
        try:
            run.nb.metadata["opslib"].update(
                outcome=run.ending.outcome.value, exit_code=run.ending.exit_code, ended=stamp()
            )
            run.folder.write(RECORD, to_text(run.nb))
            done = finish.finish(run, html_assets, from_environment())
        finally:
            run.folder.close()
        return str(done.folder)

    def _fill(self, nb: Any) -> Any:
        """Put what ran into the notebook's cells; what is not in its file comes at the end."""
        from opslib.runbook.notebook import runs_code, tags_of  # noqa: PLC0415  # as above
        from opslib.runbook.outcome import OK, Outcome, RunError, ending  # noqa: PLC0415  # as above
        from opslib.runbook.parameters import INJECTED_TAG  # noqa: PLC0415  # as above

        left = dict(self.cells)
        how = OK
        for cell in [one for one in nb.cells if runs_code(one)]:
            if INJECTED_TAG in tags_of(cell):
                cell.metadata["opslib"] = {"outcome": "ok"}
                continue
            key = cell.id if cell.id in left else _like(left, cell.source)
            _put(cell, left.pop(key, None))
        for one in left.values():
            _put(_added(nb, one.source), one)
        for index, cell in enumerate(nb.cells):
            if cell.metadata.get("opslib", {}).get("outcome") == "failed":
                name, text = cell.metadata["opslib"].pop("error")
                how = ending(Outcome.FAILED, RunError(name, text, index))
        return how


def _like(cells: Mapping[str, _Cell], source: str) -> str:
    """Return the key of the cell of an unknown place that has this source."""
    same = [key for key, one in cells.items() if key.startswith("in-") and one.source == source]
    return same[-1] if same else ""


def _added(nb: Any, source: str) -> Any:
    from nbformat.v4 import new_code_cell  # noqa: PLC0415  # only when a record is left

    nb.cells.append(new_code_cell(source, metadata={"tags": ["not-in-file"]}))
    return nb.cells[-1]


def _put(cell: Any, ran: _Cell | None) -> None:
    from nbformat.v4 import output_from_msg  # noqa: PLC0415  # only when a record is left

    from opslib.runbook import streams  # noqa: PLC0415  # as above

    cell.outputs, cell.execution_count = [], None
    if ran is None:
        cell.metadata["opslib"] = {"outcome": "never-run"}
        return
    cell.source, cell.execution_count = ran.source, ran.count
    found = [
        output_from_msg({"header": {"msg_type": one["msg_type"]}, **one}) for one in ran.outputs
    ]
    cell.outputs = streams.join(found)
    times = {"started": ran.started, "ended": ran.ended, "seconds": ran.seconds}
    cell.metadata["opslib"] = {"outcome": ran.outcome, **times}
    if ran.error:
        cell.metadata["opslib"]["error"] = list(ran.error)


_recorder: list[Recorder] = []


def loaded(typed: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Begin to note what a person's session does; ``typed`` are its parameters.

    Does nothing where a runner writes the record, or nobody is there (plain papermill).
    """
    where = facts.context()
    if not where.interactive:
        return
    if not _recorder:
        _recorder.append(Recorder(facts.shell()))
    one = _recorder[0]
    one.typed = dict(typed)
    one.given = {k: v for k, v in typed.items() if k not in defaults or defaults[k] != v}


def event(name: str, /, **fields: Any) -> None:
    """Note an event of a person's session."""
    if _recorder:
        _recorder[0].event(name, **fields)


def keep(name: str, text: str) -> bool:
    """Note a file for the record of a person's session; False where none is left."""
    for one in _recorder:
        one.keep(name, text)
    return bool(_recorder)


def record(html_assets: Callable[[], str] | None = None) -> None:
    """Leave the record of this session; in a run it says that the runner writes it.

    Call it in the last cell. ``html_assets`` returns the source of plotly.min.js for figures.
    Raises InputError where nothing was noted: ``runbook.load`` has to come first.
    """
    if facts.inside_run():
        print("The runner writes the record of this run.")  # noqa: T201  # said in the notebook
    elif _recorder:
        folder = _recorder[0].arm(html_assets)
        print(f"The record of this session: {folder}")  # noqa: T201  # as above
    elif facts.context().interactive:
        raise InputError(
            "nothing was noted of this session",
            expected="runbook.load(globals()) in a cell above",
            hint="run the notebook from the top",
        )
    else:
        print("No record is left by plain papermill: use opslib run.")  # noqa: T201  # as above
