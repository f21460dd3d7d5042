"""The kustomizations that an app may edit.

Its own, and those inside of its folder that it alone builds on. What lies outside may be an app
of its own, or the base of others.
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.model import Manifest, ResourceKey, key_of
from opslib.drift.edit import names_of
from opslib.drift.ground import Edits
from opslib.source.kustomize import NAMES, kustomization_of
from opslib.source.trees import Overlay, Tree
from opslib.source.yamledit import amend_document, documents
from opslib.source.yamlload import load_values

_FOLDERS = ("resources", "bases", "components")
_MOST = 500
"""Kustomizations of a repository that are read to see who builds on what."""


@dataclass(frozen=True)
class Layer:
    """One kustomization: its folder, its file, and what that says."""

    tree: Overlay
    folder: str
    path: str
    value: dict[str, Any]

    def entries(self, name: str) -> list[Any]:
        """Return a list of the kustomization; empty where it has none."""
        found = self.value.get(name)
        return found if isinstance(found, list) else []

    def at(self, name: str) -> str:
        """Return the path of a file that the kustomization names."""
        return posixpath.normpath(posixpath.join(self.folder, name))

    def own(self, name: Any) -> str:
        """Return the path of a named file of this folder that there is; "" for anything else."""
        if not isinstance(name, str) or "\n" in name:
            return ""
        path = self.at(name)
        inside = not self.folder or path.startswith(f"{self.folder}/")
        return path if inside and path in self.tree.files(posixpath.dirname(path)) else ""

    def amended(self, value: dict[str, Any]) -> Edits:
        """Return the edit that makes the kustomization say something else."""
        text = self.tree.text(self.path)
        return {self.path: amend_document(text, 0, value, names=_unnamed).encode()}

    def changed(self, **lists: Any) -> Edits:
        """Return the edit that gives some of its fields other values; None takes one out."""
        value = {**self.value, **lists}
        return self.amended({k: v for k, v in value.items() if v is not None})

    @property
    def affixes(self) -> tuple[str, str]:
        """Return what is put before and after the names of objects."""
        return str(self.value.get("namePrefix") or ""), str(self.value.get("nameSuffix") or "")


def _unnamed(items: list[Any], path: tuple[Any, ...]) -> None:
    """Lists of a kustomization are ordered: two images may have one name."""
    del items, path


def layers(tree: Overlay, folder: str) -> list[Layer]:
    """Return the kustomizations that may be edited for an app, the most specific first."""
    found: list[Layer] = []
    waiting = [folder]
    users: dict[str, set[str]] | None = None
    while waiting:
        one = waiting.pop(0)
        layer = _layer(tree, one)
        if layer is None or any(layer.path == known.path for known in found):
            continue
        found.append(layer)
        inner = [b for b in _bases(layer) if b.startswith(f"{folder}/" if folder else "")]
        if inner and users is None:
            users = _users(tree)
        mine = {known.folder for known in found} | set(inner)
        waiting += [b for b in inner if (users or {}).get(b, {""}) <= mine]
    return found


def dependents(tree: Tree, folder: str) -> list[str]:
    """Return the folders whose kustomizations build on a folder, by way of others too."""
    users = _users(tree)
    found: dict[str, None] = {}
    waiting = [folder]
    while waiting:
        for user in sorted(users.get(waiting.pop(), ())):
            if user not in found:
                found[user] = None
                waiting.append(user)
    return list(found)


def _layer(tree: Tree, folder: str) -> Layer | None:
    path = kustomization_of(tree.files(folder), folder)
    if path is None:
        return None
    overlay = tree if isinstance(tree, Overlay) else Overlay(tree)
    try:
        first = next(load_values(overlay.text(path), path), None)
    except OpslibError:
        return None
    value: Any = first.manifest if first else None
    return Layer(overlay, folder, path, value) if isinstance(value, dict) else None


def _bases(layer: Layer) -> list[str]:
    names = [name for key in _FOLDERS for name in layer.entries(key) if isinstance(name, str)]
    places = [layer.at(name) for name in names if "://" not in name]
    return [p for p in places if kustomization_of(layer.tree.files(p), p)]


def _users(tree: Tree) -> dict[str, set[str]]:
    """Return who builds on each folder; with too many kustomizations everybody on everything."""
    paths = [path for path in tree.files("") if posixpath.basename(path) in NAMES]
    found: dict[str, set[str]] = {}
    for path in paths[:_MOST]:
        layer = _layer(tree, posixpath.dirname(path))
        for base in _bases(layer) if layer else ():
            found.setdefault(base, set()).add(layer.folder if layer else "")
    return found if len(paths) <= _MOST else {}


# -- patches


@dataclass(frozen=True)
class Patch:
    """One document of a patch that is meant for an object.

    ``number`` is its entry in the kustomization's list ``name``; ``path`` is its file, "" where
    it stands in the kustomization itself. ``document`` is its number in that text.
    """

    layer: Layer
    name: str
    number: int
    path: str
    text: str
    document: int
    value: Any

    def amended(self, value: Any) -> Edits:
        """Return the edit after which the patch says something else."""
        text = amend_document(self.text, self.document, value, names=names_of)
        if self.path:
            return {self.path: text.encode()}
        if not self.text.endswith("\n"):
            text = text.removesuffix("\n")
        entries = copy.deepcopy(self.layer.entries(self.name))
        if isinstance(entries[self.number], dict):
            entries[self.number]["patch"] = text
        else:
            entries[self.number] = text
        return self.layer.changed(**{self.name: entries})

    @property
    def alone(self) -> bool:
        """Whether its text holds no other document."""
        return len(documents(self.text)) == 1


def patches(layer: Layer, key: ResourceKey, names: set[str]) -> Iterator[Patch]:
    """Return the patches of a kustomization that may be meant for an object, the last first."""
    for name in ("patches", "patchesJson6902", "patchesStrategicMerge"):
        entries = layer.entries(name)
        for number in reversed(range(len(entries))):
            yield from _patches(layer, name, number, key, names)


def _patches(
    layer: Layer, name: str, number: int, key: ResourceKey, names: set[str]
) -> Iterator[Patch]:
    entry = layer.entries(name)[number]
    target = entry.get("target") if isinstance(entry, dict) else None
    inline = entry.get("patch") if isinstance(entry, dict) else entry
    path = layer.own(entry.get("path") if isinstance(entry, dict) else entry)
    text = layer.tree.text(path) if path else inline
    if not isinstance(text, str) or (not path and "\n" not in text and "{" not in text):
        return
    try:
        found = documents(text, path)
    except OpslibError:
        return
    for place, (_, one) in enumerate(found):
        value: Any = one.manifest
        if _meant(value, target, key, names):
            yield Patch(layer, name, number, path, text, place, value)


def _meant(value: Any, target: Any, key: ResourceKey, names: set[str]) -> bool:
    if isinstance(target, dict):
        kind, name = target.get("kind"), target.get("name")
        return kind in (None, key.kind) and (name is None or any(_fits(name, n) for n in names))
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        return False
    return value.get("kind") == key.kind and value["metadata"].get("name") in names


def _fits(pattern: Any, name: str) -> bool:
    """Names of targets are anchored regular expressions."""
    try:
        return re.fullmatch(str(pattern), name) is not None
    except re.error:
        return str(pattern) == name


def names_for(found: list[Layer], name: str, original: Manifest | None) -> set[str]:
    """Return the names that an object may have on its way through the kustomizations."""
    names = {name}
    for layer in found:
        before, after = layer.affixes
        names |= {n.removeprefix(before).removesuffix(after) for n in names}
    return names | ({key_of(original).name} if original else set())
