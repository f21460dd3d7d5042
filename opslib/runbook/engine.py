"""The papermill engine "opslib": truthful outcomes, deadlines, signals, atomic saves.

``register()`` makes it known to papermill at run time; by ``opslib.runbook.plugin`` it serves
``papermill --engine opslib in.ipynb out.ipynb`` too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4.nbjson import reads, writes
from papermill.engines import NBClientEngine, papermill_engines

from opslib.core.files import write_atomic
from opslib.runbook import secret, streams
from opslib.runbook.client import Client
from opslib.runbook.manager import Manager
from opslib.runbook.outcome import Ending, Outcome, RunError, ending
from opslib.runbook.redact import REDACTOR, redacted, redacted_json
from opslib.runbook.session import Session

NAME = "opslib"


class OpslibEngine(NBClientEngine):  # type: ignore[misc]  # papermill is untyped
    """Executes a notebook in a kernel of this interpreter."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        session: Session | None = None,
        **options: Any,
    ) -> Any:
        """Execute ``nb`` in place and return it.

        With a ``session`` the ending is left in it. Without one, as the papermill CLI
        calls, the notebook is saved to ``output_path`` and an ending that is no plain
        cell error is raised as the exception for which papermill has an exit code.
        """
        del kernel_name
        mine = session or Session(save=_saver(output_path))
        if session is None and (seconds := options.get("execution_timeout")):
            mine.cell_timeout = float(seconds)
        if session is None:
            secret.note_given(nb)
        manager = Manager(nb, mine)
        manager.notebook_start()
        try:
            Client(manager, mine).execute()
        except Exception as error:
            why = RunError(type(error).__name__, str(error) or "no message")
            mine.ending = ending(Outcome.FAILED, why)
            raise
        finally:
            manager.notebook_complete()
            if session is None:
                _clean(nb)
        if session is None and mine.ending is not None:
            _raise(mine.ending)
        return manager.nb


def _raise(ended: Ending) -> None:
    text = redacted(ended.error.message) if ended.error else ""
    if ended.outcome is Outcome.KERNEL_DEAD:
        raise DeadKernelError(text)
    if ended.outcome is Outcome.TIMEOUT:
        raise CellTimeoutError(text)
    if ended.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt(text)


def _saver(output_path: str | None) -> Any:
    def save(nb: Any, sync: bool) -> None:
        if output_path:
            data = to_text(nb).encode(errors="backslashreplace")
            write_atomic(Path(output_path), REDACTOR.json_data(data), sync=sync)

    return save


def to_text(nb: Any) -> str:
    """Serialize a notebook as nbformat does, without the cost of a validation at each save."""
    return str(writes(streams.whole(nb))) + "\n"


def _clean(nb: Any) -> None:
    """Take the secrets out of the notebook: papermill writes it, and its errors, once more."""
    nb.update(reads(redacted_json(to_text(nb))))


def register() -> None:
    """Make the engine known to papermill under its name."""
    papermill_engines.register(NAME, OpslibEngine)


def execute(nb: Any, session: Session) -> None:
    """Execute ``nb`` in place through papermill's registry; the ending is left in ``session``."""
    register()
    papermill_engines.execute_notebook_with_engine(NAME, nb, kernel_name=None, session=session)
