"""The audit events that are about the objects of some differences: evidence for a ticket."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.attribute import Kinds, plurals
from opslib.drift.audit import AuditSource
from opslib.drift.cases import cases_of
from opslib.drift.model import Drift
from opslib.drift.replay import Replay, tracks_named

MOST = 5000
"""Events that are returned: the newest."""

_BODIES = frozenset({"requestObject", "responseObject", "annotations"})


def entries(
    drifts: Sequence[Drift],
    live: Mapping[ResourceKey, Manifest],
    log: AuditSource | str | Path | Sequence[str] | None,
    *,
    kinds: Kinds = None,
    most: int = MOST,
) -> list[dict[str, Any]]:
    """Return the writes to the objects of drifts, as the log has them; none without a log.

    Of Secrets no bodies are returned, whatever the log has.
    """
    source = AuditSource.of(log)
    found: deque[dict[str, Any]] = deque(maxlen=most)
    tracks = {case.track.key: case.track for case in cases_of(drifts, live).values()}
    if source is not None and tracks:
        replay = Replay(tracks_named(tracks.values(), plurals(kinds)))
        replay.read(source, keep=lambda event: found.append(_shown(event)))
    return list(found)


def _shown(event: Mapping[str, Any]) -> dict[str, Any]:
    secret = (event.get("objectRef") or {}).get("resource") == "secrets"
    return {k: v for k, v in event.items() if not (secret and k in _BODIES)}
