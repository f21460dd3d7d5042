"""Which objects of an app moved since they were last looked at, told by watches.

One watch for each kind and namespace, cluster-wide where a kind is in many namespaces. What
is kept is names: of all objects that are followed, and of those that moved. Who looks takes
the names first and reads the objects then, so that nothing that happens meanwhile is lost.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opslib.core.errors import OpslibError
from opslib.core.model import ResourceKey
from opslib.kube.client import Cluster
from opslib.kube.cut import Cut
from opslib.kube.discovery import Kind
from opslib.kube.watch import Event, changes

NAMESPACES = 3
"""A kind in more namespaces than so many is watched in all of the cluster by one watch."""

Named = Mapping[tuple[str, str], ResourceKey]


@dataclass(frozen=True)
class _Place:
    """What one watch is on: a collection, or one object of it where ``name`` is set."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.kind} in {self.namespace}" if self.namespace else self.kind.kind


class Follower:
    """Follows objects by watches in threads of their own, which end with ``close``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._watches: dict[_Place, _Watch] = {}
        self._known: frozenset[ResourceKey] = frozenset()
        self._moved: set[ResourceKey] = set()

    def follow(self, wanted: Mapping[ResourceKey, Kind]) -> None:
        """Follow these objects and no others; one that was not followed yet counts as moved.

        A watch that ended by an error is tried again.
        """
        places = _places(wanted)
        for place in [p for p, w in self._watches.items() if p not in places or w.error]:
            self._watches.pop(place).end()
        kept = {key for place in self._watches for key in places[place].values()}
        with self._lock:
            # What a new watch is on moves when it begins.
            self._moved = (self._moved & wanted.keys()) | (kept - self._known)
            self._known = frozenset(wanted)
        for place, named in places.items():
            if place in self._watches:
                self._watches[place].named = named
            else:
                self._watches[place] = _Watch(self, self._cluster, place, named)

    def take(self) -> frozenset[ResourceKey]:
        """Return what moved since it was last taken; to be called before the objects are read."""
        with self._lock:
            moved, self._moved = frozenset(self._moved), set()
        return moved

    def moved(self, keys: Iterable[ResourceKey]) -> None:
        """Note that these objects have to be looked at (again)."""
        with self._lock:
            self._moved |= self._known & frozenset(keys)

    @property
    def stirred(self) -> bool:
        """Whether anything moved."""
        return bool(self._moved)

    @property
    def sound(self) -> bool:
        """Whether nothing can have moved unseen: each watch has begun and none has ended."""
        return bool(self._watches) and all(w.begun and not w.error for w in self._watches.values())

    @property
    def broken(self) -> tuple[str, ...]:
        """What cannot be watched, and why, one line each."""
        found = [f"{p}: {w.error}" for p, w in self._watches.items() if w.error]
        return tuple(sorted(found))

    def close(self) -> None:
        """End all watches; what moved until now stays known."""
        for watch in self._watches.values():
            watch.cut.end()
        for watch in self._watches.values():
            watch.end()
        self._watches.clear()


class _Watch:
    """One watch in a thread."""

    def __init__(self, follower: Follower, cluster: Cluster, place: _Place, named: Named) -> None:
        self.named = named
        self.begun = False
        self.error = ""
        self.cut = Cut()
        self._follower = follower
        self._cluster = cluster
        self._place = place
        self._thread = threading.Thread(target=self._run, name=f"watch {place}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread; it is gone soon, and reports nothing any more."""
        self.cut.end()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            self._read()
        except OpslibError as error:
            self.error = error.what
        except (KeyError, TypeError, ValueError):
            self.error = "the server sent what is no event of a watch"
        finally:
            # Whatever ended it: a watch that is no more must not pass for a quiet one.
            self.error = self.error or "it ended"

    def _read(self) -> None:
        place = self._place
        query = {"fieldSelector": f"metadata.name={place.name}"} if place.name else None
        path = place.kind.path(place.namespace)
        for event in changes(self._cluster, path, query=query, cut=self.cut):
            if self.cut.done.is_set():
                return
            if event is None:
                # What happened before the watch began, or during a gap, was not seen.
                self._follower.moved(self.named.values())
                self.begun = True
            elif key := self.named.get(_name(event)):
                self._follower.moved([key])


def _name(event: Event) -> tuple[str, str]:
    metadata = event.object["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])


def _places(wanted: Mapping[ResourceKey, Kind]) -> dict[_Place, Named]:
    """Say which watches see all these objects, and what each is asked about."""
    kinds: dict[Kind, dict[str, list[ResourceKey]]] = defaultdict(lambda: defaultdict(list))
    for key, kind in wanted.items():
        kinds[kind][key.namespace].append(key)
    places: dict[_Place, Named] = {}
    for kind, spaces in kinds.items():
        if len(spaces) > NAMESPACES:
            spaces = {"": [key for keys in spaces.values() for key in keys]}  # noqa: PLW2901
        for namespace, keys in spaces.items():
            # The name is part of the place, so that a second object makes a new watch.
            name = keys[0].name if len(keys) == 1 else ""
            places[_Place(kind, namespace, name)] = {(k.namespace, k.name): k for k in keys}
    return places
