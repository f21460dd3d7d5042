"""A connection to the sandbox, and servers that answer as told or break on purpose."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from opslib.kube.client import Cluster, connect
from opslib.kube.discovery import Discovery
from opslib.sandbox.cluster import Status, environment


@pytest.fixture
def kubeconfig(sandbox: Status) -> Path:
    """Return the path of the sandbox's kubeconfig."""
    return Path(environment(sandbox.name)["KUBECONFIG"])


@pytest.fixture
def cluster(kubeconfig: Path) -> Iterator[Cluster]:
    """Connect to the sandbox."""
    connection = connect(kubeconfig)
    yield connection
    connection.close()


@pytest.fixture
def discovery(cluster: Cluster) -> Discovery:
    """Return what the sandbox serves."""
    return Discovery(cluster)


@dataclass(frozen=True)
class Asked:
    """One request that a fake server got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Answer = Callable[["Reply", Asked], None]


class Reply:
    """What a fake server's answer can do."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def json(self, body: Any, code: int = 200, **headers: str) -> None:
        """Send a JSON document."""
        self.raw(json.dumps(body).encode(), code, **headers)

    def raw(self, data: bytes, code: int = 200, **headers: str) -> None:
        """Send bytes with their length."""
        self._handler.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def lines(self, *rows: Any, end: bool = True, tail: bytes = b"") -> None:
        """Send chunks of one JSON line each; without ``end`` the connection breaks after them."""
        self._handler.send_response(200)
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()
        for data in (*(json.dumps(row).encode() + b"\n" for row in rows), tail):
            if data:
                self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if end:
            self._handler.wfile.write(b"0\r\n\r\n")
        self._handler.wfile.flush()
        self._handler.close_connection = True


@dataclass
class Fake:
    """A server on the loopback address, its address, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """Serve ``answer`` on a free port until the block ends; /version is answered here."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                {name.lower(): value for name, value in self.headers.items()},
            )
            fake.asked.append(asked)
            reply = Reply(self)
            if parts.path == "/version":
                reply.json({"gitVersion": "v1.30.0"})
            else:
                answer(reply, asked)

        do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = _any  # noqa: N815  # the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # clients hang up on purpose
    scheme = "http"
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    fake = Fake(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def config(
    server: str, *, user: dict[str, Any] | None = None, ca: Path | None = None
) -> dict[str, Any]:
    """Build a kubeconfig of one context named "it"; the server's authority is named if given."""
    cluster = {"certificate-authority": str(ca)} if ca else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "it", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "it",
    }


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a kubeconfig and returns its path."""

    def _write(content: dict[str, Any], name: str = "kubeconfig") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return _write


@contextmanager
def connected(fake: Fake, path: Path, *, timeout: float = 5) -> Iterator[Cluster]:
    """Connect to a fake server by a kubeconfig written at ``path``."""
    path.write_text(yaml.safe_dump(config(fake.url)), encoding="utf-8")
    connection = connect(path, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def full_backlog() -> Iterator[int]:
    """Yield a port that neither accepts nor refuses: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        waiting = []
        try:
            for _ in range(3):
                client = socket.socket()
                client.settimeout(0)
                client.connect_ex(("127.0.0.1", port))
                waiting.append(client)
            yield port
        finally:
            for client in waiting:
                client.close()


def openssl(folder: Path, *args: str) -> None:
    """Run openssl in a folder; it makes the certificates that Python's ssl can only read."""
    done = subprocess.run(
        ["openssl", *args], cwd=folder, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own."""

    folder: Path

    @property
    def cert(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str, subject: str, *, expired: bool = False) -> tuple[Path, Path]:
        """Return a certificate for a subject and its key."""
        issue(self.folder, self.cert, self.folder / "ca.key", name, subject, expired=expired)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate authority that nobody else knows."""
    folder = tmp_path_factory.mktemp("ca")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=tests", "-days", "2")
    return Authority(folder)


def issue(folder: Path, ca: Path, key: Path, name: str, subject: str, *, expired: bool) -> None:
    """Sign a certificate for 127.0.0.1 with a CA; an expired one was good for a day in 2020."""
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    work = folder / f"{name}.d"
    work.mkdir()
    (work / "index.txt").touch()
    (work / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={work}/index.txt\nnew_certs_dir={work}\n"
        "rand_serial=yes\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "organizationName=optional\n[e]\nsubjectAltName=IP:127.0.0.1\n"
        "extendedKeyUsage=clientAuth,serverAuth\n",
        encoding="utf-8",
    )
    days = ["-days", "2"]
    if expired:
        days = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    sign = ["ca", "-batch", "-notext", "-config", str(work / "ca.cnf"), *days]
    files = ["-cert", str(ca), "-keyfile", str(key), "-in", f"{name}.csr", "-out", f"{name}.crt"]
    openssl(folder, *sign, *files)
