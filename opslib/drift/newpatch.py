"""Patches that an overlay gets for a field which it took over from its base.

A strategic merge patch first, as people write them; where kustomize would merge it in another
way than is wanted (lists of unknown kinds, orders), a JSON patch.
https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/patches/
"""

from __future__ import annotations

import re
from typing import Any

from opslib.core.model import Manifest, key_of
from opslib.drift.edit import ORDER
from opslib.drift.ground import Edits
from opslib.drift.layers import Layer
from opslib.reconcile.diff import find_step
from opslib.reconcile.fieldpath import Place, value_at
from opslib.source.yamltree import CannotEdit
from opslib.source.yamlwrite import Layout, lines_of

GONE = object()
"""Stands for the value of a field that a patch takes out."""


def head_of(original: Manifest | None, rendered: Manifest, names: frozenset[str]) -> Manifest:
    """Return what a patch says to name its object: as the file names it that it comes from."""
    source = original or rendered
    metadata = {"name": source["metadata"]["name"] if original else min(names, key=len)}
    if original and source["metadata"].get("namespace"):
        metadata["namespace"] = source["metadata"]["namespace"]
    return {"apiVersion": source["apiVersion"], "kind": source["kind"], "metadata": metadata}


def merged(patch: Manifest, place: Place, value: Any) -> Manifest:
    """Return a strategic merge patch that also sets a field, or takes it out (GONE)."""
    return _merged(dict(patch), place, value)


def _merged(node: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    step, rest = place[0], place[1:]
    if not isinstance(step, str):
        raise CannotEdit("a merge patch cannot name this item of a list")
    if not rest:
        return {**node, step: None if value is GONE else value}
    if isinstance(rest[0], tuple):
        return {**node, step: _items(list(node.get(step) or ()), rest, value)}
    inner = node.get(step)
    return {**node, step: _merged(dict(inner) if isinstance(inner, dict) else {}, rest, value)}


def _items(items: list[Any], place: Place, value: Any) -> list[Any]:
    step, rest = place[0], place[1:]
    known = find_step(items, step)
    item = dict(items[known]) if isinstance(known, int) else dict(step)  # type: ignore[arg-type]  # a tuple of keys
    if rest:
        item = _merged(item, rest, value)
    elif value is GONE:
        item = {**dict(step), "$patch": "delete"}  # type: ignore[arg-type]  # a tuple of keys
    else:
        item = dict(value)
    if isinstance(known, int):
        return [*items[:known], item, *items[known + 1 :]]
    return [*items, item]


def goals(place: Place, value: Any, wanted: Manifest) -> list[tuple[Place, Any]]:
    """Return what a merge patch may set: the field, or the list of plain values that it is in."""
    for depth, step in enumerate(place):
        if isinstance(step, int) or step == ORDER:
            return [(place[:depth], value_at(wanted, place[:depth])[1])]
    return [(place, value)]


def whole_list(place: Place, wanted: Manifest) -> list[tuple[Place, Any]]:
    """Return the outermost list that a field is in, for kinds whose lists are replaced whole."""
    for depth, step in enumerate(place):
        if not isinstance(step, str) or step == ORDER:
            return [(place[:depth], value_at(wanted, place[:depth])[1])]
    return []


def steps(rendered: Manifest, wanted: Manifest, place: Place, value: Any) -> list[dict[str, Any]]:
    """Return the operations of a JSON patch (RFC 6902) for a field of the rendered object.

    An item of a list has a number there: a test before it lets the patch fail, and not change
    another item, when the base has another order one day.
    """
    if place[-1] == ORDER:
        pointer, _, tests = _pointer(rendered, place[:-1])
        whole = value_at(wanted, place[:-1])[1]
        return [*tests, {"op": "replace", "path": pointer, "value": whole}]
    if value is GONE:
        pointer, _, tests = _pointer(rendered, place)
        return [*tests, {"op": "remove", "path": pointer}]
    for depth in range(1, len(place) + 1):
        if not value_at(rendered, place[:depth])[0]:
            return _addition(rendered, wanted, place[:depth])
    pointer, new, tests = _pointer(wanted, place)
    return [*tests, {"op": "replace", "path": pointer, "value": new}]


def _addition(rendered: Manifest, wanted: Manifest, place: Place) -> list[dict[str, Any]]:
    above, beside, tests = _pointer(rendered, place[:-1])
    pointer, new, _ = _pointer(wanted, place)
    if isinstance(beside, list) and pointer == f"{above}/{len(beside)}":
        pointer = f"{above}/-"
    return [*tests, {"op": "add", "path": pointer, "value": new}]


def _pointer(manifest: Manifest, place: Place) -> tuple[str, Any, list[dict[str, Any]]]:
    """Return the pointer to a field, its value, and tests of the names on the way."""
    node: Any = manifest
    pointer, tests = "", list[dict[str, Any]]()
    for step in place:
        key = find_step(node, step)
        if key is None:
            raise CannotEdit("the field cannot be named by a JSON pointer")
        pointer += f"/{_escaped(str(key))}"
        node = node[key]
        if isinstance(step, tuple):
            tests += [
                {"op": "test", "path": f"{pointer}/{_escaped(name)}", "value": value}
                for name, value in step
                if name in node
            ]
    return pointer, node, tests


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def target_of(head: Manifest) -> dict[str, str]:
    """Return the target that names an object for a JSON patch."""
    key = key_of(head)
    group = {"group": key.group} if key.group else {}
    return {**group, "kind": key.kind, "name": re.escape(key.name).replace("\\-", "-")}


def with_patch(layer: Layer, stem: str, value: Any, target: dict[str, str] | None = None) -> Edits:
    """Return the edits that give a kustomization one more patch, in a file of its own."""
    taken = {name.rpartition("/")[2] for name in layer.tree.files(layer.folder)}
    tries = (f"{stem}{f'-{number}' if number > 1 else ''}.yaml" for number in range(1, 1000))
    name = next(one for one in tries if one not in taken)
    entry: dict[str, Any] = {"path": name, **({"target": target} if target else {})}
    text = "\n".join(lines_of(value, 0, layout=Layout())) + "\n"
    return {
        layer.at(name): text.encode(),
        **layer.changed(patches=[*layer.entries("patches"), entry]),
    }


def stem_of(head: Manifest) -> str:
    """Return the name of a patch's file, without its ending."""
    text = f"{head['kind']}-{head['metadata']['name']}-patch".lower()
    return "".join(char if char.isalnum() or char in "-." else "-" for char in text)[:100]
