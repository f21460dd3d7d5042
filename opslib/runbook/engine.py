"""The papermill engine "opslib": truthful outcomes, deadlines, signals, atomic saves.

``register()`` makes it known to papermill at run time; by ``opslib.cli.plugin`` it serves
``papermill --engine opslib in.ipynb out.ipynb`` too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbformat.v4.nbjson import reads, writes
from papermill.engines import NBClientEngine, papermill_engines

from opslib.core.progress import SILENT, Progress
from opslib.runbook import streams
from opslib.runbook.client import Client
from opslib.runbook.manager import Manager
from opslib.runbook.outcome import Outcome, RunError, ending
from opslib.runbook.redact import redacted_json
from opslib.runbook.session import Session

NAME = "opslib"


class OpslibEngine(NBClientEngine):  # type: ignore[misc]  # papermill is untyped
    """Executes a notebook in a kernel of this interpreter."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str | None = None,
        progress: Progress = SILENT,
        html_assets: Callable[[], str] | None = None,
        **options: Any,
    ) -> Any:
        """Keep a record of a run as ``opslib run`` does, and return the executed notebook.

        ``options`` are what papermill hands to an engine, and of ours ``deadline``,
        ``cell_timeout``, ``grace`` (seconds) and ``lock``. Raises papermill_run.Ended for
        every run that is not ok or was refused.
        """
        from opslib.runbook import papermill_run  # noqa: PLC0415  # it imports the runner, that us

        del kernel_name
        return papermill_run.execute(nb, progress, html_assets, **options)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """Return a name for papermill; the kernel is this interpreter whatever it is."""
        del nb
        return name or "python3"

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """Return the language: runbooks are written in Python."""
        del nb
        return language or "python"


def to_text(nb: Any) -> str:
    """Serialize a notebook as nbformat does, without the cost of a validation at each save."""
    return str(writes(streams.whole(nb))) + "\n"


def clean(nb: Any) -> Any:
    """Return the notebook as its file has it, without secrets, for whoever reads on from it."""
    return reads(redacted_json(to_text(nb)))


def register() -> None:
    """Make the engine known to papermill under its name."""
    papermill_engines.register(NAME, OpslibEngine)


def execute(nb: Any, session: Session) -> None:
    """Execute ``nb`` in place; the ending is left in ``session``."""
    manager = Manager(nb, session)
    manager.notebook_start()
    try:
        Client(manager, session).execute()
    except Exception as error:
        why = RunError(type(error).__name__, str(error) or "no message")
        session.ending = ending(Outcome.FAILED, why)
        raise
    finally:
        manager.notebook_complete()
