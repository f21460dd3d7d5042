"""A private line from the kernel to its runner: a call returns when the runner has handled it.

Displayed data reaches the record too late for what must be on disk before the next step. The
line is a Unix socket in the kernel's private folder (0700, see ``kernel``), named to the
kernel by OPSLIB_CHANNEL. One call is one line of JSON each way: ``{"kind": …, …}``, answered
by the handler's reply or by ``{"error": …}``, an error of opslib as data.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.core.errors import ApprovalError, InputError, LockBusy, OpslibError

CHANNEL = "OPSLIB_CHANNEL"
NAME = "runner.sock"
Handler = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Takes the kind of a call and its fields; returns the reply, as JSON data."""

_MAX_BYTES = 4 * 1024 * 1024
_SECONDS = 60.0
_TURN = 0.5
"""Seconds between two looks whether the line was closed."""
_ERRORS = {one.kind: one for one in (ApprovalError, InputError, LockBusy)}


class Line:
    """The runner's end. Calls are handled in threads, one per call."""

    def __init__(self, path: Path, handle: Handler) -> None:
        self.path = path
        self._handle = handle
        self._closed = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(_TURN)
        self._thread = threading.Thread(target=self._serve, name="opslib-channel", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closed:
            try:
                line, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):  # a kernel that died needs no answer
            line.settimeout(_SECONDS)
            reply = self._reply(_receive(line))
            line.sendall(json.dumps(reply).encode() + b"\n")

    def _reply(self, data: bytes) -> dict[str, Any]:
        try:
            call = json.loads(data)
            kind = str(call.pop("kind"))
            return self._handle(kind, call)
        except OpslibError as error:
            return {"error": error.as_dict()}
        except Exception as error:  # noqa: BLE001  # the kernel waits; whatever broke, it is told
            what = f"the runner could not handle this: {type(error).__name__}: {error}"
            return {"error": OpslibError(what).as_dict()}

    def close(self) -> None:
        """Take no more calls."""
        self._closed = True
        with contextlib.suppress(OSError):  # wakes up accept on Linux; elsewhere its time-out does
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_SECONDS)
        self._socket.close()


def available() -> bool:
    """Tell whether a runner listens to this kernel."""
    return bool(os.environ.get(CHANNEL))


def call(kind: str, **fields: Any) -> dict[str, Any]:
    """Call the runner from the kernel, and return its reply.

    Raises the runner's error as one of the same class, and OpslibError when the runner
    does not answer: then nothing is known to be on disk.
    """
    data = json.dumps({"kind": kind, **fields}).encode() + b"\n"
    if len(data) > _MAX_BYTES:
        raise InputError(
            f"{kind}: {len(data)} bytes are too many", expected=f"at most {_MAX_BYTES}"
        )
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_SECONDS)
            line.connect(os.environ[CHANNEL])
            line.sendall(data)
            reply = json.loads(_receive(line))
    except (OSError, ValueError) as error:
        raise OpslibError(
            f"the runner of this run does not answer: {error}",
            where=kind,
            hint="the record cannot be kept, so nothing more is done",
        ) from None
    if "error" in reply:
        raise _again(reply["error"])
    return dict(reply)


def _receive(line: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while not parts or not parts[-1].endswith(b"\n"):
        part = line.recv(65536)
        size += len(part)
        if not part or size > _MAX_BYTES:
            break
        parts.append(part)
    return b"".join(parts)


def _again(found: dict[str, Any]) -> OpslibError:
    kind = _ERRORS.get(str(found.get("kind")), OpslibError)
    return kind(
        str(found.get("what")),
        where=found.get("where"),
        expected=found.get("expected"),
        hint=found.get("hint"),
    )
