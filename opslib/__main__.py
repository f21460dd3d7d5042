"""The program ``opslib``: one message per error, exit codes, no stack unless asked."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType

_ALLOCATIONS = 100_000
"""Objects made between two looks for garbage: at Python's own 700 the imports of a verb, which
leave nothing to collect, are looked through again and again (40 ms of 340)."""


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
    from opslib.cli.main import run  # noqa: PLC0415  # after the handler: an early SIGTERM counts

    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter's end looks for garbage among all that there is
    sys.exit(code)


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Unwind as Ctrl-C does, so that clean-up runs."""
    del signum, frame
    # A second SIGTERM during the clean-up does not interrupt it again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
