"""What managedFields rule out: a field that a manager has had all the time did not change.

Whoever changes a value, or takes a field or an item of a list away, takes it from all other
managers. So a field that a manager has was not changed since that manager's own last change.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from opslib.core.model import Manifest
from opslib.drift.moments import SECOND, Moment, moment_of
from opslib.drift.request import Request
from opslib.drift.wants import Want
from opslib.reconcile.diff import Step, find_step

MOST_ENTRIES = 1000
REPLICAS = ("spec", "replicas")


def entries_of(live: Manifest | None) -> list[Mapping[str, Any]]:
    """Return the entries of an object that are not about its status."""
    found = ((live or {}).get("metadata") or {}).get("managedFields")
    entries = found[:MOST_ENTRIES] if isinstance(found, list) else []
    return [e for e in entries if isinstance(e, dict) and e.get("subresource") != "status"]


def owners_of(live: Manifest | None, want: Want) -> list[Mapping[str, Any]]:
    """Return the entries that have a field, as such or as a part of what they own whole.

    An entry that ends above the field has it only where what it ends at is owned whole, as an
    atomic map is: nobody has a part of that. Of other maps it has their being there.
    """
    if live is None:
        return []
    entries = entries_of(live)
    reached = [_reached(entry.get("fieldsV1"), live, want) for entry in entries]
    deepest = max((depth for depth, _ in reached), default=0)
    return [
        entry
        for entry, (depth, ends) in zip(entries, reached, strict=True)
        if ends and depth == deepest
    ]


def held_since(live: Manifest | None, want: Want) -> Moment:
    """Return the second by whose end the field had its value for good; 0 where unknown."""
    if want.place == REPLICAS:
        return 0  # the scale subresource keeps the owners of this in a way of its own
    times = [moment_of(entry.get("time")) for entry in owners_of(live, want)]
    return min((time for time in times if time), default=0)


def refutes_merge(live: Manifest | None, request: Request) -> Moment:
    """Return by which second a patch cannot have been a plain merge patch; 0 where it can.

    That would have replaced lists whole, and taken from them what a manager has to this day
    and has had since that second.
    """
    body = request.body
    if request.verb != "patch" or request.subresource or not isinstance(body, dict):
        return 0
    times = [
        at
        for entry in entries_of(live)
        if (at := moment_of(entry.get("time"))) // SECOND < request.received // SECOND
        and at
        and _loses(entry.get("fieldsV1"), body, in_list=False)
    ]
    return max(times, default=0)


def is_alone(request: Request, want: Want) -> bool:
    """Tell whether a patch sets this field and mentions nothing else but what names its items."""
    if request.verb != "patch" or request.subresource or request.mutated or request.webhooks:
        return False
    if not request.finished or not want.present or want.member:
        return False
    node = request.body
    if isinstance(node, list):
        pointer = "".join(f"/{str(s).replace('~', '~0').replace('/', '~1')}" for s in want.place)
        changes = [o for o in node if isinstance(o, dict) and o.get("op") != "test"]
        return len(changes) == 1 and changes[0].get("path") == pointer
    for step in want.place:
        if isinstance(node, list):
            if len(node) != 1 or not isinstance(step, tuple) or not isinstance(node[0], dict):
                return False
            node = {k: v for k, v in node[0].items() if (k, v) not in step}
            continue
        if not isinstance(node, dict) or list(node) != [step]:
            return False
        node = node[step]
    return node is not None and not isinstance(node, dict | list)


def _loses(fields: Any, node: Any, *, in_list: bool) -> bool:
    """Tell whether a merge patch would take away something of a set of fields in a list."""
    if not isinstance(fields, dict):
        return False
    for mark, inside in fields.items():
        if mark == ".":
            continue
        there, part = _part(mark, node)
        if not there and in_list:
            return True
        if there and _loses(inside, part, in_list=in_list or isinstance(part, list)):
            return True
    return False


def _part(mark: str, node: Any) -> tuple[bool, Any]:
    """Return what a mark of managedFields names in a patch."""
    kind, _, text = mark.partition(":")
    if kind == "f":
        there = isinstance(node, dict) and text in node
        return there, node[text] if there else None
    if not isinstance(node, list):
        return False, None
    wanted = json.loads(text)
    if kind == "v":
        return wanted in node, wanted
    # The defaults of keys (a port's protocol) are not written in patches.
    found = [
        o for o in node if isinstance(o, dict) and all(o.get(k, v) == v for k, v in wanted.items())
    ]
    return bool(found), found[0] if found else None


def _reached(fields: Any, live: Any, want: Want) -> tuple[int, bool]:
    """Return how far a set of fields goes along a field's path, and whether it has the field.

    Two for each step, and one more where it has something there, but not the next step.
    """
    node = live
    place: tuple[Step, ...] = tuple(step for step in want.place if step != "(order)")
    for depth, step in enumerate(place):
        key = find_step(node, step)
        if key is None or not isinstance(fields, dict):
            return 2 * depth + 1, False
        node = node[key]
        mark = f"f:{key}" if isinstance(key, str) else _mark(fields, node)
        if mark not in fields:
            return 2 * depth + 1, False
        fields = fields[mark]
        if not fields:
            return 2 * depth + 2, True
    return 2 * len(place), not want.member or f"v:{json.dumps(want.value)}" in fields


def _mark(fields: Mapping[str, Any], item: Any) -> str:
    """Return how managedFields name an item of a list; "" for one that they do not have."""
    if not isinstance(item, dict):
        return "v:" + json.dumps(item)
    return next((m for m in _keyed(fields) if json.loads(m[2:]).items() <= item.items()), "")


def _keyed(fields: Mapping[str, Any]) -> Iterator[str]:
    return (mark for mark in fields if mark[:2] == "k:")
