"""What a run does while nobody looks: its processes' arguments and environments, all its files.

A file is opened as soon as it is made and read at the end, so that one which is gone again by
then is read too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_CREATE, _MOVED_TO, _CLOSED, _IS_DIR = 0x100, 0x80, 0x8, 0x40000000
_PAUSE = 0.004
_FILES = 20_000


class Files:
    """Follows some folders by inotify, with all that are made below them."""

    def __init__(self, *folders: Path) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * _FILES), most))
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, str] = {}
        self._open: dict[tuple[int, int], tuple[str, int]] = {}
        self._last: dict[str, bytes] = {}
        for folder in folders:
            self._add(str(folder))

    def _add(self, folder: str) -> None:
        number = self._libc.inotify_add_watch(
            self._fd, folder.encode(), _CREATE | _MOVED_TO | _CLOSED
        )
        if number < 0:
            return  # it is gone again
        self._folders[number] = folder
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    self._add(entry.path)
                else:
                    self._take(entry.path)

    def _take(self, path: str) -> None:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            about = os.fstat(handle)
            key = about.st_dev, about.st_ino
            if key in self._open or len(self._open) > _FILES:
                os.close(handle)
            else:
                self._open[key] = path, handle

    def look(self) -> None:
        """Take what was made since the last look."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 1 << 20):
                at = 0
                while at < len(data):
                    number, mask, _, length = struct.unpack_from("iIII", data, at)
                    name = data[at + 16 : at + 16 + length].rstrip(b"\0")
                    at += 16 + length
                    path = os.path.join(self._folders.get(number, ""), os.fsdecode(name))
                    self._add(path) if mask & _IS_DIR else self._take(path)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield every file that was there at some time: its path and what it had at its end."""
        self.look()
        for path, handle in self._open.values():
            with contextlib.suppress(OSError):
                yield path, os.pread(handle, 1 << 28, 0)

    def close(self) -> None:
        for _, handle in self._open.values():
            os.close(handle)
        os.close(self._fd)


class Processes:
    """Follows a process and all that it starts, by /proc."""

    def __init__(self) -> None:
        self.roots: set[int] = set()
        self.arguments: set[bytes] = set()
        self.environments: set[bytes] = set()
        self.seen: set[int] = set()

    def look(self) -> None:
        """Read arguments and environment of each process that runs now."""
        left = list(self.roots)
        while left:
            pid = left.pop()
            with contextlib.suppress(OSError):
                self.arguments.add(_read(f"/proc/{pid}/cmdline"))
                self.environments.add(_read(f"/proc/{pid}/environ"))
                self.seen.add(pid)
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    left += map(int, _read(f"/proc/{pid}/task/{task}/children").split())


class Watch:
    """Both, from a thread of their own."""

    def __init__(self, *folders: Path) -> None:
        self.files = Files(*folders)
        self.processes = Processes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._ended.is_set():
            self.files.look()
            self.processes.look()
            self.looks += 1
            time.sleep(_PAUSE)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()
