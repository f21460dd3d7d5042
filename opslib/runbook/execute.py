"""One run of a runbook: checked before anything starts, executed, left as a record."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from opslib.core.clock import now, stamp
from opslib.core.errors import InputError, LockBusy, OpslibError
from opslib.core.imports import absent
from opslib.core.progress import SILENT, Progress
from opslib.runbook import facts, history, lock, places, steps
from opslib.runbook import resume as resume_
from opslib.runbook.anchor import Anchoring, anchor, from_environment
from opslib.runbook.attachments import taking
from opslib.runbook.folder import HTML, RECORD, RESULT, RecordFolder, to_json
from opslib.runbook.inject import inject
from opslib.runbook.ledger import Ledger
from opslib.runbook.limits import Limits, said_of
from opslib.runbook.manifest import surroundings
from opslib.runbook.notebook import Notebook, read_notebook, runs_code, title_of
from opslib.runbook.outcome import Ending, Outcome, RunError, RunResult, conclude, ending, never_run
from opslib.runbook.parameters import schema_of
from opslib.runbook.places import find, new_folder, new_run_id, project_root
from opslib.runbook.redact import REDACTOR, Discreet, redacted_json
from opslib.runbook.resume import Parent
from opslib.runbook.session import Session

__all__ = ["RunResult", "find", "resumed", "run", "run_notebook"]

SCHEMA_VERSION = 1


@dataclass
class _Run:
    """What is known of one run, from its start on."""

    notebook: Path
    parameters: dict[str, Any]
    out: Path
    moment: datetime
    run_id: str
    title: str
    surroundings: dict[str, Any]
    start: dict[str, Any]
    parent: Parent | None = None
    started: str = field(default_factory=stamp)
    begun: float = field(default_factory=time.monotonic)
    scope: str = ""
    nb: Any = None
    ending: Ending | None = None
    folder: RecordFolder = field(init=False)

    def begin(self) -> None:
        """Create the record's folder with a result.json that says "running"."""
        name = REDACTOR.file_name(self.notebook.stem)
        self.folder = RecordFolder(new_folder(self.out, name, self.run_id, self.moment))
        self.folder.event(
            "run-start",
            sync=True,
            run_id=self.run_id,
            runbook=self.notebook.stem,
            pid=os.getpid(),
            parameters=self.parameters,
            **self.start,
        )
        self.folder.write(RESULT, to_json(self.result()))

    def result(self) -> dict[str, Any]:
        """Return result.json as it is now (schemas/result.json)."""
        ended, reported = self.ending, _reported(self.nb)
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "runbook": self.notebook.stem,
            "title": self.title,
            "outcome": (ended.outcome if ended else Outcome.RUNNING).value,
            "exit_code": ended.exit_code if ended else None,
            "started": self.started,
            "ended": stamp() if ended else None,
            "seconds": round(time.monotonic() - self.begun, 3) if ended else None,
            "parameters": self.parameters,
            "cells": _counts(self.nb),
            "error": ended.error.as_dict() if ended and ended.error else None,
            "planned": reported.get("planned"),
            "done": reported.get("applied"),
            "verified": reported.get("verified"),
            "cluster": _cluster(reported.get("cluster")),
            "report": reported,
            **_approval(self.nb),
            # "lock" is the lock file in the manifest; here it is the scope.
            **{"lock_file" if k == "lock" else k: v for k, v in self.surroundings.items()},
            **({"lock": self.scope} if self.scope else {}),
            **({"parent": self.parent.link()} if self.parent else {}),
        }

    def owner(self) -> lock.Owner:
        """Return what a lock says of its holder."""
        around = self.surroundings
        return lock.Owner(self.run_id, self.notebook.stem, around["user"], around["host"])


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
        this = _known(path, source, typed, given, out=place, scope=scope, parent=resume)
        try:
            fence = held.enter_context(lock.hold(scope, this.owner(), typed)) if scope else None
        except LockBusy as busy:
            return _skipped(this, source, busy, anchoring)
        expected = history.expected_seconds(place, path.stem)
        this.begin()
        try:
            this.nb = _prepared(source, this, given)
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
            )
            if started is not None:
                started(this.folder)
            with session.stopper.on_signals():
                this.ending = _execute(this, session)
                return _finish(this, html_assets, anchoring)
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


def _known(
    path: Path,
    source: Notebook,
    typed: dict[str, Any],
    given: dict[str, Any],
    *,
    out: Path,
    scope: str,
    parent: Parent | None,
) -> _Run:
    """Gather what is known of a run before anything of it is written."""
    told = {name: facts.to_plain(value, name) for name, value in given.items()}
    if parent:
        resume_.check_same(parent, source, told)
    moment = now()
    run_id = new_run_id(moment)
    around = surroundings(path, project_root(path))
    shown = {name: facts.to_plain(value, name) for name, value in typed.items()}
    title = title_of(source, path.stem)
    start = resume_.start_of(path, source, told, parent)
    return _Run(path, shown, out, moment, run_id, title, around, start, parent, scope=scope)


def _skipped(this: _Run, source: Notebook, busy: LockBusy, anchoring: Anchoring) -> RunResult:
    """Leave the record of a run that could not start: every cell is never-run."""
    this.begin()
    try:
        this.nb = _dressed(source, this, {})
        never_run(this.nb)
        error = RunError("LockBusy", busy.what, detail=busy.as_dict())
        this.ending = ending(Outcome.SKIPPED, error)
        conclude(this.nb, this.ending)
        this.folder.write(RECORD, to_json(this.nb))
        return _finish(this, None, anchoring)
    finally:
        this.folder.close()


def _prepared(source: Notebook, this: _Run, given: Mapping[str, Any]) -> Any:
    """Return the notebook to execute, as the notebook libraries want it."""
    with absent("rfc3987_syntax"):  # see core.imports: over a second for a check nobody uses
        from nbformat import v4  # noqa: PLC0415  # not before the parameters are known to be good
    nb = v4.upgrade(v4.reads(json.dumps(_dressed(source, this, given))))
    if this.parent:
        resume_.mark(nb, this.parent)
    return nb


def _dressed(source: Notebook, this: _Run, given: Mapping[str, Any]) -> Notebook:
    """Return the notebook with parameters injected and the metadata of this run."""
    nb = inject(source, given)
    metadata = nb.setdefault("metadata", {})
    metadata["papermill"] = {
        "parameters": {name: facts.to_plain(value, name) for name, value in given.items()},
        "input_path": this.surroundings["notebook"]["path"],
        "output_path": RECORD,
        "version": this.surroundings["versions"].get("papermill"),
    }
    metadata["opslib"] = {
        **said_of(source),
        "run_id": this.run_id,
        "runbook": this.notebook.stem,
        "outcome": Outcome.RUNNING.value,
        "started": this.started,
    }
    return nb


def _environment(this: _Run, extra: Mapping[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        **extra,
        facts.RUN_ID: this.run_id,
        facts.RUN_DIR: str(this.folder.path),
        facts.RUNNER: str(os.getpid()),
    }


def _saver(this: _Run) -> Callable[[Any, bool], None]:
    from opslib.runbook.engine import to_text  # noqa: PLC0415  # papermill: see _prepared

    def save(nb: Any, sync: bool) -> None:
        this.folder.write(RECORD, to_text(nb), sync=sync)

    return save


def _execute(this: _Run, session: Session) -> Ending:
    from opslib.runbook import engine, html  # noqa: PLC0415  # papermill: see _prepared

    html.warm()
    try:
        engine.execute(this.nb, session)
    except OpslibError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever breaks, the record has to say so
        text = f"{error}" or type(error).__name__
        return ending(Outcome.FAILED, RunError(type(error).__name__, text))
    return session.ending or ending(Outcome.FAILED, RunError("Unknown", "the engine said nothing"))


def _finish(this: _Run, html_assets: Callable[[], str] | None, anchoring: Anchoring) -> RunResult:
    """Write the rest of the record, the manifest and what vouches for it last."""
    result = json.loads(redacted_json(to_json(this.result())))
    around = this.surroundings
    this.folder.drop_payloads()
    this.folder.write(HTML, _page(this, result, html_assets))
    this.folder.write(RESULT, to_json(result))
    short = {"outcome": result["outcome"], "exit_code": result["exit_code"]}
    this.folder.event("run-end", **short, error=result["error"], seconds=result["seconds"])
    manifest = {
        "schema_version": SCHEMA_VERSION,
        **{key: result[key] for key in ("run_id", "runbook")},
        **short,
        **{key: result[key] for key in ("started", "ended", "parameters")},
        "revision": result["report"].get("revision"),
        "cluster": result["report"].get("cluster"),
        **around,
        "anchors": anchoring.planned,
    }
    head = this.folder.finish(manifest)
    anchor(this.folder, head, project_root(this.notebook), anchoring)
    where = this.folder.path
    return RunResult(
        run_id=this.run_id,
        runbook=this.notebook.stem,
        outcome=result["outcome"],
        exit_code=result["exit_code"],
        folder=where,
        record=where / RECORD,
        html=where / HTML,
        result=result,
        notebook=this.nb,
    )


def _page(this: _Run, result: dict[str, Any], html_assets: Callable[[], str] | None) -> str:
    from opslib.runbook import html  # noqa: PLC0415  # nbconvert: not before the run

    if result["outcome"] == Outcome.SKIPPED.value:  # within the second that a busy lock takes
        return html.short_page(result, f"No cell has run: {result['error']['message']}.")
    from opslib.runbook.engine import clean  # noqa: PLC0415  # papermill: as above

    try:
        return html.to_html(clean(this.nb), result, this.surroundings, html_assets)
    except Exception as error:  # noqa: BLE001  # the record must end whatever a cell put out
        this.folder.event("html-failed", error=f"{type(error).__name__}: {error}")
        return html.without_page(result, error)


def _counts(nb: Any) -> dict[str, int]:
    """Count the code cells of a notebook by outcome."""
    cells = nb["cells"] if nb is not None else []
    outcomes = (
        cell["metadata"].get("opslib", {}).get("outcome") for cell in cells if runs_code(cell)
    )
    return dict(sorted(Counter(one or Outcome.NEVER_RUN.value for one in outcomes).items()))


def _approval(nb: Any) -> dict[str, Any]:
    """Return how the gate of the run stands, where it has one that was reached."""
    found = [
        output["data"][facts.APPROVAL_MIME]
        for cell in (nb["cells"] if nb is not None else [])
        for output in cell.get("outputs", [])
        if facts.APPROVAL_MIME in output.get("data", {})
    ]
    return {"approval": found[-1]} if found else {}


def _cluster(reported: Any) -> dict[str, Any] | None:
    """Return what a runbook said of its cluster as an object; a bare text is its name."""
    if reported is None or isinstance(reported, dict):
        return reported
    return {"name": str(reported)}


def _reported(nb: Any) -> dict[str, Any]:
    """Collect what the cells handed over with runbook.report, later values last."""
    found: dict[str, Any] = {}
    for cell in nb["cells"] if nb is not None else []:
        for output in cell.get("outputs", []):
            found.update(output.get("data", {}).get(facts.RESULT_MIME, {}))
    return found
