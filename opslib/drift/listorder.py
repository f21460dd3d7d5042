"""Which item of a list a JSON patch meant by its number, where that can be known.

The numbers are of the list as it was then. Where no write between can have changed which items
are in the list and in which order, it was the list as a write before had it as a whole, or the
list as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from opslib.core.model import Manifest
from opslib.drift.moments import Moment
from opslib.drift.patches import lookup
from opslib.drift.request import Request
from opslib.drift.wants import Want
from opslib.reconcile.diff import Step, list_steps

Place = tuple[Step, ...]
_ELSEWHERE = frozenset({"status", "scale"})


def lists_of(wants: Sequence[Want], live: Manifest | None) -> dict[Place, list[Any]]:
    """Return the live lists that the wanted fields are in, by their places."""
    found: dict[Place, list[Any]] = {}
    for want in wants:
        for depth, step in enumerate(want.place):
            if isinstance(step, tuple) and live is not None:
                items = lookup(live, want.place[:depth])[1]
                if isinstance(items, list):
                    found[want.place[:depth]] = items
    return found


class Move(NamedTuple):
    """A write that may have changed a list's items or their order, and what it left.

    ``items`` is the list that it wrote as a whole, None where that is not known. Where
    managedFields of the second ``unless`` are to be believed, it left the order as it was.
    """

    start: Moment
    end: Moment
    items: tuple[Any, ...] | None = None
    unless: Moment = 0


def move_of(request: Request, place: Place, items: Sequence[Any], unless: Moment) -> Move | None:
    """Return what a write may have done to the order of a list; None where it left that.

    ``unless`` is the second since which managedFields say that it was no plain merge patch.
    """
    sure = request.finished and not (request.mutated or request.webhooks or request.subresource)
    if sure and isinstance(request.body, dict) and (request.verb != "patch" or request.code == 201):
        written = lookup(request.body, place)[1]
        names = _names(written, place) or []
        keys = tuple(dict(step) for step in names if isinstance(step, tuple))
        return Move(request.received, request.done, keys)
    if not may_reorder(request, place, items, merged=False):
        return None
    kept = unless if not may_reorder(request, place, items, merged=True) else 0
    return Move(request.received, request.done, None, kept)


def items_at(
    moves: Sequence[Move], live: Sequence[Any], start: Moment, end: Moment
) -> Sequence[Any] | None:
    """Return the items of a list at the time of a write; None where they are not known."""
    if not any(move.end >= start for move in moves):
        return live
    if any(move.end >= start and move.start <= end for move in moves):
        return None  # at the same time
    earlier = [move for move in moves if move.end < start]
    return max(earlier, key=lambda move: move.end).items if earlier else None


def may_reorder(request: Request, place: Place, items: Sequence[Any], *, merged: bool) -> bool:
    """Tell whether a write may have changed what items a list has, or their order.

    ``merged``: it is known that a patch which is an object was no plain merge patch.
    """
    if request.verb.startswith("delete") or request.subresource in _ELSEWHERE:
        return False
    body = request.body
    if request.mutated or request.webhooks or body is None:
        return True
    if isinstance(body, list):
        return any(_moves(one, place) for one in body)
    whole = request.verb != "patch" or request.code == 201
    if whole:
        return _names(lookup(body, place)[1], place) != _names(items, place)
    return _patch_moves(body, place, items, merged=merged and not request.may_be_apply)


def _patch_moves(body: Any, place: Place, items: Sequence[Any], *, merged: bool) -> bool:
    node = body
    for step in place[:-1]:
        if not isinstance(node, dict) or isinstance(step, tuple) or not _plain(node):
            return True  # directives, and lists in lists, are not followed
        if step not in node:
            return False
        node = node[step]
    if not isinstance(node, dict) or not _plain(node):
        return True
    known = _names(items, place)
    order = node.get(f"$setElementOrder/{place[-1]}")
    if order is not None and _names(order, place) != known:
        return True
    return place[-1] in node and _mentions_move(node[place[-1]], place, known, merged=merged)


def _mentions_move(mentioned: Any, place: Place, known: list[Step] | None, *, merged: bool) -> bool:
    named = _names(mentioned, place)
    if named is None or known is None or any("$patch" in one for one in mentioned):
        return True
    return not set(named) <= set(known) if merged else named != known


def _plain(node: Any) -> bool:
    return "$patch" not in node and "$retainKeys" not in node


def _names(items: Any, place: Place) -> list[Step] | None:
    return list_steps(items, place) if isinstance(items, list) else None


def _moves(operation: Any, place: Place) -> bool:
    """Tell whether a step of a JSON patch is on a list, or on what it is in, or on an item."""
    if not isinstance(operation, dict) or operation.get("op") == "test":
        return not isinstance(operation, dict)
    for path in (operation.get("path"), operation.get("from")):
        parts = str(path or "").split("/")[1:]
        if path is not None and len(parts) <= len(place) + 1 and _along(parts, place):
            return True
    return False


def _along(parts: Sequence[str], place: Place) -> bool:
    pairs = zip(parts, place, strict=False)
    return all(
        part.replace("~1", "/").replace("~0", "~") == step
        for part, step in pairs
        if isinstance(step, str)
    )


def numbered(operations: Sequence[Any], lists: Mapping[Place, Sequence[Any]]) -> Iterator[Any]:
    """Yield a JSON patch with tests that say which items its numbers mean."""
    for place, items in lists.items():
        pointer = "".join(f"/{str(s).replace('~', '~0').replace('/', '~1')}" for s in place)
        if all(isinstance(step, str) for step in place):
            for number, item in enumerate(items):
                yield {"op": "test", "path": f"{pointer}/{number}", "value": item}
    yield from operations
