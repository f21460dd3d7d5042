"""Upgrades manifests of removed API versions by editing their text.

Only the lines that have to change do: comments, order, quotes, indentation and line
endings stay byte for byte. An object is converted whole or not at all; what a person
has to decide is reported with file and line.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from yaml.nodes import Node

from opslib.core.errors import ConflictError, InputError, OpslibError, Problems
from opslib.core.files import write_atomic
from opslib.source.conversion import Job
from opslib.source.convert import convert
from opslib.source.kustomize_patches import patch_files, stale_targets
from opslib.source.removed import GUIDE, Removal, removed_in
from opslib.source.textedit import TextEditor
from opslib.source.yamlnodes import Stuck, meaning, members, parse, peek, scalar, well_formed

_SUFFIXES = (".yaml", ".yml", ".json")
_OLD = re.compile(r"v\d+(?:alpha|beta)\d+")  # every removed version has one of these
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Change:
    """One edit: the 1-based line in the file as it was, what was done, why, and who says so."""

    line: int
    what: str
    why: str
    source: str


@dataclass(frozen=True)
class Unresolved:
    """What is left for a person: the 1-based line, the finding, what to do, and who says so."""

    line: int
    what: str
    fix: str
    source: str


@dataclass(frozen=True)
class Upgraded:
    """A file's text before and after, with the reason of every change."""

    path: str
    before: str
    text: str
    changes: tuple[Change, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()

    @property
    def changed(self) -> bool:
        return self.text != self.before

    def diff(self) -> str:
        """Return the change as a unified diff that ``git apply`` takes; "" when there is none.

        Lines around a change are left out where they hold values of a Secret.
        """
        old, new = _lines(self.before), _lines(self.text)
        hidden = _secret_lines(self.before)
        out: list[str] = []
        for around in (3, 2, 1, 0):
            out = [*difflib.unified_diff(old, new, f"a/{self.path}", f"b/{self.path}", n=around)]
            if not any(line[1:].strip() in hidden for line in out[2:]):
                break
        unended = "\n\\ No newline at end of file\n"
        return "".join(line if line.endswith("\n") else line + unended for line in out)

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form: path, diff, changes and unresolved findings."""
        return {
            "path": self.path,
            "changed": self.changed,
            "diff": self.diff(),
            "changes": [vars(change) for change in self.changes],
            "unresolved": [vars(item) for item in self.unresolved],
        }


def upgrade_text(text: str, path: str, *, patch: bool = False) -> Upgraded:
    """Upgrade every object of a YAML or JSON text.

    ``path`` is what messages and the diff name. ``patch`` says that the objects are
    partial (a strategic merge patch): their fields are renamed and nothing is completed.
    Raises InputError, with file and line, when the text is not YAML.
    """
    if not _OLD.search(text):
        _parse(text, path, well_formed)
        return Upgraded(path, text, text)
    roots = _parse(text, path, parse)
    editor = TextEditor(text)
    changes: list[Change] = []
    unresolved: list[Unresolved] = []
    converted: dict[int, str] = {}
    for number, (node, removal) in enumerate(_objects(roots)):
        if removal is None:
            continue
        one = TextEditor(text)
        partial = patch or peek(node, "$patch") is not None
        try:
            notes = convert(Job(node, removal, one, partial=partial))
        except Stuck as stuck:
            unresolved.append(_left(node, removal, stuck))
            continue
        editor.take(one)
        converted[number] = removal.replacement
        changes += [Change(line + 1, what, why, removal.source) for line, what, why in notes]
    unresolved += [Unresolved(*row) for root in roots for row in stale_targets(root)]
    result = editor.result()
    if converted:
        _verify(roots, result, path, converted)
    return Upgraded(path, text, result, tuple(changes), tuple(unresolved))


def upgrade_folder(folder: Path) -> list[Upgraded]:
    """Upgrade every manifest below a folder; nothing is written.

    Returns the files that change or need a person, by path. Symbolic links, .git and the
    templates of Helm charts are left alone; the patches of kustomizations are known as
    such. Raises Problems with every file that cannot be read as YAML.
    """
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), expected="manifests")
    patches = patch_files(folder)
    done, problems = [], list[OpslibError]()
    for file in _manifests(folder):
        name = file.relative_to(folder).as_posix()
        try:
            upgraded = upgrade_text(_read(file, name), name, patch=file.resolve() in patches)
        except OpslibError as error:
            problems.append(error)
            continue
        if upgraded.changed or upgraded.unresolved:
            done.append(upgraded)
    if problems:
        raise Problems(problems)
    return done


def write(upgraded: Upgraded, folder: Path) -> None:
    """Write an upgraded file below ``folder``, whole or not at all.

    Raises ConflictError when the file is not the one that was read.
    """
    file = folder / upgraded.path
    if file.is_symlink() or _read(file, upgraded.path) != upgraded.before:
        raise ConflictError("the file changed while it was being upgraded", where=upgraded.path)
    write_atomic(file, upgraded.text.encode(), mode=file.stat().st_mode & 0o777)


def _objects(roots: list[Node]) -> list[tuple[Node, Removal | None]]:
    """Return the objects of a text, also those inside of Lists, each once."""
    todo, found, seen = [*reversed(roots)], list[tuple[Node, Removal | None]](), set[int]()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        version, kind = scalar(peek(node, "apiVersion")) or "", scalar(peek(node, "kind")) or ""
        if kind == "List":
            todo += reversed(members(peek(node, "items")))
        else:  # a typed list (IngressList) is as old as its items
            listed = kind.removesuffix("List")
            found.append((node, removed_in(version, kind) or removed_in(version, listed)))
    return found


def _left(node: Node, removal: Removal, stuck: Stuck) -> Unresolved:
    name = scalar(peek(node, "metadata", "name")) or "without a name"
    what = (
        f"{removal.api_version} {removal.kind} {name} is not served since Kubernetes"
        f" {removal.version} and cannot be converted by machine: {stuck.why}"
    )
    fix = stuck.fix or f"rewrite it as {removal.replacement} by hand, as the migration guide says"
    return Unresolved(stuck.line + 1, what, fix, removal.source or GUIDE)


def _parse(text: str, path: str, read: Callable[[str], _Read]) -> _Read:
    try:
        return read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        raise InputError(f"not valid YAML: {error.problem or error.context}", where=where) from None
    except yaml.YAMLError as error:  # a character that YAML forbids
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        what = f"not valid YAML: {getattr(error, 'reason', 'unreadable')}"
        raise InputError(what, where=f"{path}:{line}") from None
    except RecursionError:
        raise InputError("not valid YAML: nested too deeply", where=path) from None


def _verify(before: list[Node], text: str, path: str, converted: dict[int, str]) -> None:
    """Refuse an edit that broke the text or touched another object: better no upgrade than that."""
    try:
        old, new = _objects(before), _objects(parse(text))
        right = len(old) == len(new) and all(
            scalar(peek(new[n][0], "apiVersion")) == converted[n]
            if n in converted
            else meaning(old[n][0]) == meaning(new[n][0])
            for n in range(len(old))
        )
    except yaml.YAMLError:
        right = False
    if not right:
        raise OpslibError(
            "the upgrade would change more than it should; the file was left as it is",
            where=path,
            hint="upgrade this file by hand: its anchors or its layout are in the way",
        )


def _read(file: Path, name: str) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8", where=f"{name}, byte {error.start}") from None
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=name) from None


def _manifests(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        chart = "Chart.yaml" in files
        folders[:] = sorted(n for n in folders if n != ".git" and not (chart and n == "templates"))
        for name in sorted(files):
            path = Path(base, name)
            if name.endswith(_SUFFIXES) and path.is_file() and not path.is_symlink():
                yield path


def _secret_lines(text: str) -> set[str]:
    """Return the lines on which the values of Secrets stand."""
    if "Secret" not in text:
        return set()
    lines, found = text.split("\n"), set[str]()
    for node, _ in _objects(parse(text)):
        if scalar(peek(node, "kind")) == "Secret":
            values = (peek(node, "data"), peek(node, "stringData"))
            for value in (value for value in values if value is not None):
                found |= {
                    line.strip()
                    for line in lines[value.start_mark.line : value.end_mark.line + 1]
                    if line.strip(" -\r")
                }
    return found


def _lines(text: str) -> list[str]:
    """Split at line feeds only, so that the diff counts lines as git does."""
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
