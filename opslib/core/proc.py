"""Other programs, run without a shell, with a deadline, and ended with all their children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opslib.core.errors import DeadlineExceeded, InputError, OpslibError


@dataclass(frozen=True)
class Finished:
    """A program that ended: its arguments, exit code and what it printed."""

    args: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")

    @property
    def last_error_line(self) -> str:
        """The last non-empty line of standard error: where most tools say what went wrong."""
        lines = [line for line in self.err.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit code {self.code}"


def find_program(name: str, *, why: str, hint: str) -> str:
    """Return the path of a program on PATH, or say what it is needed for and how to get it."""
    found = shutil.which(name)
    if found is None:
        raise InputError(f"{name} is needed {why} and is not on PATH", where="PATH", hint=hint)
    return found


def run(
    args: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    check: bool = True,
) -> Finished:
    """Run a program to its end and return what it printed.

    ``timeout`` is in seconds and ends the whole process group. ``env`` replaces the
    environment. With ``check`` a non-zero exit raises OpslibError with the program's
    last error line. Standard input is closed unless ``stdin`` is given.
    """
    words = tuple(str(arg) for arg in args)
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"cannot start {words[0]}: {error.strerror}", where=words[0]) from error
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except BaseException as error:
        end_group(process.pid)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise DeadlineExceeded(
                f"{Path(words[0]).name} did not end within {timeout:g} s", where=" ".join(words[:3])
            ) from None
        raise
    done = Finished(words, process.returncode, out, err)
    if check and done.code != 0:
        raise OpslibError(
            f"{Path(words[0]).name} failed: {done.last_error_line}", where=" ".join(words[:3])
        )
    return done


def end_group(pid: int) -> None:
    """Kill a process group that ``run`` started; one that is gone already is fine."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
