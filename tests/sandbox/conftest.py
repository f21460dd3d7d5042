"""Stand-ins for programs, a web server that breaks on demand, and a sandbox of one's own."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from opslib.sandbox import cluster, download
from opslib.sandbox.cluster import Status

T = TypeVar("T")


class Told:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        del done, total
        self.labels.append(label)

    @property
    def text(self) -> str:
        return "\n".join(self.labels)


@pytest.fixture
def told() -> Told:
    """Return a progress that remembers."""
    return Told()


def script(path: Path, body: str = "exit 0") -> Path:
    """Write a small executable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set an empty cache and no settings; return the cache's folder."""
    for name in list(os.environ):
        if name.startswith(("OPSLIB_", "KUBEBUILDER_")) and name != "OPSLIB_STATE":
            monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setenv("OPSLIB_CACHE", str(cache))
    monkeypatch.setattr(download, "_unreachable", {})
    return cache


@dataclass
class Site:
    """A web server on 127.0.0.1: its files, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the connection is cut, one entry per answer."""
    statuses: list[int] = field(default_factory=list)
    """Error statuses to give first, one per request."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.asked.append((self.path, wanted))
            site.credentials.append(self.headers.get("Authorization", ""))
            if self.path in site.moved:
                self.send_response(302)
                self.send_header("Location", site.moved[self.path])
                self.end_headers()
                return
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            body = site.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(wanted[6:-1]) if wanted and site.ranges else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            rest = body[start:]
            self.wfile.write(rest[: site.breaks.pop(0)] if site.breaks else rest)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            del format, args

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve files over HTTP on the loopback address."""
    made = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def spare() -> Iterator[str]:
    """Return the name of a sandbox that the test may do anything with; it is removed after."""
    name = f"spare-{uuid.uuid4().hex[:8]}"
    yield name
    cluster.down(name)


@pytest.fixture(scope="module")
def victim() -> Iterator[Status]:
    """Bring up a sandbox whose parts the tests of a module may kill."""
    name = f"victim-{uuid.uuid4().hex[:8]}"
    yield cluster.up(name, nodes=1)
    cluster.down(name)


def wait_for(what: Callable[[], T | None], *, seconds: float = 90, why: str = "") -> T:
    """Return the first true value within the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, why or "it did not come about in time"
        time.sleep(0.05)
