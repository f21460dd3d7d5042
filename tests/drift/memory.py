"""A tree of files in memory, and drifts as a plan would tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opslib.core.model import ResourceKey, key_of
from opslib.drift.model import Difference, Drift, Plane
from opslib.reconcile.diff import comparable, differences, show


class Files:
    """Files by their path."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {path: text.encode() for path, text in files.items()}

    def files(self, path: str) -> list[str]:
        """Return the files below a folder."""
        prefix = f"{path}/" if path else ""
        return sorted(name for name in self._files if name.startswith(prefix))

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of files."""
        return {path: self._files[path] for path in paths}

    def with_changes(self, changes: Mapping[str, bytes | None]) -> Files:
        """Return the files as they are after a commit."""
        new = Files({})
        kept = {path: data for path, data in self._files.items() if path not in changes}
        new._files = kept | {path: data for path, data in changes.items() if data is not None}
        return new


def drifts_of(declared: dict[str, Any], live: dict[str, Any]) -> list[Drift]:
    """Return what a review tells of a live object that is not as it was declared."""
    found = []
    for place, old, new in differences(comparable(live), comparable(declared)):
        kind = Difference.CHANGED
        if old is None:
            kind = Difference.REMOVED
        elif new is None:
            kind = Difference.ADDED
        found.append(
            Drift(
                Plane.OBJECTS,
                kind,
                key_of(declared),
                show(place),
                new,
                old,
                api_version=declared["apiVersion"],
                place=place,
            )
        )
    return found


def whole(kind: Difference, key: ResourceKey, live: Any = None, declared: Any = None) -> Drift:
    """Return a drift of a whole object."""
    return Drift(Plane.OBJECTS, kind, key, "", declared, live, api_version="v1")
