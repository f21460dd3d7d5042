"""The state of a notebook while it runs, written so that it is true at every moment.

papermill's own manager marks every cell completed at the end, also those that a dead
kernel never ran. Here a cell is "never-run" until it starts.
"""

from __future__ import annotations

import time
from typing import Any

from papermill.engines import NotebookExecutionManager

from opslib.core.clock import stamp
from opslib.runbook import streams
from opslib.runbook.notebook import headings, runs_code
from opslib.runbook.outcome import Ending, Outcome, conclude, never_run, step_marks
from opslib.runbook.payloads import Payloads
from opslib.runbook.session import Session

_PAPERMILL = {
    Outcome.OK: ("completed", False),
    Outcome.RUNNING: ("running", False),
    Outcome.SKIPPED: ("pending", None),
    Outcome.NEVER_RUN: ("pending", None),
}
"""What each outcome is in papermill's words (status, exception); the rest is failed, True."""

MIN_PAUSE, MAX_PAUSE = 0.5, 1.5
"""Seconds between two saves of a running notebook: at most 2 s may be lost with the machine."""
_SHARE = 20
"""A save that took t seconds is not repeated within 20 t: saving costs 5 % at most."""
_TELL_EVERY = 5.0
"""Seconds between two looks at the clock for people while one cell runs."""


class Manager(NotebookExecutionManager):  # type: ignore[misc]  # papermill is untyped
    """Keeps cell.metadata.opslib and papermill's own metadata, and saves when it is worth it."""

    def __init__(self, nb: Any, session: Session) -> None:
        super().__init__(nb, output_path=None, progress_bar=False)
        self.session = session
        self.headings = headings(nb)
        self.steps = sum(runs_code(cell) for cell in nb.cells)
        self.done = 0
        self.at = self.number = 0
        self.attempts: list[dict[str, Any]] = []
        self._payloads = None if session.apart is None else Payloads(session.apart)
        self._told = 0.0
        self._dirty = False
        self._last = 0.0
        self._pause = MIN_PAUSE
        self._begun = time.monotonic()

    def notebook_start(self, **_: Any) -> None:
        """Clear what an earlier run left, mark every code cell never-run, save."""
        self.set_timer()
        self.nb.metadata.setdefault("papermill", {})
        self._papermill(start_time=self.start_time.isoformat(), end_time=None, duration=None)
        self.nb.metadata.papermill["exception"] = None
        never_run(self.nb)
        self.save()

    def cell_start(self, cell: Any, cell_index: int = 0, **_: Any) -> None:
        """Mark a cell as running."""
        self._begun = time.monotonic()
        self._mark(cell, Outcome.RUNNING, **step_marks(cell), started=stamp(), **self._tries())
        cell.metadata.papermill["start_time"] = self.now().isoformat()
        self.at, self.number = cell_index, self.done + 1
        self.tell()
        again = {"attempt": len(self.attempts) + 1} if self.attempts else {}
        heading = self.headings[cell_index]
        self.session.event("cell-start", cell=cell_index, heading=heading, **again)
        self.touch()

    def cell_again(self, index: int, problem: Ending, wait: float) -> None:
        """Note an attempt that failed, before the next one is made in ``wait`` seconds."""
        error = problem.error.as_dict() if problem.error else {}
        attempt = {
            "outcome": problem.outcome.value,
            "seconds": round(time.monotonic() - self._begun, 3),
            "error": {key: error.get(key) for key in ("name", "message")},
        }
        cell = self.nb.cells[index]
        self.attempts.append({"started": cell.metadata.opslib["started"], **attempt})
        cell.metadata.opslib.update(self._tries())
        number = len(self.attempts)
        self.session.event("cell-retry", cell=index, attempt=number, **attempt, wait=wait)
        self.touch()

    def cell_end(self, cell: Any, index: int, outcome: Outcome) -> None:
        """Mark how a cell ended."""
        seconds = round(time.monotonic() - self._begun, 3)
        if outcome is not Outcome.SKIPPED:
            started = cell.metadata.opslib["started"]
            times = {"started": started, "ended": stamp(), "seconds": seconds}
            self._mark(cell, outcome, **step_marks(cell), **times, **self._tries())
            cell.metadata.papermill["end_time"] = self.now().isoformat()
            cell.metadata.papermill["duration"] = seconds
        else:
            self._mark(cell, outcome, **step_marks(cell))
            seconds = 0.0
        self.done += 1
        self.at, self.number = index, self.done
        self.attempts = []
        self.tell()
        self.session.event("cell-end", cell=index, outcome=outcome.value, seconds=seconds)
        self.touch()

    def join_streams(self, cell: Any, index: int) -> None:
        """Join what the cell printed; what was written apart is not written once more."""
        if self._payloads is None:
            cell.outputs = streams.join(cell.outputs)
            return
        before = list(cell.outputs)
        cell.outputs = self._payloads.settle(index, before, lambda: streams.join(cell.outputs))

    def tell(self) -> None:
        """Tell people which step runs, for how long now, and how long earlier runs took."""
        self._told = time.monotonic()
        label = f"step {self.number}/{self.steps} {self.headings[self.at] or f'cell {self.at + 1}'}"
        if self.session.expected is not None:
            so_far = time.monotonic() - self.session.started
            label += f", {so_far:.0f} s of about {self.session.expected:.0f} s"
        self.session.progress.update(label, self.done, self.steps)

    def _tries(self) -> dict[str, Any]:
        return {"attempts": list(self.attempts)} if self.attempts else {}

    def passed(self, cell: Any) -> None:
        """Mark a cell that holds nothing to run (Markdown, raw, empty) as passed by."""
        cell.metadata.papermill["status"] = "completed"

    def notebook_complete(self, **_: Any) -> None:
        """Write the end of the run into the notebook's metadata and save it for good."""
        self.end_time = self.now()
        for cell in self.nb.cells:  # only after a fault of our own
            if cell.metadata.get("opslib", {}).get("outcome") == Outcome.RUNNING.value:
                self._mark(cell, Outcome.FAILED, **_without_outcome(cell))
        self._papermill(
            end_time=self.end_time.isoformat(),
            duration=(self.end_time - self.start_time).total_seconds(),
        )
        ended = self.session.ending
        failed = ended is None or ended.outcome is not Outcome.OK
        self.nb.metadata.papermill["exception"] = True if failed else None
        if ended is not None:
            conclude(self.nb, ended)
        self.session.save(self.nb, True)  # noqa: FBT003  # the type of a callback has no keywords

    def autosave_cell(self, **_: Any) -> None:
        """Note a new output; papermill calls this for every message."""
        self.touch()

    def touch(self) -> None:
        """Note that the notebook is ahead of its file."""
        self._dirty = True

    def save(self, **_: Any) -> None:
        """Save now."""
        begun = time.monotonic()
        self._dirty = False
        shown = self.nb if self._payloads is None else self._payloads.shown(self.nb)
        self.session.save(shown, False)  # noqa: FBT003  # as above
        self._last = time.monotonic()
        self._pause = min(MAX_PAUSE, max(MIN_PAUSE, _SHARE * (self._last - begun)))

    def save_if_due(self) -> None:
        """Save when something changed and the last save is long enough ago; tell people now."""
        if self.done and time.monotonic() - self._told >= _TELL_EVERY:
            self.tell()
        if self._dirty and time.monotonic() - self._last >= self._pause:
            self.save()

    def _mark(self, cell: Any, outcome: Outcome, **fields: Any) -> None:
        cell.metadata["opslib"] = {"outcome": outcome.value, **fields}
        status, exception = _PAPERMILL.get(outcome, ("failed", True))
        cell.metadata.papermill["status"] = status
        cell.metadata.papermill["exception"] = exception

    def _papermill(self, **fields: Any) -> None:
        self.nb.metadata.papermill.update(fields)


def _without_outcome(cell: Any) -> dict[str, Any]:
    return {name: value for name, value in cell.metadata.opslib.items() if name != "outcome"}
