"""Connections that fail, and what is said about each."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from opslib.core.errors import InputError
from opslib.kube.client import Cluster, connect
from opslib.kube.errors import ApiError, Refused, Unreachable, from_response
from opslib.sandbox.cluster import Status
from opslib.sandbox.state import place

from .conftest import (
    Asked,
    Authority,
    Reply,
    Write,
    config,
    connected,
    full_backlog,
    issue,
    serving,
)

VERSIONLESS = "this is not a Kubernetes API server"


def fail(path: Path, kind: type[InputError] = InputError, *, timeout: float = 5) -> InputError:
    """Return the error with which connecting fails; it leads to exit code 2, on a few lines."""
    with pytest.raises(kind) as caught:
        connect(path, timeout=timeout)
    assert caught.value.exit_code == 2
    assert caught.value.where
    assert len(str(caught.value).splitlines()) <= 4
    return caught.value


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_refused_port(write: Write) -> None:
    """A port on which nobody listens: no API server answers at this address."""
    url = f"https://127.0.0.1:{closed_port()}"
    error = fail(write(config(url)), Unreachable)
    assert error.what == "no API server answers at this address"
    assert error.where == url


def test_unresolvable_name(write: Write) -> None:
    """A host name that does not resolve is said not to."""
    error = fail(write(config("https://api.invalid:6443")), Unreachable)
    assert "does not resolve" in error.what


def test_black_hole(write: Write) -> None:
    """An address that never answers costs no more than the time allowed."""
    with full_backlog() as port:
        began = time.monotonic()
        error = fail(write(config(f"http://127.0.0.1:{port}")), Unreachable, timeout=0.3)
        assert time.monotonic() - began < 4.5  # without a limit it would be 5 or more
    assert "did not answer in time" in error.what


def test_accepts_and_says_nothing(write: Write) -> None:
    """A server that accepts and never answers costs no more than the time allowed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        error = fail(write(config(f"http://127.0.0.1:{port}")), Unreachable, timeout=0.3)
        assert time.monotonic() - began < 4.5  # without a limit it would be 5 or more
    assert "did not answer in time" in error.what


def test_wrong_authority(kubeconfig: Path, authority: Authority, write: Write) -> None:
    """A server whose certificate another authority signed is refused before anything is sent."""
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    other = base64.b64encode(authority.cert.read_bytes()).decode()
    content["clusters"][0]["cluster"]["certificate-authority-data"] = other
    error = fail(write(content), Refused)
    assert "TLS" in error.what
    assert "certificate authority" in str(error.hint)


def test_expired_client_certificate(sandbox: Status, kubeconfig: Path, tmp_path: Path) -> None:
    """A client certificate that was good in 2020 is refused by the API server, with a way out."""
    pki = place(sandbox.name).pki
    names = ("/O=system:masters/CN=old", tmp_path)
    issue(tmp_path, pki / "ca.crt", pki / "ca.key", "old", names[0], expired=True)
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    content["users"][0]["user"] = {
        "client-certificate": str(tmp_path / "old.crt"),
        "client-key": str(tmp_path / "old.key"),
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    error = fail(path, Refused)
    assert "401" in error.what
    assert "log in again" in str(error.hint)


def test_expired_server_certificate(authority: Authority, write: Write) -> None:
    """A server whose own certificate has expired is refused."""
    cert, key = authority.issue("expired-server", "/CN=127.0.0.1", expired=True)
    with serving(lambda reply, asked: reply.json({}), _tls(cert, key)) as fake:
        path = write(config(fake.url, ca=authority.cert))
        error = fail(path, Refused)
    assert "expired" in error.what


def test_good_authority(authority: Authority, write: Write) -> None:
    """A server whose certificate the named authority signed is trusted."""
    cert, key = authority.issue("server", "/CN=127.0.0.1")
    with serving(lambda reply, asked: reply.json({}), _tls(cert, key)) as fake:
        path = write(config(fake.url, ca=authority.cert))
        cluster = connect(path)
        assert cluster.version == "v1.30.0"
        cluster.close()


def _tls(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def test_bad_token(kubeconfig: Path, write: Write) -> None:
    """A token that the API server does not know is answered in words, without the token."""
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    content["users"][0]["user"] = {"token": "s3cr3t-t0ken"}
    error = fail(write(content), Refused)
    assert "does not accept these credentials" in error.what
    assert "s3cr3t" not in str(error)


def test_token_of_several_lines(write: Write) -> None:
    """A token with a line break is refused here, and nothing of it is quoted."""
    with serving(lambda reply, asked: reply.json({})) as fake:
        error = fail(write(config(fake.url, user={"token": "s3cr3t\nt0ken"})), Refused)
    assert "line breaks" in error.what
    assert "s3cr3t" not in str(error)
    assert not fake.asked


def test_token_file_with_a_final_newline(write: Write, tmp_path: Path) -> None:
    """A token file that ends in a newline, as most do, works."""
    token = tmp_path / "token"
    token.write_text("abc\n", encoding="utf-8")
    with serving(lambda reply, asked: reply.json({})) as fake:
        connect(write(config(fake.url, user={"tokenFile": str(token)}))).close()
    assert fake.asked[0].headers["authorization"] == "Bearer abc"


def test_https_to_a_plain_port(write: Write) -> None:
    """Speaking TLS to a server that does not is a TLS error, not a stack trace."""
    with serving(lambda reply, asked: reply.json({})) as fake:
        error = fail(write(config(fake.url.replace("http:", "https:"))), Refused)
    assert "TLS" in error.what


def test_plain_http_to_the_api_server(cluster: Cluster, write: Write) -> None:
    """Speaking plain HTTP to an API server says that this is no API server's address."""
    error = fail(write(config(cluster.server.replace("https:", "http:"))))
    assert VERSIONLESS in error.what


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'"x"', b""])
def test_some_other_server(write: Write, body: bytes) -> None:
    """A web server that is no API server is called that, whatever it answers."""
    with socket.create_server(("127.0.0.1", 0)) as _:
        pass
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with _canned(head.encode() + body) as url:
        error = fail(write(config(url)))
    assert VERSIONLESS in error.what


def test_not_found_and_busy_are_told_apart(write: Write) -> None:
    """404 on /version means a wrong address; 503 means an API server that is not ready."""
    with _canned(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as url:
        assert VERSIONLESS in fail(write(config(url))).what
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nwait"
    with _canned(busy) as url, pytest.raises(ApiError) as caught:
        connect(write(config(url)))
    assert (caught.value.code, caught.value.retry_after) == (503, 7)
    assert "wait" in caught.value.what


def test_version_that_may_not_be_asked(write: Write) -> None:
    """A role that may not read /version still connects."""
    with _canned(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}") as url:
        cluster = connect(write(config(url)))
    assert cluster.version == ""
    cluster.close()


class _canned:  # noqa: N801  # used as a function
    """Answer one connection with fixed bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def __enter__(self) -> str:
        import threading

        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _serve(self) -> None:
        self._server.settimeout(20)
        connection, _ = self._server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)

    def __exit__(self, *args: object) -> None:
        self._thread.join()
        self._server.close()


def test_broken_answer(tmp_path: Path) -> None:
    """An answer that breaks off is a broken connection, not half an object."""

    def answer(reply: Reply, asked: Asked) -> None:
        reply.lines({"items": []}, end=False)

    with (
        serving(answer) as fake,
        connected(fake, tmp_path / "k") as cluster,
        pytest.raises(Unreachable, match="connection broke"),
    ):
        cluster.get("/x")


def test_answer_that_is_not_json(tmp_path: Path) -> None:
    """A page of HTML with status 200, as a proxy sends it, is an error and not an empty object."""
    with (
        serving(lambda reply, asked: reply.raw(b"<html>log in</html>")) as fake,
        connected(fake, tmp_path / "k") as cluster,
        pytest.raises(ApiError, match="not JSON"),
    ):
        cluster.get("/api/v1/pods")


def test_no_redirects(tmp_path: Path) -> None:
    """A redirect is not followed: it would carry the credentials to another server."""
    with (
        serving(lambda reply, asked: reply.raw(b"", 302, Location="http://127.0.0.1:1/")) as fake,
        connected(fake, tmp_path / "k") as cluster,
        pytest.raises(ApiError) as caught,
    ):
        cluster.get("/x")
    assert caught.value.code == 302


def test_queries_are_written_as_the_server_reads_them(tmp_path: Path) -> None:
    """Booleans are written in lower case, and values are quoted."""
    with serving(lambda reply, asked: reply.json({})) as fake:
        with connected(fake, tmp_path / "k") as cluster:
            cluster.get("/x", {"force": True, "limit": 3, "labelSelector": "a=b,c in (d)"})
        assert fake.asked[-1].query == {
            "force": "true",
            "limit": "3",
            "labelSelector": "a=b,c in (d)",
        }


def test_find(cluster: Cluster) -> None:
    """An object that does not exist is None, another error is raised."""
    assert cluster.find("/api/v1/namespaces/no-such") is None
    found = cluster.find("/api/v1/namespaces/default")
    assert found is not None
    assert found["metadata"]["name"] == "default"
    with pytest.raises(ApiError) as caught:
        cluster.request("POST", "/api/v1/namespaces", body={"kind": "Pod"})
    assert caught.value.code == 400


def test_list_in_pages(tmp_path: Path) -> None:
    """Pages are asked for with the continue token until there is none; the items are joined."""

    def answer(reply: Reply, asked: Asked) -> None:
        page = int(asked.query.get("continue", "0"))
        more = {"continue": str(page + 1)} if page < 2 else {}
        reply.json({"metadata": {"resourceVersion": "7", **more}, "items": [{"n": page}]})

    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        items, version = cluster.list("/api/v1/pods", {"labelSelector": "a=b"})
        assert [item["n"] for item in items] == [0, 1, 2]
        assert version == "7"
        assert {a.query.get("labelSelector") for a in fake.asked[1:]} == {"a=b"}


def test_list_whose_token_expires(tmp_path: Path) -> None:
    """A token that expires midway (410) starts again without pages; nothing comes twice."""

    def answer(reply: Reply, asked: Asked) -> None:
        if "continue" in asked.query:
            reply.json({"reason": "Expired", "message": "too old"}, 410)
        elif "limit" in asked.query:
            reply.json({"metadata": {"continue": "t"}, "items": [{"n": 0}]})
        else:
            reply.json({"metadata": {"resourceVersion": "9"}, "items": [{"n": 0}, {"n": 1}]})

    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        items, version = cluster.list("/api/v1/pods")
        assert [item["n"] for item in items] == [0, 1]
        assert version == "9"


def test_list_that_has_expired_itself(tmp_path: Path) -> None:
    """A 410 on the first page is the caller's: it asked for a version that is gone."""
    with (
        serving(lambda reply, asked: reply.json({"reason": "Expired"}, 410)) as fake,
        connected(fake, tmp_path / "k") as cluster,
        pytest.raises(ApiError) as caught,
    ):
        cluster.list("/api/v1/pods", {"resourceVersion": "1"})
    assert caught.value.code == 410


def test_stream_lines(tmp_path: Path) -> None:
    """Lines come one by one, whatever the chunks, and a last one without its newline too."""

    def answer(reply: Reply, asked: Asked) -> None:
        reply.lines("a", "b", tail=b"rest")

    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        assert list(cluster.stream("/log")) == [b'"a"', b'"b"', b"rest"]


def test_stream_that_breaks(tmp_path: Path) -> None:
    """A stream whose connection breaks gives what came, and then Unreachable."""
    with (
        serving(lambda reply, asked: reply.lines("a", end=False)) as fake,
        connected(fake, tmp_path / "k") as cluster,
    ):
        stream = cluster.stream("/log")
        assert next(stream) == b'"a"'
        with pytest.raises(Unreachable, match="connection broke"):
            next(stream)


def test_stream_of_an_error(cluster: Cluster, namespace: str) -> None:
    """A stream that the server refuses raises its reason."""
    with pytest.raises(ApiError) as caught:
        next(cluster.stream(f"/api/v1/namespaces/{namespace}/pods/none/log"))
    assert caught.value.code == 404
    assert "none" in caught.value.what


def test_stream_that_falls_silent(tmp_path: Path) -> None:
    """Silence longer than the time allowed ends a stream."""
    import threading

    over = threading.Event()

    def answer(reply: Reply, asked: Asked) -> None:
        reply.lines("a", end=False)
        over.wait(20)

    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        stream = cluster.stream("/log", timeout=2)
        assert next(stream) == b'"a"'
        with pytest.raises(Unreachable, match="in time"):
            next(stream)
        over.set()


@pytest.mark.parametrize(
    "body", [None, [], "text", {"details": "odd"}, {"details": {"causes": None}}]
)
def test_odd_error_bodies(body: object) -> None:
    """Whatever a proxy sends as an error, it becomes an ApiError with the code."""
    error = from_response(502, body, where="GET /", retry_after="Fri, 31 Dec 1999 23:59:59 GMT")
    assert isinstance(error, ApiError)
    assert error.code == 502
    assert error.retry_after is None
    assert error.as_dict()["code"] == 502


def test_causes(cluster: Cluster, namespace: str) -> None:
    """The causes of a refusal are kept field by field."""
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": []}}
    with pytest.raises(ApiError) as caught:
        cluster.request("POST", f"/api/v1/namespaces/{namespace}/services", body=body)
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert [cause.field for cause in caught.value.causes] == ["spec.ports"]
    assert caught.value.as_dict()["causes"][0]["reason"] == "FieldValueRequired"


def test_import_is_cheap() -> None:
    """Importing the client loads neither jsonschema nor what validates schemas offline."""
    code = (
        "import sys, opslib.kube.client, opslib.kube.watch, opslib.kube.lease\n"
        "print([m for m in ('jsonschema', 'kubernetes_validate', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_validator_stays_importable() -> None:
    """The import guard leaves nothing behind: the validator can be imported afterwards."""
    code = (
        "import sys, importlib.util, opslib.kube.client\n"
        "assert 'kubernetes_validate' not in sys.modules\n"
        "print(importlib.util.find_spec('kubernetes_validate') is not None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "True"


def test_openssl_is_here() -> None:
    """The tests of expired certificates need openssl; without it they could not mean anything."""
    assert shutil.which("openssl")
