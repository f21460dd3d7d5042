"""Every version of every file of a repository, each content once, streamed.

``git rev-list | git diff-tree`` names what each commit brought, oldest first, merges with what
only they have; one ``git cat-file --batch`` hands out the contents. Nothing is checked out and
nothing is held but the ids.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import end_group, find_program, run
from opslib.source.address import Address
from opslib.source.history import plain
from opslib.source.transport import LOCAL_SECONDS, Git

_AHEAD = 512
_HEAD = "%x02%H%x00%an%x00%aI"
_MODULE = "160000"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Commit:
    """A commit: id, author, author's date in ISO 8601."""

    id: str
    author: str
    date: str


@dataclass(frozen=True)
class Version:
    """One content as one commit brought it; ``data`` is None for one larger than was asked for.

    ``missing``: the repository does not have it (a partial clone).
    """

    id: str
    path: str
    commit: Commit | None
    data: bytes | None
    missing: bool = False


@dataclass(frozen=True)
class Repository:
    """A repository on this machine; ``top`` is None where it is bare."""

    git: Git
    top: Path | None
    index: str = ""

    @property
    def shallow(self) -> bool:
        """Whether its history is cut off."""
        return (self._common() / "shallow").exists()

    def _common(self) -> Path:
        done = self.git.run("rev-parse", "--git-common-dir")
        return (self.git.folder / done.text.strip()).resolve()

    @property
    def has_head(self) -> bool:
        """Whether there is any commit at HEAD."""
        return self.git.run("rev-parse", "--verify", "--quiet", "HEAD").code == 0

    def files(self, below: Path) -> list[str] | None:
        """Return tracked files and new ones that are not ignored, below a folder, from the top.

        None where the folder itself is ignored, so that whoever names it means all of it.
        """
        if self.top is None:
            return None
        place = below.resolve().relative_to(self.top.resolve()).as_posix()
        if (
            place != "."
            and not below.is_file()
            and self._user("check-ignore", "-q", "--", place).returncode == 0
        ):
            return None
        words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", place)
        return sorted(set(self._names(*words)))

    def ignored(self, below: Path) -> int:
        """Return how many files and whole folders are left out as ignored."""
        if self.top is None:
            return 0
        place = below.resolve().relative_to(self.top.resolve()).as_posix()
        words = (
            "ls-files",
            "-z",
            "--others",
            "--ignored",
            "--exclude-standard",
            "--directory",
            "--",
            place,
        )
        return sum(1 for _ in self._names(*words))

    def _names(self, *words: str) -> Iterator[str]:
        done = self._user(*words)
        if done.returncode:
            raise OpslibError("git cannot list the files", where=str(self.top))
        yield from (os.fsdecode(name) for name in done.stdout.split(b"\0") if name)

    def _user(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run git in the work tree, so that paths and rules of ignoring are those of the user."""
        program = find_program("git", why="to list the files", hint="install git 2.31 or later")
        env = {**os.environ, "GIT_LITERAL_PATHSPECS": "1", "GIT_OPTIONAL_LOCKS": "0"}
        command = [program, "-c", "core.fsmonitor=false", "-C", str(self.top), *words]
        return subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=LOCAL_SECONDS,
        )

    def at_head(self) -> dict[str, str]:
        """Return the files at HEAD: path by the content's id, the first of each."""
        out: dict[str, str] = {}
        for row in _records(self.git, "ls-tree", "-r", "-z", "--full-tree", "HEAD"):
            head, _, path = row.partition("\t")
            out.setdefault(head.split(" ")[2], path)
        return out

    def history(self, most: int) -> Iterator[Version]:
        """Yield each content of all branches, tags and stashes once, oldest first.

        ``most`` is the largest content in bytes that is handed out.
        """
        with contextlib.ExitStack() as stack:
            revisions = stack.enter_context(
                _ended(self.git.piped("rev-list", "--all", "--topo-order", "--reverse"))
            )
            words = (
                "diff-tree",
                "--stdin",
                "-r",
                "--root",
                "-c",
                "--raw",
                "-z",
                "--no-renames",
                "--no-abbrev",
                f"--format={_HEAD}",
            )
            changes = stack.enter_context(_ended(self.git.piped(*words, stdin=_out(revisions))))
            yield from self._contents(lambda: _brought(_out(changes)), most)
            if changes.wait() or revisions.wait():
                raise OpslibError("git cannot read the history", where=str(self.git.folder))

    def messages(self) -> Iterator[tuple[Commit, str]]:
        """Yield each commit with its message."""
        words = ("rev-list", "--all", "--reverse", "--topo-order", f"--format={_HEAD}%x00%B%x00")
        with _ended(self.git.piped(*words)) as process:
            words_of = _split(_out(process))
            for word in words_of:
                if "\x02" not in word:
                    continue
                commit = Commit(
                    word.partition("\x02")[2], plain(next(words_of, "")), next(words_of, "")
                )
                yield commit, next(words_of, "")

    def count(self) -> int:
        """Return how many commits all branches, tags and stashes have."""
        return int(self.git.run("rev-list", "--all", "--count").text.strip() or 0)

    def staged(self, most: int) -> Iterator[Version]:
        """Yield what is staged and differs from HEAD, whole files."""
        words = (
            "diff",
            "--cached",
            "--raw",
            "-z",
            "--no-renames",
            "--no-abbrev",
            "--no-ext-diff",
            "--diff-filter=ACMT",
            "--ignore-submodules",
        )
        with _ended(self.git.piped(*words, index=self.index)) as process:
            yield from self._contents(lambda: _brought(_out(process), once=False), most)
            if process.wait():
                raise OpslibError("git cannot read what is staged", where=str(self.git.folder))

    def _contents(
        self, named: Callable[[], Iterator[tuple[str, str, Commit | None]]], most: int
    ) -> Iterator[Version]:
        """Hand ids to cat-file from a thread, and yield what it answers, in the same order."""
        waiting: queue.Queue[tuple[str, str, Commit | None] | BaseException | None] = queue.Queue(
            _AHEAD
        )
        with _ended(self.git.piped("cat-file", "--batch", stdin=subprocess.PIPE)) as process:
            feeder = threading.Thread(target=_feed, args=(named, process, waiting), daemon=True)
            feeder.start()
            try:
                while (item := waiting.get()) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield _answer(_out(process), item, most)
            finally:
                end_group(process.pid)
                while feeder.is_alive():  # it may wait for room: let it see that nobody reads
                    with contextlib.suppress(queue.Empty):
                        waiting.get(timeout=0.05)


def repository_of(place: Path) -> Repository | None:
    """Return the repository that a folder or file is in; None where there is none."""
    folder = place if place.is_dir() else place.parent
    program = find_program("git", why="to read the repository", hint="install git 2.31 or later")
    words = [program, "-C", str(folder), "rev-parse", "--absolute-git-dir", "--is-bare-repository"]
    env = {k: v for k, v in os.environ.items() if k not in {"GIT_DIR", "GIT_WORK_TREE"}}
    done = run(words, timeout=LOCAL_SECONDS, check=False, env=env)
    rows = done.text.splitlines()
    if done.code or len(rows) < 2:
        if b"dubious ownership" in done.err:
            raise InputError(
                "the repository is of another user",
                where=str(folder),
                hint="git config --global --add safe.directory FOLDER",
            )
        return None
    top = run([*words[:4], "--show-toplevel"], timeout=LOCAL_SECONDS, check=False, env=env)
    found = Path(top.text.rstrip("\n")) if top.code == 0 else None
    own = os.environ.get("GIT_INDEX_FILE", "")
    index = str(Path(own).absolute()) if own else ""
    return Repository(Git(Path(rows[0]), Address(str(found or rows[0]), "path")), found, index)


def _feed(
    named: Callable[[], Iterator[tuple[str, str, Commit | None]]],
    process: subprocess.Popen[bytes],
    waiting: queue.Queue[tuple[str, str, Commit | None] | BaseException | None],
) -> None:
    try:
        stream = process.stdin
        if stream is None:
            return
        for item in named():
            stream.write(item[0].encode() + b"\n")
            stream.flush()
            waiting.put(item)
        stream.close()
        waiting.put(None)
    except BrokenPipeError:
        waiting.put(None)
    except BaseException as error:  # noqa: BLE001 - it is raised where the contents are read
        waiting.put(error)


def _answer(stream: IO[bytes], item: tuple[str, str, Commit | None], most: int) -> Version:
    head = stream.readline().split()
    if len(head) != 3:
        return Version(*item, None, missing=True)
    size = int(head[2])
    if size <= most:
        data = stream.read(size)
        stream.read(1)
        return Version(*item, data)
    left = size + 1
    while left:
        left -= len(stream.read(min(left, _CHUNK))) or left
    return Version(*item, None)


def _brought(stream: IO[bytes], *, once: bool = True) -> Iterator[tuple[str, str, Commit | None]]:
    """Read the changes of commits; yield id, path and commit of each content, the first time."""
    seen: set[bytes] = set()
    commit: Commit | None = None
    words = _split(stream)
    for word in words:
        text = word.lstrip("\n")
        if text.startswith("\x02"):
            commit = Commit(text[1:], plain(next(words, "")), next(words, ""))
        elif text.startswith(":"):
            path = next(words, "")
            fields = text.lstrip(":").split(" ")
            parents = len(text) - len(text.lstrip(":"))
            mode, name = fields[parents], fields[-2]
            if mode == _MODULE or not name.strip("0"):
                continue
            key = bytes.fromhex(name)
            if once and key in seen:
                continue
            seen.add(key)
            yield name, path, commit


def _split(stream: IO[bytes]) -> Iterator[str]:
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        for word in whole:
            yield os.fsdecode(word)
    if rest:
        yield os.fsdecode(rest)


def _records(git: Git, *words: str) -> Iterable[str]:
    with _ended(git.piped(*words)) as process:
        yield from filter(None, _split(_out(process)))


def _out(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise OpslibError("git has no output")
    return process.stdout


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a process with the block, however the block ends."""
    try:
        yield process
    finally:
        if process.poll() is None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        if process.stdout is not None:
            process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
        if process.poll() is None:
            end_group(process.pid)
            process.wait()
