"""What a forced dry run cannot see: fields of a live object that Git does not declare.

Server-side apply leaves alone what others own, so its outcome is the live object and shows no
difference (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
The live object's managedFields say what others own. They are a hint where to look and no more:
whoever writes picks the manager's name, and may wipe or rewrite the entries. What an addition is
judged by is an undisturbed twin of the object (see ``twins``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opslib.core.model import Manifest
from opslib.reconcile.diff import Step, find_step, list_steps, named_items
from opslib.reconcile.fieldpath import Place

_SELF = "."
_NAMES = ("manager", "operation", "subresource")
_SERVERS = frozenset({"apiVersion", "kind", "status"})
_KEPT = frozenset({"name", "namespace", "uid", "resourceVersion", "generation", "managedFields"})
SERVERS_METADATA = _KEPT | {
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
}

BY_KEY = frozenset(
    {
        "labels",
        "annotations",
        "data",
        "binaryData",
        "nodeSelector",
        "matchLabels",
        "limits",
        "requests",
    }
)
"""Maps whose keys are the user's own: of a whole one that was added, each key is told."""
_BY_ITEM = frozenset({"finalizers", "ownerReferences"})
_DEEPEST = 200

Fields = Mapping[str, Any]
"""A set of fields in the form fieldsV1."""


@dataclass(frozen=True, order=True)
class Owner:
    """One entry of managedFields that has a field."""

    manager: str
    operation: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class Addition:
    """A part of a live object that Git does not declare.

    ``usual`` is the value that the undisturbed object has there; None where it has none.
    """

    place: Place
    value: Any
    owners: frozenset[Owner] = frozenset()
    usual: Any = None


def entries_of(live: Manifest) -> list[tuple[Owner, Fields]]:
    """Return who owns what; malformed entries own nothing.

    Also those of status: a write of it may set labels and annotations, too.
    """
    found: list[tuple[Owner, Fields]] = []
    for entry in live["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1")
        if isinstance(fields, dict):
            found.append((_owner(*map(entry.get, _NAMES)), fields))
    return found


@lru_cache(maxsize=1024)
def _owner(manager: Any, operation: Any, subresource: Any) -> Owner:
    return Owner(str(manager or ""), str(operation or ""), str(subresource or ""))


def own_entry(owner: Owner, manager: str) -> bool:
    """Tell whether an entry is the one of the app's own apply."""
    return owner == Owner(manager, "Apply")


def foreign(live: Manifest, manager: str) -> list[Addition]:
    """Return what others than the app's own apply own, and it does not.

    Git may declare it nevertheless: whoever changes a declared field becomes its owner. Status is
    not looked at.
    """
    entries = entries_of(live)
    own = [fields for owner, fields in entries if own_entry(owner, manager)]
    ownership = Ownership(live)
    found: dict[Place, tuple[Any, set[Owner]]] = {}
    for owner, fields in entries:
        if own_entry(owner, manager):
            continue
        for place, value in _leaves(fields, live, ()):
            # What is owned below an empty map that Git declares is not the app's.
            if not any(ownership.owns(mine, place, below=False) for mine in own):
                found.setdefault(place, (value, set()))[1].add(owner)
    return [Addition(at, value, frozenset(who)) for at, (value, who) in found.items()]


def _leaves(fields: Fields, node: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Yield each smallest part that a set of fields names and the object has."""
    below = [mark for mark in fields if mark != _SELF]
    if not below and place:
        yield place, node
        return
    for mark, step, value in _parts(below, node, place):
        part = fields[mark]
        if place == ("metadata",) and step in SERVERS_METADATA:
            continue
        if isinstance(part, dict) and part and len(place) < _DEEPEST:
            yield from _leaves(part, value, (*place, step))
        else:
            yield (*place, step), value


def _parts(marks: Iterable[str], node: Any, place: Place) -> Iterator[tuple[str, Step, Any]]:
    """Yield what marks of a set of fields name in a node, each with its step."""
    if isinstance(node, dict):
        for mark in marks:
            key = mark[2:]
            if mark[:2] == "f:" and key in node and (place or key not in _SERVERS):
                yield mark, key, node[key]
    elif isinstance(node, list):
        steps: list[Step] = list_steps(node, place) or list(range(len(node)))
        for mark, index in items_of(marks, node).items():
            yield mark, steps[index], node[index]


def items_of(marks: Iterable[str], items: list[Any]) -> dict[str, int]:
    """Return the number of the item that each mark names, of those that name one.

    Lists may have thousands of items and as many marks: they are looked up, not compared.
    """
    tables: dict[tuple[str, ...] | None, dict[Any, int]] = {}
    found: dict[str, int] = {}
    for mark in marks:
        wanted = _wanted(mark)
        if mark[:2] == "i:":
            index = wanted if isinstance(wanted, int) and 0 <= wanted < len(items) else None
        elif mark[:2] == "v:":
            index = _table(tables, None, items).get(_name(wanted))
        elif mark[:2] == "k:" and isinstance(wanted, dict):
            keys = tuple(wanted)
            index = _table(tables, keys, items).get(tuple(map(_name, wanted.values())))
        else:
            index = None
        if index is not None:
            found[mark] = index
    return found


def _table(
    tables: dict[tuple[str, ...] | None, dict[Any, int]],
    keys: tuple[str, ...] | None,
    items: list[Any],
) -> dict[Any, int]:
    """Return where items are, by themselves or by the values of some of their keys."""
    if keys not in tables:
        named = [(index, item) for index, item in enumerate(items)][::-1]  # the first one counts
        if keys is None:
            tables[keys] = {_name(item): index for index, item in named}
        else:
            tables[keys] = {
                tuple(_name(item[key]) for key in keys): index
                for index, item in named
                if isinstance(item, dict) and all(key in item for key in keys)
            }
    return tables[keys]


def _name(value: Any) -> Any:
    """Return what stands for a value among others: true is not 1."""
    return (type(value), value if isinstance(value, str | int | float) else repr(value))


@lru_cache(maxsize=4096)
def _wanted(mark: str) -> Any:
    try:
        return json.loads(mark[2:])
    except (ValueError, RecursionError):
        return None


def owners_of(live: Manifest, place: Place) -> frozenset[Owner]:
    """Return who owns a part of an object, or something in it, or what it is a part of."""
    return Ownership(live).of(place)


class Ownership:
    """Who owns which parts of one object; lists of thousands of items are looked up once."""

    def __init__(self, live: Manifest) -> None:
        self._live = live
        self._entries = entries_of(live)
        self._steps: dict[int, dict[Step, int]] = {}
        self._marks: dict[tuple[int, int], dict[int, str]] = {}

    def of(self, place: Place) -> frozenset[Owner]:
        """Return who owns a part, or something in it, or what it is a part of."""
        return frozenset(who for who, fields in self._entries if self.owns(fields, place))

    def owns(self, fields: Fields, place: Place, *, below: bool = True) -> bool:
        """Tell whether a set has a part; ``below``: also as a piece of what it has as a whole."""
        node: Any = self._live
        for depth, step in enumerate(place):
            if not any(mark != _SELF for mark in fields):
                return below and depth > 0
            key = self._key(node, place[:depth], step)
            if key is None:
                return False
            mark = f"f:{key}" if isinstance(key, str) else self._mark(fields, node, key)
            part = fields.get(mark)
            if not isinstance(part, dict):
                return False
            fields, node = part, node[key]
        return True

    def _key(self, node: Any, place: Place, step: Step) -> str | int | None:
        if not isinstance(node, list) or isinstance(step, int):
            return find_step(node, step)
        if id(node) not in self._steps:
            steps = list_steps(node, place) or []
            self._steps[id(node)] = {one: index for index, one in enumerate(steps)}
        index = self._steps[id(node)].get(step)
        return find_step(node, step) if index is None else index

    def _mark(self, fields: Fields, items: list[Any], number: int) -> str:
        both = (id(fields), id(items))
        if both not in self._marks:
            self._marks[both] = {at: mark for mark, at in items_of(fields, items).items()}
        return self._marks[both].get(number, "")


Leaf = tuple[tuple[str, ...], Any]
"""A value and its path, in which items of lists are "*"."""


def unowned(live: Manifest) -> list[Leaf]:
    """Return each leaf that nobody owns.

    In an undisturbed object these are what the server itself set: defaults, and what it
    generates. Leaves are texts, numbers, booleans, and what is empty.
    """
    sets = [fields for _, fields in entries_of(live)]
    found: list[Leaf] = []
    for key, value in live.items():
        if key == "metadata" and isinstance(value, dict):
            parts = [one["f:metadata"] for one in sets if "f:metadata" in one]
            rest = {k: v for k, v in value.items() if k not in SERVERS_METADATA}
            for name, one in rest.items():
                _unowned_in(parts, f"f:{name}", one, (key, name), found)
        elif key not in _SERVERS:
            _unowned_in(sets, f"f:{key}", value, (key,), found)
    return found


def _unowned_in(
    sets: list[Fields], mark: str, value: Any, path: tuple[str, ...], found: list[Leaf]
) -> None:
    """Go on below a mark with those sets that have it; one that ends there owns all of it."""
    parts = [one[mark] for one in sets if mark in one]
    if all(parts):
        _unowned(parts, value, path, found)


def _unowned(parts: list[Fields], node: Any, path: tuple[str, ...], found: list[Leaf]) -> None:
    if not parts or not isinstance(node, dict | list) or len(path) > _DEEPEST:
        flat(node, path, found)
    elif isinstance(node, dict):
        for key, value in node.items():
            _unowned_in(parts, f"f:{key}", value, (*path, key), found)
    else:
        mine: list[list[Fields]] = [[] for _ in node]
        for part in parts:
            for mark, index in items_of(part, node).items():
                mine[index].append(part[mark])
        for item, inner in zip(node, mine, strict=True):
            if all(inner):
                _unowned(inner, item, (*path, "*"), found)


def flat(node: Any, path: tuple[str, ...], found: list[Leaf]) -> None:
    """Add every leaf below a node; what is empty is one."""
    if isinstance(node, dict) and node and len(path) <= _DEEPEST:
        for key, value in node.items():
            flat(value, (*path, key), found)
    elif isinstance(node, list) and node and len(path) <= _DEEPEST:
        for item in node:
            flat(item, (*path, "*"), found)
    else:
        found.append((path, node if isinstance(node, str | int | float | bool) else repr(node)))


def beyond(live: Manifest, twin: Manifest) -> Iterator[Addition]:
    """Yield what a live object has and its undisturbed twin has not, or has otherwise.

    What the twin has and the live object has not is nothing that was added.
    """
    for key, value in live.items():
        if key == "metadata":
            rest = {k: v for k, v in value.items() if k not in SERVERS_METADATA}
            usual = {k: v for k, v in twin["metadata"].items() if k not in SERVERS_METADATA}
            yield from _beyond(rest, usual, (key,))
        elif key not in _SERVERS:
            yield from _beyond(value, twin.get(key), (key,))


def _beyond(live: Any, twin: Any, place: Place) -> Iterator[Addition]:
    if isinstance(live, dict) and isinstance(twin, dict) and len(place) < _DEEPEST:
        for key, value in live.items():
            yield from _beyond(value, twin.get(key), (*place, key))
    elif isinstance(live, list) and isinstance(twin, list) and len(place) < _DEEPEST:
        yield from _beyond_items(live, twin, place)
    elif twin is None:
        yield from split(live, place)
    elif live != twin or type(live) is not type(twin):
        yield Addition(place, live, usual=twin)


def _beyond_items(live: list[Any], twin: list[Any], place: Place) -> Iterator[Addition]:
    if steps := named_items(live, twin, place):
        for step, item in steps[0].items():
            yield from _beyond(item, steps[1].get(step), (*place, step))
        return
    if not any(isinstance(item, dict | list) for item in (*live, *twin)):
        left = list(twin)
        for index, item in enumerate(live):
            if item in left:
                left.remove(item)
            else:
                yield Addition((*place, index), item)
        return
    for index, item in enumerate(live):
        usual = twin[index] if index < len(twin) else None
        yield from _beyond(item, usual, (*place, index))


def split(value: Any, place: Place) -> Iterator[Addition]:
    """Yield a part that was added, in the pieces in which it is told and decided on."""
    last = place[-1] if place else ""
    if isinstance(value, dict) and value and last in BY_KEY:
        for key, one in value.items():
            yield Addition((*place, key), one)
    elif isinstance(value, list) and value and (last in _BY_ITEM or list_steps(value, place)):
        steps: list[Step] = list_steps(value, place) or list(range(len(value)))
        for step, one in zip(steps, value, strict=True):
            yield Addition((*place, step), one)
    else:
        yield Addition(place, value)


def inside(value: Any, place: Place, spared: Iterable[Place]) -> Iterator[Addition]:
    """Yield a part without what is at other places in it, so piece by piece where there are any."""
    below = [one for one in spared if one[: len(place)] == place]
    if not below:
        yield Addition(place, value)
    elif place not in below and isinstance(value, dict):
        for key, one in value.items():
            yield from inside(one, (*place, key), below)
    elif place not in below and isinstance(value, list):
        steps: list[Step] = list_steps(value, place) or list(range(len(value)))
        for step, one in zip(steps, value, strict=True):
            yield from inside(one, (*place, step), below)
