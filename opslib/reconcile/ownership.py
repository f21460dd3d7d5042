"""Taking over the fields that kubectl's client-side apply owns, as kubectl itself does.

An object that was made by ``kubectl apply`` or ``kubectl create``, or whose managedFields
were wiped, has an owner for every field that no one speaks for any more: fields that Git
drops would stay for ever. Their entries become part of the app's own, and the next apply
removes what Git does not declare.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.model import Manifest

TAKEN = frozenset({"kubectl-client-side-apply", "before-first-apply"})
"""Managers whose Update entries are taken over: kubectl's own, and the one that the API server
makes up for an object without any (https://github.com/kubernetes/kubernetes/issues/99003)."""

_SELF = "."
Path = tuple[str, ...]


@dataclass(frozen=True)
class Takeover:
    """What taking over would do: from whom, which managedFields, and the object without the rest.

    ``after`` is what remains once the fields are removed that nobody declares any more.
    """

    managers: tuple[str, ...]
    managed_fields: list[dict[str, Any]]
    after: Manifest


def takeover(after: Manifest, manager: str, giver: str = "") -> Takeover | None:
    """Return what there is to take over in the outcome of a dry run; None where it is nothing.

    ``after`` is the object as server-side apply by ``manager`` would leave it. ``giver`` is the
    manager of the app that the object moves away from: it owns nothing of it afterwards.
    """
    entries = after["metadata"].get("managedFields") or []
    given = [o for o in entries if o["manager"] == giver and o["operation"] == "Apply"]
    stale = [*(one for one in entries if is_stale(one)), *given]
    mine = [o for o in entries if o["manager"] == manager and o["operation"] == "Apply"]
    if not stale or len(mine) != 1 or any(o["apiVersion"] != mine[0]["apiVersion"] for o in stale):
        return None
    kept = [one for one in entries if one not in stale]
    held = {path for one in kept for path in paths(one.get("fieldsV1") or {})}
    theirs = {path for one in stale for path in paths(one.get("fieldsV1") or {})}
    # A map that is named without its keys is the map itself, not what others have in it.
    around = {path[:depth] for path in held for depth in range(1, len(path))}
    left = copy.deepcopy(after)
    removed = [_remove(left, path) for path in sorted(theirs - held - around, key=_order)]
    if not any(removed) and not given:
        return None
    fields = mine[0]["fieldsV1"]
    for one in stale:
        fields = union(fields, one["fieldsV1"])
    managed = [{**one, "fieldsV1": fields} if one is mine[0] else one for one in kept]
    return Takeover(tuple(sorted({one["manager"] for one in stale})), managed, left)


def is_stale(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry of managedFields is one that is taken over."""
    return (
        entry.get("manager") in TAKEN
        and entry.get("operation") == "Update"
        and not entry.get("subresource")
    )


def paths(fields: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    """Yield each owned path of a fieldsV1 set; one that ends in "." is an item or map itself."""
    for key, part in fields.items():
        if key == _SELF or not part:
            yield (*above, key)
        else:
            yield from paths(part, (*above, key))


def union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return all fields of both sets."""
    keys = dict.fromkeys((*one, *other))
    return {key: union(one.get(key) or {}, other.get(key) or {}) for key in keys}


def _order(path: Path) -> tuple[bool, int]:
    """Whole items of lists first, while the fields that name them are there; then from below."""
    whole = path[-2] if path[-1] == _SELF and len(path) > 1 else path[-1]
    item = whole[:2] in {"k:", "v:"}
    return not item, len(path) if item else -len(path)


def _remove(root: Manifest, path: Path) -> bool:
    """Remove what a path names from the object; tell whether it was there."""
    node: Any = root
    whole = path[:-1] if path[-1] == _SELF else path
    for key in whole[:-1]:
        node = _step(node, key)
        if node is None:
            return False
    if not whole or (found := _step(node, whole[-1])) is None:
        return False
    if path[-1] == _SELF and whole[-1].startswith("f:") and found:
        return False  # a map that still has entries of others
    if isinstance(node, list):
        node.remove(found)
    else:
        del node[whole[-1][2:]]
    return True


def _step(node: Any, key: str) -> Any:
    """Go one step of a fieldsV1 path down an object; None where there is nothing."""
    if key.startswith("f:"):
        return node.get(key[2:]) if isinstance(node, dict) else None
    if not isinstance(node, list):
        return None
    wanted = json.loads(key[2:])
    if key.startswith("v:"):
        return wanted if wanted in node else None
    items = (one for one in node if isinstance(one, dict))
    return next((one for one in items if wanted.items() <= one.items()), None)
