"""What the kernel of a run starts as: it dies with its runner, and knows for good whose it is.

ipykernel asks once a second whether its parent is still there. In that second a cell goes on,
and nobody is left who writes down what it does.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys

RUNNER, KERNEL = "OPSLIB_RUNNER_PID", "OPSLIB_KERNEL_PID"
_PARENT = "JPY_PARENT_PID"  # from jupyter_client, with every kernel that it starts
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Bind this process to its runner, then be the kernel that ipykernel's launcher makes."""
    _die_with_parent()
    if os.environ.get(RUNNER) == str(os.getppid()):
        os.environ[KERNEL] = str(os.getpid())
    runpy.run_module("ipykernel_launcher", run_name="__main__")


def _die_with_parent() -> None:
    """Ask the system for SIGKILL when the thread that started this process ends.

    It is the thread in which the runner runs the cells: it ends the kernel before it ends.
    Only Linux can (prctl(2)); elsewhere ipykernel's look once a second has to do.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # ipykernel loads it too

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    parent = os.environ.get(_PARENT)
    if parent and parent != str(os.getppid()):
        sys.exit("the runner of this kernel is gone")  # it died before we asked


if __name__ == "__main__":
    main()
