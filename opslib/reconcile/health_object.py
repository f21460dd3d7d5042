"""A live object as the health rules read it: tolerant of what is missing or misshapen."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from opslib.core.clock import parse_stamp
from opslib.core.model import Manifest, group_of

_HPA_V1 = "autoscaling.alpha.kubernetes.io/conditions"


class Health(StrEnum):
    """The states of kstatus."""

    IN_PROGRESS = "InProgress"
    CURRENT = "Current"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Assessment:
    """The health of one object, or of many, and one sentence that explains it."""

    health: Health
    message: str


@dataclass(frozen=True)
class Condition:
    """One entry of status.conditions."""

    kind: str
    status: str
    reason: str
    message: str
    changed: str
    observed: int | None
    severity: str = ""

    @property
    def true(self) -> bool:
        return self.status == "True"

    @property
    def false(self) -> bool:
        return self.status == "False"

    @property
    def text(self) -> str:
        """The condition's message on one line, or its reason, or its name and status."""
        said = " ".join(self.message.split())
        return said or self.reason or f"{self.kind} is {self.status or 'not set'}"


@dataclass(frozen=True)
class Look:
    """One object at one moment."""

    live: Manifest
    at: datetime

    @cached_property
    def metadata(self) -> dict[str, Any]:
        return _mapping(self.live.get("metadata"))

    @cached_property
    def spec(self) -> dict[str, Any]:
        return _mapping(self.live.get("spec"))

    @cached_property
    def status(self) -> dict[str, Any]:
        return _mapping(self.live.get("status"))

    @property
    def kind(self) -> str:
        return str(self.live.get("kind", ""))

    @property
    def group(self) -> str:
        return group_of(str(self.live.get("apiVersion", "")))

    @property
    def generation(self) -> int:
        return _int(self.metadata.get("generation")) or 0

    @property
    def observed(self) -> int | None:
        """The generation that the controller has seen; None where that is not said in numbers."""
        return _int(self.status.get("observedGeneration"))

    @cached_property
    def _all_conditions(self) -> tuple[Condition, ...]:
        entries = self.status.get("conditions")
        note = self.metadata.get("annotations") or {}
        if entries is None and _HPA_V1 in note:
            with contextlib.suppress(ValueError):
                entries = json.loads(note[_HPA_V1])
        return read_conditions(entries)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Conditions at the usual place, those of an older generation left out."""
        return tuple(c for c in self._all_conditions if not self.stale(c))

    @cached_property
    def stale_conditions(self) -> tuple[Condition, ...]:
        return tuple(c for c in self._all_conditions if self.stale(c))

    def stale(self, condition: Condition) -> bool:
        """Whether a condition speaks of an older generation of the object."""
        return condition.observed is not None and condition.observed < self.generation

    def condition(self, *kinds: str) -> Condition | None:
        """Return the first condition of these types."""
        return next((c for kind in kinds for c in self.conditions if c.kind == kind), None)

    def number(self, field: str, default: int = 0) -> int:
        """Return a count of the status."""
        found = _int(self.status.get(field))
        return default if found is None else found

    def text(self, field: str) -> str:
        """Return a text of the status, "" where it has none."""
        found = self.status.get(field)
        return found.strip() if isinstance(found, str) else ""

    @property
    def age(self) -> float | None:
        """Seconds since the object was created; None where that is not known."""
        return _seconds(self.metadata.get("creationTimestamp"), self.at)

    def since(self, condition: Condition) -> float:
        """Seconds since a condition changed; without end where that is not known."""
        found = _seconds(condition.changed, self.at)
        return float("inf") if found is None else found


def read_conditions(entries: Any) -> tuple[Condition, ...]:
    """Read a list of conditions, or a mapping of them by type, leaving out what is neither."""
    if isinstance(entries, dict):
        entries = [{"type": k, **v} for k, v in entries.items() if isinstance(v, dict)]
    if not isinstance(entries, list):
        return ()
    return tuple(_condition(e) for e in entries if isinstance(e, dict) and e.get("type"))


def _condition(entry: dict[str, Any]) -> Condition:
    status = "" if entry.get("status") is None else str(entry["status"])
    # The API says True; some controllers say true.
    if status.lower() in {"true", "false", "unknown"}:
        status = status.capitalize()
    return Condition(
        str(entry["type"]),
        status,
        str(entry.get("reason") or ""),
        str(entry.get("message") or ""),
        str(entry.get("lastTransitionTime") or ""),
        _int(entry.get("observedGeneration")),
        str(entry.get("severity") or ""),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _seconds(value: Any, at: datetime) -> float | None:
    if isinstance(value, datetime):
        value = value.isoformat()
    if not isinstance(value, str) or not value:
        return None
    with contextlib.suppress(ValueError):
        return (at - parse_stamp(value)).total_seconds()
    return None
