"""Do what a revert plans: evidence first, then each object under its lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.errors import ConflictError, InputError, OpslibError
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.encode import drift_row
from opslib.drift.part import Part, Parts
from opslib.drift.partial import removing
from opslib.drift.revert import Revert
from opslib.kube.apply import Lock, delete, server_side_apply
from opslib.kube.errors import ApiError, Unreachable
from opslib.reconcile.apply import Applied
from opslib.reconcile.evidence import keep_evidence
from opslib.reconcile.inventory import read_inventory, write_ahead
from opslib.reconcile.mask import scrubbed
from opslib.reconcile.order import stage_of
from opslib.reconcile.plan import Action
from opslib.reconcile.replace import replace_object
from opslib.reconcile.retry import retrying
from opslib.reconcile.session import Session
from opslib.reconcile.vaulted import filled, wanted_by
from opslib.reconcile.writer import NOT_TRIED, Failure
from opslib.seal.vaultvalues import Values

_TRIES = 8
_PAUSE = 0.02
"""Seconds before the second try after a conflict, doubled each time."""
JSON_PATCH = "application/json-patch+json"


def apply_revert(
    session: Session,
    revert: Revert,
    *,
    evidence: Path | None = None,
    go_on: Callable[[], bool] = lambda: True,
    audit: Sequence[Mapping[str, Any]] = (),
    by: str = "",
    reason: str = "",
) -> Applied:
    """Write what was planned; the caller holds the app's lease (see ``Session.holding``).

    Before the first write the plan, the live objects with managedFields, the differences with
    their attribution and the ``audit`` entries are on disk, in the folder ``evidence`` (default:
    of the state). An object that moved is planned again: the same change goes on, another one
    is a conflict. ``go_on`` is asked before each write. Raises InputError for a plan with
    problems, before anything is written; failures of single objects are collected.
    """
    started = time.monotonic()
    if revert.plan.problems:
        first = revert.plan.problems[0]
        raise InputError(
            f"the plan has {len(revert.plan.problems)} problems: nothing was written",
            where=f"{first.key}: {first.message}",
            hint=first.hint or "choose other differences",
        )
    if revert.planned is None:
        raise InputError("this revert was read from a file: plan it again")
    targets = (part.target for part in revert.parts if part.target)
    values = revert.planned.prepared.values
    values.obtain(wanted_by((target.resource, target.sourced) for target in targets))
    kept = None
    if revert.parts:
        more = {
            "decision": {"disposition": "revert", "by": by, "reason": reason},
            "hash": revert.hash,
            "drifts": [drift_row(drift) for drift in revert.drifts],
            "audit": [dict(entry) for entry in audit],
        }
        kept = keep_evidence(revert.plan, revert.live, evidence, more)
    run = _Run(session, Parts(session, revert.planned), values, go_on)
    _write_ahead(session, revert)
    try:
        for part in sorted(revert.parts, key=_order):
            run.do(part)
    finally:
        values.forget()
    return Applied(
        tuple(run.written),
        tuple(run.deleted),
        tuple(run.failures),
        seconds=time.monotonic() - started,
        evidence=kept,
    )


def _order(part: Part) -> tuple[bool, int]:
    """What others need comes first; deletes come last, the other way round."""
    stage = stage_of(part.change.key)
    gone = part.change.action is Action.DELETE
    return gone, -stage if gone else stage


def _write_ahead(session: Session, revert: Revert) -> None:
    """Let the inventory know what is made again, before it is."""
    made = {
        part.change.key: part.change.api_version
        for part in revert.parts
        if part.change.action is Action.CREATE
    }
    if made:
        write_ahead(
            session.cluster, session.app, read_inventory(session.cluster, session.app), made
        )


@dataclass
class _Run:
    session: Session
    parts: Parts
    values: Values
    go_on: Callable[[], bool]
    written: list[ResourceKey] = field(default_factory=list)
    deleted: list[ResourceKey] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    away: bool = False

    def do(self, part: Part) -> None:
        """Write one object, or note why it was not written."""
        key = part.change.key
        try:
            self._locked(part)
        except OpslibError as error:
            self.away = self.away or isinstance(error, Unreachable)
            text = scrubbed(error.what, part.live or {})
            text = scrubbed(text, self._body(part) or {})
            where = str(part.change.origin) if part.change.origin else ""
            self.failures.append(Failure(key, text, error.kind, where))
            return
        done = self.deleted if part.change.action is Action.DELETE else self.written
        done.append(key)

    def _locked(self, part: Part) -> None:
        """Write under the lock of the plan; plan anew what moved, go on if it is the same."""
        first = part
        for number in range(_TRIES):
            if not self.go_on():
                raise OpslibError("stopped before this object was written")
            if self.away:
                raise Unreachable(NOT_TRIED)
            try:
                self._send(part)
                return
            except ApiError as error:
                if error.code not in {404, 409, 422} or not self._moved(part):
                    raise
            time.sleep(_PAUSE * 2**number)
            part = self._again(first)
            if not part.change.writes:
                return
        raise ConflictError(f"{part.change.key} changes faster than it can be written")

    def _moved(self, part: Part) -> bool:
        key = part.change.key
        live = self.session.cluster.find(part.kind.path(key.namespace, key.name))
        if live is None:
            return bool(part.change.uid)
        now = Lock.of(live)
        return (now.uid, now.resource_version) != (part.change.uid, part.change.resource_version)

    def _again(self, first: Part) -> Part:
        """Plan an object anew that moved. Raises ConflictError where it is another change now.

        A part of the change is the same one: the rest was done, by this run or by somebody.
        """
        part = self.parts.of(first.drifts, first.others)
        was = {(one.path, repr(one.before), repr(one.after)) for one in first.change.fields}
        new = [
            one.path
            for one in part.change.fields
            if (one.path, repr(one.before), repr(one.after)) not in was
        ]
        other = (part.change.action, part.change.uid) != (first.change.action, first.change.uid)
        if part.change.writes and (new or other):
            raise ConflictError(
                f"{first.change.key} is not what was planned for: "
                f"{', '.join(new[:4]) or 'the object'} changed since",
                hint="plan again and look at the difference",
            )
        return part

    def _send(self, part: Part) -> None:
        cluster, change, kind = self.session.cluster, part.change, part.kind
        key, lock = change.key, Lock(change.uid, change.resource_version)
        if change.action is Action.DELETE:
            retrying(lambda: delete(cluster, kind, key.namespace, key.name, lock=lock))
            return
        body = self._body(part)
        if change.action is Action.REPLACE and body is not None:
            manager = self.session.app.manager
            replace_object(cluster, kind, body, lock, manager=manager, go_on=self.go_on)
            return
        live = part.live
        if body is not None:
            live = self._apply(part, body, lock if change.uid else None)
        if part.removals and live is not None:
            self._remove(part, live)

    def _body(self, part: Part) -> Manifest | None:
        """Return what is sent, with the values that come from Vault."""
        sourced = part.target.sourced if part.target else None
        return filled(part.body, sourced, self.values) if part.body is not None else None

    def _apply(self, part: Part, body: Manifest, lock: Lock | None) -> Manifest:
        """Apply a body; without a lock it was absent: what was made since is not overwritten."""
        return retrying(
            lambda: server_side_apply(
                self.session.cluster,
                part.kind,
                body,
                manager=self.session.app.manager,
                lock=lock,
                force=lock is not None,
            )
        )

    def _remove(self, part: Part, live: Manifest) -> None:
        key = part.change.key
        retrying(
            lambda: self.session.cluster.request(
                "PATCH",
                part.kind.path(key.namespace, key.name),
                query={"fieldManager": self.session.app.manager},
                body=removing(live, part.removals),
                content_type=JSON_PATCH,
            )
        )
