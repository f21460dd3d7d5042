"""The program as a person starts it: a process of its own, with its output and exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status


@dataclass(frozen=True)
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def told(self) -> str:
        """Return the error message; there is one, and no stack."""
        assert self.err.strip(), "nothing was said"
        assert "Traceback" not in self.err, self.err
        return self.err


Opslib = Callable[..., Ended]


def run(*words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
    """Run the program to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "opslib", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def opslib(sandbox: Status, tmp_path: Path) -> Opslib:
    """Return the program, pointed at the session's control plane, in an empty folder."""
    kubeconfig = sandboxes.environment(sandbox.name)["KUBECONFIG"]

    def one(*words: str | Path, **changes: str) -> Ended:
        return run(*words, env={"KUBECONFIG": kubeconfig, **changes}, cwd=tmp_path)

    return one


@pytest.fixture
def own_sandbox() -> Iterator[str]:
    """Return the name of a sandbox that the test starts; it is gone afterwards."""
    name = f"cli-{os.getpid()}"
    yield name
    sandboxes.down(name)


def git(repo: Path, *words: str) -> str:
    """Run git in a repository as a person with a name."""
    names = [
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.com",
        "-c",
        "commit.gpgsign=false",
    ]
    done = subprocess.run(
        ["git", "-C", str(repo), *names, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
