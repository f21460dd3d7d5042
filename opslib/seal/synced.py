"""What the controller says of a SealedSecret, in its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def seen(sealed: Mapping[str, Any]) -> bool:
    """Tell whether the controller has looked at the object's present generation."""
    status = sealed.get("status") or {}
    return bool(status.get("observedGeneration") == sealed.get("metadata", {}).get("generation"))


def said(sealed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the condition Synced of the present generation; {} while there is none."""
    rows = (sealed.get("status") or {}).get("conditions") or () if seen(sealed) else ()
    return next((one for one in rows if isinstance(one, dict) and one.get("type") == "Synced"), {})
