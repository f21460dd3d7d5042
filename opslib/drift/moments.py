"""Times of the API server as whole microseconds, so that they compare without doubt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Moment = int
"""Microseconds since 1970 in UTC; 0 where there is no time."""

SECOND: Moment = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(text: Any) -> Moment:
    """Read an RFC 3339 time; 0 for what is none."""
    if not isinstance(text, str) or not text:
        return 0
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    try:
        return (when - _EPOCH) // timedelta(microseconds=1)
    except OverflowError:
        return 0


def shown(moment: Moment) -> str:
    """Write a moment as RFC 3339 in UTC with whole seconds."""
    return (_EPOCH + timedelta(microseconds=moment)).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown_exactly(moment: Moment) -> str:
    """Write a moment as the API server writes times of events: with microseconds."""
    return (_EPOCH + timedelta(microseconds=moment)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
