"""Every command of the README is run as it stands there, in its order where order matters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.binaries import kubectl
from opslib.source.example import create_example

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PROGRAMS = ("opslib", "make", "papermill", "eval", "conda", "source")
URL = "https://git.example.com/platform.git"
WHERE = f"--repo {URL} --path production --context my-cluster"
TARGET = "deploy/payment-processor -n production"

ELSEWHERE = {
    "make demo": "tests/e2e/test_demo.py",
    "make test": "this run",
    "make lab": "tests/browser",
    "make down": "tests/project",
    "make clean": "tests/project",
    "conda env create -f environment.yml": "tests/project/test_environment.py",
}
"""Commands that other tests run, or that need what a test has not."""

STEPS = {
    "source .venv/bin/activate": "",
    "opslib sandbox up": "",
    'eval "$(opslib sandbox env)"': "",
    "opslib upgrade examples/payment-platform": "",
    f"opslib plan {WHERE}": "",
    f"opslib apply {WHERE}": "--yes",
    f"opslib watch {WHERE}": "--once",
    "opslib plan": "",
    "opslib check": "",
    "opslib apply": "--yes",
    "opslib watch --status": "",
    "opslib drift list": "",
    "opslib node check": "|| test $? = 4",
    "opslib node facts": "",
    f"opslib rollout status {TARGET}": "",
    f"opslib rollout describe {TARGET}": "",
    "opslib run rollout -p namespace production": "",
    "opslib records list": "",
    "opslib records show latest": "",
    "opslib records verify": "",
    "opslib records export latest": "",
    "papermill notebooks/rollout.ipynb out.ipynb -p namespace production": "",
}
"""Each command, and what is put behind it: nobody is there to answer, or to stop a loop."""


BARE = {"opslib plan", "opslib check", "opslib apply", "opslib watch --status", "opslib drift list"}
"""What the tour shows without saying where: run on the control plane, as after its `eval`."""


@dataclass(frozen=True)
class Shell:
    """A new user's shell: in a copy of the project, with a repository where the README's URL is."""

    folder: Path
    env: dict[str, str]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one line by bash."""
        return subprocess.run(
            ["bash", "-euc", line],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )


@pytest.fixture
def shell(_own_state: None, tmp_path: Path) -> Iterator[Shell]:
    """Start from a folder with the project's files and an empty home."""
    folder, home = tmp_path / "opslib", tmp_path / "home"
    folder.mkdir()
    shutil.copytree(PROJECT / "notebooks", folder / "notebooks")
    for name in ("examples", ".venv"):
        (folder / name).symlink_to(PROJECT / name)
    repo = tmp_path / "platform"
    create_example(repo)
    env = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
    env |= {"HOME": str(home), "OPSLIB_PATH": "production", "OPSLIB_REPO": str(repo)}
    env["PATH"] = f"{folder}/.venv/bin:{kubectl().parent}:{env['PATH']}"
    env["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    (home / ".kube").mkdir(parents=True)
    try:
        yield Shell(folder, env)
    finally:
        sandboxes.down("default")


def _named_in_the_readme() -> set[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return {
        " ".join(one.split())
        for one in (*lines, *spans)
        if one.split()[0] in PROGRAMS and len(one.split()) > 1
    }


def test_every_command_of_the_readme_is_known() -> None:
    """No command is promised that is not run, and none is run that is not promised."""
    assert _named_in_the_readme() == {*STEPS, *ELSEWHERE}


def test_every_command_of_the_readme_works(shell: Shell) -> None:
    """All of them, one after the other, on a control plane that a line of the README starts."""
    for command, answer in STEPS.items():
        line = f"{command} {answer}".strip().replace(URL, shell.env["OPSLIB_REPO"])
        if "my-cluster" in line and not (Path(shell.env["HOME"]) / ".kube" / "config").exists():
            _name_the_context(shell)
        if "rollout" in command or command in BARE:
            line = f'eval "$(opslib sandbox env)"; {line}'
        ended = shell.run(line)
        assert ended.returncode == 0, f"{command}: {ended.stdout}\n{ended.stderr}"
    print(f"{len(STEPS)} commands of the README")


def _name_the_context(shell: Shell) -> None:
    """Give the user a kubeconfig whose context has the README's name."""
    own = Path(sandboxes.environment("default")["KUBECONFIG"])
    content = yaml.safe_load(own.read_text())
    content["contexts"][0]["name"] = "my-cluster"
    content["current-context"] = ""
    (Path(shell.env["HOME"]) / ".kube" / "config").write_text(yaml.safe_dump(content))
