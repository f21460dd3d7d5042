"""Proof, from a list alone, that an apply would change nothing.

Server-side apply computes an object from the live one, the fields that this manager owned,
and the fields that it declares now. Where the two sets of fields are the same and each
declared value is the live one, the result is the live object
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management). The
live object says both: its managedFields hold the set in the form fieldsV1, which also tells
lists that merge by keys from those that are one value. Whatever is not provably the same is
left to a dry run: False means "not known", never "changed".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opslib.core.model import Manifest
from opslib.reconcile.quantity import canonical

_SELF = "."

_QUANTITY_PARENTS = frozenset(
    {
        "limits",
        "requests",
        "hard",
        "capacity",
        "default",
        "defaultRequest",
        "max",
        "min",
    }
)
"""Maps of resource.Quantity in the API's own types, which the server stores in normal form."""

_QUANTITY_KINDS = frozenset(
    {
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("batch/v1", "CronJob"),
        ("batch/v1", "Job"),
        ("v1", "LimitRange"),
        ("v1", "PersistentVolume"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "Pod"),
        ("v1", "ReplicationController"),
        ("v1", "ResourceQuota"),
    }
)

_KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys of list items that Git may leave out
(https://kubernetes.io/docs/reference/kubernetes-api/, ContainerPort and ServicePort)."""


def unchanged(live: Manifest, body: Manifest, manager: str) -> bool:
    """Tell whether applying ``body`` as ``manager`` provably leaves ``live`` as it is.

    ``body`` is what would be sent, without uid and resourceVersion; both are of one kind
    and one API version.
    """
    fields = _owned(live, body, manager)
    if fields is None or live["metadata"].get("deletionTimestamp"):
        return False
    declared = {key: value for key, value in body.items() if key not in {"apiVersion", "kind"}}
    metadata = {k: v for k, v in body["metadata"].items() if k not in {"name", "namespace"}}
    if metadata:
        declared["metadata"] = metadata
    else:
        del declared["metadata"]
    typed = (str(body["apiVersion"]), str(body["kind"])) in _QUANTITY_KINDS
    return _Walk(typed).mapping(fields, declared, live)


def _owned(live: Manifest, body: Manifest, manager: str) -> Mapping[str, Any] | None:
    """Return the fields of this manager's one Apply entry, if it is in the body's version."""
    mine = [
        entry
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    ]
    if len(mine) != 1 or mine[0].get("apiVersion") != body["apiVersion"]:
        return None
    fields = mine[0].get("fieldsV1")
    return fields if isinstance(fields, dict) and fields else None


class _Walk:
    """Goes down a set of fields, the declared value and the live one, side by side."""

    def __init__(self, typed: bool) -> None:
        self._typed = typed

    def value(self, fields: Any, declared: Any, live: Any) -> bool:
        """Compare one field: a leaf of the set by its value, any other by its parts."""
        if not isinstance(fields, dict) or declared is None:
            return False
        parts = {key: part for key, part in fields.items() if key != _SELF}
        if not parts:
            return _identical(declared, live)
        if isinstance(declared, dict):
            return self.mapping(parts, declared, live)
        if isinstance(declared, list) and isinstance(live, list):
            marks = {key[:2] for key in parts}
            if marks == {"k:"}:
                return self._items(parts, declared, live)
            if marks == {"v:"}:
                return _members(parts, declared, live)
        return False

    def mapping(self, fields: Mapping[str, Any], declared: Mapping[str, Any], live: Any) -> bool:
        """Compare a mapping that is owned key by key."""
        if not isinstance(live, dict):
            return False
        names = {key for key in fields if key != _SELF}
        if names != {f"f:{key}" for key in declared}:
            return False
        return all(
            self._field(key, fields[f"f:{key}"], value, live) for key, value in declared.items()
        )

    def _field(self, key: str, fields: Any, declared: Any, live: Mapping[str, Any]) -> bool:
        if key not in live:
            # An empty map or list that the server left out when it was applied, as it will again.
            return declared in ({}, []) and fields == {}
        if self._quantities(key, declared):
            return _amounts(fields, declared, live[key])
        return self.value(fields, declared, live[key])

    def _items(self, parts: Mapping[str, Any], declared: list[Any], live: list[Any]) -> bool:
        """Compare a list that merges by keys: the same items, each the same, in the same order."""
        if len(parts) != len(declared):
            return False
        places: list[int] = []
        left = dict(parts)
        for item in declared:
            found = next((mark for mark in left if _named(mark, item)), None)
            if found is None:
                return False
            key = json.loads(found[2:])
            at = [index for index, one in enumerate(live) if _has(one, key)]
            if len(at) != 1 or not self.value(left.pop(found), item, live[at[0]]):
                return False
            places.append(at[0])
        return places == sorted(places)

    def _quantities(self, key: str, declared: Any) -> bool:
        return self._typed and key in _QUANTITY_PARENTS and isinstance(declared, dict)


def _amounts(fields: Any, declared: Mapping[str, Any], live: Any) -> bool:
    """Compare a map of quantities by the form in which the server keeps them."""
    if not isinstance(live, dict) or not isinstance(fields, dict):
        return False
    if {key for key in fields if key != _SELF} != {f"f:{key}" for key in declared}:
        return False
    return all(
        isinstance(live.get(key), str) and live[key] in {value, canonical(value)}
        for key, value in declared.items()
    )


def _identical(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1, and 1.0 is left to the server."""
    if type(one) is not type(other) or one is None:
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_identical(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_identical, one, other))
    return bool(one == other) and not isinstance(one, float)


def _named(mark: str, item: Any) -> bool:
    """Tell whether a mark such as ``k:{"name":"app"}`` names a declared item."""
    if not isinstance(item, dict):
        return False
    return all(
        _identical(item[key], value) if key in item else _KEY_DEFAULTS.get(key) == value
        for key, value in json.loads(mark[2:]).items()
    )


def _has(item: Any, key: Mapping[str, Any]) -> bool:
    return isinstance(item, dict) and all(
        _identical(item.get(name), value) for name, value in key.items()
    )


def _members(parts: Mapping[str, Any], declared: list[Any], live: list[Any]) -> bool:
    """Compare a set: all members declared, all there, in the same order."""
    if any(isinstance(one, dict | list | float) or one is None for one in (*declared, *live)):
        return False
    owned = {mark[2:] for mark in parts}
    wanted = [json.dumps(one, ensure_ascii=False) for one in declared]
    if len(set(wanted)) != len(wanted) or owned != set(wanted):
        return False
    there = [json.dumps(one, ensure_ascii=False) for one in live]
    places = [there.index(one) for one in wanted if one in there]
    return len(places) == len(wanted) and places == sorted(places)
