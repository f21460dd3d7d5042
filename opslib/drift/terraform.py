"""The plane of infrastructure: what Terraform found changed outside of it, from a plan's JSON.

``terraform plan -out=FILE`` and ``terraform show -json FILE`` (or ``tofu``) write it; its list
``resource_drift`` is what a refresh found
(https://developer.hashicorp.com/terraform/internals/json-format#plan-representation).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.core.model import ResourceKey
from opslib.drift.model import Difference, Drift, Plane, Unread
from opslib.drift.planes import Looked
from opslib.reconcile.diff import differences as parts
from opslib.reconcile.diff import find_step, show
from opslib.reconcile.fieldpath import Place
from opslib.reconcile.mask import token

GROUP = "terraform"
MOST_BYTES = 256 * 1024 * 1024
_MAJOR = "1"
Sides = tuple[tuple[Any, Any], tuple[Any, Any]]
"""Before and after: the values, and the marks of which of them are sensitive."""
_HOW = "terraform plan -out=FILE, then terraform show -json FILE"


@dataclass(frozen=True)
class Infrastructure:
    """What a plan of Terraform says that changed in the cloud; ``path`` is for messages."""

    plan: Mapping[str, Any]
    path: str = ""
    name: str = "infrastructure"

    def drifts(self) -> Looked:
        """Return one difference for each attribute that is not as Terraform left it."""
        found: list[Drift] = []
        for row in self.plan.get("resource_drift") or ():
            found += _resource(row)
        unread = []
        if self.plan.get("errored"):
            text = "the plan ended with an error: what it had not refreshed yet is not seen"
            unread.append(Unread("infrastructure", text))
        return tuple(found), tuple(unread)


def infrastructure_of(path: Path) -> Infrastructure:
    """Read a plan's JSON; InputError for what is none.

    A saved plan itself is no JSON, and the streamed log of ``plan -json`` is no plan.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError("this plan is too large to read", where=str(path))
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"the plan cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError):
        raise InputError("this is no JSON document", where=str(path), expected=_HOW) from None
    version = document.get("format_version") if isinstance(document, dict) else None
    if not isinstance(version, str) or "terraform_version" not in document:
        raise InputError("this is no plan of Terraform in JSON", where=str(path), expected=_HOW)
    if version.partition(".")[0] != _MAJOR:
        raise InputError(
            f"a plan of format {version[:20]} cannot be read", where=str(path), expected="format 1"
        )
    return Infrastructure(document, str(path))


def _resource(row: Mapping[str, Any]) -> Iterator[Drift]:
    if row.get("mode", "managed") != "managed":
        return
    change = row.get("change") or {}
    actions = set(change.get("actions") or ())
    before, after = change.get("before"), change.get("after")
    key = _key(row)
    note = f"{row.get('address', '')} ({str(row.get('provider_name', '')).rpartition('/')[2]})"
    sides = ((before, change.get("before_sensitive")), (after, change.get("after_sensitive")))
    if after is None or actions == {"delete"}:
        shell = Drift(Plane.INFRASTRUCTURE, Difference.MISSING, key, note=note)
        yield replace(shell, declared=_masked(before, sides, ()))
        return
    if before is None:
        shell = Drift(Plane.INFRASTRUCTURE, Difference.EXTRA, key, note=note)
        yield replace(shell, live=_masked(after, sides, ()))
        return
    for place, old, new in parts(before, after):
        kind = Difference.CHANGED
        if old is None:
            kind = Difference.ADDED
        elif new is None:
            kind = Difference.REMOVED
        yield Drift(
            Plane.INFRASTRUCTURE,
            kind,
            key,
            show(place),
            _masked(old, sides, place),
            _masked(new, sides, place),
            place=place,
            note=note,
        )


def _key(row: Mapping[str, Any]) -> ResourceKey:
    index = row.get("index")
    mark = "" if index is None else f"[{json.dumps(index)}]"
    deposed = f" (deposed {row['deposed']})" if row.get("deposed") else ""
    name = f"{row.get('name', '')}{mark}{deposed}"
    return ResourceKey(GROUP, str(row.get("type", "")), str(row.get("module_address") or ""), name)


def _masked(value: Any, sides: Sides, place: Place) -> Any:
    """Return a value with tokens for what either side calls sensitive.

    A set of marks is true for all that is below it, and has the form of the value else.
    """
    return None if value is None else _hidden(value, [_marks(*side, place) for side in sides])


def _marks(node: Any, marks: Any, place: Place) -> Any:
    """Return what a side's marks say of a place; nothing where the side does not have it."""
    for step in place:
        if marks is True:
            return True
        key = find_step(node, step)
        marks = None if key is None else _below(marks, key)
        node = None if key is None else node[key]
    return marks


def _below(marks: Any, key: Any) -> Any:
    if isinstance(marks, dict):
        return marks.get(key)
    if isinstance(marks, list) and isinstance(key, int) and key < len(marks):
        return marks[key]
    return None


def _hidden(value: Any, marks: list[Any]) -> Any:
    if any(one is True for one in marks):
        return token(value)
    if isinstance(value, dict):
        return {key: _hidden(one, [_below(m, key) for m in marks]) for key, one in value.items()}
    if isinstance(value, list):
        return [_hidden(one, [_below(m, i) for m in marks]) for i, one in enumerate(value)]
    return value
