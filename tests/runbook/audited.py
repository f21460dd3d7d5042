"""Counts what opslib asked of the API server, where it arrives: in the server's audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auditlog import lines


def entries(log: Path, since: datetime) -> Iterator[dict[str, Any]]:
    """Yield the entries of opslib's clients since a time."""
    for line in lines(log, since.timestamp()):
        if b'"userAgent":"opslib"' in line:
            entry = json.loads(line)
            if datetime.fromisoformat(entry["requestReceivedTimestamp"]) >= since:
                yield entry


def requests(log: Path, work: Callable[[], object]) -> dict[str, int]:
    """Do the work, and count the requests that it made by verb and resource."""
    since = datetime.now(UTC)
    work()
    found: Counter[str] = Counter()
    for entry in entries(log, since):
        resource = (entry.get("objectRef") or {}).get("resource", entry["requestURI"])
        dry = " (dry run)" if "dryRun=All" in entry["requestURI"] else ""
        found[f"{entry['verb']} {resource}{dry}"] += 1
    return dict(sorted(found.items()))


def writes(found: dict[str, int]) -> dict[str, int]:
    """Return those that change something."""
    verbs = ("create", "update", "patch", "delete")
    return {k: n for k, n in found.items() if k.startswith(verbs) and "(dry run)" not in k}
