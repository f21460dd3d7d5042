"""Runs notebooks in forks of a process that has loaded all that a run takes.

A runner of its own loads for two seconds, a fork does not. Each line on the standard input is
a run: notebook, out, options, environ, and a folder ``state``, in which the runner's pid, what
it said, and at last its exit code appear.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from opslib.core.files import write_atomic
from opslib.runbook import engine, html  # noqa: F401  # loaded here, once

from .runner import go


def main() -> None:
    """Fork for each line until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        if os.fork() == 0:
            _watch(json.loads(line))


def _watch(told: dict[str, Any]) -> None:
    """Start the runner, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    state = Path(told["state"])
    runner = os.fork()
    if runner == 0:
        _run(told, state)
    write_atomic(state / "pid", str(runner), sync=False)
    _, status = os.waitpid(runner, 0)
    write_atomic(state / "code", str(os.waitstatus_to_exitcode(status)), sync=False)
    os._exit(0)


def _run(told: dict[str, Any], state: Path) -> None:
    os.environ.clear()
    os.environ.update(told["environ"])
    said = os.open(state / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, handle in ((0, nothing), (1, said), (2, said)):
        os.dup2(handle, number)
    code = 70
    try:
        code = go(told["notebook"], told["out"], told["options"])
    except BaseException:  # noqa: BLE001  # a fork must not go on as its parent
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
