"""Git's side of a difference: which commit and author, and which line, brought the declared value.

A line that was only moved, indented or put into another file did not bring its value: what
counts is the value of the field, followed back from commit to commit.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.model import Origin, ResourceKey, Revision, group_of
from opslib.drift.model import Declared, Difference, Drift
from opslib.reconcile.diff import Step, find_step
from opslib.reconcile.fieldpath import parse_path, places
from opslib.reconcile.mask import is_secret, token
from opslib.source.kustomize import NAMES
from opslib.source.mirror import Mirror
from opslib.source.yamlload import Document, load_values

MOST_STEPS = 40
"""Commits that moved a line without changing its value, followed back."""

MOST_FILES = 40
_AT_ONCE = 4
SUFFIXES = (".yaml", ".yml", ".json")


def declared(mirror: Mirror, commit: str, drifts: Sequence[Drift]) -> tuple[Drift, ...]:
    """Return the drifts with the commit, author and line that brought each declared value.

    Where the value stands in no line (a kustomization's own fields), the line is 0 and the
    commit is the file's last one. Drifts that Git declares nothing for are returned as they are.
    """
    history = _History(mirror, commit)
    history.read_ahead(one.origin.path for one in drifts if one.origin and _has_value(one))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(history.of, drifts))
    return tuple(replace(one, git=git or one.git) for one, git in zip(drifts, found, strict=True))


def _has_value(drift: Drift) -> bool:
    return drift.difference not in {Difference.ADDED, Difference.EXTRA}


class _History:
    """One commit and what is before it, each file read once."""

    def __init__(self, mirror: Mirror, commit: str) -> None:
        self.mirror, self.commit = mirror, commit
        self._documents: dict[tuple[str, str], list[Document]] = {}
        self._texts: dict[tuple[str, str], str] = {}
        self._changed: dict[tuple[str, str], list[str]] = {}
        self._found: dict[tuple[str, int], Revision | None] = {}

    def read_ahead(self, paths: Iterable[str]) -> None:
        """Read files of the commit at once; one that cannot be read is read alone, and says so."""
        wanted = sorted(set(paths))
        try:
            read = self.mirror.read_many(self.commit, wanted) if wanted else {}
        except OpslibError:
            return
        for path, content in read.items():
            self._texts[self.commit, path] = content.decode("utf-8", errors="replace")

    def of(self, drift: Drift) -> Declared | None:
        """Return who declared what a drift differs from; None where nothing did."""
        if drift.origin is None or not _has_value(drift):
            return None
        try:
            return self._line(_Field(drift)) or self._file(drift.origin)
        except OpslibError:
            return None  # a mirror that is damaged says so elsewhere

    def _line(self, field: _Field) -> Declared | None:
        for path in self._paths(field):
            line = self.line_of(self.commit, path, field)
            if line:
                revision = self._introduced(path, line, field)
                return _told(Origin(path, line), revision) if revision else None
        return None

    def _paths(self, field: _Field) -> list[str]:
        """Return the files that may declare a field: the nearest to the app first.

        An overlay's patch stands in the app's own folder, and wins over the file it patches.
        """
        folder = self.mirror.source.path.strip("/")
        if not folder or self._kustomization(folder) is None:
            return [field.origin.path]
        named = self.mirror.mentions(self.commit, field.key.name)[:MOST_FILES]
        patches = [
            path
            for path in named
            if path.endswith(SUFFIXES) and folder and path.startswith(f"{folder}/")
        ]
        return list(dict.fromkeys([*patches, field.origin.path]))

    def _file(self, origin: Origin) -> Declared | None:
        """Return the file that a value comes from without a line of its own, and its commit."""
        path = self._kustomization(self.mirror.source.path.strip("/")) or origin.path
        newest = self.mirror.log(self.commit, path, limit=1)
        return _told(Origin(path, 0), newest[0]) if newest else None

    def _kustomization(self, folder: str) -> str | None:
        """Return the app's own kustomization, if it has one."""
        if not folder:
            return None
        names = frozenset(self.mirror.files(self.commit, folder))
        own = [posixpath.join(folder, name) for name in NAMES]
        return next((name for name in own if name in names), None)

    def _introduced(self, path: str, line: int, field: _Field) -> Revision | None:
        """Follow a value back to the commit that brought it."""
        key = (path, line)
        if key not in self._found:
            self._found[key] = self._followed(path, line, field)
        return self._found[key]

    def _followed(self, path: str, line: int, field: _Field) -> Revision | None:
        commit, newest = self.commit, None
        for _ in range(MOST_STEPS):
            found = self.mirror.blamed(commit, path, line)
            if found is None:
                break
            newest, before = found
            earlier = self._before(newest.commit, before, field)
            if earlier is None:
                break
            commit, path, line = earlier
        return newest

    def _before(
        self, commit: str, before: tuple[str, str] | None, field: _Field
    ) -> tuple[str, str, int] | None:
        """Return where the value stood before a commit, in the same file or in another."""
        if before and (line := self.line_of(*before, field)):
            return (*before, line)
        for parent in self.mirror.parents(commit):
            for path in self._moved(commit, parent, field.key.name):
                if line := self.line_of(parent, path, field):
                    return parent, path, line
        return None

    def _moved(self, commit: str, parent: str, name: str) -> list[str]:
        """Return the files with a name that a commit changed: what was moved was in one of them."""
        both = (parent, commit)
        if both not in self._changed:
            changed = self.mirror.changed(parent, commit)
            self._changed[both] = [path for path in changed if path.endswith(SUFFIXES)]
        named = (path for path in self._changed[both] if name in self._text(parent, path))
        return list(islice(named, MOST_FILES))

    def line_of(self, commit: str, path: str, field: _Field) -> int:
        """Return the line where a file declares the field with its value; 0 where it does not."""
        found = [one for one in self._read(commit, path) if field.is_of(one)]
        # A kustomization may put objects into a namespace that their files do not name.
        same = [one for one in found if field.is_at_home(one)] or found
        return field.line_in(same[0]) if len(same) == 1 else 0

    def _read(self, commit: str, path: str) -> list[Document]:
        key = (commit, path)
        if key not in self._documents:
            try:
                self._documents[key] = list(load_values(self._text(commit, path), path))
            except OpslibError:
                self._documents[key] = []
        return self._documents[key]

    def _text(self, commit: str, path: str) -> str:
        if (commit, path) not in self._texts:
            try:
                text = self.mirror.read(commit, path).decode("utf-8", errors="replace")
            except OpslibError:
                text = ""  # not there at this commit, or no file
            self._texts[commit, path] = text
        return self._texts[commit, path]


class _Field:
    """The declared field of one drift: which object, which place, which value."""

    def __init__(self, drift: Drift) -> None:
        assert drift.origin is not None  # noqa: S101  # asked by the caller; for the type
        self.key: ResourceKey = drift.key
        self.origin = drift.origin
        self.whole = not drift.path
        self.place: tuple[Step, ...] = drift.place
        self.path = drift.path
        self.value = drift.declared

    def is_of(self, document: Document) -> bool:
        """Tell whether a document declares the object, or a patch of it."""
        manifest: Any = document.manifest
        metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
        if not isinstance(metadata, dict) or manifest.get("kind") != self.key.kind:
            return False
        group = group_of(str(manifest.get("apiVersion")))
        return metadata.get("name") == self.key.name and group == self.key.group

    def is_at_home(self, document: Document) -> bool:
        """Tell whether a document names the object's namespace, or none."""
        return document.manifest["metadata"].get("namespace") in {None, "", self.key.namespace}

    def line_in(self, document: Document) -> int:
        """Return the line of the field in a document that has it with its value, or 0."""
        if self.whole:
            return document.lines.get("/metadata/name", document.line)
        node, pointer = document.manifest, ""
        for step in self.place or self._parsed(document):
            key = find_step(node, step)
            if key is None:
                return 0
            node = node[key]  # type: ignore[index]  # a key of a mapping, or a list's number
            pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
        if not pointer or not self._same(document.manifest, node):
            return 0
        return document.lines.get(pointer, 0)

    def _parsed(self, document: Document) -> tuple[Step, ...]:
        try:
            found = places(document.manifest, parse_path(self.path))
        except OpslibError:
            return ()
        return found[0] if len(found) == 1 else ()

    def _same(self, manifest: Any, value: Any) -> bool:
        if is_secret(manifest):
            return self.value in {value, token(value)}
        return bool(value == self.value and isinstance(value, bool) == isinstance(self.value, bool))


def _told(origin: Origin, revision: Revision) -> Declared:
    return Declared(
        origin, revision.commit, revision.author, revision.committed_at, revision.subject
    )
