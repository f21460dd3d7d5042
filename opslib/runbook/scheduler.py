"""Jobs of jupyter-scheduler run as every other runbook does: checked, with a truthful record.

In jupyter_server_config.py::

    c.Scheduler.execution_manager_class = "opslib.runbook.scheduler.RunbookManager"

jupyter-scheduler is the extra ``opslib[scheduler]``; nothing else of opslib imports this
module. It starts the manager in a process of its own (spawn) and stops a job with SIGKILL.
https://jupyter-scheduler.readthedocs.io/en/latest/developers/index.html
"""

from __future__ import annotations

import shutil
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_scheduler.executors import ExecutionManager
from jupyter_scheduler.models import JobFeature, Status
from jupyter_scheduler.orm import Job
from jupyter_scheduler.utils import get_utc_timestamp

from opslib.core.errors import OpslibError
from opslib.core.hashes import file_digest
from opslib.runbook.execute import run
from opslib.runbook.outcome import Outcome
from opslib.runbook.places import NOTEBOOKS, OUTPUTS
from opslib.runbook.schedule import read_schedule

_SUPPORTED = {
    *(JobFeature.job_name, JobFeature.parameters, JobFeature.output_formats),
    *(JobFeature.job_definition, JobFeature.tags, JobFeature.stop_job, JobFeature.delete_job),
}


class RunbookManager(ExecutionManager):  # type: ignore[misc]  # the package ships no types
    """Runs a job's notebook with ``runbook.run``; its record goes to the root's outputs/.

    Parameters are text, as on the command line, and are checked against the runbook's schema:
    nothing of them is run as code. The deadline is that of the notebook's own schedule.
    """

    html_assets = "opslib.view.assets:plotly_js"
    """Where record.html gets its plotly from: loaded by name, for rooms import downwards only."""

    def execute(self) -> None:
        """Run the job's notebook. Raises OpslibError when the run is not ok."""
        notebook, root = self._notebook(), Path(self.root_dir)
        own = read_schedule(notebook)
        done = run(
            notebook,
            self.model.parameters or {},
            out=root / OUTPUTS,
            deadline=own.deadline if own else None,
            html_assets=EntryPoint("assets", self.html_assets, "opslib").load(),
        )
        for form, source in {"ipynb": done.record, "html": done.html}.items():
            if form in (self.model.output_formats or []):
                shutil.copyfile(source, self.staging_paths[form])
        if done.outcome != Outcome.OK.value:
            error = done.result["error"] or {}
            text = f"{done.outcome}: {error.get('message', '')}".rstrip(": ")
            raise OpslibError(text, where=str(done.folder))

    def _notebook(self) -> Path:
        """Return the runbook in the project when it is the staged one, so that it runs there."""
        staged, root = Path(self.staging_paths["input"]), Path(self.root_dir)
        name: str = self.model.input_filename
        for place in (root / NOTEBOOKS / name, root / name):
            if place.is_file() and file_digest(place) == file_digest(staged):
                return place
        return staged

    def on_failure(self, e: Exception) -> None:
        """Note the failure with its end, which the base class leaves out."""
        with self.db_session() as session:
            session.query(Job).filter(Job.job_id == self.job_id).update(
                {
                    "status": Status.FAILED,
                    "status_message": str(e),
                    "end_time": get_utc_timestamp(),
                }
            )
            session.commit()

    # Both are called with the class as an argument, not as class methods.

    def supported_features(cls: Any) -> dict[JobFeature, bool]:  # noqa: N805  # see above
        """Return what the form of JupyterLab may offer."""
        return {feature: feature in _SUPPORTED for feature in JobFeature}

    def validate(cls: Any, input_path: str) -> bool:  # noqa: N805  # see above
        """Tell whether the file is a notebook whose parameters and schedule can be read."""
        from opslib.runbook.parameters import read_schema  # noqa: PLC0415  # only asked at creation

        try:
            read_schema(Path(input_path))
            read_schedule(Path(input_path))
        except OpslibError:
            return False
        return True
