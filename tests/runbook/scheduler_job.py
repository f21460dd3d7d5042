"""A program that lets the real jupyter-scheduler run one job: ROOT DEFINITION, then says how.

Run by the Python of an environment that has jupyter-scheduler beside opslib.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Create the job as the REST handler does, wait for its end, and print its row."""
    from jupyter_scheduler.environments import StaticEnvironmentManager
    from jupyter_scheduler.models import CreateJob, CreateJobDefinition
    from jupyter_scheduler.orm import create_tables
    from jupyter_scheduler.scheduler import Scheduler
    from traitlets.config import Config

    root, document = Path(sys.argv[1]), json.loads(sys.argv[2])
    url = f"sqlite:///{root / 'scheduler.sqlite'}"
    create_tables(url)
    manager = "opslib.runbook.scheduler.RunbookManager"
    config = Config({"Scheduler": {"execution_manager_class": manager}})
    config.Scheduler.task_runner_class = None
    config.SchedulerApp.data_dir = str(root)
    scheduler: Any = Scheduler(
        root_dir=str(root),
        environments_manager=StaticEnvironmentManager(),
        db_url=url,
        config=config,
    )
    scheduler.staging_path = str(root / "staging")
    CreateJobDefinition(**document)
    fields = {k: v for k, v in document.items() if k not in {"schedule", "timezone"}}
    number = scheduler.create_job(CreateJob(**fields))
    end = time.monotonic() + 120
    while time.monotonic() < end:
        job = scheduler.get_job(number, job_files=False)
        if job.end_time:
            break
        time.sleep(0.1)
    paths = scheduler.get_staging_paths(job)
    row = {"status": str(job.status.value), "message": job.status_message, "end": job.end_time}
    features = scheduler.execution_manager_class.supported_features(None)
    there = {form: Path(path).is_file() for form, path in paths.items()}
    print(json.dumps({**row, "files": there, "features": len(features)}))


if __name__ == "__main__":
    main()
