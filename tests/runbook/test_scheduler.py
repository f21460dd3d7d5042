"""The real jupyter-scheduler runs a runbook through our manager, from the job that we render."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opslib.core.files import exclusive
from opslib.core.settings import cache_dir
from opslib.runbook import list_records, render
from opslib.runbook.render import Place
from opslib.runbook.schedule import read_schedule

from .conftest import LOAD, code, parameters, write

WANTED = "jupyter-scheduler==2.12.1"


@pytest.fixture(scope="session")
def python() -> Path:
    """Return a Python that has jupyter-scheduler beside everything of this one.

    An environment of its own, made once and kept in the cache: the package pins croniter, pytz
    and fsspec and adds itself to JupyterLab, which must not reach the kit's own environment.
    """
    packages = site.getsitepackages()[0]
    key = hashlib.sha256(f"{WANTED} {sys.version} {packages}".encode()).hexdigest()[:12]
    place = cache_dir() / "tests" / f"scheduler-{key}"
    ready = place / "ready"
    with exclusive(place.with_suffix(".lock"), "the tests' environment", wait=True):
        if not ready.exists():
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=120)
            own = next(place.glob("lib/python*/site-packages"))
            (own / "beside.pth").write_text(packages + "\n")
            words: list[str | Path] = [
                place / "bin" / "python",
                "-m",
                "pip",
                "install",
                "-q",
                WANTED,
            ]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
            assert done.returncode == 0, f"pip could not install {WANTED}: {done.stderr[-800:]}"
            ready.write_text("")
    return place / "bin" / "python"


def _project(root: Path) -> Path:
    notebook = write(
        root / "notebooks" / "nightly.ipynb",
        parameters("replicas: int = 1\nimage: str = 'x'"),
        LOAD,
        code(
            "assert p.replicas < 5, 'too many'\nrunbook.report(image=p.image, twice=p.replicas * 2)"
        ),
    )
    content = json.loads(notebook.read_text())
    schedule = {"when": "0 6 * * *", "parameters": {"replicas": 3, "image": "1.10"}}
    content["metadata"]["opslib"] = {"schedule": schedule}
    notebook.write_text(json.dumps(content))
    return notebook


def _run(python: Path, root: Path, document: dict[str, Any]) -> dict[str, Any]:
    program = Path(__file__).with_name("scheduler_job.py")
    words: list[str | Path] = [python, program, root, json.dumps(document)]
    # An editable install is not found beside a foreign Python: its .pth is not read there.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_job_leaves_a_record(python: Path, tmp_path: Path) -> None:
    """A rendered job runs: typed parameters, a record in outputs/, both files for JupyterLab."""
    one = read_schedule(_project(tmp_path))
    assert one
    (text,) = render.jupyter([one], Place()).values()
    document = json.loads(text)
    assert (document["schedule"], document["timezone"]) == ("0 6 * * *", "UTC")
    found = _run(python, tmp_path, document)
    assert (found["status"], found["message"]) == ("COMPLETED", None)
    assert {found["files"]["ipynb"], found["files"]["html"]} == {True}
    assert found["features"] > 10
    (record,) = list_records(tmp_path / "outputs")
    assert record.outcome == "ok"
    result = json.loads((record.folder / "result.json").read_text())
    assert result["report"] == {"image": "1.10", "twice": 6}


def test_a_failed_job_says_so(python: Path, tmp_path: Path) -> None:
    """A failed run is a failed job with its reason and its end; the record's files are there."""
    one = read_schedule(_project(tmp_path))
    assert one
    (text,) = render.jupyter([one], Place()).values()
    document = {**json.loads(text), "parameters": {"replicas": "7"}}
    found = _run(python, tmp_path, document)
    assert found["status"] == "FAILED"
    assert "failed: too many" in found["message"]
    assert found["end"]
    assert found["files"]["ipynb"]
    assert [record.outcome for record in list_records(tmp_path / "outputs")] == ["failed"]
