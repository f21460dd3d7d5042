"""Make the drifts of a comparison: each with its place, both values, and where it is declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from opslib.core.model import Manifest
from opslib.drift.additions import Addition, beyond
from opslib.drift.ignoring import joined
from opslib.drift.model import Difference, Drift, Plane
from opslib.drift.weigh import Suspect, Weighed, is_wiped
from opslib.reconcile.app import COMMIT
from opslib.reconcile.desired import Target
from opslib.reconcile.diff import FieldChange, show
from opslib.reconcile.fieldpath import Place, value_at
from opslib.reconcile.judge import Prepared, with_commit
from opslib.reconcile.mask import masked
from opslib.reconcile.plan import Action, Change
from opslib.reconcile.quantity import canonical

_COMMIT_PLACE = ("metadata", "annotations", COMMIT)
_UNNAMED = "no manager is named for it"
"""A webhook may have set it once, or a scale; or somebody took away the entry that named him."""

_MAYBE_SCALED = "an autoscaler may have set it: these may not be read"
_GOING = ("metadata", "deletionTimestamp")

_SHORT = 200


class Teller:
    """Makes the drifts of one plan's objects; ``forbidden`` are paths that may not be read."""

    def __init__(self, prepared: Prepared, forbidden: Mapping[str, str]) -> None:
        self._prepared = prepared
        self._manager = prepared.app.manager
        self._forbidden = forbidden

    def body(self, target: Target, live: Manifest) -> Manifest:
        """Return the declaration of an object as it is sent."""
        optouts, manifest = self._prepared.optouts, target.resource.manifest
        adopted = optouts.adopt(target.key, manifest, live, self._manager)
        present = (live["metadata"].get("annotations") or {}).get(COMMIT)
        return with_commit(adopted, present or self._prepared.plan.revision.commit)

    def missing(self, target: Target, note: str = "") -> Drift:
        """Tell of an object that is gone."""
        drift = self._drift(target, Difference.MISSING)
        return replace(drift, declared=masked(target.resource.manifest), note=note)

    def going(self, target: Target, since: str) -> Drift:
        """Tell of an object that somebody deleted and that something holds."""
        drift = self._drift(target, Difference.ADDED, _GOING, live=since)
        return replace(drift, note="it is being deleted")

    def field(self, target: Target, change: Change, one: FieldChange) -> Drift:
        """Tell of a field that the plan would write."""
        kind = Difference.CHANGED
        if one.before is None:
            kind = Difference.REMOVED
        elif one.after is None:
            kind = Difference.ADDED
        drift = self._drift(target, kind, one.place, declared=one.after, live=one.before)
        origin = drift.origin and replace(drift.origin, line=one.line or drift.origin.line)
        note = change.reason if change.action is Action.REPLACE else self._scaled(one.place)
        version = change.resource_version or drift.resource_version
        return replace(drift, path=one.path, origin=origin, note=note, resource_version=version)

    def added(self, suspect: Suspect, one: Addition, note: str) -> Drift:
        """Tell of what a live object has beyond its twin."""
        declared = value_at(suspect.body, one.place)[0]
        kind = Difference.CHANGED if declared else Difference.ADDED
        value = one.usual if declared else None
        if not declared and one.usual is not None:
            note = joined(note, f"undisturbed it is {str(one.usual)[:_SHORT]}")
        if not one.owners and not is_wiped(suspect.live, self._manager):
            note = joined(note, _UNNAMED)
        note = joined(note, self._scaled(one.place))
        live = _shown(suspect.live, one)
        drift = self._drift(suspect.target, kind, one.place, declared=value, live=live)
        return replace(drift, note=note)

    def removed(self, weighed: Weighed) -> Iterator[Drift]:
        """Tell what Git declares and the object lacks, where no plan did."""
        suspect = weighed.suspect
        twin, body = weighed.twin or suspect.body, suspect.body
        for one in beyond(masked(twin), masked(suspect.live)):
            if not value_at(body, one.place)[0] or one.place == _COMMIT_PLACE:
                continue
            if one.usual is None:
                kind = Difference.REMOVED
            elif weighed.twin is None and not _alike(one.value, one.usual):
                kind = Difference.CHANGED
            else:
                continue  # told as a part of the live object
            yield self._drift(suspect.target, kind, one.place, declared=one.value, live=one.usual)

    def _scaled(self, place: Place) -> str:
        """Say that replicas may be an autoscaler's, where these may not be read."""
        if place != ("spec", "replicas"):
            return ""
        hidden = any(path.endswith("/horizontalpodautoscalers") for path in self._forbidden)
        return _MAYBE_SCALED if hidden else ""

    def _drift(
        self,
        target: Target,
        kind: Difference,
        place: Place = (),
        *,
        declared: Any = None,
        live: Any = None,
    ) -> Drift:
        resource = target.resource
        metadata = self._prepared.live.get(target.key, {}).get("metadata", {})
        return Drift(
            Plane.OBJECTS,
            kind,
            target.key,
            show(place),
            declared,
            live,
            resource.origin,
            resource.api_version,
            str(metadata.get("uid", "")),
            str(metadata.get("resourceVersion", "")),
            place,
        )


def without_commit(one: FieldChange) -> FieldChange | None:
    """Return a change without the annotation that says the commit; None where nothing is left."""
    if one.place in {(), _COMMIT_PLACE}:
        return None
    if one.place == _COMMIT_PLACE[:-1] and one.before is None and isinstance(one.after, dict):
        left = {key: value for key, value in one.after.items() if key != COMMIT}
        return replace(one, after=left) if left else None
    return one


def by_plan(one: FieldChange, body: Manifest) -> bool:
    """Tell whether a field of a plan is declared, or is an item of a declared list."""
    place = one.place[:-1] if one.place[-1] == "(order)" else one.place
    if value_at(body, place)[0]:
        return True
    there, above = value_at(body, place[:-1])
    return one.after is None and isinstance(place[-1], int) and there and isinstance(above, list)


def _shown(live: Manifest, one: Addition) -> Any:
    """Return an added value without secrets."""
    there, value = value_at(masked(live), one.place)
    return value if there else one.value


def _alike(declared: Any, live: Any) -> bool:
    if declared == live:
        return True
    return isinstance(declared, str | int) and canonical(declared) == live
