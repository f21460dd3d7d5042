"""Certificates and keys of a kubeconfig, on no disk.

The official client writes what a kubeconfig holds inline into files of the temporary folder,
private keys too, and removes them when the interpreter ends: one that is killed leaves them.
Here they are memory that has a path, until the TLS context has read it.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubernetes.config import kube_config
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
def short_lived() -> Iterator[str | None]:
    """Yield a folder for the official client's files; all of them are gone with the block.

    None where the system has memory with a path: then there are no files.
    """
    before, _handles.open = _handles.open, []
    try:
        if _HAS_MEMORY:
            yield None
        else:
            with scratch.folder("tls-") as place:
                yield str(place)
    finally:
        for handle in _handles.open:
            os.close(handle)
        _handles.open = before


def context(configuration: Any) -> ssl.SSLContext | None:
    """Return how to speak TLS as a configuration says; None for a server without.

    Raises SSLError, ValueError or OSError for certificates that cannot be read.
    """
    if not str(configuration.host or "").startswith("https://"):
        return None
    verified = ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE
    made = create_urllib3_context(cert_reqs=verified)
    if configuration.ssl_ca_cert:
        made.load_verify_locations(cafile=configuration.ssl_ca_cert)
    else:
        made.load_default_certs()
    if configuration.cert_file:
        made.load_cert_chain(configuration.cert_file, configuration.key_file)
    return made


def settle(pool: Any, made: ssl.SSLContext | None) -> None:
    """Let the connections of a urllib3 pool manager use a context, and no files."""
    if made is None:
        return
    for name in ("ca_certs", "cert_file", "key_file"):
        pool.connection_pool_kw.pop(name, None)
    pool.connection_pool_kw["ssl_context"] = made
