"""What Git remembers of values without notes: as what, and under which name, each was sealed.

kubeseal writes nothing down. But the commit that brought a ciphertext also shows the name,
namespace and scope that the object had then, and a value is sealed for these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opslib.core.errors import OpslibError
from opslib.seal.notes import note_label
from opslib.seal.sealed import Declared, read_sealed
from opslib.source.local import WorkTree, work_tree_of

_FILES = (".yaml", ".yml", ".json")
_PIECE = 80
_RUN = re.compile(rb"[A-Za-z0-9+/=]{%d,}" % _PIECE)
"""A ciphertext as it stands in a file."""


@dataclass(frozen=True)
class Before:
    """A value as Git first had it: its object's label then, the commit, its ciphertext."""

    label: str
    commit: str
    text: str


def of_values(objects: Sequence[Declared]) -> dict[str, Before]:
    """Return what Git knows, by ciphertext, of values without a note or a check sum.

    A ciphertext that was cut off or edited since is found by what is left of it. Nothing for
    files outside of a work tree. The history of each tree is read once.
    """
    trees: dict[Path, WorkTree | None] = {}
    wanted: dict[Path, set[str]] = {}
    for one in objects:
        texts = set(_unsure(one))
        folder = Path(one.path).resolve().parent
        if texts and folder not in trees:
            trees[folder] = work_tree_of(folder)
        if texts and (tree := trees[folder]):
            wanted.setdefault(tree.top, set()).update(texts)
    found: dict[str, Before] = {}
    for tree in {tree.top: tree for tree in trees.values() if tree}.values():
        found |= _Search(wanted[tree.top]).through(tree)
    return found


def _unsure(one: Declared) -> Iterator[str]:
    """Yield the ciphertexts that neither a check sum nor a note says enough of."""
    noted, _ = one.read_notes()
    for key, text in one.data.items():
        note = noted.get(str(key))
        if isinstance(text, str) and not (note and one.sum_of(str(key), note)):
            yield text


class _Search:
    """Looks for ciphertexts in all versions of a tree's files, by their beginnings and ends."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: dict[bytes, set[str]] = {}
        for text in texts:
            joined = "".join(text.split()).encode(errors="replace")
            for piece in (joined[:_PIECE], joined[-_PIECE:]):
                if len(piece) == _PIECE:
                    self._texts.setdefault(piece, set()).add(text)
        self._found: dict[str, Before] = {}

    def through(self, tree: WorkTree) -> dict[str, Before]:
        """Return what was found; the oldest version of a value is the one that was sealed."""
        for commit, data in tree.versions(*_FILES):
            if not self._texts:
                break
            pieces = {p for run in _RUN.findall(data) for p in (run[:_PIECE], run[-_PIECE:])}
            if hits := pieces & self._texts.keys():
                self._take(commit, data, hits)
        return self._found

    def _take(self, commit: str, data: bytes, hits: set[bytes]) -> None:
        try:
            objects = read_sealed(data, commit, others=True)
        except OpslibError:
            return
        for one in objects:
            for text in one.data.values():
                joined = "".join(text.split()) if isinstance(text, str) else ""
                for piece in hits & {joined[:_PIECE].encode(), joined[-_PIECE:].encode()}:
                    for wanted in self._texts.pop(piece, ()):
                        before = Before(note_label(one.label), commit, joined)
                        self._found.setdefault(wanted, before)
