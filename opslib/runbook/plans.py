"""Plans inside a record, compared object by object and field by field.

A plan is what ``Plan.as_dict`` gives, or anything of its form: an object with a list of
changes, each with kind, name, action and fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.runbook.difference import Difference, differs, shown
from opslib.runbook.reading import objects_of

CHANGES = "changes"
_COMMIT = "opslib.dev/commit"
"""The annotation that each object gets from every commit: the revision says the same, once."""


@dataclass(frozen=True)
class Planned:
    """One object of a plan: what is done to it, and each field before and after as text."""

    action: str
    fields: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} of {len(self.fields)} fields" if self.fields else self.action


def is_plan(value: Any) -> bool:
    """Tell whether a JSON object is a plan."""
    changes = value.get(CHANGES) if isinstance(value, dict) else None
    return isinstance(changes, list) and all(
        isinstance(one, dict) and isinstance(one.get("kind"), str) and "name" in one
        for one in changes
    )


def find(*documents: Any) -> dict[str, Planned]:
    """Return all planned objects in the documents by name."""
    found: dict[str, Planned] = {}
    for one in objects_of(*documents):
        if is_plan(one):
            for change in one[CHANGES]:
                found[_name(change)] = Planned(str(change.get("action", "")), _fields(change))
    return found


def _name(change: Mapping[str, Any]) -> str:
    group = f".{change['group']}" if change.get("group") else ""
    namespace = f"{change['namespace']}/" if change.get("namespace") else ""
    return f"{change['kind']}{group} {namespace}{change['name']}"


def _fields(change: Mapping[str, Any]) -> dict[str, str]:
    rows = change.get("fields")
    listed = [one for one in (rows if isinstance(rows, list) else []) if isinstance(one, dict)]
    return {
        str(one.get("path")): f"{shown(one.get('before'))} to {shown(one.get('after'))}"
        for one in listed
        if _COMMIT not in str(one.get("path"))
    }


def differences(one: Mapping[str, Planned], two: Mapping[str, Planned]) -> Iterator[Difference]:
    """Yield objects and fields that only one plan has or that both change in another way."""
    for name in dict.fromkeys([*one, *two]):
        left, right = one.get(name), two.get(name)
        if left is None or right is None:
            yield Difference("plan", name, left and str(left), right and str(right))
            continue
        if left.action != right.action:
            yield Difference("plan", name, left.action, right.action)
        for path in dict.fromkeys([*left.fields, *right.fields]):
            pair = left.fields.get(path), right.fields.get(path)
            if pair[0] != pair[1]:
                yield differs("plan", f"{name}, {path}", pair)


def without(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report without its plans, which are compared by themselves."""
    return {
        key: {k: v for k, v in value.items() if k != CHANGES} if is_plan(value) else value
        for key, value in report.items()
        if not (key == CHANGES and is_plan(report))
    }
