"""One file from a release or a mirror: resumed when broken, kept only when its sum is right.

Which sum is right is decided by :mod:`opslib.sandbox.pins`. Proxies and certificate
stores are those of the environment (https_proxy, no_proxy, SSL_CERT_FILE), as urllib
reads them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from opslib.core.errors import OpslibError
from opslib.core.progress import SILENT, Progress

CONNECT_SECONDS = 3.0
"""How long to wait for a connection: being offline must cost seconds."""

READ_SECONDS = 30.0
"""How long a transfer may stand still before it counts as broken."""

ATTEMPTS = 4
"""How often a broken transfer is taken up again."""

_CHUNK = 1 << 18
_SMALL = 1 << 20
_unreachable: dict[tuple[str, int], str] = {}
"""Servers that did not answer: not asked again by this process."""


class DownloadError(OpslibError):
    """The file could not be fetched; another way to get it may do."""

    kind = "download"


class ChecksumError(OpslibError):
    """The file that came is not the one that was pinned; it was deleted."""

    kind = "checksum"


class _BrokenTransferError(Exception):
    """The transfer ended early; it can be taken up where it stopped."""


def forget_offline() -> None:
    """Ask every server again, as a new process would."""
    _unreachable.clear()


def fetch(
    url: str, target: Path, sha256: str, *, mode: int = 0o644, progress: Progress = SILENT
) -> None:
    """Download ``url`` to ``target``; the file appears whole, with the right sum, or not at all.

    ``sha256`` is the expected sum, hex; ``mode`` the file's mode. A transfer that breaks is
    resumed by an HTTP range request (RFC 9110, section 14), ATTEMPTS times in all. Raises
    DownloadError where the server cannot be reached or has no such file, ChecksumError where
    the content is another one.
    """
    _check_reachable(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _fetch_all(url, part, progress, target.name)
        _check_sum(url, part, sha256)
        part.chmod(mode)
        os.replace(part, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def read_text(url: str) -> str:
    """Return a small text file, such as a list of sums. Raises DownloadError."""
    _check_reachable(url)
    try:
        with _open(url, 0) as response:
            return str(response.read(_SMALL).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        raise _failed(url, error) from error


def _fetch_all(url: str, part: Path, progress: Progress, name: str) -> None:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.25 * 2**attempt)
        try:
            _fetch_rest(url, part, progress, name)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # the part is longer than the file: begin again
                part.unlink(missing_ok=True)
            elif error.code < 500:
                raise _failed(url, error) from error
            last: Exception = error
        except (_BrokenTransferError, OSError, http.client.HTTPException) as error:
            last = error
        else:
            return
    raise _failed(url, last)


def _fetch_rest(url: str, part: Path, progress: Progress, name: str) -> None:
    have = part.stat().st_size if part.exists() else 0
    with _open(url, have) as response:
        resumed = response.status == 206 and _starts_at(response, have)
        if not resumed:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if resumed else "wb") as stream:
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                have += len(chunk)
                progress.update(f"downloading {name}", have, total)
    if total is not None and have < total:
        raise _BrokenTransferError(f"{have} of {total} bytes came")


def _starts_at(response: http.client.HTTPResponse, offset: int) -> bool:
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")


def _check_sum(url: str, part: Path, sha256: str) -> None:
    with open(part, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256.lower():
        raise ChecksumError(
            f"{_shown(url)} is not the file that was pinned; what came was deleted",
            where=_shown(url),
            expected=f"SHA-256 {sha256.lower()}, found {found}",
            hint="do not use this server; check the mirror (OPSLIB_MIRROR_…) or a proxy in between",
        )


def _failed(url: str, error: Exception) -> DownloadError:
    reason = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else str(error)
    return DownloadError(f"cannot download {_shown(url)}: {reason}", where=_shown(url))


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.timeout = CONNECT_SECONDS
        super().connect()
        self.sock.settimeout(READ_SECONDS)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        self.timeout = CONNECT_SECONDS
        super().connect()
        self.sock.settimeout(READ_SECONDS)


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _open(url: str, offset: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "opslib", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    opener = urllib.request.build_opener(_Plain, _Secure)
    bare, credentials = _split_credentials(url)
    request = urllib.request.Request(bare, headers=headers)  # noqa: S310  # scheme checked before
    if credentials:
        # Unredirected: the mirror's password is not for whom it redirects to.
        request.add_unredirected_header("Authorization", f"Basic {credentials}")
    response = opener.open(request)
    assert isinstance(response, http.client.HTTPResponse)  # noqa: S101  # urllib's type is wider
    return response


def _split_credentials(url: str) -> tuple[str, str]:
    """Return the address without its user and password, and these as HTTP's Basic scheme."""
    parts = urllib.parse.urlsplit(url)
    pair, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    user, _, password = pair.partition(":")
    plain = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
    return parts._replace(netloc=host).geturl(), base64.b64encode(plain.encode()).decode()


def _shown(url: str) -> str:
    """Return an address as people and logs may see it: without its password."""
    return _split_credentials(url)[0]


def _check_reachable(url: str) -> None:
    """Refuse a server that does not answer within CONNECT_SECONDS, name look-up included.

    getaddrinfo(3) takes no time-out and can block for half a minute without a network,
    hence the thread.
    """
    host, port = _endpoint(url)
    if (host, port) not in _unreachable:
        outcome: list[str] = []
        thread = threading.Thread(target=_knock, args=(host, port, outcome), daemon=True)
        thread.start()
        thread.join(CONNECT_SECONDS + 0.5)
        reason = outcome[0] if outcome else f"no answer within {CONNECT_SECONDS:g} s"
        if not reason:
            return
        _unreachable[host, port] = reason
    reason = _unreachable[host, port]
    raise DownloadError(f"cannot reach {host}:{port}: {reason}", where=_shown(url))


def _knock(host: str, port: int, outcome: list[str]) -> None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        outcome.append(error.strerror or str(error))
    else:
        outcome.append("")


def _endpoint(url: str) -> tuple[str, int]:
    """Return the host and port that a request really goes to: the proxy's, if one is set."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = _shown(url)
        raise DownloadError(f"{shown!r} is not an http or https address", where=shown)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
