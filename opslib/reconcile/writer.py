"""The write of one object: under the lock of the plan, planned anew where it moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opslib.core.errors import ConflictError, OpslibError
from opslib.core.model import Manifest, ResourceKey
from opslib.kube.apply import Lock, delete, server_side_apply
from opslib.kube.client import MERGE, Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.errors import ApiError, Unreachable
from opslib.reconcile.app import giver_of
from opslib.reconcile.desired import Target
from opslib.reconcile.judge import Judge, Prepared, with_commit
from opslib.reconcile.mask import scrubbed
from opslib.reconcile.ownership import takeover
from opslib.reconcile.plan import Action, Change
from opslib.reconcile.replace import replace_object
from opslib.reconcile.retry import RETRY_SECONDS, retrying
from opslib.reconcile.vaulted import filled
from opslib.seal.vaultdoc import ANNOTATION

_CONFLICTS = 8
_PAUSE = 0.02
"""Seconds before the second try after a conflict, doubled each time: a Deployment that rolls out
is written by its controller several times a second."""

NOT_TRIED = "not tried: the API server does not answer"


@dataclass(frozen=True)
class Failure:
    """One object that was not written, and why."""

    key: ResourceKey
    what: str
    kind: str = "failed"
    where: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"object": str(self.key), "what": self.what, "kind": self.kind, "where": self.where}


@dataclass
class Writer:
    """Writes the objects of one apply, from several threads; keeps what it did.

    ``deadline`` is by the monotonic clock. ``seen`` are Jobs as they were made, which may be
    gone, and well, at the first look.
    """

    cluster: Cluster
    discovery: Discovery
    prepared: Prepared
    go_on: Callable[[], bool]
    deadline: float
    written: list[ResourceKey] = field(default_factory=list)
    seen: dict[ResourceKey, Manifest] = field(default_factory=dict)
    away: bool = False
    """Whether the server did not answer as long as a request is repeated: the rest is not tried."""

    def write(self, target: Target, change: Change) -> Failure | None:
        """Write what was planned for one object, or say why it was not written."""
        try:
            self._write_locked(target, change)
        except OpslibError as error:
            self.away = self.away or isinstance(error, Unreachable)
            text = scrubbed(error.what, self._filled(target, target.resource.manifest))
            return Failure(target.key, text, error.kind, str(target.resource.origin))
        self.written.append(target.key)
        return None

    def _write_locked(self, target: Target, change: Change) -> None:
        """Write under the lock of the plan; plan anew what moved, go on if it is the same."""
        live = self.prepared.live.get(target.key)
        for number in range(_CONFLICTS):
            if not self.go_on():
                raise OpslibError("stopped before this object was written")
            if self.away:
                raise Unreachable(NOT_TRIED)
            try:
                self._send(target, change, live)
                return
            except ApiError as error:
                if error.code not in {404, 409, 422} or not self._moved(target, change):
                    raise
            time.sleep(_PAUSE * 2**number)
            change, live = self._again(target, change)
            if change.action is Action.UNCHANGED:
                return
        raise ConflictError(f"{target.key} changes faster than it can be written")

    def _send(self, target: Target, change: Change, live: Manifest | None) -> None:
        """Send one change; ``live`` is the object that it was planned for, at that version."""
        prepared, manifest = self.prepared, self._filled(target, target.resource.manifest)
        body = with_commit(
            prepared.optouts.adopt(target.key, manifest, live, prepared.app.manager),
            prepared.plan.revision.commit,
        )
        lock = Lock(change.uid, change.resource_version) if change.uid else None
        if lock and change.action is Action.REPLACE:
            made = self._replace(target, lock)
        else:
            if lock and change.takeovers:
                lock = self._take_over(target, body, lock)
            # Without a lock it was absent: what somebody made meanwhile is not overwritten.
            made = retrying(
                lambda: server_side_apply(
                    self.cluster,
                    self.discovery.of(target.resource.manifest, str(target.resource.origin)),
                    body,
                    manager=self.prepared.app.manager,
                    lock=lock,
                    force=lock is not None,
                ),
                seconds=self._patience(),
            )
        if target.key.kind == "Job":  # the only kind that may be gone, and well, at the first look
            self.seen[target.key] = made

    def delete(self, change: Change, kind: Kind) -> Failure | None:
        """Delete what was planned, under its lock, or say why it was not deleted."""
        key, lock = change.key, Lock(change.uid, change.resource_version)
        if not self.go_on():
            return Failure(key, "stopped before this object was deleted", "interrupted")
        if self.away:
            return Failure(key, NOT_TRIED, Unreachable.kind)
        try:
            retrying(
                lambda: delete(self.cluster, kind, key.namespace, key.name, lock=lock),
                seconds=self._patience(),
            )
        except OpslibError as error:
            self.away = isinstance(error, Unreachable)
            return Failure(key, error.what, error.kind)
        return None

    def _patience(self) -> float:
        """Return for how many seconds a request may be repeated: not past the whole's deadline."""
        return max(0.0, min(RETRY_SECONDS, self.deadline - time.monotonic()))

    def _filled(self, target: Target, manifest: Manifest) -> Manifest:
        """Return the manifest with the values that come from Vault."""
        return filled(manifest, target.sourced, self.prepared.values)

    def _replace(self, target: Target, lock: Lock) -> Manifest:
        prepared = self.prepared
        return replace_object(
            self.cluster,
            target.kind,
            with_commit(
                self._filled(target, target.resource.manifest), prepared.plan.revision.commit
            ),
            lock,
            manager=prepared.app.manager,
            go_on=self.go_on,
        )

    def _take_over(self, target: Target, body: Manifest, lock: Lock) -> Lock:
        """Make the fields of forgotten managers the app's own; return the lock on what is then.

        Values stay as they are until the apply that follows. Killed in between, the next plan
        finds the fields owned and not declared, and shows that they go.
        """
        manager = self.prepared.app.manager
        after = retrying(
            lambda: server_side_apply(
                self.cluster,
                target.kind,
                body,
                manager=manager,
                lock=lock,
                force=True,
                dry_run=True,
            )
        )
        taken = takeover(after, manager, giver_of(target.resource.manifest))
        if taken is None:
            return lock
        metadata: dict[str, Any] = {
            "uid": lock.uid,
            "resourceVersion": lock.resource_version,
            "managedFields": taken.managed_fields,
        }
        if target.sourced:
            # Killed in between, another's value must not pass for the one that is noted there.
            metadata["annotations"] = {ANNOTATION: None}
        live = self.cluster.request(
            "PATCH",
            target.kind.path(target.key.namespace, target.key.name),
            query={"fieldManager": manager},
            body={"metadata": metadata},
            content_type=MERGE,
        )
        return Lock.of(live)

    def _moved(self, target: Target, change: Change) -> bool:
        """Tell whether the object is another, or at another version, than the plan read."""
        live = self.cluster.find(target.kind.path(target.key.namespace, target.key.name))
        if live is None:
            return bool(change.uid)
        now = Lock.of(live)
        return (now.uid, now.resource_version) != (change.uid, change.resource_version)

    def _again(self, target: Target, change: Change) -> tuple[Change, Manifest | None]:
        fresh, live = Judge(self.cluster, self.prepared).again(target)
        if fresh.action is Action.UNCHANGED or fresh.same_as(change):
            return fresh, live
        raise ConflictError(
            f"{target.key} is not what was planned for: {_what_moved(change, fresh, live)}",
            hint="plan again and look at the difference",
        )


def _what_moved(planned: Change, fresh: Change, live: Manifest | None) -> str:
    if live is None:
        return "it was deleted since"
    if not planned.uid:
        return "somebody created it since"
    if planned.uid != fresh.uid:
        return "it was deleted and made anew since"
    shown = {(f.path, repr(f.before), repr(f.after)) for f in planned.fields}
    fields = [f for f in fresh.fields if (f.path, repr(f.before), repr(f.after)) not in shown]
    names = ", ".join(f.path for f in fields[:4]) or "fields of it"
    return f"{names} changed since"
