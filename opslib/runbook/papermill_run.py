"""What ``papermill --engine opslib`` does: the run of ``opslib run``, told in papermill's ways.

papermill has prepared a notebook and calls the engine; the engine checks the parameters, keeps
a record, and raises for every end that is not ok, so that papermill writes nothing of its own.
Errors are click's too: papermill's command line shows their message and exits with their code.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click import ClickException
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import papermill_io

from opslib.core import scratch
from opslib.core.errors import InputError, OpslibError
from opslib.core.progress import Progress
from opslib.runbook import papermill_io as paths
from opslib.runbook.execute import run_notebook
from opslib.runbook.limits import Limits
from opslib.runbook.notebook import check_format
from opslib.runbook.outcome import Outcome, RunResult

_PAST_THE_RECORD = ("log_output", "stdout_file", "stderr_file")


class Ended(PapermillException, ClickException):  # type: ignore[misc]  # papermill is untyped
    """A run that is not ok, or was refused. ``exit_code`` is that of ``opslib run``."""

    def __init__(self, message: str, exit_code: int, result: RunResult | None = None) -> None:
        ClickException.__init__(self, message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance
        self.result = result

    def __str__(self) -> str:
        return str(self.message)


class Refused(Ended):
    """Nothing was started. ``cause`` is opslib's error."""

    cause: OpslibError


class Failed(Ended, PapermillExecutionError):  # type: ignore[misc]  # as above
    """A cell failed, or was denied what it asked for."""

    def __init__(self, message: str, exit_code: int, result: RunResult) -> None:
        super().__init__(message, exit_code, result)
        error = result.result.get("error") or {}
        self.cell_index, self.exec_count, self.source = error.get("cell"), None, ""
        self.ename, self.evalue = error.get("name", ""), error.get("message", "")
        self.traceback: list[str] = []


class TimedOut(Ended, CellTimeoutError):  # type: ignore[misc]  # nbclient is untyped here
    """A cell or the run outlived its time."""


class KernelDied(Ended, DeadKernelError):  # type: ignore[misc]  # as above
    """The kernel is gone. papermill's command line exits 138 for it."""


_KINDS: dict[str, type[Ended]] = {
    Outcome.FAILED.value: Failed,
    Outcome.DENIED.value: Failed,
    Outcome.TIMEOUT.value: TimedOut,
    Outcome.KERNEL_DEAD.value: KernelDied,
}


def refused(error: OpslibError) -> Refused:
    """Return the error of a run that was not started."""
    found = Refused(str(error), error.exit_code)
    found.cause = error
    return found


def execute(
    nb: Any,
    progress: Progress,
    html_assets: Callable[[], str] | None,
    **options: Any,
) -> Any:
    """Run what papermill prepared and return the executed notebook; raise Ended if it is not ok."""
    output = nb.metadata.papermill.get("output_path")
    with contextlib.ExitStack() as unless_ok:
        try:
            _check(options)
            mirror = paths.Mirror(papermill_io, output) if output else None
            if mirror is not None:
                unless_ok.callback(mirror.close)
            done = _run(nb, mirror, progress, html_assets, options)
        except OpslibError as error:
            raise refused(error) from None
        if done.outcome != Outcome.OK.value:
            raise _ended(done)
        unless_ok.pop_all()  # the mirror takes in papermill's last write, and leaves by itself
    from opslib.runbook.engine import clean  # noqa: PLC0415  # it imports this module lazily

    return _calm(clean(done.notebook))


def _run(
    nb: Any,
    mirror: paths.Mirror | None,
    progress: Progress,
    html_assets: Callable[[], str] | None,
    options: dict[str, Any],
) -> RunResult:
    about = nb.metadata.papermill
    out = None
    if mirror is not None and mirror.path.startswith(paths.SCHEME):
        out = paths.folder_of(mirror.path)
    with scratch.folder("papermill-") as place:
        path = _input(nb, about.get("input_path"), place)
        out = out or (Path.cwd() / "outputs" if path.parent == place else None)
        check_format(nb, path)
        timeout = options.get("execution_timeout") or options.get("cell_timeout")
        done = run_notebook(
            path,
            dict(nb),
            dict(about.get("parameters") or {}),
            limits=Limits(
                options.get("deadline"),
                float(timeout) if timeout else None,
                options.get("grace"),
                options.get("lock") or "",
            ),
            out=out,
            cwd=Path.cwd(),
            progress=progress,
            html_assets=html_assets,
            started=mirror.started if mirror is not None else None,
        )
    if mirror is not None:
        mirror.finish()
    return done


def _check(options: dict[str, Any]) -> None:
    for name in _PAST_THE_RECORD:
        if options.get(name):
            raise InputError(
                f"{name} is not possible with the engine opslib",
                where=name,
                expected="what cells print in the record alone, where secrets are masked",
                hint="read record.ipynb while the run goes on",
            )


def _input(nb: Any, given: Any, place: Path) -> Path:
    """Return the notebook's file; what came from elsewhere is put into one."""
    if isinstance(given, str):
        behind = papermill_io.get_handler(given)
        local = Path(getattr(behind, "_cwd", None) or Path.cwd(), given)
        if local.is_file():
            return local.resolve()
    from opslib.runbook.engine import to_text  # noqa: PLC0415  # it imports this module lazily

    name = Path(given).stem if isinstance(given, str) else ""
    path = place / f"{name if name.isidentifier() else 'notebook'}.ipynb"
    path.write_text(to_text(nb), encoding="utf-8")
    return path


def _calm(nb: Any) -> Any:
    """Return the executed notebook with expected errors as text.

    papermill takes every output of the kind "error" for a failure, also one in a cell that
    is tagged raises-exception. The files hold such an output as it was.
    """
    calm = copy.copy(nb)
    calm.cells = [_calm_cell(cell) for cell in nb.cells]
    return calm


def _calm_cell(cell: Any) -> Any:
    if not any(one.output_type == "error" for one in cell.get("outputs", [])):
        return cell
    calm = copy.copy(cell)
    calm.outputs = [_as_text(one) for one in cell.outputs]
    return calm


def _as_text(output: Any) -> Any:
    if output.output_type != "error":
        return output
    return new_output("stream", name="stderr", text="\n".join(output.traceback) + "\n")


def _ended(done: RunResult) -> Ended:
    error = done.result.get("error") or {}
    words = f"{done.runbook}: {done.outcome}\n{error.get('message', '')}\nrecord: {done.record}"
    return _KINDS.get(done.outcome, Ended)(words, done.exit_code, done)
