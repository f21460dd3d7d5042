"""Values that are too large to be shown are told by their size."""

from __future__ import annotations

from typing import Any

from opslib.core.hashes import canonical_json

MOST_BYTES = 256 * 1024
"""A value beyond is said by its size only: a review may hold thousands."""


def bounded(value: Any) -> Any:
    """Return a JSON value, or what is said of one that is too large."""
    if value is None or isinstance(value, bool | int | float):
        return value
    size = len(value) if isinstance(value, str) else len(canonical_json(value))
    return value if size <= MOST_BYTES else f"<{size} bytes: too large to be shown>"
