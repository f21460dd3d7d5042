"""One runbook, three ways: the same plan by opslib run, by papermill, and in a plain kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.runbook.facts import RESULT_MIME
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

PROJECT = Path(__file__).parents[2]


def _reported(notebook: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            found.update(output.get("data", {}).get(RESULT_MIME, {}))
    return found


def test_papermill_finds_the_engine_by_its_name(
    sandbox: Status, platform: Path, tmp_path: Path
) -> None:
    """``papermill --engine opslib`` executes the same notebook, and reports the same."""
    out = tmp_path / "out.ipynb"
    words = [sys.executable, "-m", "papermill", str(PROJECT / "notebooks" / "reconcile.ipynb")]
    words += [str(out), "--engine", "opslib", "--no-progress-bar"]
    words += ["-p", "repo", str(platform), "-p", "path", "production"]
    env = {**os.environ, **sandboxes.environment(sandbox.name)}
    subprocess.run(words, check=True, env=env, cwd=PROJECT, capture_output=True, timeout=120)
    assert _reported(out)["planned"]["create"] >= 1


def test_opslib_run_and_papermill_agree(sandbox: Status, platform: Path, tmp_path: Path) -> None:
    """Both report the same commit, cluster and plan hash."""
    env = sandboxes.environment(sandbox.name)
    given = {"repo": str(platform), "path": "production"}
    result = runbook.run("reconcile", given, out=tmp_path / "records", env=env)
    assert result.outcome == "ok", result.result["error"]
    out = tmp_path / "out.ipynb"
    words = [sys.executable, "-m", "papermill", str(PROJECT / "notebooks" / "reconcile.ipynb")]
    words += [str(out)]
    words += ["-p", "repo", str(platform), "-p", "path", "production", "--no-progress-bar"]
    subprocess.run(
        words, check=True, env={**os.environ, **env}, cwd=PROJECT, capture_output=True, timeout=120
    )
    ours, theirs = result.result["report"], _reported(out)
    assert ours["revision"] == theirs["revision"]
    assert ours["planned"] == theirs["planned"]
    assert ours["cluster"] == theirs["cluster"]
