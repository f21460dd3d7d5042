"""What a folder declares, and what it would declare after some edits: the proof of each edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Manifest, Resource, ResourceKey
from opslib.drift.edit import disproof, same_key
from opslib.source.render import parse_file, render_tree
from opslib.source.trees import Overlay
from opslib.source.yamltree import CannotEdit

Edits = Mapping[str, bytes | None]
"""The new contents of files; None: the file is removed."""

Candidates = Iterator[Edits]


@dataclass(frozen=True)
class Ground:
    """A folder of a tree of files, as it is rendered. ``namespace``: of what names none."""

    tree: Overlay
    folder: str
    kustomized: bool
    resources: tuple[Resource, ...]
    namespace: str = "default"

    @classmethod
    def of(cls, tree: Overlay, folder: str, namespace: str) -> Ground:
        """Render a folder; raises as ``render`` does."""
        rendered = render_tree(tree, folder)
        return cls(tree, folder, rendered.kind == "kustomize", rendered.resources, namespace)

    def find(self, key: ResourceKey) -> Resource | None:
        """Return what Git declares of a live object's key."""
        return next((r for r in self.resources if same_key(r.key, key, self.namespace)), None)

    def after(self, edits: Edits) -> Ground:
        """Return the folder as it would be; raises as ``render`` does."""
        tree = self.tree.plus(edits)
        if self.kustomized:
            return Ground.of(tree, self.folder, self.namespace)
        kept = [one for one in self.resources if one.origin.path not in edits]
        new = [one for path, data in edits.items() if data is not None
               for one in parse_file(data, path)]  # fmt: skip
        keys = {one.key for one in kept}
        if twice := [one for one in new if one.key in keys]:
            raise InputError(f"{twice[0].key} is declared twice", where=str(twice[0].origin))
        return replace(self, tree=tree, resources=(*kept, *new))

    def proven(self, edits: Edits, old: Manifest | None, new: Manifest | None) -> Ground:
        """Return the folder after edits that change one object as wanted and nothing else.

        Raises CannotEdit that says what speaks against them.
        """
        try:
            after = self.after(edits)
        except CannotEdit:
            raise
        except OpslibError as error:
            raise CannotEdit(f"it could not be rendered: {error.what}") from None
        if not after.resources:
            raise CannotEdit("the folder would declare nothing, which is never taken for a wish")
        if wrong := disproof(self.resources, after.resources, old, new):
            raise CannotEdit(wrong)
        return after
