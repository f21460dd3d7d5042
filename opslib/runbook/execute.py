"""One run of a runbook: checked before anything starts, executed, left as a record."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError, LockBusy, OpslibError
from opslib.core.progress import SILENT, Progress
from opslib.runbook import facts, history, launcher, lock, places, steps
from opslib.runbook import resume as resume_
from opslib.runbook.anchor import Anchoring, from_environment
from opslib.runbook.attachments import taking
from opslib.runbook.current import Run, dressed, known, prepared
from opslib.runbook.finish import finish
from opslib.runbook.folder import RECORD, RecordFolder, to_json
from opslib.runbook.ledger import Ledger
from opslib.runbook.limits import Limits
from opslib.runbook.notebook import Notebook, read_notebook
from opslib.runbook.outcome import Ending, Outcome, RunError, RunResult, conclude, ending, never_run
from opslib.runbook.parameters import schema_of
from opslib.runbook.places import find, project_root
from opslib.runbook.redact import Discreet
from opslib.runbook.resume import Parent
from opslib.runbook.session import Session

__all__ = ["RunResult", "find", "resumed", "run", "run_notebook"]


def run(
    notebook: Path | str,
    parameters: Mapping[str, object],
    *,
    out: Path | None = None,
    cwd: Path | None = None,
    progress: Progress = SILENT,
    html_assets: Callable[[], str] | None = None,
    deadline: float | None = None,
    cell_timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    grace: float | None = None,
    lock: str = "",
    anchoring: Anchoring | None = None,
    resume: Parent | None = None,
) -> RunResult:
    """Execute a runbook (a name, or the path of a notebook) and leave its record.

    The parameters are checked before anything is started or written. The record goes
    to ``out``/<date>/<runbook>-<run id>/; ``out`` is outputs/ of the notebook's project
    by default, and ``cwd`` of the kernel is that project. ``deadline`` (whole run) and
    ``cell_timeout`` are in seconds; an interrupted cell has ``grace`` seconds for its
    clean-up (10 by default). ``lock`` is a scope that only one run may have at a time (see
    lock.py). What is not given may stand in the notebook's metadata, under "opslib".
    ``env`` adds to the kernel's environment. ``html_assets`` returns the source of
    plotly.min.js; without it figures appear in the HTML by their text. ``anchoring``
    binds the record to a key, a repository or a time; None means what the environment says.
    ``resume`` is the run that this one goes on with (see ``resumed``).

    A run that fails is returned, with its outcome and exit code, not raised; one whose lock
    is busy is "skipped", exit code 75. Raises InputError (or Problems) for a notebook or
    parameters that are wrong, and OpslibError when the record cannot be written.
    """
    path = find(str(notebook))
    return run_notebook(
        path,
        read_notebook(path),
        parameters,
        limits=Limits(deadline, cell_timeout, grace, lock),
        out=out,
        cwd=cwd or project_root(path),
        progress=progress,
        html_assets=html_assets,
        env=env,
        anchoring=anchoring,
        resume=resume,
    )


def run_notebook(
    path: Path,
    source: Notebook,
    parameters: Mapping[str, object],
    *,
    limits: Limits,
    out: Path | None,
    cwd: Path,
    progress: Progress,
    html_assets: Callable[[], str] | None,
    env: Mapping[str, str] | None = None,
    started: Callable[[RecordFolder], object] | None = None,
    anchoring: Anchoring | None = None,
    resume: Parent | None = None,
) -> RunResult:
    """Execute a notebook that is read already, see ``run``; ``path`` is the file it came from.

    ``started`` is told the record's folder before the kernel starts.
    """
    typed = schema_of(source, path.name).check(parameters)
    steps.check(source, path.name)
    limits = limits.over(source, path.name)
    anchoring = anchoring.check() if anchoring else from_environment()
    workplace = _existing(cwd)
    typed = {name: _from_here(value, name in parameters) for name, value in typed.items()}
    given = {name: value for name, value in typed.items() if name in parameters}
    scope = lock.scope_of(limits.lock, typed) if limits.lock else ""
    place = out or project_root(path) / places.OUTPUTS
    with contextlib.ExitStack() as held:
        this = known(path, source, typed, given, out=place, scope=scope, parent=resume)
        try:
            fence = held.enter_context(lock.hold(scope, this.owner(), typed)) if scope else None
        except LockBusy as busy:
            return _skipped(this, source, busy, anchoring)
        expected = history.expected_seconds(place, path.stem)
        this.begin()
        try:
            this.nb = prepared(source, this, given)
            session = Session(
                save=_saver(this),
                apart=this.folder.write,
                event=this.folder.event,
                calls=taking(
                    this.folder,
                    Ledger(this.folder.event, resume.before if resume else None).handle,
                ),
                progress=Discreet(progress),
                cwd=workplace,
                env=_environment(this, env or {}),
                deadline=limits.deadline,
                cell_timeout=limits.cell_timeout,
                grace=limits.seconds_of_grace,
                expected=expected,
                fence=fence,
                started=this.begun,
            )
            if started is not None:
                started(this.folder)
            with session.stopper.on_signals():
                this.ending = _execute(this, session)
                return finish(this, html_assets, anchoring)
        finally:
            this.folder.close()


def resumed(
    record: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    redo: Sequence[str] = (),
    skip: Sequence[str] = (),
    **options: Any,
) -> RunResult:
    """Go on with a run that did not end well, from the first step that did not finish.

    ``record`` is its folder; the new record goes beside it and names it as its parent.
    ``redo`` and ``skip`` decide about effects that began without an end. ``options`` are
    those of ``run``, but for ``out``. Raises InputError when the notebook or its parameters
    changed, when the run ended ok or was resumed already; LockBusy while it still runs.
    """
    parent = resume_.read_parent(record.resolve(), redo, skip)
    with resume_.alone(parent):
        given = {**parent.given, **(parameters or {})}
        return run(
            parent.notebook, given, out=parent.folder.parent.parent, resume=parent, **options
        )


def _from_here(value: Any, given: bool) -> Any:
    """Make a given path absolute: the kernel works in the project, the person elsewhere."""
    return value.absolute() if given and isinstance(value, Path) else value


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError("the working folder is not there", where=str(folder))
    return folder.resolve()


def _skipped(this: Run, source: Notebook, busy: LockBusy, anchoring: Anchoring) -> RunResult:
    """Leave the record of a run that could not start: every cell is never-run."""
    this.begin()
    try:
        this.nb = dressed(source, this, {})
        never_run(this.nb)
        error = RunError("LockBusy", busy.what, detail=busy.as_dict())
        this.ending = ending(Outcome.SKIPPED, error)
        conclude(this.nb, this.ending)
        this.folder.write(RECORD, to_json(this.nb))
        return finish(this, None, anchoring)
    finally:
        this.folder.close()


def _environment(this: Run, extra: Mapping[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        **extra,
        facts.RUN_ID: this.run_id,
        facts.RUN_DIR: str(this.folder.path),
        launcher.RUNNER: str(os.getpid()),
    }


def _saver(this: Run) -> Callable[[Any, bool], None]:
    from opslib.runbook.engine import to_text  # noqa: PLC0415  # papermill: see prepared

    def save(nb: Any, sync: bool) -> None:
        this.folder.write(RECORD, to_text(nb), sync=sync)

    return save


def _execute(this: Run, session: Session) -> Ending:
    from opslib.runbook import engine, html  # noqa: PLC0415  # papermill: see prepared

    html.warm()
    try:
        engine.execute(this.nb, session)
    except OpslibError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever breaks, the record has to say so
        text = f"{error}" or type(error).__name__
        return ending(Outcome.FAILED, RunError(type(error).__name__, text))
    return session.ending or ending(Outcome.FAILED, RunError("Unknown", "the engine said nothing"))
