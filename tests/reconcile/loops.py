"""Repositories and loops that a test starts, stops and listens to."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.policy import RULES
from opslib.reconcile.loop import Loop, LoopOptions
from opslib.reconcile.session import Session

PATIENCE = 90.0
"""Seconds until a wait is given up: it ends with what it waits for, so many cost nothing."""


class Repository:
    """A real Git repository that a test commits to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        # These tests are about the loop: no rule is in its way.
        rules = "".join(f"  {rule}: off\n" for rule in RULES)
        head = "apiVersion: opslib.dev/v1alpha1\nkind: Policy\n"
        (folder / "policy.yaml").write_text(f"{head}rules:\n{rules}")

    def git(self, *words: str) -> str:
        """Run git here as a person with a name."""
        names = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        done = subprocess.run(
            ["git", "-C", str(self.folder), *names, "-c", "commit.gpgsign=false", *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | None], message: str = "change") -> str:
        """Write (or remove) files, commit, and return the commit."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")


class Running:
    """A loop in a thread, with what it said."""

    def __init__(self, session: Session, options: LoopOptions) -> None:
        self.said: list[str] = []
        self.stop = threading.Event()
        self.loop = Loop(session, options, self.stop, self.said.append)
        self.app = session.app
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def end(self) -> None:
        """Stop and wait for the end."""
        self.stop.set()
        self.thread.join(timeout=PATIENCE)
        assert not self.thread.is_alive()

    def heard(self, word: str, seconds: float = PATIENCE) -> str:
        """Wait until the loop has said a line with this word; return it."""
        return str(wait(lambda: next((x for x in self.said if word in x), None), seconds, self))


def wait(
    condition: Callable[[], Any], seconds: float = PATIENCE, running: Running | None = None
) -> Any:
    """Wait until a condition gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing within {seconds} s; said: {running.said if running else ''}")
