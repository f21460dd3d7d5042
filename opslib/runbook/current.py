"""One run from the moment that it is known: its facts, its notebook, its result.json.

A headless run (see ``execute``) and a session in JupyterLab (see ``live``) leave the same record.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from opslib.core.clock import now, stamp
from opslib.core.imports import absent
from opslib.runbook import facts, lock
from opslib.runbook import resume as resume_
from opslib.runbook.folder import RECORD, RESULT, RecordFolder, to_json
from opslib.runbook.inject import inject
from opslib.runbook.limits import said_of
from opslib.runbook.manifest import surroundings
from opslib.runbook.notebook import Notebook, runs_code, title_of
from opslib.runbook.outcome import Ending, Outcome
from opslib.runbook.places import new_folder, new_run_id, project_root
from opslib.runbook.redact import REDACTOR
from opslib.runbook.resume import Parent

SCHEMA_VERSION = 1


@dataclass
class Run:
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


def known(
    path: Path,
    source: Notebook,
    typed: dict[str, Any],
    given: dict[str, Any],
    *,
    out: Path,
    scope: str,
    parent: Parent | None,
) -> Run:
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
    return Run(path, shown, out, moment, run_id, title, around, start, parent, scope=scope)


def prepared(source: Notebook, this: Run, given: Mapping[str, Any]) -> Any:
    """Return the notebook to execute, as the notebook libraries want it."""
    with absent("rfc3987_syntax"):  # see core.imports: over a second for a check nobody uses
        from nbformat import v4  # noqa: PLC0415  # not before the parameters are known to be good
    nb = v4.upgrade(v4.reads(json.dumps(dressed(source, this, given))))
    if this.parent:
        resume_.mark(nb, this.parent)
    return nb


def dressed(source: Notebook, this: Run, given: Mapping[str, Any]) -> Notebook:
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
