"""The objects that are asked about, and one pass over the audit log that fills in their writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opslib.drift.audit import AuditSource, Coverage, Scan
from opslib.drift.request import WRITES, Request, request_of
from opslib.drift.track import MOST_LABELS, Track, generated_as, names_it

_NAMESPACES = "namespaces"


class Replay:
    """The tracks of all objects that are asked about, filled by one pass over a log."""

    def __init__(self, tracks: Mapping[tuple[str, str, str, str], Track]) -> None:
        self._tracks = tracks
        self._by_kind: dict[tuple[str, str], list[Track]] = defaultdict(list)
        self._by_namespace: dict[str, list[Track]] = defaultdict(list)
        for (group, plural, namespace, _), track in tracks.items():
            if track.live is None:
                self._by_namespace[namespace].append(track)
            if track.live is None or track.generated:
                self._by_kind[group, plural].append(track)

    def read(
        self, source: AuditSource, keep: Callable[[Mapping[str, Any]], None] | None = None
    ) -> Coverage:
        """Read a log to its end; return what it covers. ``keep`` gets each event that counts."""
        scan = Scan(source)
        for event in scan.events():
            what = event.get("objectRef")
            if event.get("verb") in WRITES and isinstance(what, dict) and self._concerns(what):
                request = request_of(event)
                if request is not None:
                    self.add(request)
                    if keep is not None:
                        keep(event)
        for track in self._tracks.values():
            track.settle(scan.coverage.gaps)
        return scan.coverage

    def _concerns(self, what: Mapping[str, Any]) -> bool:
        """Tell whether a reference may be to one of the objects, or to what one is in."""
        group, resource = what.get("apiGroup") or "", what.get("resource")
        name, namespace = what.get("name") or "", what.get("namespace") or ""
        if not name:
            return (group, resource) in self._by_kind
        if resource == _NAMESPACES and not group:
            return name in self._by_namespace or (group, resource, "", name) in self._tracks
        return (group, resource, namespace, name) in self._tracks

    def add(self, request: Request) -> None:
        """Note one write."""
        if request.verb == "deletecollection":
            self._collection(request)
            return
        whole = request.resource == _NAMESPACES and not request.group
        namespace = "" if whole else request.namespace
        track = self._tracks.get((request.group, request.resource, namespace, request.name))
        if track is not None:
            track.add(request)
        elif request.verb == "create" and not request.name:
            self._generated(request)
        if whole and request.verb == "delete" and request.name:
            for one in self._by_namespace.get(request.name, ()):
                one.add_cascade(request, f"with its namespace {request.name}", sure=True)

    def _collection(self, request: Request) -> None:
        for track in self._by_kind.get((request.group, request.resource), ()):
            if track.live is None and request.namespace in {"", track.key.namespace}:
                wanted = names_it(request.query, track.key.name)
                if wanted is not False and len(track.collections) < MOST_LABELS:
                    track.collections.append(request)

    def _generated(self, request: Request) -> None:
        prefix = generated_as(request)
        for track in self._by_kind.get((request.group, request.resource), ()):
            here = track.generated and request.namespace == track.key.namespace
            if here and prefix in {None, track.generated}:
                track.add(request)


def tracks_named(tracks: Iterable[Track], plural: Any) -> dict[tuple[str, str, str, str], Track]:
    """Index tracks by what an audit event calls their objects."""
    return {
        (one.key.group, plural(one.key), one.key.namespace, one.key.name): one for one in tracks
    }
