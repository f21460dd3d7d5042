"""What is asked about each difference: which fields, with which values, of which object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.model import Difference, Drift, Plane
from opslib.drift.track import Track
from opslib.drift.wants import Want, is_builtin, leaves
from opslib.reconcile.diff import Step
from opslib.reconcile.fieldpath import FieldPath, parse_path, places, value_at

MOST_LEAVES = 64

FINALIZERS = ("metadata", "finalizers")


@dataclass(frozen=True)
class Case:
    """One difference: the track of its object, and the numbers of its wants in that track.

    ``wants`` are the parts of the present value; ``declared`` is the want of Git's value.
    """

    track: Track
    wants: tuple[int, ...] = ()
    declared: int | None = None

    @property
    def setters(self) -> tuple[Want, ...]:
        return tuple(self.track.wants[number] for number in self.wants)


def cases_of(drifts: Sequence[Drift], live: Mapping[ResourceKey, Manifest]) -> dict[int, Case]:
    """Return what is asked for each drift of an object of the cluster, by its number."""
    tracks: dict[ResourceKey, Track] = {}
    wants: dict[ResourceKey, list[Want]] = {}
    cases: dict[int, Case] = {}
    for number, drift in enumerate(drifts):
        if drift.plane not in {Plane.OBJECTS, Plane.SECRETS}:
            continue
        there = None if drift.difference is Difference.MISSING else live.get(drift.key)
        track = tracks.setdefault(drift.key, Track(drift.key, there))
        known = wants.setdefault(drift.key, [])
        first = len(known)
        known += _present(drift, there)
        last = len(known)
        known += _declared(drift, there)
        numbers = tuple(range(first, last))
        cases[number] = Case(track, numbers, last if len(known) > last else None)
    for key, track in tracks.items():
        track.wants = tuple(wants[key])
    return cases


def _present(drift: Drift, live: Manifest | None) -> list[Want]:
    """Return the parts of the value that the field has now."""
    if not drift.path:
        return []
    place = place_of(drift, live)
    if not place:
        return []
    if drift.difference is Difference.REMOVED or (drift.live is None and live is None):
        return [_want(drift, place, None)]
    found, value = value_at(live, place) if live else (False, None)
    if not found or drift.key.kind == "Secret":
        value = drift.live
    if value is None:
        return [_want(drift, place, None)]
    parts = [(place, value)] if _is_member(place) else list(leaves(value, place))
    if len(parts) > MOST_LEAVES:
        parts = [(place, value)]
    return [_want(drift, *part) for part in parts]


def _declared(drift: Drift, live: Manifest | None) -> list[Want]:
    place = place_of(drift, live) if drift.path else ()
    return [_want(drift, place, drift.declared)] if place else []


def _want(drift: Drift, place: tuple[Step, ...], value: Any) -> Want:
    member = _is_member(place)
    return Want(
        place[:2] if member else place,
        value is not None,
        value,
        member=member,
        secret=drift.key.kind == "Secret" and not drift.key.group,
        builtin=is_builtin(drift.key),
        api_version=drift.api_version,
    )


def _is_member(place: tuple[Step, ...]) -> bool:
    return place[:2] == FINALIZERS and len(place) == 3


def place_of(drift: Drift, live: Manifest | None) -> tuple[Step, ...]:
    """Return the steps of a drift's path, also of one that was read from JSON; () if unclear."""
    if drift.place:
        return drift.place
    try:
        path = parse_path(drift.path.removesuffix(" (order)"))
    except InputError:
        return ()
    order: tuple[Step, ...] = ("(order)",) if drift.path.endswith(" (order)") else ()
    found = places(live, path) if live else []
    return (*(found[0] if len(found) == 1 else _spelled(path)), *order)


def _spelled(path: FieldPath) -> tuple[Step, ...]:
    """Return the steps as the path spells them, for a field that is not there."""
    steps: list[Step] = []
    for step in path.steps:
        if isinstance(step, str):
            steps.append(step)
        elif step.number is not None:
            steps.append(step.number)
        elif step.keys:
            steps.append(tuple((k, int(v) if v.isdecimal() else v) for k, v in step.keys))
        else:
            return ()
    return tuple(steps)
