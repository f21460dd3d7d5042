"""Fetching a file from a server that may be slow, broken, hostile or absent."""

from __future__ import annotations

import base64
import hashlib
import http.server
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslib.sandbox import download
from opslib.sandbox.download import ChecksumError, DownloadError, fetch, read_text

from .conftest import Site, Told

BODY = bytes(range(256)) * 500
SUM = hashlib.sha256(BODY).hexdigest()

pytestmark = pytest.mark.usefixtures("bare")


def test_whole_file_with_the_right_sum(site: Site, tmp_path: Path, told: Told) -> None:
    """A file whose sum is right is there, with its mode, and the progress was told of it."""
    site.files["/tool"] = BODY
    fetch(f"{site.url}/tool", tmp_path / "a" / "tool", SUM.upper(), mode=0o755, progress=told)
    assert (tmp_path / "a" / "tool").read_bytes() == BODY
    assert (tmp_path / "a" / "tool").stat().st_mode & 0o777 == 0o755
    assert "downloading tool" in told.labels
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["tool"]


def test_wrong_sum_is_an_error_and_nothing_stays(site: Site, tmp_path: Path) -> None:
    """Content that differs from the pin is deleted, and the error names both sums."""
    site.files["/tool"] = BODY + b"!"
    with pytest.raises(ChecksumError) as caught:
        fetch(f"{site.url}/tool", tmp_path / "tool", SUM)
    assert SUM in str(caught.value)
    assert hashlib.sha256(BODY + b"!").hexdigest() in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert len(site.asked) == 1, "a wrong file must not be asked for again"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=3), ranges=st.booleans())
def test_broken_transfers_are_taken_up(site: Site, cuts: list[int], ranges: bool) -> None:
    """Wherever the connection is cut, up to three times, the file that comes is the whole one."""
    site.files["/tool"], site.breaks, site.ranges = BODY, list(cuts), ranges
    site.asked.clear()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(time, "sleep", lambda _: None)
        fetch(f"{site.url}/tool", Path(folder, "tool"), SUM)
        assert Path(folder, "tool").read_bytes() == BODY
    site.breaks = []


def test_resumed_where_it_stopped(site: Site, tmp_path: Path) -> None:
    """The second request asks only for what has not come yet."""
    site.files["/tool"], site.breaks = BODY, [1000]
    fetch(f"{site.url}/tool", tmp_path / "tool", SUM)
    assert site.asked == [("/tool", ""), ("/tool", "bytes=1000-")]


def test_a_transfer_that_always_breaks_ends(site: Site, tmp_path: Path) -> None:
    """The attempts are bounded, and no part of the file stays."""
    site.files["/tool"], site.breaks, site.ranges = BODY, [10] * 50, False
    with pytest.raises(DownloadError, match="10 of 128000 bytes"):
        fetch(f"{site.url}/tool", tmp_path / "tool", SUM)
    assert len(site.asked) == download.ATTEMPTS
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_told_at_once(site: Site, tmp_path: Path) -> None:
    """A file that the server does not have is not asked for twice."""
    with pytest.raises(DownloadError, match="HTTP 404"):
        fetch(f"{site.url}/tool", tmp_path / "tool", SUM)
    assert len(site.asked) == 1


def test_server_trouble_is_tried_again(site: Site, tmp_path: Path) -> None:
    """A 503 is passing: the next attempt gets the file."""
    site.files["/tool"], site.statuses = BODY, [503]
    fetch(f"{site.url}/tool", tmp_path / "tool", SUM)
    assert (tmp_path / "tool").read_bytes() == BODY


def test_refused_connection_is_remembered(tmp_path: Path) -> None:
    """A server that is not there costs one attempt per process, not one per file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/tool"
    begin = time.monotonic()
    for _ in range(20):
        with pytest.raises(DownloadError, match="cannot reach"):
            fetch(url, tmp_path / "tool", SUM)
    assert time.monotonic() - begin < 20
    assert len(download._unreachable) == 1
    download.forget_offline()
    assert download._unreachable == {}


def test_silent_server_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that swallows packets is given up after the short connect time-out, once."""
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.3)
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        # A full accept queue lets further connection attempts hang.
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)  # noqa: FBT003  # the standard library's signature
            client.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}/tool"
        begin = time.monotonic()
        for _ in range(50):  # 15 s, were each of them to wait
            with pytest.raises(DownloadError, match="cannot reach"):
                fetch(url, tmp_path / "tool", SUM)
    assert time.monotonic() - begin < 10


def test_slow_name_service_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name look-up that blocks does not block the download for long."""
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.1)

    over = threading.Event()

    def blocked(*_args: object, **_options: object) -> None:
        over.wait(60)
        raise OSError("gave up")

    monkeypatch.setattr(socket, "create_connection", blocked)
    begin = time.monotonic()
    with pytest.raises(DownloadError, match="no answer within"):
        fetch("https://release.invalid/tool", tmp_path / "tool", SUM)
    assert time.monotonic() - begin < 30
    over.set()


def test_goes_through_the_proxy_of_the_environment(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With http_proxy set, the proxy is what must be reachable, and it is asked."""
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    site.files["http://release.invalid/tool"] = BODY
    fetch("http://release.invalid/tool", tmp_path / "tool", SUM)
    assert site.asked == [("http://release.invalid/tool", "")]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "tool", "http://"])
def test_only_web_addresses(url: str, tmp_path: Path) -> None:
    """Nothing but http and https is opened."""
    with pytest.raises(DownloadError, match="not an http or https address"):
        fetch(url, tmp_path / "tool", SUM)


def test_small_text(site: Site) -> None:
    """A checksum file is read as text; its absence is a DownloadError."""
    site.files["/SHA256SUMS"] = b"abc"
    assert read_text(f"{site.url}/SHA256SUMS") == "abc"
    with pytest.raises(DownloadError):
        read_text(f"{site.url}/none")


def test_a_server_that_ends_in_mid_header(tmp_path: Path) -> None:
    """A server that answers nonsense is a failed download, not a crash."""

    class Nonsense(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"\x00\x01nonsense\r\n")

    server = http.server.HTTPServer(("127.0.0.1", 0), Nonsense)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(DownloadError):
            fetch(f"http://127.0.0.1:{server.server_address[1]}/t", tmp_path / "t", SUM)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_password_of_a_mirror(site: Site, tmp_path: Path) -> None:
    """A mirror's password goes to the mirror only: not where it redirects, not into an error."""
    site.files["/there"] = BODY
    site.moved["/tool"] = f"{site.url}/there"
    url = f"{site.url}/tool".replace("http://", "http://me:s%40cret@")
    fetch(url, tmp_path / "tool", SUM)
    assert site.credentials == [f"Basic {base64.b64encode(b'me:s@cret').decode()}", ""]
    with pytest.raises(ChecksumError) as wrong:
        fetch(url, tmp_path / "other", "0" * 64)
    with pytest.raises(DownloadError) as missing:
        fetch(url.replace("/tool", "/none"), tmp_path / "other", SUM)
    assert "cret" not in f"{wrong.value} {missing.value}"
