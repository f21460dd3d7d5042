"""Counts requests where they arrive: in the audit log of the API server.

Discovery and /version are not on it (see opslib/sandbox/audit-policy.yaml).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def requests(log: Path, agent: str, work: Callable[[], Any]) -> dict[str, int]:
    """Do the work, and count by verb and resource what came from clients named ``agent…``.

    The log is rotated: all its files that were written to since are read.
    """
    started = datetime.now(UTC)
    work()
    found: Counter[str] = Counter()
    for file in log.parent.glob(f"{log.stem}*{log.suffix}"):
        if file.stat().st_mtime < started.timestamp():
            continue
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if f'"userAgent":"{agent}' not in line:
                    continue
                entry = json.loads(line)
                at = datetime.fromisoformat(entry["requestReceivedTimestamp"])
                if at >= started and entry.get("userAgent", "").startswith(agent):
                    found[_name(entry)] += 1
    return dict(sorted(found.items()))


def _name(entry: dict[str, Any]) -> str:
    resource = (entry.get("objectRef") or {}).get("resource", entry["requestURI"])
    dry = " (dry run)" if "dryRun=All" in entry["requestURI"] else ""
    return f"{entry['verb']} {resource}{dry}"
