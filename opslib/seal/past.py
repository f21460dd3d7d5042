"""What Git remembers of values without notes: under which name each was sealed.

kubeseal writes nothing down. But the commit that brought a ciphertext also shows the name,
namespace and scope that the object had then, and a value is sealed for these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opslib.core.errors import OpslibError
from opslib.seal.notes import note_label
from opslib.seal.sealed import Declared, read_sealed
from opslib.source.local import WorkTree, work_tree_of

MOST = 100
"""Values that Git is asked about: each search goes through the whole history."""
_PIECE = 80


def labels_of(objects: Sequence[Declared]) -> dict[str, tuple[str, str]]:
    """Return (label, commit) by ciphertext, for values without notes that Git knows.

    Nothing for files outside of a work tree. Of more than MOST values the first are looked up.
    """
    trees: dict[Path, WorkTree | None] = {}
    found: dict[str, tuple[str, str]] = {}
    asked = 0
    for one in objects:
        noted, _ = one.read_notes()
        folder = Path(one.path).resolve().parent
        for key, text in one.data.items():
            if key in noted or not isinstance(text, str) or len(text) < _PIECE or asked >= MOST:
                continue
            if folder not in trees:
                trees[folder] = work_tree_of(folder)
            tree = trees[folder]
            if tree is not None:
                asked += 1
                if told := _first(tree, text):
                    found[text] = told
    return found


def _first(tree: WorkTree, text: str) -> tuple[str, str] | None:
    commit = tree.first_with(text[:_PIECE])
    if not commit:
        return None
    for name, data in tree.files_with(commit, text[:_PIECE]).items():
        try:
            objects = read_sealed(data, name, others=True)
        except OpslibError:
            continue
        for one in objects:
            if text in one.data.values():
                return note_label(one.label), commit
    return None
