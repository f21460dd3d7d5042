"""A real Chromium, and a real JupyterLab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.sandbox.ports import pick

PROJECT = Path(__file__).parents[2]
TOKEN = "tests-only"
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
"""All cells are in the page; nothing is saved or shown but what a test does."""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab on a copy of the notebooks."""

    url: str
    root: Path

    def open(self, notebook: str) -> str:
        """Return the address of one notebook in a workspace of its own, without others' tabs."""
        place = uuid.uuid4().hex
        return f"{self.url}/lab/workspaces/{place}/tree/{notebook}?token={TOKEN}"


@pytest.fixture(scope="session")
def lab(sandbox: Status, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab on a copy of the project's notebooks, pointed at the control plane."""
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(PROJECT / "notebooks", root / "notebooks")
    overrides = root / "c" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(SETTINGS))
    (port,) = pick(1)
    words = [
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--IdentityProvider.token={TOKEN}",
    ]
    words += ["--allow-root", "--ServerApp.root_dir=" + str(root), "--ServerApp.port_retries=0"]
    env = {**os.environ, **sandboxes.environment(sandbox.name)}
    env |= {"JUPYTER_CONFIG_DIR": str(root / "c"), "JUPYTERLAB_SETTINGS_DIR": str(root / "s")}
    env |= {"JUPYTERLAB_WORKSPACES_DIR": str(root / "w"), "IPYTHONDIR": str(root / "i")}
    with (root / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *words], env=env, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _answers(f"{url}/api/status?token={TOKEN}", root / "lab.log")
            yield Lab(url, root)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _answers(url: str, log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # loopback
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start: {log.read_text()[-2000:]}")
