"""How a cell and a run ended, in one word, and the exit code that says it to other programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from opslib.core.clock import stamp
from opslib.runbook.notebook import runs_code


class Outcome(StrEnum):
    """The end of a cell or a run. ``running`` is only seen in a record that is not finished."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    KERNEL_DEAD = "kernel-dead"
    DENIED = "denied"
    SKIPPED = "skipped"
    NEVER_RUN = "never-run"
    RUNNING = "running"


EXIT_CODES = {
    Outcome.OK: 0,
    Outcome.FAILED: 1,
    Outcome.DENIED: 3,
    Outcome.TIMEOUT: 124,
    Outcome.INTERRUPTED: 130,
    Outcome.KERNEL_DEAD: 138,
    Outcome.SKIPPED: 75,
}
"""timeout(1) has 124; shells add 128 to a signal's number; papermill's CLI exits 138. A run is
skipped when its lock is busy: 75, EX_TEMPFAIL of sysexits(3)."""


@dataclass(frozen=True)
class RunError:
    """What ended a run that is not ok. ``cell`` counts from 0; None: no cell was at fault.

    ``detail`` is the as_dict() of an opslib error that the cell raised, else empty.
    """

    name: str
    message: str
    cell: int | None = None
    detail: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the error as result.json carries it."""
        found: dict[str, Any] = {"name": self.name, "message": self.message, "cell": self.cell}
        return found if self.detail is None else {**found, "detail": self.detail}


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    outcome: Outcome
    exit_code: int
    error: RunError | None = None


OK = Ending(Outcome.OK, 0)


def ending(outcome: Outcome, error: RunError, exit_code: int | None = None) -> Ending:
    """Return the ending with the exit code that belongs to the outcome, unless one is given."""
    return Ending(outcome, EXIT_CODES[outcome] if exit_code is None else exit_code, error)


@dataclass(frozen=True)
class RunResult:
    """What a run left: its record's folder and files, and result.json as a dict.

    ``notebook`` is the executed notebook as it is in memory, which is not redacted.
    """

    run_id: str
    runbook: str
    outcome: str
    exit_code: int
    folder: Path
    record: Path
    html: Path
    result: dict[str, Any]
    notebook: Any = field(default=None, repr=False, compare=False)


def never_run(nb: Any) -> None:
    """Clear what an earlier run left, and mark every code cell never-run."""
    for cell in nb["cells"]:
        metadata = cell.setdefault("metadata", {})
        metadata.pop("execution", None)
        metadata["papermill"] = dict.fromkeys(
            ("exception", "start_time", "end_time", "duration"), None
        ) | {"status": "pending"}
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = None, []
        if runs_code(cell):
            metadata["opslib"] = {"outcome": Outcome.NEVER_RUN.value, **step_marks(cell)}


def conclude(nb: Any, ended: Ending) -> None:
    """Write the end of a run into the notebook's metadata."""
    nb["metadata"].setdefault("opslib", {}).update(
        outcome=ended.outcome.value,
        exit_code=ended.exit_code,
        error=ended.error.as_dict() if ended.error else None,
        ended=stamp(),
    )


def step_marks(cell: Any) -> dict[str, Any]:
    """Return what the author of the notebook said of a step, which is no outcome of ours."""
    mine = cell["metadata"].get("opslib")
    return {"step": mine["step"]} if isinstance(mine, dict) and "step" in mine else {}
