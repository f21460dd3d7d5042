"""Scans a working tree, what is staged, or all of a history, and makes the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from opslib.core.clock import now
from opslib.core.errors import InputError
from opslib.core.progress import SILENT, Progress
from opslib.seal.scan import crew, exempt, files
from opslib.seal.scan.exempt import Exemptions
from opslib.seal.scan.files import Scanned
from opslib.seal.scan.model import Exempt, Finding, Origin, Report, Seen, Unread
from opslib.source.blobs import Commit, Repository, Version, repository_of

MESSAGE = "(commit message)"
_STRONG = 8
"""Characters from which a value is taken for the same one under another name."""


@dataclass(frozen=True)
class Options:
    """What a scan is told: the file of exceptions, files that Git ignores too, the day."""

    exceptions: Path | None = None
    ignored: bool = False
    today: date | None = None

    @property
    def day(self) -> date:
        return self.today or now().date()


def tree(
    paths: Sequence[Path], options: Options = Options(), progress: Progress = SILENT
) -> Report:
    """Scan files and folders as they are now; in a work tree, what Git tracks or would track.

    Raises InputError for a path that is not there, and for a file of exceptions that is not
    as it must be.
    """
    made = _Made(options)
    for start in paths:
        if not start.exists() and not start.is_symlink():
            raise InputError("there is no such file or folder", where=str(start))
        repository = repository_of(start)
        exemptions = made.exemptions(start, repository.top if repository else None)
        progress.update(f"scanning {start}")
        for shown, path in _listed(start, repository, made):
            made.file(shown, path, exemptions)
    whole = all(_is_top(path) for path in paths)
    return made.report(whole=whole)


def staged(folder: Path, options: Options = Options(), progress: Progress = SILENT) -> Report:
    """Scan the files that are staged and differ from HEAD, whole, as they are staged."""
    repository = _need(folder)
    made = _Made(options)
    exemptions = made.exemptions(repository.top or folder, repository.top)
    progress.update("scanning what is staged")
    for one in repository.staged(files.MOST):
        made.version(one, exemptions)
    return made.report(whole=False)


def history(folder: Path, options: Options = Options(), progress: Progress = SILENT) -> Report:
    """Scan every content that any branch, tag or stash ever had, each once, and the messages."""
    repository = _need(folder)
    made = _Made(options)
    exemptions = made.exemptions(repository.top or folder, repository.top)
    made.commits = repository.count()
    heads = repository.at_head() if repository.has_head else {}
    past = _Past(heads)
    for one, scan in crew.scanned(repository.history(files.MOST), made.commits):
        if made.files % 5000 == 0:
            progress.update(f"scanning the history: {made.files} contents")
        made.files += 1
        past.add(one, made.noted(one, scan))
    for commit, text in repository.messages():
        found = files.scan_bytes(text.encode(errors="replace"), "message.md")
        past.add(Version(commit.id, MESSAGE, commit, b""), found.seen)
    if repository.shallow:
        made.notes.append(
            "this is a shallow clone: what was before its first commit was not looked at"
        )
    for finding in past.findings():
        made.tell(finding, finding.path, exemptions)
    for unread in dict.fromkeys(made.unread):
        if unread.failing:
            made.tell(Finding("unread", unread.path, 0, "", unread.why), unread.path, exemptions)
    return made.report(whole=True)


class _Made:
    """A report in the making."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.findings: list[Finding] = []
        self.excused: list[Finding] = []
        self.unread: list[Unread] = []
        self.notes: list[str] = []
        self.files = 0
        self.commits = 0
        self._exemptions: dict[Path, Exemptions] = {}

    def exemptions(self, start: Path, top: Path | None) -> Exemptions:
        given = self.options.exceptions
        if given is not None and not given.is_file():
            raise InputError(
                "there is no such file", where=str(given), expected="a file of exceptions"
            )
        found = exempt.load(given) if given else exempt.find(start, top)
        if given and top:
            found = replace(found, folder=top.resolve())
        return self._exemptions.setdefault(found.folder, found)

    def file(self, shown: str, path: Path, exemptions: Exemptions) -> None:
        """Read one file of a folder; a link is not followed: its target is read where it is."""
        self.files += 1
        try:
            if path.is_symlink():
                return
            if not path.is_file():
                self._unread(shown, "no regular file", exemptions, path, failing=False)
                return
            with open(path, "rb") as stream:
                data = stream.read(files.MOST + 1)
        except OSError as error:
            self._unread(shown, f"cannot be read: {error.strerror}", exemptions, path, failing=True)
            return
        found = files.scan_bytes(data, shown)
        inner = _from(path, exemptions.folder)
        for one in found.seen:
            self.tell(Finding(one.kind, shown, one.line, one.key, one.detail), inner, exemptions)
        if found.unread:
            self._unread(shown, found.unread, exemptions, path, failing=found.failing)

    def version(self, one: Version, exemptions: Exemptions) -> None:
        """Read one staged content."""
        self.files += 1
        before = len(self.unread)
        scan = None if one.data is None else files.scan_bytes(one.data, one.path)
        for seen in self.noted(one, scan):
            found = Finding(seen.kind, one.path, seen.line, seen.key, seen.detail)
            self.tell(found, one.path, exemptions)
        for unread in self.unread[before:]:
            if unread.failing:
                self.tell(
                    Finding("unread", unread.path, 0, "", unread.why), unread.path, exemptions
                )

    def noted(self, one: Version, scan: Scanned | None) -> tuple[Seen, ...]:
        """Return what a content of Git holds; note why it was not read."""
        if scan is None:
            why = "this clone does not have it"
            why = why if one.missing else f"larger than {files.MOST >> 20} MB"
            scan = Scanned(unread=why, failing=True)
        if scan.unread:
            self.unread.append(Unread(one.path, scan.unread, scan.failing))
        return scan.seen

    def _unread(
        self, shown: str, why: str, exemptions: Exemptions, path: Path, *, failing: bool
    ) -> None:
        self.unread.append(Unread(shown, why, failing))
        if failing:
            inner = _from(path, exemptions.folder)
            self.tell(Finding("unread", shown, 0, "", why), inner, exemptions)

    def tell(self, finding: Finding, path: str, exemptions: Exemptions) -> None:
        """Add a finding, to those that count or to those that an exception excuses."""
        found = exemptions.of(path, finding.key, self.options.day)
        if found is None:
            self.findings.append(finding)
        else:
            excuse = Exempt(found.reason, found.expires.isoformat())
            self.excused.append(replace(finding, exempt=excuse))

    def report(self, *, whole: bool) -> Report:
        for one in self._exemptions.values():
            self.notes += one.notes(self.options.day, whole=whole)
        return Report(
            tuple(sorted(self.findings, key=_rank)),
            tuple(sorted(self.excused, key=_rank)),
            tuple(dict.fromkeys(self.unread)),
            tuple(self.notes),
            self.files,
            self.commits,
        )


class _Past:
    """What a history holds: the same value under the same name of the same file counts once."""

    def __init__(self, heads: dict[str, str]) -> None:
        self.heads = heads
        self.found: dict[tuple[str, str, str, str], Finding] = {}
        self.counts: Counter[tuple[str, str, str, str]] = Counter()
        self.at_head: dict[tuple[str, str, str, str], str] = {}
        self.values: dict[str, str] = {}

    def add(self, one: Version, seen: Iterable[Seen]) -> None:
        commit = one.commit or Commit("", "", "")
        for each in seen:
            name = (one.path, each.kind, each.key, each.value)
            self.counts[name] += 1
            if name not in self.found:
                origin = Origin(commit.id, commit.author, commit.date)
                self.found[name] = Finding(
                    each.kind, one.path, each.line, each.key, each.detail, origin
                )
            head = self.heads.get(one.id)
            if head:
                where = f"{head}:{each.line}"
                self.at_head.setdefault(name, where)
                if len(each.value) >= _STRONG:
                    self.values.setdefault(each.value, where)

    def findings(self) -> Iterator[Finding]:
        for name, finding in self.found.items():
            head = self.at_head.get(name) or self.values.get(name[3], "")
            origin = replace(finding.origin, head=head) if finding.origin else None
            yield replace(finding, origin=origin, count=self.counts[name])


def _listed(start: Path, repository: Repository | None, made: _Made) -> Iterator[tuple[str, Path]]:
    """Yield the files of a start: how each is shown, and where it is."""
    if start.is_file() or start.is_symlink():
        yield str(start), start
        return
    names = None
    if repository is not None and repository.top is not None and not made.options.ignored:
        names = repository.files(start)
        count = repository.ignored(start) if names is not None else 0
        if count:
            made.notes.append(
                f"{start}: {count} files and folders that Git ignores were not looked at"
                " (--ignored does)"
            )
    if names is None:
        yield from _walked(start, made)
        return
    top, here = repository.top if repository and repository.top else start, start.resolve()
    for name in names:
        path = top / name
        shown = start / path.resolve().parent.joinpath(path.name).relative_to(here)
        if os.path.lexists(path):  # a tracked file may have been deleted
            if path.is_dir() and not path.is_symlink():
                made.unread.append(Unread(str(shown), "a submodule: scan it by itself"))
                continue
            yield str(shown), path


def _walked(start: Path, made: _Made) -> Iterator[tuple[str, Path]]:
    def told(error: OSError) -> None:
        why = f"cannot be read: {error.strerror}"
        made.unread.append(Unread(str(error.filename), why, failing=True))
        made.findings.append(Finding("unread", str(error.filename), 0, "", why))

    for here, folders, names in os.walk(start, onerror=told):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            yield str(Path(here, name)), Path(here, name)


def _from(path: Path, folder: Path) -> str:
    where = path.parent.resolve() / path.name
    return (
        where.relative_to(folder).as_posix() if where.is_relative_to(folder) else where.as_posix()
    )


def _is_top(path: Path) -> bool:
    repository = repository_of(path)
    return repository is None or (
        repository.top is not None and repository.top.resolve() == path.resolve()
    )


def _need(folder: Path) -> Repository:
    found = repository_of(folder)
    if found is None:
        raise InputError(
            "this is in no Git repository",
            where=str(folder),
            expected="a clone of the repository",
            hint="without --history and --staged the files are scanned as they are",
        )
    return found


def _rank(finding: Finding) -> tuple[str, int, str, str]:
    return finding.path, finding.line, finding.key, finding.kind
