"""Edits of plain manifests: the document that declares the object, and no other line."""

from __future__ import annotations

import copy
from typing import Any

from opslib.core.model import Manifest, Resource
from opslib.drift.edit import names_of
from opslib.drift.ground import Edits, Ground
from opslib.source.trees import Overlay
from opslib.source.yamledit import amend_document, documents, remove_document, same
from opslib.source.yamltree import CannotEdit


def amended(tree: Overlay, resource: Resource, wanted: Manifest) -> Edits:
    """Return the edit of the file that declares a resource after which it says what is wanted."""
    path = resource.origin.path
    text = tree.text(path)
    number, place, document = locate(text, path, resource.manifest)
    value = copy.deepcopy(document)
    if place is None:
        value = wanted
    else:
        value["items"][place] = wanted
    return {path: amend_document(text, number, value, names=names_of).encode()}


def removed(tree: Overlay, resource: Resource) -> Edits:
    """Return the edit after which a file does not declare a resource; the last takes it along."""
    path = resource.origin.path
    text = tree.text(path)
    number, place, document = locate(text, path, resource.manifest)
    if place is not None and len(document["items"]) > 1:
        value = copy.deepcopy(document)
        del value["items"][place]
        return {path: amend_document(text, number, value, names=names_of).encode()}
    left = remove_document(text, number)
    return {path: None if left is None else left.encode()}


def locate(text: str, path: str, manifest: Manifest) -> tuple[int, int | None, Any]:
    """Find an object in a text: the number of its document, and of its item where it is a List."""
    for number, (_, document) in enumerate(documents(text, path)):
        value = document.manifest
        if same(value, manifest):
            return number, None, value
        items = value.get("items") if isinstance(value, dict) else None
        for place, item in enumerate(items if isinstance(items, list) else ()):
            if same(item, manifest):
                return number, place, value
    raise CannotEdit(f"{path} does not declare it in this form")


def new_file(ground: Ground, manifest: Manifest) -> str:
    """Return the name of a file for a new object that no file has yet."""
    kind, name = str(manifest["kind"]).lower(), str(manifest["metadata"]["name"]).lower()
    stem = "".join(char if char.isalnum() or char in "-." else "-" for char in f"{kind}-{name}")
    taken = set(ground.tree.files(ground.folder))
    folder = f"{ground.folder}/" if ground.folder else ""
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        path = f"{folder}{stem[:100]}{suffix}.yaml"
        if path not in taken:
            return path
    raise CannotEdit("no name for a new file is free")
