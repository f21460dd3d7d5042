"""Reads files below a root: this machine, an image, a folder that a test made.

Whatever an image holds is hostile: links are followed inside of the root only, nothing but
regular files is opened, and sizes are bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from fnmatch import fnmatchcase

MOST_BYTES = 1 << 20
MOST_LINKS = 40

_OF_PROC = ("cmdline/", "limit/", "module/", "mount/", "swap/", "sysctl/", "time/")
_OF_SYS = ("block/", "cgroup/", "clock/", "cpu/", "hugepages/", "lsm/", "numa/", "thp/", "virt/")


class Root:
    """A file system to read, and what was found in it.

    ``facts`` maps keys to values as the system gives them; ``unreadable`` maps keys, or
    prefixes that end in "/", to why they could not be read: what is in neither is absent.
    """

    def __init__(self, prefix: str = "/") -> None:
        self.prefix = os.path.abspath(prefix)
        self.live = self.prefix == "/"
        self.facts: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}

    def path(self, name: str) -> str:
        """Return where an absolute path of the system lies, links resolved inside of the root."""
        if self.live:
            return name
        return self.prefix + self._resolved(name)

    def inner(self, name: str) -> str:
        """Return a path of the system with its links resolved, as the system itself sees it.

        Links that lead in a circle are left as they are.
        """
        try:
            return os.path.realpath(name) if self.live else self._resolved(name)
        except OSError:
            return name

    def _resolved(self, name: str) -> str:
        done: list[str] = []
        todo = [part for part in name.split("/") if part][::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in {".", ".."}:
                del done[len(done) - (part == ".." and bool(done)) :]
                continue
            here = "/".join(["", *done, part])
            try:
                target = os.readlink(self.prefix + here)
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            if target.startswith("/"):
                done = []
            todo += [one for one in target.split("/") if one][::-1]
        return "/" + "/".join(done)

    def read(self, name: str, limit: int = MOST_BYTES) -> str:
        """Return a file's text. Raises OSError, also for what is no regular file or too large."""
        handle = os.open(self.path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "no regular file", name)
            parts: list[bytes] = []
            size = 0
            while size <= limit:
                part = os.read(handle, min(limit + 1 - size, 1 << 16))
                if not part:
                    return b"".join(parts).decode("utf-8", "replace")
                parts.append(part)
                size += len(part)
        finally:
            os.close(handle)
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", name)

    def text(self, name: str, limit: int = MOST_BYTES) -> str:
        """Return a file's text; "" where it cannot be read, whatever the reason."""
        try:
            return self.read(name, limit)
        except OSError:
            return ""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none where it cannot be read."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        try:
            return os.path.exists(self.path(name))
        except OSError:
            return False

    def take(self, key: str, name: str, limit: int = MOST_BYTES) -> str:
        """Note a file's text, without its last line feeds, as a fact; return it, "" if none.

        A file that is not there is no fact; one that cannot be read is unreadable.
        """
        try:
            value = self.read(name, limit).rstrip("\n")
        except OSError as error:
            self.failed(key, error)
            return ""
        self.facts[key] = value
        return value

    def missing(self) -> None:
        """Note that an image without /proc and /sys tells nothing of what runs."""
        for folder, prefixes in (("/proc", _OF_PROC), ("/sys", _OF_SYS)):
            if not self.names(folder):
                for prefix in prefixes:
                    self.unreadable[prefix] = f"no {folder} here"

    def failed(self, key: str, error: OSError) -> None:
        """Note that a key could not be read, unless it is just not there."""
        if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            self.unreadable[key] = why(error)


def why(error: OSError) -> str:
    """Say shortly why a read failed."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "permission denied"
    return (error.strerror or str(error)).lower()


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name matches one of some shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
