"""The difference of two objects, field by field, with the line of Git that each comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.core.model import Manifest, Resource

Step = str | int | tuple[tuple[str, Any], ...]
"""A key of a mapping, an index of a list, or the keys that name an item of a list."""

_PLAIN = re.compile(r"[A-Za-z_$][-A-Za-z0-9_$]*")

# Fields of the server, or of controllers, that no revision declares.
SERVER_METADATA = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}
)

# Lists that the API merges by keys (x-kubernetes-list-map-keys of the OpenAPI schemas); a list
# that is not here is matched by "name" where every item has one of its own, else by position.
LIST_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ports": (("containerPort", "protocol"), ("port", "protocol"), ("name",)),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "ownerReferences": (("uid",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "conditions": (("type",),),
}


@dataclass(frozen=True)
class FieldChange:
    """One field before and after (None: absent); ``line`` is its line in the file of origin.

    ``place`` is the path as steps; it is not kept in JSON.
    """

    path: str
    before: Any
    after: Any
    line: int | None = None
    place: tuple[Step, ...] = field(default=(), compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        row = {"path": self.path, "before": self.before, "after": self.after}
        return row if self.line is None else {**row, "line": self.line}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> FieldChange:
        return cls(row["path"], row["before"], row["after"], row.get("line"))


def field_changes(before: Manifest, after: Manifest, resource: Resource) -> list[FieldChange]:
    """Compare two forms of one object and find the line in Git for each difference.

    Status and the server's own metadata are not compared.
    """
    return [
        FieldChange(show(path), old, new, line_of(path, resource), path)
        for path, old, new in differences(comparable(before), comparable(after))
    ]


def declared_fields(resource: Resource) -> list[FieldChange]:
    """Return every declared leaf as a change from nothing: what creating the object sets."""
    skip = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
    return [
        FieldChange(show(path), None, value, line_of(path, resource), path)
        for path, value in _leaves(resource.manifest, ())
        if path not in skip
    ]


def comparable(manifest: Manifest) -> Manifest:
    """Return the object without status and without what the server keeps about it."""
    rest = {key: value for key, value in manifest.items() if key != "status"}
    metadata = manifest.get("metadata") or {}
    rest["metadata"] = {k: v for k, v in metadata.items() if k not in SERVER_METADATA}
    return rest


def differences(
    before: Any, after: Any, path: tuple[Step, ...] = ()
) -> Iterator[tuple[tuple[Step, ...], Any, Any]]:
    """Yield (path, before, after) for each smallest part that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*after, *(k for k in before if k not in after)]:
            yield from differences(before.get(key), after.get(key), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(before, after, path)
    elif before != after or type(before) is not type(after):
        yield path, before, after


def _lists(
    before: list[Any], after: list[Any], path: tuple[Step, ...]
) -> Iterator[tuple[tuple[Step, ...], Any, Any]]:
    steps = named_items(before, after, path)
    if steps is None:
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else None
            new = after[index] if index < len(after) else None
            yield from differences(old, new, (*path, index))
        return
    old_items, new_items = steps
    for step in [*new_items, *(s for s in old_items if s not in new_items)]:
        yield from differences(old_items.get(step), new_items.get(step), (*path, step))
    shared_old = [step for step in old_items if step in new_items]
    shared_new = [step for step in new_items if step in old_items]
    if shared_old != shared_new:
        order = [", ".join(_show_step(step) for step in side) for side in (shared_old, shared_new)]
        yield (*path, "(order)"), order[0], order[1]


def named_items(
    before: list[Any], after: list[Any], path: tuple[Step, ...]
) -> tuple[dict[Step, Any], dict[Step, Any]] | None:
    """Index both lists by the keys that name their items; None where nothing names them."""
    name = path[-1] if path and isinstance(path[-1], str) else ""
    for keys in (*LIST_KEYS.get(str(name), ()), ("name",)):
        sides = [_index(items, keys) for items in (before, after)]
        if sides[0] is not None and sides[1] is not None:
            return sides[0], sides[1]
    return None


def _index(items: list[Any], keys: tuple[str, ...]) -> dict[Step, Any] | None:
    indexed: dict[Step, Any] = {}
    for item in items:
        if not isinstance(item, dict) or keys[0] not in item:
            return None
        values = tuple((key, item[key]) for key in keys if key in item)
        if any(isinstance(value, dict | list) for _, value in values) or values in indexed:
            return None
        indexed[values] = item
    return indexed


def line_of(path: tuple[Step, ...], resource: Resource) -> int | None:
    """Return the line of a path, or of its nearest declared ancestor, in the file of origin."""
    node: Any = resource.manifest
    pointer = ""
    for step in path:
        key = find_step(node, step)
        if key is None:
            break
        node = node[key]
        pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
    return resource.line_of(pointer)


def find_step(node: Any, step: Step) -> str | int | None:
    """Return the key or index at which a step leads on from a node; None where it does not."""
    if isinstance(node, dict):
        return step if isinstance(step, str) and step in node else None
    if not isinstance(node, list):
        return None
    if isinstance(step, int):
        return step if step < len(node) else None
    if isinstance(step, tuple):
        for index, item in enumerate(node):
            # A key that Git leaves out has its default (a port's protocol).
            if isinstance(item, dict) and all(item.get(k, v) == v for k, v in step):
                return index
    return None


def show(path: tuple[Step, ...]) -> str:
    """Write a path as people do: ``spec.template.spec.containers[name=app].image``."""
    text = ""
    for step in path:
        if isinstance(step, str) and _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        elif isinstance(step, str) and step == "(order)":
            text += " (order)"
        else:
            text += f"[{_show_step(step)}]"
    return text


def _show_step(step: Step) -> str:
    if isinstance(step, tuple):
        return ",".join(f"{key}={value}" for key, value in step)
    return f'"{step}"' if isinstance(step, str) else str(step)


def list_steps(items: list[Any], path: tuple[Step, ...]) -> list[Step] | None:
    """Return what names each item of a list, in its order; None where nothing does."""
    found = named_items(items, items, path)
    return list(found[0]) if found else None


def _leaves(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        found = named_items(value, value, path)
        items = found[0].items() if found else enumerate(value)
        for step, item in items:
            yield from _leaves(item, (*path, step))
    else:
        yield path, value
