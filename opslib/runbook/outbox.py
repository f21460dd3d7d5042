"""Messages on disk: there before they are sent, and gone once their target took them.

A message is a file; while it is sent, a file beside it is locked and says since when. What was
taken is removed, on disk, before anything else is done. A process that dies leaves either the
message alone (nothing was sent), or both: it may have arrived, and is sent again with a line
that says so. So each message of a setting arrives at least once, and twice only when a process
died, or the machine, between the target's answer and the removal, or when the answer was lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from opslib.core.clock import stamp
from opslib.core.errors import InputError
from opslib.core.files import fsync_dir, private_dir, write_atomic
from opslib.core.settings import state_dir
from opslib.runbook.reading import read_object
from opslib.runbook.targets import Message, Target, send, target_of

_MOST = 1000
"""Messages that wait at most; a target that is gone must not fill the disk."""
_SENDING = ".sending"


def queue_dir() -> Path:
    """Return the folder of the messages that wait."""
    return private_dir(state_dir() / "notify")


def queue(name: str, message: Message) -> Path:
    """Keep a message for a setting; its address is looked up when it is sent."""
    folder = queue_dir()
    if sum(1 for _ in folder.glob("*.json")) >= _MOST:
        raise InputError(f"{_MOST} messages wait already", where=str(folder))
    path = folder / f"{stamp().replace(':', '')}-{secrets.token_hex(4)}.json"
    row = {"setting": name, "queued": stamp(), **vars(message)}
    write_atomic(path, json.dumps(row, ensure_ascii=False), mode=0o600)
    return path


def tell(target: Target, message: Message) -> str:
    """Keep a message and send it; return "" when it was taken, else what became of it.

    What was given as an address is never on disk: it is sent once, and may be lost.
    """
    if not target.name:
        lost = "did not take it; it is lost, for only a setting can wait"
        return "" if send(target, message) else f"notification: {target} {lost}"
    try:
        path = queue(target.name, message)
    except (OSError, InputError) as error:
        if send(target, message):
            return ""
        return f"notification: {target} did not take it, and it could not be kept: {error}"
    note = _deliver(path, set())
    return f"{note}; it waits for the next run or `notify flush`" if note else ""


@dataclass(frozen=True)
class Flushed:
    """What became of the messages that waited; ``notes`` has a line for each that still does."""

    delivered: int
    waiting: int
    notes: tuple[str, ...] = ()


def flush() -> Flushed:
    """Send what waits, oldest first; one process at a time."""
    delivered, notes = 0, []
    with _alone() as mine:
        paths = sorted(queue_dir().glob("*.json")) if mine else []
        down: set[str] = set()
        for path in paths:
            if not path.exists():
                continue  # whoever kept it has sent it meanwhile
            note = _deliver(path, down)
            delivered += not note
            notes += [note] if note else []
        if mine:
            _sweep()
    left = sum(1 for _ in queue_dir().glob("*.json"))
    return Flushed(delivered, left, tuple(dict.fromkeys(notes)))


def _sweep() -> None:
    """Clear away what a process left that died after it had removed its message."""
    for path in queue_dir().glob(f"*{_SENDING}"):
        if not path.with_suffix(".json").exists():
            with _Attempt(path) as attempt:
                if attempt.mine:
                    attempt.end(taken=True)


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Hold the queue's lock; False when another process has it and sends already."""
    with (queue_dir() / ".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _deliver(path: Path, down: set[str]) -> str:
    """Try one message; return "" when it is delivered, else why it waits on."""
    with _Attempt(path) as attempt:
        if not attempt.mine:
            return f"notification: {path.name} is being sent by another process"
        try:
            name, message = _read(path)
            if name in down:
                return _refused(name)
            target = target_of(name)
        except FileNotFoundError:
            return ""  # another process was faster
        except InputError as error:
            return f"notification: {error.what}"
        attempt.begin()
        taken = send(target, message, _again(attempt.before))
        if taken:
            path.unlink()
            fsync_dir(path.parent)
        attempt.end(taken=taken)
    if taken:
        return ""
    down.add(name)
    return _refused(name)


def _refused(name: str) -> str:
    return f"notification: {name} did not take it"


def _read(path: Path) -> tuple[str, Message]:
    """Return the setting and the message. Raises FileNotFoundError, and InputError for damage."""
    try:
        row = read_object(path)
        texts = [str(row[name]) for name in ("setting", "title", "body", "grade")]
    except FileNotFoundError:
        raise
    except (OSError, InputError, KeyError) as error:
        text = f"{path.name} is damaged: {error}".splitlines()[0]
        raise InputError(text, where=str(path)) from None
    setting, title, body, grade = texts
    return setting, Message(title, body, grade, str(row.get("key") or path.stem))


def _again(before: str) -> str:
    text = "Again: it may have arrived before; an attempt to send it began at"
    return f"{text} {before} and was cut off" if before else ""


class _Attempt:
    """One process's attempt at one message.

    ``mine``: nobody else sends it. ``before`` is when an attempt began that was cut off, or "".
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(_SENDING)
        self.mine = False
        self.before = ""
        self._began = False

    def __enter__(self) -> Self:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have ended its attempt, and removed the file, meanwhile.
            self.mine = os.path.samestat(os.fstat(self._handle), os.stat(self._path))
        self.before = os.pread(self._handle, 40, 0).decode("ascii", "replace") if self.mine else ""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.mine and not self.before and not self._began:
            self._path.unlink(missing_ok=True)
        os.close(self._handle)

    def begin(self) -> None:
        """Put on disk that it begins; on a full disk it is sent without."""
        self._began = True
        self._note(stamp())

    def end(self, *, taken: bool) -> None:
        """Note that it has an answer; what an earlier one left open stays so until it is taken."""
        if self.before and not taken:
            self._note(self.before)
        else:
            self._path.unlink(missing_ok=True)

    def _note(self, moment: str) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, moment.encode(), 0)
            os.fsync(self._handle)
            fsync_dir(self._path.parent)
