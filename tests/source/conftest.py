"""Real repositories, and real servers on 127.0.0.1 that serve, refuse or keep silent."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from opslib.core.settings import cache_dir

_NAME = ("-c", "user.name=Ann Author", "-c", "user.email=ann@example.org")


@dataclass
class Repo:
    """A repository of a test's own."""

    path: Path

    def git(self, *args: str, stdin: bytes = b"") -> str:
        """Run git in it and return what it prints."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        done = subprocess.run(
            ["git", *_NAME, "-c", "core.protectNTFS=false", *args],
            cwd=self.path,
            env=env | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            input=stdin,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    def commit(self, subject: str = "change", **files: str) -> str:
        """Write files (``a__b_yaml`` is a/b.yaml), commit all, and return the commit's id."""
        for name, text in files.items():
            place = self.path / name.replace("__", "/").replace("_yaml", ".yaml")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={subject}")
        return self.git("rev-parse", "HEAD")

    def blob(self, data: bytes | str) -> str:
        """Store a content and return its id."""
        raw = data.encode() if isinstance(data, str) else data
        return self.git("hash-object", "-w", "--stdin", stdin=raw)

    def tree(self, *entries: tuple[str, str, str | bytes]) -> str:
        """Store a tree of (mode, id, name), whatever the names, and return its id."""
        lines = []
        for mode, oid, name in entries:
            kind = {"040000": "tree", "160000": "commit"}.get(mode, "blob")
            raw = name.encode() if isinstance(name, str) else name
            lines.append(f"{mode} {kind} {oid}\t".encode() + raw + b"\0")
        return self.git("mktree", "-z", "--missing", stdin=b"".join(lines))

    def commit_tree(self, tree: str, subject: str = "made by hand") -> str:
        """Make a stored tree the next commit of main, and return its id."""
        commit = self.git("commit-tree", "-m", subject, tree)
        self.git("update-ref", "refs/heads/main", commit)
        return commit


@pytest.fixture
def mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the mirrors of a test in its own cache, and return their folder."""
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))
    for name in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(name)
    return cache_dir() / "mirrors"


@pytest.fixture
def repo(tmp_path: Path, mirrors: Path) -> Repo:
    """Return a repository with one commit on main."""
    one = Repo(tmp_path / "repo")
    one.path.mkdir()
    one.git("init", "--quiet", "--initial-branch=main", "--template=")
    one.commit("first", app__a_yaml="a: 1\n", app__b_yaml="b: 1\nb2: 2\n", README="read me\n")
    return one


@dataclass
class Site:
    """A folder served by HTTP; ``asked`` are the Authorization headers it got."""

    url: str
    port: int
    login: str = ""
    status: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site(repo: Repo, tmp_path: Path) -> Iterator[Site]:
    """Serve ``/repo.git`` by HTTP (git's dumb protocol), with a login when it is set."""
    bare = tmp_path / "served" / "repo.git"
    repo.git("clone", "--quiet", "--bare", ".", str(bare))
    Repo(bare).git("update-server-info")
    one = Site("", 0)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            one.asked.append(given)
            wanted = "Basic " + base64.b64encode(one.login.encode()).decode()
            if one.status:
                self.send_error(one.status)
            elif one.login and given != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="here"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            del format, args

    handler = functools.partial(Handler, directory=str(bare.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    one.port = server.server_port
    one.url = f"http://127.0.0.1:{one.port}/repo.git"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield one
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that takes connections and never answers."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]
