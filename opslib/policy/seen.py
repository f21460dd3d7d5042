"""What a rule hands to the engine, and careful steps through JSON that may have any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opslib.core.model import Resource
from opslib.policy.model import Severity


@dataclass(frozen=True)
class Seen:
    """Something a rule saw: on which object, in which field (a JSON pointer), and what to do.

    ``at_most`` caps the severity, for guesses. ``why`` replaces the rule's own reason.
    """

    resource: Resource
    field: str
    message: str
    fix: str
    at_most: Severity = "error"
    why: str = ""


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return a list, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def pointer(*steps: object) -> str:
    """Join steps to a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
