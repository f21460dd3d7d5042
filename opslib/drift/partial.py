"""What is sent so that some fields of an object become as declared, and no other.

Server-side apply writes the fields that it is sent and removes those that are not and that the
app owns. So what differs and was not chosen is sent with its live value where the app owns it,
and not at all where somebody else does.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from opslib.core.model import Manifest
from opslib.drift.edit import ORDER, reorder, set_at
from opslib.kube.apply import Lock
from opslib.reconcile.diff import find_step
from opslib.reconcile.fieldpath import Place, drop, owns, put, value_at

Difference = tuple[Place, Any, Any]
"""A place, its live value, and what an apply would make of it (None: absent)."""


def keeping(
    body: Manifest,
    live: Manifest,
    differing: Iterable[Difference],
    chosen: set[Place],
    manager: str,
    *,
    firmly: bool = False,
) -> Manifest:
    """Return the body of an apply that changes the chosen places only.

    ``firmly``: what others own is sent with its live value, too. Some maps and lists are one
    field (nodeSelector), of which a part that is not sent would go.
    """
    owner = "" if firmly else manager
    every = list(differing)
    part = copy.deepcopy(body)
    lists = dict.fromkeys(p for place, _, _ in every if (p := _list_of(place)) is not None)
    for place, before, after in every:
        if place in chosen or _list_of(place) is not None:
            continue
        if place[-1] == ORDER:
            reorder(part, place[:-1], live)
        elif before is None:
            _drop(part, place)
        elif after is None:
            set_at(part, place, copy.deepcopy(before), live)
        else:
            _leave(part, live, place, owner)
    for place in lists:
        inside = [one for one in every if _list_of(one[0]) == place]
        _mix(part, live, place, inside, chosen, owner)
    return part


def _list_of(place: Place) -> Place | None:
    """Return the list whose items have nothing but numbers, if a place is in one."""
    numbers = (depth for depth, step in enumerate(place) if isinstance(step, int))
    depth = next(numbers, None)
    return None if depth is None else place[:depth]


def _leave(part: Manifest, live: Manifest, place: Place, manager: str) -> None:
    """Send the live value of a field that the app owns; leave another's field out.

    Without a ``manager`` every live value is sent.
    """
    there, value = value_at(live, place)
    if not value_at(part, place)[0]:
        return
    if there and (not manager or owns(live, manager, place)):
        put(part, place, copy.deepcopy(value))
    else:
        drop(part, place)


def _drop(part: Manifest, place: Place) -> None:
    if value_at(part, place)[0]:
        drop(part, place)


def _mix(  # noqa: PLR0917  # one list with all that is known of it
    part: Manifest,
    live: Manifest,
    place: Place,
    inside: Sequence[Difference],
    chosen: set[Place],
    manager: str,
) -> None:
    """Send a list as it is live but for what was chosen in it: such a list is one field."""
    mine = [one for one in inside if one[0] in chosen]
    if not mine:
        _leave(part, live, place, manager)
        return
    mixed = copy.deepcopy(live)
    for where, before, after in mine:
        if before is not None and after is not None:
            put(mixed, where, copy.deepcopy(after))
        elif before is None:
            set_at(mixed, where, copy.deepcopy(after), None, new=True)
    gone = [where for where, _, after in mine if after is None]
    for where in sorted(gone, key=_numbers, reverse=True):
        _take_out(mixed, where)
    set_at(part, place, value_at(mixed, place)[1], live)


def _numbers(place: Place) -> list[int]:
    return [step if isinstance(step, int) else -1 for step in place]


def _take_out(manifest: Manifest, place: Place) -> None:
    there, above = value_at(manifest, place[:-1])
    key = find_step(above, place[-1]) if there else None
    if key is not None:
        del above[key]


def removing(live: Manifest, places: Iterable[Place]) -> list[dict[str, Any]]:
    """Return the JSON patch that takes fields out of exactly this version of an object.

    Of one list the last item goes first, so that numbers stay true.
    https://www.rfc-editor.org/rfc/rfc6902#section-4.6
    """
    lock = Lock.of(live)
    tests = [
        {"op": "test", "path": "/metadata/uid", "value": lock.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": lock.resource_version},
    ]
    keys = [found for place in places if (found := _keys(live, place))]
    keys.sort(key=lambda one: [(str(type(k)), k) for k in one], reverse=True)
    return [*tests, *({"op": "remove", "path": _pointer(one)} for one in keys)]


def _keys(live: Manifest, place: Place) -> tuple[str | int, ...]:
    """Return the keys and numbers that lead to a place; nothing where it is not there."""
    node: Any = live
    keys: list[str | int] = []
    for step in place:
        key = find_step(node, step)
        if key is None:
            return ()
        keys.append(key)
        node = node[key]
    return tuple(keys)


def _pointer(keys: Iterable[str | int]) -> str:
    return "".join("/" + str(k).replace("~", "~0").replace("/", "~1") for k in keys)
