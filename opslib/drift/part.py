"""One object's part of a revert: which request changes the chosen fields and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from opslib.core.errors import ConflictError, InputError, OpslibError
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.bounds import bounded
from opslib.drift.edit import place_of
from opslib.drift.model import Difference, Drift, Plane
from opslib.drift.partial import Difference as Differing
from opslib.drift.partial import keeping
from opslib.kube.apply import Lock, server_side_apply
from opslib.kube.discovery import Kind
from opslib.kube.errors import ApiError
from opslib.reconcile.app import COMMIT
from opslib.reconcile.desired import Target
from opslib.reconcile.diff import FieldChange, comparable, differences, field_changes, line_of, show
from opslib.reconcile.fieldpath import Place, value_at
from opslib.reconcile.judge import Judge
from opslib.reconcile.mask import masked
from opslib.reconcile.plan import Action, Change, PlanProblem
from opslib.reconcile.planned import Planned
from opslib.reconcile.prune import apply_managers
from opslib.reconcile.replace import immutable
from opslib.reconcile.retry import retrying
from opslib.reconcile.session import Session
from opslib.reconcile.vaulted import shown
from opslib.source.yamledit import same

_COMMIT_PLACE: Place = ("metadata", "annotations", COMMIT)
_TRIES = 8


@dataclass(frozen=True)
class Part:
    """What is done to one object, for which drifts. ``body`` may hold a Secret.

    ``others`` are the paths of the object's differences that were not chosen. ``removals`` are
    places in ``live`` that a JSON patch takes out. ``notes`` say which drifts are gone already.
    """

    change: Change
    drifts: tuple[Drift, ...]
    kind: Kind
    others: frozenset[str] = frozenset()
    target: Target | None = None
    body: Manifest | None = field(default=None, repr=False)
    removals: tuple[Place, ...] = ()
    live: Manifest | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


class Parts:
    """Plans parts of a revert, each from what is live now."""

    def __init__(self, session: Session, planned: Planned) -> None:
        self._session = session
        self._cluster = session.cluster
        self._prepared = planned.prepared
        self._manager = planned.prepared.app.manager
        self._targets = {target.key: target for target in planned.prepared.desired.targets}
        self._judge = Judge(session.cluster, planned.prepared)

    def declared(self, key: ResourceKey) -> Manifest | None:
        """Return what the revision declares of an object."""
        target = self._targets.get(key)
        return target.resource.manifest if target else None

    def of(self, drifts: tuple[Drift, ...], others: frozenset[str] = frozenset()) -> Part:
        """Plan the part of one object, which leaves its differences at the paths ``others`` alone.

        Raises ConflictError or InputError for what cannot be.
        """
        return replace(self._of(drifts, others), others=others)

    def _of(self, drifts: tuple[Drift, ...], others: frozenset[str]) -> Part:
        first = drifts[0]
        if any(drift.plane is not Plane.OBJECTS for drift in drifts):
            raise InputError(f"what differs in {first.plane} is not reverted by the API server")
        if first.difference is Difference.EXTRA:
            return self._delete(first)
        target = self._targets.get(first.key)
        if target is None:
            raise ConflictError("the reviewed revision does not declare it", hint="review again")
        if first.difference is Difference.MISSING:
            return self._create(first, target)
        return self._fields(drifts, target, others)

    # -- whole objects

    def _read(self, kind: Kind, key: ResourceKey) -> Manifest | None:
        path = kind.path(key.namespace, key.name)
        found: Manifest | None = retrying(lambda: self._cluster.find(path))
        return found

    def _delete(self, drift: Drift) -> Part:
        kind = self._session.discovery.find(drift.api_version, drift.key.kind)
        if kind is None:
            raise InputError(f"the API server has no {drift.key.kind} of {drift.api_version}")
        live = self._read(kind, drift.key)
        change = Change(Action.DELETE, drift.key, drift.api_version, None)
        if live is None:
            return _nothing(change, drift, kind, "it is deleted already")
        if reason := self._kept(live, drift):
            raise ConflictError(reason, hint="review again")
        lock = Lock.of(live)
        change = replace(change, uid=lock.uid, resource_version=lock.resource_version)
        return Part(change, (drift,), kind, live=live)

    def _kept(self, live: Manifest, drift: Drift) -> str:
        """Return why an object is not deleted; "" where it may be."""
        metadata, key = live["metadata"], drift.key
        apps = ", ".join(sorted(one.removeprefix("opslib-") for one in apply_managers(live)))
        owners = ", ".join(
            f"{one.get('kind')} {one.get('name')}" for one in metadata.get("ownerReferences") or ()
        )
        place = key.name if key.kind == "Namespace" else key.namespace
        reasons = (
            (drift.uid and metadata["uid"] != drift.uid, "it was deleted and made anew since"),
            (metadata.get("deletionTimestamp"), "it is being deleted already"),
            (key in self._targets, "the reviewed revision declares it"),
            (apps, f"app {apps} applies it"),
            (owners, f"{owners} owns it"),
            (place.startswith("kube-"), "it is in a namespace of the system"),
        )
        return next((reason for applies, reason in reasons if applies), "")

    def _create(self, drift: Drift, target: Target) -> Part:
        live = self._read(target.kind, drift.key)
        if live is not None:
            change = Change(Action.UNCHANGED, drift.key, target.resource.api_version)
            return _nothing(change, drift, target.kind, "it is there again")
        without = {key: one for key, one in self._prepared.live.items() if key != drift.key}
        judge = Judge(self._cluster, replace(self._prepared, live=without), full=True)
        answer = judge.target(target)
        if isinstance(answer, PlanProblem):
            raise InputError(answer.message, hint=answer.hint or None)
        body = self._judge.body(target, self._prepared.plan.revision.commit)
        return Part(answer, (drift,), target.kind, target=target, body=body)

    # -- fields

    def _fields(self, drifts: tuple[Drift, ...], target: Target, others: frozenset[str]) -> Part:
        for _ in range(_TRIES):
            live = self._read(target.kind, target.key)
            if live is None:
                raise ConflictError("it was deleted since the review", hint="review again")
            if drifts[0].uid and live["metadata"]["uid"] != drifts[0].uid:
                raise ConflictError("it was deleted and made anew since", hint="review again")
            try:
                return self._planned(drifts, target, live, others)
            except ApiError as error:
                if immutable(error):
                    return self._replaced(drifts, target)
                if error.code != 409:
                    raise
        raise ConflictError("it changes faster than it can be compared")

    def _planned(
        self,
        drifts: tuple[Drift, ...],
        target: Target,
        live: Manifest,
        others: frozenset[str],
    ) -> Part:
        commit = (live["metadata"].get("annotations") or {}).get(COMMIT)
        body = self._judge.body(target, commit or self._prepared.plan.revision.commit, live)
        after = self._try(target, body, live)
        differing = [
            one for one in differences(comparable(live), comparable(after))
            if one[0] != _COMMIT_PLACE or commit is None
        ]  # fmt: skip
        wanted = {drift.path: drift for drift in drifts}
        chosen = {place for place, _, _ in differing if show(place) in wanted}
        left = [d for path, d in wanted.items() if path not in set(map(show, chosen))]
        removals, notes = self._removals(left, live)
        part, after = body, live
        if chosen:
            part, after = self._chosen_only(target, body, live, (differing, chosen, others))
        fields = self._changed(live, after, target, removals)
        change = _change(target, live, fields)
        return Part(
            change,
            drifts,
            target.kind,
            others,
            target,
            part if chosen else None,
            removals,
            live,
            notes,
        )

    def _chosen_only(
        self,
        target: Target,
        body: Manifest,
        live: Manifest,
        choice: tuple[list[Differing], set[Place], frozenset[str]],
    ) -> tuple[Manifest, Manifest]:
        """Return a body that changes no difference that was not chosen, and its outcome.

        What the server derives from a chosen one (a Service's node port from its type) may
        change with it, which the plan shows; where it refuses to keep that, it is not sent.
        """
        differing, chosen, others = choice
        if target.sourced and target.sourced.resolved and len(chosen) < len(differing):
            # Its annotation tells which references the values are from: true of all, or of none.
            names = ", ".join(show(one[0]) for one in differing if one[0] not in chosen)
            raise InputError(
                f"it cannot be reverted without {names}", hint="choose all of this object"
            )
        told = [one for one in differing if one[0] in chosen or show(one[0]) in others]
        trouble: OpslibError | None = None
        for some, firmly in ((differing, False), (differing, True), (told, False), (told, True)):
            part = keeping(body, live, some, chosen, self._manager, firmly=firmly)
            try:
                after = self._try(target, part, live)
            except ApiError as error:
                if error.code != 422:
                    raise
                trouble = error
                continue
            hit = self._hit(live, after, [one[0] for one in told if one[0] not in chosen])
            if not hit:
                return part, after
            trouble = InputError(
                f"it cannot be reverted without {', '.join(hit[:4])}", hint="choose these, too"
            )
        raise trouble or ConflictError("it cannot be reverted")

    def _hit(self, live: Manifest, after: Manifest, kept: list[Place]) -> list[str]:
        changed = [one[0] for one in differences(comparable(live), comparable(after))]
        return sorted(show(one) for one in kept if any(_overlap(one, place) for place in changed))

    def _try(self, target: Target, body: Manifest, live: Manifest) -> Manifest:
        return retrying(
            lambda: server_side_apply(
                self._cluster,
                target.kind,
                body,
                manager=self._manager,
                lock=Lock.of(live),
                dry_run=True,
            )
        )

    def _removals(
        self, drifts: list[Drift], live: Manifest
    ) -> tuple[tuple[Place, ...], tuple[str, ...]]:
        """Return the places of what others added, and which differences are there no more."""
        places: list[Place] = []
        notes: list[str] = []
        for drift in drifts:
            if drift.difference is not Difference.ADDED:
                notes.append(f"{drift.path} is as Git declares it already")
                continue
            place = place_of(drift, live)
            there, value = value_at(masked(live), place)
            if not there:
                notes.append(f"{drift.path} is gone already")
            elif not same(bounded(value), drift.live):
                raise ConflictError(
                    f"{drift.path} has another value since the review", hint="review again"
                )
            else:
                places.append(place)
        return tuple(places), tuple(notes)

    def _changed(
        self, live: Manifest, after: Manifest, target: Target, removals: tuple[Place, ...]
    ) -> tuple[FieldChange, ...]:
        sourced, manager = target.sourced, self._manager
        resource = replace(target.resource, manifest=shown(target.resource.manifest, sourced))
        before, then = shown(live, sourced, manager), shown(after, sourced, manager)
        fields = field_changes(before, then, resource)
        gone = [
            FieldChange(
                show(place), value_at(masked(live), place)[1], None, line_of(place, resource), place
            )
            for place in removals
        ]
        return (*fields, *gone)

    def _replaced(self, drifts: tuple[Drift, ...], target: Target) -> Part:
        """Plan to delete and create what cannot be changed in place: all of it, or nothing."""
        change, found = self._judge.again(target)
        if change.action is not Action.REPLACE or found is None:
            raise ConflictError("it changed while it was planned", hint="plan again")
        wanted = {drift.path for drift in drifts}
        others = [
            one.path for one in change.fields if one.path not in wanted | {show(_COMMIT_PLACE)}
        ]
        if others:
            raise InputError(
                f"it can only be deleted and made anew, with {', '.join(others[:4])}",
                hint="choose all differences of this object, or none of them",
            )
        body = self._judge.body(target, self._prepared.plan.revision.commit)
        return Part(change, drifts, target.kind, target=target, body=body, live=found)


def _overlap(one: Place, other: Place) -> bool:
    """Tell whether one place is in the other."""
    depth = min(len(one), len(other))
    return one[:depth] == other[:depth]


def _nothing(change: Change, drift: Drift, kind: Kind, note: str) -> Part:
    return Part(replace(change, action=Action.UNCHANGED), (drift,), kind, notes=(note,))


def _change(target: Target, live: Manifest, fields: tuple[FieldChange, ...]) -> Change:
    lock, resource = Lock.of(live), target.resource
    action = Action.UPDATE if fields else Action.UNCHANGED
    return Change(
        action,
        target.key,
        resource.api_version,
        resource.origin,
        fields,
        lock.uid,
        lock.resource_version,
    )
