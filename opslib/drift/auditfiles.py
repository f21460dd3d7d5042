"""The files of an audit log with their rotated siblings, and commands that print one."""

from __future__ import annotations

import contextlib
import gzip
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from opslib.core.errors import InputError
from opslib.core.proc import end_group
from opslib.drift.moments import SECOND, Moment, moment_of

FOLLOWS: Moment = SECOND // 500
"""The API server names a rotated file by the time of the rotation, cut to milliseconds, and
writes the line that did not fit into the next one: that event was over before
(https://github.com/natefinch/lumberjack)."""

_ROTATED = re.compile(r"-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2})\.(\d{3})$")


@dataclass(frozen=True)
class LogFile:
    """One file of a log; ``rotated`` is when it was closed, as its name says (0: unknown).

    ``number`` is that of logrotate, 0 for the file that is written to, -1 where it has none.
    """

    path: Path
    identity: tuple[int, int]
    written: float
    rotated: Moment = 0
    number: int = -1

    def open(self) -> IO[bytes]:
        """Open it for reading, unpacked."""
        if self.path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def lacks_next(self, following: LogFile, first: Moment) -> bool:
        """Tell whether a file is missing before ``following``, whose first line is of ``first``."""
        if self.rotated:
            return first > self.rotated + FOLLOWS
        return min(self.number, following.number) >= 0 and self.number != following.number + 1


def log_files(path: Path) -> list[LogFile]:
    """Return the files of a log, the oldest first: of a folder all, of a file its siblings too.

    Raises OSError.
    """
    if path.is_dir():
        found = [_described(one, path) for one in path.iterdir() if one.name[:1] != "."]
    else:
        if not path.parent.is_dir():
            return []
        found = [_described(one, path) for one in path.parent.iterdir() if _belongs(one, path)]
    files = [one for one in found if one is not None]
    return sorted(files, key=lambda one: (one.number == 0, one.rotated, -one.number, one.written))


def _belongs(one: Path, log: Path) -> bool:
    name = one.name.removesuffix(".gz")
    if name == log.name:
        return True
    middle = name.removeprefix(log.stem).removesuffix(log.suffix)
    if name.startswith(log.stem) and name.endswith(log.suffix) and _ROTATED.fullmatch(middle):
        return True
    rest = name.removeprefix(log.name)
    return name.startswith(log.name) and re.fullmatch(r"[.-]\d+", rest) is not None


def _described(one: Path, log: Path) -> LogFile | None:
    try:
        status = one.stat()
    except OSError:
        return None  # removed meanwhile: what it held is found missing by its neighbours
    if not one.is_file():
        return None
    plain = one.name.removesuffix(".gz")
    stem = plain.removesuffix(Path(plain).suffix)
    rotated = 0
    if match := _ROTATED.search(stem):
        day, hour, minute, second, thousandth = match.groups()
        rotated = moment_of(f"{day}T{hour}:{minute}:{second}.{thousandth}+00:00")
    numbered = re.search(r"\.(\d{1,6})$", plain)
    number = int(numbered[1]) if numbered else (0 if plain == log.name else -1)
    return LogFile(one, (status.st_dev, status.st_ino), status.st_mtime, rotated, number)


@contextlib.contextmanager
def command_stream(
    words: Sequence[str], timeout: float
) -> Iterator[tuple[IO[bytes], Callable[[], str]]]:
    """Run a command without a shell; yield its output, and what says why it was not whole.

    Raises InputError where it cannot be started. It is ended with all its children.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(
                f"the command for the audit log cannot be started: {error.strerror}", where=words[0]
            ) from error
        late = threading.Event()

        def end() -> None:
            late.set()
            end_group(process.pid)

        def ended() -> str:
            code = process.wait()
            if late.is_set():
                return f"{words[0]} did not end within {timeout:g} s"
            return f"{words[0]} ended with exit code {code}" if code else ""

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            yield cast("IO[bytes]", process.stdout), ended
        finally:
            timer.cancel()
            end_group(process.pid)
            cast("IO[bytes]", process.stdout).close()
            process.wait()
