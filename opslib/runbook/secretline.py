"""The runner's end of the private channel by which a kernel tells its secrets.

A Unix socket in the kernel's own folder (mode 0700): nobody else can connect, and nothing of
it is ever on a disk. A value is registered before it is acknowledged, and the kernel waits for
that, so no output that holds the value can be saved before the value is known here.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from pathlib import Path

from opslib.core import secrecy

_NAME = "secrecy"
_MOST = 1 << 20
"""Bytes of one message: the largest value is 64 KiB, escaped it has six times as many at most."""


class Channel:
    """Listens in ``folder`` until ``close``; what is told goes into the registry here."""

    def __init__(self, folder: Path, registry: secrecy.Registry = secrecy.REGISTRY) -> None:
        self.address = str(folder / _NAME)
        self._registry = registry
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._listener.bind(self.address)
        finally:
            os.umask(before)
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="opslib-secrecy", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                line, _ = self._listener.accept()
                self._open.add(line)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError, ValueError, EOFError):
            while True:
                (length,) = struct.unpack(">I", _exactly(line, 4))
                if length > _MOST:
                    return
                value, label = json.loads(_exactly(line, length))
                self._registry.note(str(value), str(label))
                line.sendall(b"\x06")
        self._open.discard(line)

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in list(self._open):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


def _exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = line.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
