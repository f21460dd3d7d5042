"""A Git remote that can be told to fail, and a loop that pulls from it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opslib.policy import RULES
from opslib.reconcile.loop import Loop, LoopOptions
from opslib.reconcile.session import Session

FETCH_SECONDS = 3.0
"""The loop's deadline for Git in these tests."""


def until(condition: Callable[[], Any], what: Callable[[], str], seconds: float = 90) -> Any:
    """Wait until a condition gives something; ``what`` says what is missing when it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what()}")


class Work:
    """A work tree, and the bare repository beside it that is the remote."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "work"
        self.bare = folder / "served" / "repo.git"
        self.tree.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        rules = "".join(f"  {rule}: off\n" for rule in RULES)
        head = "apiVersion: opslib.dev/v1alpha1\nkind: Policy\n"
        (self.tree / "policy.yaml").write_text(f"{head}rules:\n{rules}")
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare)],
            check=True,
        )

    def git(self, *words: str) -> str:
        """Run git here as a person with a name, and without the user's settings."""
        names = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        done = subprocess.run(
            ["git", "-C", str(self.tree), *names, *words],
            env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | None], *sign: str, message: str = "change") -> str:
        """Write (or remove) files, commit, and return the commit; it is not pushed."""
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        self.git("add", "--all")
        self.git(*sign, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self, ref: str = "HEAD") -> None:
        """Make a commit the remote's main branch, whatever was there."""
        self.git("push", "--quiet", "--force", str(self.bare), f"{ref}:refs/heads/main")
        subprocess.run(["git", "-C", str(self.bare), "update-server-info"], check=True)

    def drop(self, name: str) -> None:
        """Take a branch away from the remote, though it is its default one."""
        words = ["git", "-C", str(self.bare), "update-ref", "-d", f"refs/heads/{name}"]
        subprocess.run(words, check=True)
        subprocess.run(["git", "-C", str(self.bare), "update-server-info"], check=True)

    def gone(self) -> None:
        """Remove the remote."""
        shutil.rmtree(self.bare)


class Server:
    """Serves the remote by HTTP; ``mode`` is how: ok, silent, stalls, error, garbage, cut."""

    def __init__(self, root: Path) -> None:
        self.mode = "ok"
        self.over = threading.Event()
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):
                    server.answer(self, super().do_GET)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
                del format, args

        handler = functools.partial(Handler, directory=str(root))
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/repo.git"
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    def answer(self, request: http.server.BaseHTTPRequestHandler, good: Callable[[], None]) -> None:
        """Answer one request in the way of the mode."""
        if self.mode == "silent":
            self.over.wait(60)
        elif self.mode == "error":
            request.send_error(503)
        elif self.mode in {"garbage", "stalls", "cut"}:
            request.send_response(200)
            request.send_header("Content-Type", "text/html")
            request.send_header("Content-Length", "40" if self.mode == "garbage" else "4000")
            request.end_headers()
            request.wfile.write(b"<html>please log in to the portal</html>")
            if self.mode == "stalls":
                self.over.wait(60)
            request.close_connection = True
        else:
            good()

    def end(self) -> None:
        """Close; whoever waits is let go."""
        self.over.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class Watching:
    """A loop in a thread; ``said`` is what it told."""

    def __init__(self, session: Session) -> None:
        self.said: list[str] = []
        self.session = session
        self._stop = threading.Event()
        options = LoopOptions(interval=0.3)
        self._thread = threading.Thread(
            target=Loop(session, options, self._stop, self.said.append).run
        )

    @contextmanager
    def running(self) -> Iterator[Watching]:
        """Run the loop for the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(timeout=60)
            assert not self._thread.is_alive()
