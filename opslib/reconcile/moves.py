"""Objects that say in Git that they move away from an app: it does not delete them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opslib.core.errors import OpslibError
from opslib.core.model import Origin, ResourceKey, Revision
from opslib.reconcile.app import MOVED_FROM, App, giver_of
from opslib.seal.vaultdoc import object_key
from opslib.source.mirror import Mirror
from opslib.source.yamlload import load_documents

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Moves:
    """Where objects are declared that move away from an app."""

    to: Mapping[ResourceKey, Origin] = field(default_factory=dict)

    def where(self, key: ResourceKey) -> Origin | None:
        """Return where an object moves to; a declaration without namespace is of any."""
        anywhere = ResourceKey(key.group, key.kind, "", key.name)
        return self.to.get(key) or self.to.get(anywhere)


STAYING = Moves()


def moves_of(mirror: Mirror, revision: Revision, app: App) -> Moves:
    """Find, in all folders of a revision, what moves away from an app.

    A file that cannot be read says nothing here: the app that it belongs to says so.
    """
    found: dict[ResourceKey, Origin] = {}
    for path in mirror.mentions(revision.commit, MOVED_FROM):
        if not path.endswith(_SUFFIXES):
            continue
        try:
            text = mirror.read(revision.commit, path).decode("utf-8", errors="replace")
            documents = load_documents(text, path)
            found |= {
                object_key(one.manifest): Origin(path, one.line)
                for one in documents
                if giver_of(one.manifest) == app.manager
            }
        except OpslibError:
            continue
    return Moves(found)
