"""Labels under which a value may have been sealed, as far as files and Git tell.

A private key shows the hash of the label that a value was sealed under, and a hash is only
recognized: what is not among these is another place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from opslib.seal.sealed import Declared

MOST = 1000
"""Names and namespaces that are tried with each other: a million hashes, a second."""
_COMMON = ("default", "kube-system")
_FOLDERS = 4
"""Folders above a file whose names may be a namespace, or that of an app."""


def candidates(objects: Sequence[Declared], noted: Sequence[str]) -> Iterator[bytes]:
    """Yield labels; ``noted`` are such as Git told them, in the form of the notes."""
    yield b""
    namespaces: dict[str, None] = {}
    names: dict[str, None] = {}
    for label in [*noted, *(label for one in objects for label in _of_notes(one))]:
        namespace, _, name = label.partition("/")
        namespaces[namespace], names[name] = None, None
    for one in objects:
        namespaces[one.namespace], names[one.name] = None, None
        for found, field in ((namespaces, "namespace"), (names, "name")):
            found[str(one.template_metadata.get(field) or "")] = None
    for one in objects:
        path = Path(one.path).resolve()
        folders = [folder.name for folder in path.parents[:_FOLDERS]]
        namespaces.update(dict.fromkeys(folders))
        names.update(dict.fromkeys([path.name.partition(".")[0], *folders]))
    namespaces.update(dict.fromkeys(_COMMON))
    for namespace in list(namespaces)[:MOST]:
        yield namespace.encode()
        for name in list(names)[:MOST]:
            yield f"{namespace}/{name}".encode()


def _of_notes(one: Declared) -> list[str]:
    return [note.label for note in one.read_notes()[0].values()]
