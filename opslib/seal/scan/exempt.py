"""Exceptions of the scan, in Git: ``scan.yaml``, by path and key, with a reason and a last day.

::

    apiVersion: opslib.dev/v1
    kind: ScanExceptions
    exceptions:
      - path: tests/**              # ** is any depth, * stays within one folder
        key: "*"                    # of the finding's pointer or of its last part; * is any text
        reason: values that tests plant
        expires: 2027-06-30         # the last day that it holds

An exception holds no value and no hash of one: a hash of a weak value tells it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.seal.reading import read_documents, read_file

FILE = "scan.yaml"
KIND = "ScanExceptions"
_FIELDS = ("path", "key", "reason", "expires")


@dataclass(frozen=True)
class Exemption:
    """One exception; ``where`` is the file and line that it stands at."""

    path: str
    key: str
    reason: str
    expires: date
    where: str

    def fits(self, path: str, key: str) -> bool:
        """Tell whether a finding is meant; ``path`` is from the folder of scan.yaml."""
        if not _glob(self.path).fullmatch(path):
            return False
        return fnmatchcase(key, self.key) or fnmatchcase(key.rpartition("/")[2], self.key)

    def __str__(self) -> str:
        return f"the exception for {self.path} {self.key}"


@dataclass(frozen=True)
class Exemptions:
    """All exceptions of a file; ``folder`` is what its paths are from."""

    folder: Path
    entries: tuple[Exemption, ...] = ()
    used: dict[Exemption, int] = field(default_factory=dict)

    def of(self, path: str, key: str, today: date) -> Exemption | None:
        """Return the exception that excuses a finding today; count also what ended ones match."""
        found = None
        for one in self.entries:
            if one.fits(path, key):
                self.used[one] = self.used.get(one, 0) + 1
                if one.expires >= today and found is None:
                    found = one
        return found

    def notes(self, today: date, *, whole: bool) -> list[str]:
        """Tell which ended, and, after a ``whole`` scan, which match nothing."""
        out = []
        for one in self.entries:
            count = self.used.get(one, 0)
            if one.expires < today:
                again = f": {count} findings count again" if count else " and matches nothing"
                out.append(f"{one.where}: {one} expired on {one.expires}{again}")
            elif whole and not count:
                out.append(f"{one.where}: {one} matches nothing: take it out")
        return out


def find(start: Path, top: Path | None) -> Exemptions:
    """Find scan.yaml in a folder or above it, up to the root of the work tree.

    Raises InputError or Problems for a file that is not as it must be.
    """
    here = start.resolve()
    here = here if here.is_dir() else here.parent
    root = top.resolve() if top else here
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return load(folder / FILE)
        if folder == root:
            break
    return Exemptions(root)


def load(path: Path) -> Exemptions:
    """Read a file of exceptions. Raises InputError, or Problems with every mistake and its line."""
    documents = read_documents(read_file(path), str(path))
    manifest: Any = documents[0].manifest if len(documents) == 1 else None
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise InputError(
            "this is no file of exceptions",
            where=f"{path}:1",
            expected=f"kind: {KIND}, with exceptions",
        )
    entries = manifest.get("exceptions") or []
    if not isinstance(entries, list):
        raise InputError("exceptions is no list", where=f"{path}:1", expected="a list")
    problems: list[OpslibError] = []
    made = []
    for number, entry in enumerate(entries):
        line = documents[0].lines.get(f"/exceptions/{number}", 1)
        try:
            made.append(_entry(entry, f"{path}:{line}"))
        except InputError as error:
            problems.append(error)
    if problems:
        raise Problems(problems)
    return Exemptions(path.resolve().parent, tuple(made))


def _entry(entry: Any, where: str) -> Exemption:
    if not isinstance(entry, Mapping):
        raise InputError("an exception is no mapping", where=where, expected=", ".join(_FIELDS))
    _known(sorted(map(str, entry)), where)
    texts = {name: str(entry.get(name) or "").strip() for name in _FIELDS}
    for name, text in texts.items():
        if not text:
            raise InputError(
                f"an exception has no {name}",
                where=where,
                expected=", ".join(_FIELDS),
                hint="path and key say what is excused, reason why, expires until when",
            )
    try:
        day = date.fromisoformat(texts["expires"])
    except ValueError:
        raise InputError(
            "expires is no date", where=where, expected="YYYY-MM-DD, as 2027-03-31"
        ) from None
    return Exemption(texts["path"], texts["key"], texts["reason"], day, where)


def _known(names: Sequence[str], where: str) -> None:
    odd = [name for name in names if name not in _FIELDS]
    if odd:
        hint = (
            "no exception holds a value or a hash of one" if odd[0] in {"value", "hash"} else None
        )
        raise InputError(
            f"{odd[0]} is not known", where=where, expected=", ".join(_FIELDS), hint=hint
        )


@functools.lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """Make a pattern of a path: ** is any depth, * and ? stay within one folder."""
    out = ""
    for part in re.split(r"(\*\*/?|\*|\?)", pattern.removeprefix("./")):
        out += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return re.compile(out, re.DOTALL)
