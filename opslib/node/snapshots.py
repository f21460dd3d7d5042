"""Snapshots read back: from files that machines or people wrote, so hostile like all input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from opslib.core.errors import InputError
from opslib.node.facts.snapshot import API_VERSION, SNAPSHOT, take
from opslib.node.model import Kept, Snapshot

MOST_BYTES, MOST_KEYS = 32 << 20, 200_000
_LINE = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:')
_KIND = re.compile(rf'"kind"\s*:\s*"{SNAPSHOT}"')
_EXPECTED = "a snapshot of opslib node facts"


def this_machine(root: str = "/", name: str = "", pool: str = "") -> Snapshot:
    """Read the machine, or an image below ``root``, now."""
    return _made(take(root, name, pool), "", {})


def read_snapshot(text: str, path: str) -> Snapshot:
    """Read a snapshot. Raises InputError with the file, and the line where one is known."""
    if len(text) > MOST_BYTES:
        raise InputError(f"the snapshot is larger than {MOST_BYTES} bytes", where=path)
    try:
        found = json.loads(text)
    except RecursionError:
        raise InputError("the snapshot is nested too deeply", where=path) from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise InputError(
            "the snapshot is cut off or no JSON", where=f"{path}:{line}", expected=_EXPECTED
        ) from None
    problem = _wrong(found)
    if problem:
        raise InputError(problem, where=path, expected=_EXPECTED)
    return _made(found, path, _lines(text))


def is_snapshot(text: str) -> bool:
    """Tell whether a text means to be a snapshot."""
    return _KIND.search(text) is not None


def _wrong(found: Any) -> str:
    """Say what keeps a JSON value from being a snapshot; "" where nothing does."""
    if not isinstance(found, dict) or found.get("kind") != SNAPSHOT:
        return f"this is no {SNAPSHOT}"
    if found.get("apiVersion") != API_VERSION:
        return f"this snapshot is of another version: {str(found.get('apiVersion'))[:40]}"
    about = found.get("metadata")
    if not isinstance(about, dict) or not isinstance(about.get("name"), str) or not about["name"]:
        return "the snapshot names no node"
    for section in ("running", "unreadable"):
        if not _texts(found.get(section)):
            return f"{section} is no mapping of texts"
    return "" if _kept(found.get("persisted")) else "persisted is no mapping of [value, file]"


def _texts(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and len(found) <= MOST_KEYS
        and all(key and isinstance(value, str) for key, value in found.items())
    )


def _kept(found: Any) -> bool:
    return isinstance(found, dict) and all(key and _row(one) for key, one in found.items())


def _row(one: Any) -> bool:
    return (
        isinstance(one, list) and len(one) in {2, 3} and all(isinstance(word, str) for word in one)
    )


def _made(found: Mapping[str, Any], path: str, lines: dict[tuple[str, str], int]) -> Snapshot:
    notes = found.get("notes")
    return Snapshot(
        name=str(found["metadata"]["name"]),
        pool=str(found["metadata"].get("pool") or ""),
        running=found["running"],
        persisted={
            key: Kept(one[0], one[1], len(one) > 2) for key, one in found["persisted"].items()
        },
        unreadable=found["unreadable"],
        notes=tuple(str(one) for one in notes) if isinstance(notes, list) else (),
        path=path,
        lines=lines,
    )


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each key by section, where the text has a line per key."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.match(line)
        if not match:
            continue
        try:
            key = json.loads(match[1])
        except ValueError:
            continue
        if line.rstrip().endswith("{") and key in {"running", "persisted", "unreadable"}:
            section = key
        elif section:
            found.setdefault((section, key), number)
    return found
