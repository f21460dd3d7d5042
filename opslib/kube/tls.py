"""Certificates and keys of a kubeconfig: on no disk, read once, and again when files change.

The official client writes what a kubeconfig holds inline into files of the temporary folder,
private keys too, and removes them when the interpreter ends: one that is killed leaves them.
Here they are memory that has a path, until a TLS context has read it.

urllib3 parses the certificates anew for each connection: 3 of the 4 ms that one costs, and an
apply opens up to 64. Files that are renewed while a loop runs (a pod's ca.crt, a client
certificate of a day) still count from the next connection on.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.config import kube_config
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from opslib.core import scratch

_MEMORY = Path("/proc/self/fd")
"""Open files by their numbers, so that memory without a name has one: memfd_create(2)."""


class _Handles(threading.local):
    """The memory that this thread has given a path."""

    def __init__(self) -> None:
        self.open: list[int] = []


_handles = _Handles()


def _in_memory(content: str | bytes, *_: Any, **__: Any) -> str:
    """Keep what the official client would write into a file; return a path of it."""
    handle = os.memfd_create("opslib-kubeconfig")
    _handles.open.append(handle)
    with os.fdopen(handle, "wb", closefd=False) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    return str(_MEMORY / str(handle))


_HAS_MEMORY = hasattr(os, "memfd_create") and _MEMORY.is_dir()
if _HAS_MEMORY:
    kube_config._create_temp_file_with_content = _in_memory  # noqa: SLF001  # its only seam


@contextlib.contextmanager
def short_lived() -> Iterator[Path]:
    """Yield a folder for the official client's files; all of them are gone with the block.

    Where the system has memory with a path there are no files, and the folder is that of memory.
    """
    before, _handles.open = _handles.open, []
    try:
        if _HAS_MEMORY:
            yield _MEMORY
        else:
            with scratch.folder("tls-") as place:
                yield place
    finally:
        for handle in _handles.open:
            os.close(handle)
        _handles.open = before


Part = bytes | str | None
"""Certificates or a key: PEM that was inline, or the name of a file."""


@dataclass
class Tls:
    """How to speak TLS to one server. ``context`` gives the same while no file has changed."""

    verify: ssl.VerifyMode
    authorities: Part = field(repr=False)
    certificate: Part = field(repr=False)
    key: Part = field(repr=False)
    _made: ssl.SSLContext | None = field(default=None, init=False, repr=False)
    _marks: object = field(default=None, init=False, repr=False)

    def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now, those of the system without any.

        Raises SSLError, ValueError or OSError for certificates that cannot be read.
        """
        parts = self.authorities, self.certificate, self.key
        marks = [_mark(one) for one in parts if isinstance(one, str)]
        if self._made is None or marks != self._marks:
            self._made, self._marks = self._make(), marks
        return self._made

    def _make(self) -> ssl.SSLContext:
        made = create_urllib3_context(cert_reqs=self.verify)
        with short_lived() as place:
            if self.authorities is not None:
                made.load_verify_locations(_named(self.authorities, place))
            else:
                made.load_default_certs()
            if self.certificate is not None:
                key = _named(self.key, place) if self.key is not None else None
                made.load_cert_chain(_named(self.certificate, place), key)
        return made


def _mark(name: str) -> tuple[int, int, int]:
    found = Path(name).stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _named(part: bytes | str, place: Path) -> str:
    """Return the path of a part: OpenSSL reads a key from nothing else."""
    if isinstance(part, str):
        return part
    if _HAS_MEMORY:
        return _in_memory(part)
    handle, name = tempfile.mkstemp(dir=place)
    with os.fdopen(handle, "wb") as stream:
        stream.write(part)
    return name


def of(configuration: Any, inline: Path | None) -> Tls | None:
    """Return the TLS of a configuration; None for a server without.

    What lies in the folder ``inline``, if any, was in the kubeconfig itself: it is read now.
    """
    if not str(configuration.host or "").startswith("https://"):
        return None

    def part(name: str | None) -> Part:
        return Path(name).read_bytes() if name and Path(name).parent == inline else name

    verify = ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE
    files = configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file
    return Tls(verify, *map(part, files))


def settle(manager: Any, tls: Tls | None) -> None:
    """Let the connections of a urllib3 pool manager share a context, and read no files."""
    if tls is None:
        return
    current = tls.context

    class Connection(HTTPSConnection):
        def connect(self) -> None:
            self.ssl_context = current()
            super().connect()

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    for name in ("ca_certs", "cert_file", "key_file"):
        manager.connection_pool_kw.pop(name, None)
    manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": Pool}
