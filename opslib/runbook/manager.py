"""The state of a notebook while it runs, written so that it is true at every moment.

papermill's own manager marks every cell completed at the end, also those that a dead
kernel never ran. Here a cell is "never-run" until it starts.
"""

from __future__ import annotations

import time
from typing import Any

from papermill.engines import NotebookExecutionManager

from opslib.core.clock import stamp
from opslib.runbook.notebook import headings, runs_code
from opslib.runbook.outcome import Outcome
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


class Manager(NotebookExecutionManager):  # type: ignore[misc]  # papermill is untyped
    """Keeps cell.metadata.opslib and papermill's own metadata, and saves when it is worth it."""

    def __init__(self, nb: Any, session: Session) -> None:
        super().__init__(nb, output_path=None, progress_bar=False)
        self.session = session
        self.headings = headings(nb)
        self.steps = sum(runs_code(cell) for cell in nb.cells)
        self.done = 0
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
        for cell in self.nb.cells:
            cell.metadata.pop("execution", None)
            cell.metadata["papermill"] = dict.fromkeys(
                ("exception", "start_time", "end_time", "duration"), None
            ) | {"status": "pending"}
            if cell.cell_type == "code":
                cell.execution_count, cell.outputs = None, []
            if runs_code(cell):
                cell.metadata["opslib"] = {"outcome": Outcome.NEVER_RUN.value}
        self.save()

    def cell_start(self, cell: Any, cell_index: int = 0, **_: Any) -> None:
        """Mark a cell as running."""
        self._begun = time.monotonic()
        self._mark(cell, Outcome.RUNNING, started=stamp())
        cell.metadata.papermill["start_time"] = self.now().isoformat()
        heading = self.headings[cell_index]
        self.session.progress.update(heading or f"cell {cell_index + 1}", self.done, self.steps)
        self.session.event("cell-start", cell=cell_index, heading=heading)
        self.touch()

    def cell_end(self, cell: Any, index: int, outcome: Outcome) -> None:
        """Mark how a cell ended."""
        seconds = round(time.monotonic() - self._begun, 3)
        if outcome is not Outcome.SKIPPED:
            started = cell.metadata.opslib["started"]
            self._mark(cell, outcome, started=started, ended=stamp(), seconds=seconds)
            cell.metadata.papermill["end_time"] = self.now().isoformat()
            cell.metadata.papermill["duration"] = seconds
        else:
            self._mark(cell, outcome)
        self.done += 1
        heading = self.headings[index]
        self.session.progress.update(heading or f"cell {index + 1}", self.done, self.steps)
        self.session.event("cell-end", cell=index, outcome=outcome.value, seconds=seconds)
        self.touch()

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
            self.nb.metadata.setdefault("opslib", {}).update(
                outcome=ended.outcome.value,
                exit_code=ended.exit_code,
                error=ended.error.as_dict() if ended.error else None,
                ended=stamp(),
            )
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
        self.session.save(self.nb, False)  # noqa: FBT003  # as above
        self._last = time.monotonic()
        self._pause = min(MAX_PAUSE, max(MIN_PAUSE, _SHARE * (self._last - begun)))

    def save_if_due(self) -> None:
        """Save when something changed and the last save is long enough ago."""
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
