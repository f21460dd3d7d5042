"""What the audit log has of one object: the writes to it, with their effects on wanted fields.

The bodies of writes are not kept, so that memory is bounded by the number of writes that matter.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.effects import effect_of
from opslib.drift.listorder import Move, items_at, lists_of, move_of, numbered
from opslib.drift.model import Actor
from opslib.drift.moments import SECOND, Moment, moment_of
from opslib.drift.patches import by_json_patch
from opslib.drift.refute import is_alone, refutes_merge
from opslib.drift.request import Request
from opslib.drift.selectors import selects
from opslib.drift.wants import CAN, LEAVE, Effect, Want
from opslib.reconcile.fieldpath import Place

MOST_WRITES = 20_000
"""Writes kept of one object; of more, the older half is forgotten, as if the log began later."""

MOST_SECONDS = 120
FOREVER: Moment = 1 << 62
MOST_LABELS = 1000
MOST_OPERATIONS = 500


@dataclass(frozen=True)
class Write:
    """One write to an object, without its body: what it may have done to each wanted field.

    ``creates``, ``deletes``: to the whole object; ``gone``: it was not there any more when the
    answer was sent. ``sure`` is False where that depends on what the log does not have.
    ``merged`` are the effects if managedFields of the second ``refuted`` are to be believed, by
    which it was no plain merge patch. ``operations`` are of a JSON patch that may mean items
    by their numbers. ``alone`` says for which field the write mentioned nothing else.
    """

    id: str
    actor: Actor
    manager: str
    received: Moment
    done: Moment
    effects: tuple[Effect, ...] = ()
    apply: bool = False
    creates: bool = False
    deletes: bool = False
    gone: bool = False
    sure: bool = True
    uid: str = ""
    subresource: str = ""
    cascade: str = ""
    merged: tuple[Effect, ...] = ()
    refuted: Moment = 0
    operations: tuple[Any, ...] = ()
    alone: tuple[bool, ...] = ()


@dataclass
class Track:
    """One object that is asked about, and what the log has of it."""

    key: ResourceKey
    live: Manifest | None
    wants: tuple[Want, ...] = ()
    labels: list[Mapping[str, Any] | None] = field(default_factory=list)
    collections: list[Request] = field(default_factory=list)
    writes: dict[str, Write] = field(default_factory=dict)
    seconds: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    count: int = 0
    wiped: bool = False
    granted: bool = False
    forged: Moment = 0
    moves: dict[Place, list[Move]] = field(default_factory=lambda: defaultdict(list))
    cut: Moment = 0

    @cached_property
    def lists(self) -> dict[Place, list[Any]]:
        """The live lists that the wanted fields are in."""
        return lists_of(self.wants, self.live)

    @property
    def born(self) -> Moment:
        """When the live object was created, to the second; 0 where there is none."""
        metadata = (self.live or {}).get("metadata") or {}
        return moment_of(metadata.get("creationTimestamp"))

    @property
    def generated(self) -> str:
        """The beginning that the API server made the live object's name from."""
        metadata = (self.live or {}).get("metadata") or {}
        return str(metadata.get("generateName") or "")

    def trusts(self, second: Moment) -> bool:
        """Tell whether nobody can have made up managedFields that say something of a second."""
        return second // SECOND > self.forged // SECOND

    def add(self, request: Request) -> None:
        """Note a write that names this object."""
        self.count += 1
        self._explain(request)
        if self.live is None and not request.subresource and len(self.labels) < MOST_LABELS:
            self._label(request)
        self.wiped = self.wiped or _wipes(request)
        self.granted = self.granted or _grants(request)
        if _may_forge(request):
            self.forged = max(self.forged, request.done)
        refuted = refutes_merge(self.live, request)
        for place, items in self.lists.items():
            move = move_of(request, place, items, refuted)
            if move is not None and len(self.moves[place]) < MOST_WRITES:
                self.moves[place].append(move)
            elif move is not None:
                self.moves[place] = [Move(0, FOREVER)]
        effects = tuple(effect_of(request, want) for want in self.wants)
        merged = tuple(effect_of(request, want, merged=True) for want in self.wants)
        write = _write(request, effects)
        if refuted and merged != effects:
            write = replace(write, merged=merged, refuted=refuted)
        if self.lists and isinstance(request.body, list):
            write = replace(write, operations=tuple(request.body[:MOST_OPERATIONS]))
        if alone := tuple(is_alone(request, want) for want in self.wants):
            write = replace(write, alone=alone)
        touches = any(effect != LEAVE for effect in effects)
        if write.creates or write.deletes or write.apply or touches:
            self._keep(write)

    def add_cascade(self, request: Request, cascade: str, *, sure: bool) -> None:
        """Note a write that deletes this object without naming it."""
        found = _write(request, (LEAVE,) * len(self.wants))
        sure = sure and found.sure
        self._keep(replace(found, creates=False, deletes=True, cascade=cascade, sure=sure))

    def settle(self, gaps: Sequence[tuple[Moment, Moment]] = ()) -> None:
        """Decide what could not be decided before the whole log was read, with its gaps.

        These are the collections that held this object, and the items that patches numbered.
        """
        for request in self.collections:
            verdicts = {_selected(request.query, labels) for labels in self.labels or [None]}
            if verdicts != {False}:
                sure = verdicts == {True} and len(self.labels) < MOST_LABELS
                self.add_cascade(request, "with all of its kind", sure=sure)
        self.collections.clear()
        holes = [Move(start, end or FOREVER) for start, end in gaps]
        moves = {
            place: [one for one in (*found, *holes) if not self.trusts(one.unless)]
            for place, found in ((place, self.moves.get(place, ())) for place in self.lists)
        }
        for write in self.writes.values():
            if write.operations:
                self.writes[write.id] = self._numbered(write, moves)

    def _numbered(self, write: Write, moves: Mapping[Place, Sequence[Move]]) -> Write:
        """Find out which items a JSON patch meant by their numbers."""
        found = {
            place: items_at(moves[place], live, write.received, write.done)
            for place, live in self.lists.items()
        }
        still = {place: items for place, items in found.items() if items is not None}
        if not still or not write.sure:
            return write
        operations = list(numbered(write.operations, still))
        effects = tuple(
            by_json_patch(operations, want) if old not in {LEAVE, CAN} else old
            for want, old in zip(self.wants, write.effects, strict=True)
        )
        return replace(write, effects=effects, operations=())

    def _label(self, request: Request) -> None:
        """Note the labels that a write leaves; None where that cannot be told."""
        if request.verb.startswith("delete"):
            return
        there, metadata = _metadata(request.body)
        labels = metadata.get("labels") if there else None
        if request.verb in {"create", "update"} or request.code == 201:
            self.labels.append((labels or {}) if there else None)
        elif not isinstance(request.body, dict):
            self.labels.append(None)
        elif labels:
            before = self.labels[-1] if self.labels else None
            known = before is not None and isinstance(labels, dict)
            self.labels.append({**before, **labels} if known and before is not None else None)

    def _keep(self, write: Write) -> None:
        old = self.writes.get(write.id)
        if old is None or (write.sure and not old.sure):
            self.writes[write.id] = write
        if len(self.writes) > MOST_WRITES:
            ordered = sorted(self.writes.values(), key=lambda one: one.received)
            self.cut = max(self.cut, ordered[MOST_WRITES // 2 - 1].done)
            self.writes = {one.id: one for one in ordered[MOST_WRITES // 2 :]}

    def _explain(self, request: Request) -> None:
        """Note through which manager the object was written to, and in which seconds."""
        first, last = request.received // SECOND, request.done // SECOND
        if len(self.seconds[request.manager]) < MOST_WRITES:
            self.seconds[request.manager].update(range(first, min(last, first + MOST_SECONDS) + 1))


def _write(request: Request, effects: tuple[Effect, ...]) -> Write:
    eviction = request.subresource == "eviction"
    return Write(
        request.id,
        request.actor,
        request.manager,
        request.received,
        request.done,
        effects,
        apply=request.may_be_apply,
        creates=not request.subresource and (request.verb == "create" or request.code == 201),
        deletes=eviction or (not request.subresource and request.verb == "delete"),
        gone=request.gone,
        sure=request.finished,
        uid=request.uid,
        subresource=request.subresource,
    )


def _metadata(body: Any) -> tuple[bool, Mapping[str, Any]]:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return isinstance(metadata, dict), metadata if isinstance(metadata, dict) else {}


def _wipes(request: Request) -> bool:
    """Tell whether a request took all managers away, or wrote managers itself by a patch."""
    if isinstance(request.body, list):
        return any(
            str(one.get("path", "")).startswith("/metadata/managedFields")
            for one in request.body
            if isinstance(one, dict) and one.get("op") != "test"
        )
    there, metadata = _metadata(request.body)
    if not there or "managedFields" not in metadata:
        return False
    return request.verb == "patch" or metadata["managedFields"] == [{}]


def _grants(request: Request) -> bool:
    """Tell whether a patch may have given fields to managers, as migrations from kubectl do."""
    if isinstance(request.body, list):
        return _wipes(request)
    managers = _metadata(request.body)[1].get("managedFields")
    return request.verb == "patch" and isinstance(managers, list) and any(managers)


def _may_forge(request: Request) -> bool:
    """Tell whether a request may have written managedFields of its own making."""
    there, metadata = _metadata(request.body)
    return _wipes(request) or (
        there and bool(metadata.get("managedFields")) and not request.subresource
    )


def names_it(query: Mapping[str, str], name: str) -> bool | None:
    """Tell whether the field selector of a request chooses a name; None where not known."""
    fields = query.get("fieldSelector", "")
    if not fields:
        return True
    chosen = re.fullmatch(r"metadata\.name==?([^,]+)", fields)
    return None if chosen is None else chosen[1] == name


def _selected(query: Mapping[str, str], labels: Mapping[str, Any] | None) -> bool | None:
    """Tell whether the selectors of a request choose an object with these labels."""
    selector = query.get("labelSelector", "")
    if not selector:
        return True if "fieldSelector" not in query else None
    if labels is None or "fieldSelector" in query:
        return None
    return selects(selector, labels)


def generated_as(request: Request) -> Any:
    """Return the beginning of the name that a creation asked for; None where it is not known."""
    return _metadata(request.body)[1].get("generateName")
