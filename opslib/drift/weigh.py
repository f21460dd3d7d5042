"""Which parts of a live object are drift that no plan shows, and which are there by right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opslib.core.clock import now, parse_stamp
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.additions import (
    Addition,
    Owner,
    Ownership,
    beyond,
    entries_of,
    inside,
    own_entry,
    owners_of,
    unowned,
)
from opslib.drift.noise import why
from opslib.drift.twins import Twin, ask_twin, twin_for
from opslib.kube.client import Cluster
from opslib.reconcile.desired import Target
from opslib.reconcile.fieldpath import Place, value_at
from opslib.reconcile.likeness import shape
from opslib.reconcile.mask import masked

BY_CREATION = "set at creation, by defaulting or a webhook"
_GENERATED = "generated anew for each object"
_ABOUT_NOW = 120.0
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,20}")

Explain = Callable[[ResourceKey, Manifest, Addition], str]
"""Says why an addition is there by right; "" where it does not know."""


@dataclass(frozen=True)
class Suspect:
    """A live object in which something was found that has to be looked into.

    ``body`` is the declaration as it is sent. ``covered`` are the places that the plan tells
    of; ``whole`` means that no plan was possible, so that declared fields are looked at too.
    """

    target: Target
    body: Manifest
    live: Manifest
    found: tuple[Addition, ...] = ()
    covered: tuple[Place, ...] = ()
    whole: bool = False

    @property
    def key(self) -> ResourceKey:
        return self.target.key


@dataclass(frozen=True)
class Weighed:
    """What came out for one suspect; ``by_right`` are additions with their reason.

    ``twin`` is the object as it would be undisturbed; None where that is not known,
    which ``trouble`` explains.
    """

    suspect: Suspect
    drifts: tuple[Addition, ...]
    by_right: tuple[tuple[Addition, str], ...]
    asked: Twin
    twin: Manifest | None = None

    @property
    def trouble(self) -> str:
        return "" if self.twin is not None else self.asked.why


def is_wiped(live: Manifest, manager: str) -> bool:
    """Tell whether the entry of the app's own apply is missing: somebody removed it."""
    return not any(own_entry(owner, manager) for owner, _ in entries_of(live))


class Scale:
    """Weighs suspects, one at a time: asks for a twin, or takes that of one that is alike."""

    def __init__(self, cluster: Cluster, manager: str, explain: Explain) -> None:
        self._cluster = cluster
        self._manager = manager
        self._explain = explain

    def known(self, suspect: Suspect) -> Weighed | None:
        """Say what is known without asking: nothing is a suspect without a reason."""
        del suspect
        return None

    def target(self, suspect: Suspect) -> Weighed:
        """Ask for the suspect's own twin and compare."""
        twin = self._ask(suspect)
        weighed = self._weigh(suspect, twin)
        unsure = [one for one in weighed.drifts if self._perhaps_generated(one)]
        if not unsure or twin.manifest is None:
            return weighed
        return self._without_generated(weighed, unsure)

    def group(self, suspect: Suspect) -> bytes | None:
        """Return what the declarations of alike objects have in common."""
        return shape(suspect.target.resource.manifest)

    def like(self, suspect: Suspect, answer: Weighed) -> Weighed | None:
        """Weigh by the twin of one that is alike; None where that leaves something unexplained."""
        asked = answer.asked
        if asked.manifest is None or asked.name == asked.body["metadata"]["name"]:
            return None
        weighed = self._weigh(suspect, asked)
        return None if weighed.drifts else weighed

    def _ask(self, suspect: Suspect) -> Twin:
        one = suspect.target
        return ask_twin(self._cluster, one.kind, suspect.body, suspect.live, self._manager)

    def _weigh(self, suspect: Suspect, asked: Twin) -> Weighed:
        twin = twin_for(asked, suspect.body)
        if twin is None:
            found: Iterable[Addition] = suspect.found
        else:
            found = beyond(masked(suspect.live), masked(twin))
        drifts: list[Addition] = []
        by_right: list[tuple[Addition, str]] = []
        for one in self._owned(suspect, found):
            reason = self._why(suspect, one)
            by_right.append((one, reason)) if reason else drifts.append(one)
        told = {one.place for one in drifts} | {one.place for one, _ in by_right}
        around = {above for place in told for above in _upwards(place)}
        usual = [
            one
            for one in suspect.found
            if one.place not in around and not told.intersection(_upwards(one.place))
        ]
        by_right += [(one, self._why(suspect, one) or BY_CREATION) for one in usual]
        return Weighed(suspect, tuple(drifts), tuple(by_right), asked, twin)

    def _owned(self, suspect: Suspect, found: Iterable[Addition]) -> Iterable[Addition]:
        ownership = Ownership(suspect.live)
        for whole in found:
            if not suspect.whole and value_at(suspect.body, whole.place)[0]:
                continue  # declared: the plan is the judge
            if _within(whole.place, suspect.covered):
                continue
            for one in inside(whole.value, whole.place, suspect.covered):
                owners = ownership.of(one.place)
                yield replace(one, owners=owners, usual=whole.usual)

    def _why(self, suspect: Suspect, one: Addition) -> str:
        wiped = is_wiped(suspect.live, self._manager)
        reason = why(suspect.key, suspect.live, one, wiped=wiped)
        return reason or self._explain(suspect.key, suspect.live, one)

    def _perhaps_generated(self, one: Addition) -> bool:
        """Tell whether only the server, or a webhook at our own writes, may have set it."""
        return one.owners <= {Owner(self._manager, "Update")}

    def _without_generated(self, weighed: Weighed, unsure: Sequence[Addition]) -> Weighed:
        """Ask once more: what differs between two twins is generated, and says nothing."""
        suspect, first = weighed.suspect, weighed.twin
        second = twin_for(self._ask(suspect), suspect.body)
        if first is None or second is None:
            return weighed
        anew = {
            one.place: one
            for one in unsure
            if one.owners == owners_of(second, one.place)
            and (
                value_at(first, one.place) != value_at(second, one.place)
                or _of_the_moment(one.value, one.usual)
            )
        }
        kept = tuple(one for one in weighed.drifts if one.place not in anew)
        more = tuple((one, _GENERATED) for one in anew.values())
        return replace(weighed, drifts=kept, by_right=(*weighed.by_right, *more))


def _within(place: Place, places: Iterable[Place]) -> bool:
    """Tell whether a place is one of others, or in one of them."""
    return any(place[: len(one)] == one for one in places)


def _upwards(place: Place) -> list[Place]:
    """Return a place and all that it is in."""
    return [place[:depth] for depth in range(1, len(place) + 1)]


def _of_the_moment(value: Any, usual: Any) -> bool:
    """Tell whether both values are times and the twin's is that of its making."""
    if not all(isinstance(one, str) and _TIME.fullmatch(one) for one in (value, usual)):
        return False
    try:
        age = now() - parse_stamp(usual)
    except ValueError:
        return False
    return abs(age.total_seconds()) < _ABOUT_NOW


class Defaults:
    """What nobody owns and undisturbed objects have: learned from each twin that is asked for."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], set[tuple[tuple[str, ...], Any]]] = {}

    def learn(self, asked: Twin) -> None:
        """Take in a twin's defaults."""
        if asked.manifest is not None:
            self._of(asked.manifest).update(unowned(asked.manifest))

    def strange(self, key: ResourceKey, live: Manifest) -> bool:
        """Tell whether something in an object has no owner, no rule, and is no known default."""
        known = self._of(live)
        return any(
            leaf not in known and not why(key, live, Addition(*leaf)) for leaf in unowned(live)
        )

    def _of(self, live: Manifest) -> set[tuple[tuple[str, ...], Any]]:
        return self._known.setdefault((str(live["apiVersion"]), str(live["kind"])), set())
