"""The kernel of a run: this interpreter, a private socket, no trace left in the user's home."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from opslib.core import scratch
from opslib.core.scratch import Scratch
from opslib.runbook import launcher

_SOCKET_ROOM = 60
"""A Unix socket's path has 104 bytes at most on macOS, 108 on Linux (unix(7)); names need 42."""

_LOOK = 0.01
"""Seconds between two looks whether the kernel has ended."""


class ThisInterpreter(KernelSpecManager):  # type: ignore[misc]  # jupyter_client is untyped here
    """Answers every kernel name with ipykernel under the interpreter that runs us.

    A kernelspec of the name "python3" may belong to any environment of the machine.
    """

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """Return the spec; ``kernel_name`` does not matter."""
        del kernel_name
        return KernelSpec(
            # Frozen modules off: what ipykernel's own spec sets, against a debugger's warning.
            # nbclient adds the option that keeps IPython's history of inputs in memory.
            argv=[
                # -P: what lies in the working folder takes no library's place (ipykernel's
                # launcher sees to that itself, ours is found before it).
                *(sys.executable, "-P", "-X", "frozen_modules=off", "-m", launcher.__name__),
                *("-f", "{connection_file}"),
            ],
            display_name="Python 3",
            language="python",
        )


def socket_folder() -> Scratch:
    """Create a private folder whose path is short enough for a Unix socket."""
    base = tempfile.gettempdir()
    return scratch.make(base=base if len(base) <= _SOCKET_ROOM else "/tmp")  # noqa: S108  # it is made private


def new_manager(folder: Path) -> Any:
    """Return a manager for one kernel that talks over Unix sockets in ``folder``.

    TCP would let every user of the machine connect, and ipykernel warns of it on stderr.
    """
    return AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=ThisInterpreter(),
        transport="ipc",
        connection_file=str(folder / "kernel.json"),
    )


class Voice:
    """What the kernel's process itself writes to stdout and stderr, outside of any cell.

    Warnings of its libraries and the words of a crash belong in the record, not among the
    messages of the run. The last ``_KEPT`` pieces are kept.
    """

    _KEPT = 64
    _PIECE = 4096

    def __init__(self) -> None:
        reading, self.end = os.pipe()
        self._pieces: deque[bytes] = deque(maxlen=self._KEPT)
        self._reader = threading.Thread(
            target=self._read, args=(reading,), name="opslib-kernel-voice", daemon=True
        )
        self._reader.start()

    def _read(self, reading: int) -> None:
        try:
            while piece := os.read(reading, self._PIECE):
                self._pieces.append(piece)
        finally:
            os.close(reading)

    def started(self) -> None:
        """Close our end: the pipe ends with the kernel now. Safe to call again."""
        end, self.end = self.end, -1
        if end >= 0:
            with contextlib.suppress(OSError):
                os.close(end)

    def words(self) -> str:
        """Return what was said, once the kernel is gone (a child of it may live on)."""
        self.started()
        self._reader.join(1.0)
        return b"".join(self._pieces).decode(errors="replace").strip()


async def remove(manager: Any, folder: Scratch, *, now: bool) -> None:
    """End the kernel (with ``now`` by SIGKILL to its process group) and remove its sockets."""
    try:
        if manager.has_kernel and now:
            await manager.shutdown_kernel(now=True)
        elif manager.has_kernel:  # as shutdown_kernel does, which looks every 0.1 s
            await manager.interrupt_kernel()
            await manager.request_shutdown()
            await manager.finish_shutdown(pollinterval=_LOOK)
    finally:
        await manager.cleanup_resources()
        folder.remove()


async def how_it_died(manager: Any) -> str:
    """Say how the kernel's process ended, in the words of a shell."""
    code = await manager.provisioner.poll() if manager.has_kernel else None
    if code is None:
        return "the kernel does not answer"
    if code >= 0:
        return f"the kernel ended by itself with exit code {code}"
    name = signal.Signals(-code).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"the kernel was killed by {name}{hint}"
