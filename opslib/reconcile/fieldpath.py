"""Paths of fields as people write them and plans print them, and the fields that they name.

``spec.replicas``, ``metadata.annotations["example.com/owner"]``,
``spec.template.spec.containers[name=app].image``, ``webhooks[*].clientConfig.caBundle``,
``spec.rules[0]``: what ``diff.show`` writes can be read back here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError
from opslib.core.model import Manifest
from opslib.reconcile.diff import Step, find_step, list_steps

ANY = "*"
_MARK = re.compile(r'\.?([A-Za-z_$][-\w$]*)|\[("(?:[^"\\]|\\.)*"|[^\[\]"]+)\]')
_PAIR = re.compile(r"([\w.-]+)=([^,\]]*)")

Place = tuple[Step, ...]
"""One field of one object: keys of mappings, and of lists the keys that name an item."""


@dataclass(frozen=True)
class _Item:
    """An item of a list: any, by its number, or by the text of some of its keys."""

    number: int | None = None
    keys: tuple[tuple[str, str], ...] = ()

    def fits(self, index: int, item: Any) -> bool:
        if self.number is not None:
            return index == self.number
        return all(isinstance(item, dict) and str(item.get(k)) == v for k, v in self.keys)


@dataclass(frozen=True)
class FieldPath:
    """A path that was read; ``text`` is as it was written."""

    text: str
    steps: tuple[str | _Item, ...]

    def __str__(self) -> str:
        return self.text

    def covers(self, place: Place) -> bool:
        """Tell whether a place is this path's field, or in it."""
        if len(place) < len(self.steps) or not place:
            return False
        return all(map(_is_step, self.steps, place))


def _is_step(wanted: str | _Item, step: Step) -> bool:
    if isinstance(wanted, str):
        return wanted == step
    if wanted.number is not None:
        return wanted.number == step
    if not wanted.keys:
        return not isinstance(step, str)
    named = {key: str(value) for key, value in step} if isinstance(step, tuple) else {}
    return all(named.get(key) == value for key, value in wanted.keys)


def parse_path(text: str, where: str = "") -> FieldPath:
    """Read a path; InputError that shows how one is written."""
    steps: list[str | _Item] = []
    at = 0
    while at < len(text):
        found = _MARK.match(text, at)
        # Only the first step may do without its dot.
        if not found or (found[1] and (at == 0) == found[0].startswith(".")):
            break
        step = found[1] or _inside(found[2])
        if step is None:
            break
        steps.append(step)
        at = found.end()
    if at < len(text) or not steps or not isinstance(steps[0], str):
        raise InputError(
            f"{text!r} is not the path of a field",
            where=where or None,
            expected='as in spec.replicas, containers[name=app].image or annotations["a.b/c"]',
        )
    return FieldPath(text, tuple(steps))


def _inside(text: str) -> str | _Item | None:
    """Read what stands between brackets."""
    if text == ANY:
        return _Item()
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return None
    if text.isdecimal():
        return _Item(int(text))
    pairs = tuple((k, v) for k, v in _PAIR.findall(text))
    return _Item(keys=pairs) if ",".join(f"{k}={v}" for k, v in pairs) == text else None


def places(manifest: Manifest, path: FieldPath) -> list[Place]:
    """Return each field of an object that a path names."""
    return list(_places(manifest, path.steps, ()))


def _places(node: Any, steps: tuple[str | _Item, ...], above: Place) -> Iterator[Place]:
    if not steps:
        yield above
        return
    first, rest = steps[0], steps[1:]
    if isinstance(first, str):
        if isinstance(node, dict) and first in node:
            yield from _places(node[first], rest, (*above, first))
        return
    if not isinstance(node, list):
        return
    named = list_steps(node, above)
    marks: list[Step] = list(named) if named else list(range(len(node)))
    for index, item in enumerate(node):
        if first.fits(index, item):
            yield from _places(item, rest, (*above, marks[index]))


def value_at(manifest: Manifest, place: Place) -> tuple[bool, Any]:
    """Return whether an object has this field, and its value."""
    node: Any = manifest
    for step in place:
        key = find_step(node, step)
        if key is None:
            return False, None
        node = node[key]
    return True, node


def put(manifest: Manifest, place: Place, value: Any) -> None:
    """Set a field that is there."""
    parent, key = _parent(manifest, place)
    parent[key] = value


def drop(manifest: Manifest, place: Place) -> None:
    """Remove a field that is there, and the mappings around it that become empty."""
    while place:
        parent, key = _parent(manifest, place)
        del parent[key]
        place = place[:-1]
        if parent or not isinstance(parent, dict) or not isinstance(place and place[-1], str):
            return


def _parent(manifest: Manifest, place: Place) -> tuple[Any, Any]:
    node: Any = manifest
    for step in place[:-1]:
        node = node[find_step(node, step)]
    return node, find_step(node, place[-1])


def owns(live: Manifest, manager: str, place: Place) -> bool:
    """Tell whether a manager's Apply entry has a field of the live object."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            return _within(entry.get("fieldsV1") or {}, live, place)
    return False


def _within(fields: Mapping[str, Any], live: Any, place: Place) -> bool:
    node = live
    for step in place:
        key = find_step(node, step)
        if key is None:
            return False
        node = node[key]
        mark = f"f:{key}" if isinstance(key, str) else _item_mark(fields, node)
        if mark not in fields:
            return False
        fields = fields[mark]
        if not fields:
            return True  # this field as a whole, and so all in it
    return True


def _item_mark(fields: Mapping[str, Any], item: Any) -> str:
    if not isinstance(item, dict):
        return "v:" + json.dumps(item)
    marks = (mark for mark in fields if mark.startswith("k:"))
    return next((mark for mark in marks if json.loads(mark[2:]).items() <= item.items()), "")
