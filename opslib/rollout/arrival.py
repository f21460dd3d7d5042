"""How far a sealed value has come: in the cluster, unsealed, and read by what uses it.

What the controller says of a SealedSecret counts only for the generation that it has seen:
https://github.com/bitnami-labs/sealed-secrets/blob/v0.40.0/pkg/apis/sealedsecrets/v1alpha1/types.go
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from opslib.core.clock import parse_stamp, stamp
from opslib.core.errors import OpslibError
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.kube.watch import METADATA
from opslib.rollout.consumers import Restart, restarts
from opslib.seal import proposal
from opslib.seal.desk import Desk
from opslib.seal.proposal import Change
from opslib.seal.sealed import Declared
from opslib.seal.synced import said, seen

State = Literal[
    "unread", "unknown-kind", "absent", "before", "pending", "refused", "lost", "synced"
]
_PAUSE = 0.5
_MOST_SAID = 300
Json = dict[str, Any]


@dataclass(frozen=True)
class Expected:
    """What is looked for: a SealedSecret of Git with the keys that count, in one cluster."""

    name: str
    connect: Callable[[], Cluster]
    declared: Declared
    keys: tuple[str, ...]
    mark: str = ""


@dataclass(frozen=True)
class Arrival:
    """How far one is in one cluster.

    ``state``, in this order: the cluster cannot be asked (unread); does not know SealedSecrets;
    has none of this name; has what was before; its controller has not looked yet; refuses it;
    the Secret lacks a key; synced. ``changed`` is when the Secret got its values, RFC 3339.
    """

    cluster: str
    secret: str
    keys: tuple[str, ...]
    state: State
    message: str
    changed: str = ""
    restarts: tuple[Restart, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it is there and everything that has to start anew has."""
        return self.state == "synced" and all(one.done for one in self.restarts)

    @property
    def waits(self) -> bool:
        """Whether waiting may help."""
        if self.state == "synced":
            return any(one.waits for one in self.restarts)
        return self.state != "refused"

    @property
    def sentence(self) -> str:
        """Say it for people, with what is still missing."""
        left = [f"{one.workload}: {one.why}" for one in self.restarts if not one.done]
        text = f"{self.cluster}: {self.message}"
        return f"{text}; {'; '.join(left)}" if left else text

    def as_dict(self) -> Json:
        return {
            "cluster": self.cluster,
            "secret": self.secret,
            "keys": list(self.keys),
            "state": self.state,
            "message": self.message,
            "changed": self.changed or None,
            "consumers": [one.as_dict() for one in self.restarts],
            "done": self.done,
        }


def expected(desk: Desk, change: Change | None, secret: str, keys: str = "") -> list[Expected]:
    """Return what to look for: what a change sealed, else what Git has of a Secret.

    Raises InputError where Git has nothing of it.
    """
    names = proposal.names(keys)
    placed = change.placed if change else desk.standing(secret, names)
    return [
        Expected(
            one.recipient.name,
            one.recipient.connect,
            one.declared,
            one.sealed or tuple(map(str, one.declared.data)),
            change.mark if change else desk.mark(one),
        )
        for one in placed
    ]


def report(found: Sequence[Arrival]) -> Json | None:
    """Return what the record says of it; None where nobody looked."""
    if not found:
        return None
    return {"arrived": all(one.done for one in found), "clusters": [o.as_dict() for o in found]}


def follow(
    wanted: Sequence[Expected], *, seconds: float = 0, progress: Progress = SILENT
) -> list[Arrival]:
    """Look until all have arrived, or no waiting helps, or the time is over; at least once.

    What is said is how it was at the last look. Nothing is written, and no value is read.
    """
    end = time.monotonic() + seconds
    while True:
        found = [look(one) for one in wanted]
        left = [one for one in found if not one.done and one.waits]
        if not left or time.monotonic() >= end:
            return found
        progress.update(left[0].sentence)
        time.sleep(min(_PAUSE, max(0.0, end - time.monotonic())))


def look(one: Expected) -> Arrival:
    """Look once; a cluster that cannot be asked is told as that."""
    try:
        return _look(one, one.connect())
    except OpslibError as error:
        where = f" ({error.where})" if error.where else ""
        return _arrival(one, "unread", f"it cannot be asked: {error.what}{where}")


def _look(one: Expected, cluster: Cluster) -> Arrival:
    declared = one.declared
    base = f"namespaces/{declared.namespace}"
    collection = f"/apis/bitnami.com/v1alpha1/{base}/sealedsecrets"
    live = cluster.find(f"{collection}/{declared.name}")
    if live is None:
        return _arrival(one, *_absent(cluster, collection, declared))
    ciphertexts = (live.get("spec") or {}).get("encryptedData") or {}
    if any(ciphertexts.get(key) != declared.data.get(key) for key in one.keys):
        return _arrival(one, "before", "the cluster still has what was before this commit")
    state, message = _said(live)
    if state != "synced":
        return _arrival(one, state, message)
    changed = _changed(cluster, f"/api/v1/{base}/secrets/{declared.name}", one.keys)
    if changed is None:
        return _arrival(one, "lost", "the controller says Synced, but the Secret lacks the key")
    found = tuple(restarts(cluster, declared.namespace, declared.name, changed, one.mark))
    return replace(_arrival(one, state, message), changed=stamp(changed), restarts=found)


def _arrival(one: Expected, state: State, message: str) -> Arrival:
    secret = f"{one.declared.namespace}/{one.declared.name}"
    return Arrival(one.name, secret, one.keys, state, message)


def require(found: Sequence[Arrival], *, waited: bool) -> None:
    """Raise OpslibError where a controller refuses, or after a wait something is still missing."""
    bad = [one for one in found if one.state == "refused" or (waited and not one.done)]
    if bad:
        raise OpslibError(
            f"the sealed value has not arrived: {bad[0].sentence}",
            where=bad[0].secret,
            hint="opslib seal check says why a value does not unseal; the commit is made already",
        )


def _absent(cluster: Cluster, collection: str, declared: Declared) -> tuple[State, str]:
    try:
        cluster.list(collection)
    except ApiError as error:
        if error.code == 404:
            return "unknown-kind", "the cluster does not know SealedSecrets: no controller is there"
        raise
    return "absent", f"the cluster has no {declared} yet: it comes when the commit is applied"


def _said(live: Json) -> tuple[State, str]:
    """Return what the controller says of the present generation."""
    if not seen(live):
        return "pending", "the controller has not looked at it yet"
    row = said(live)
    if row.get("status") == "True":
        return "synced", "the controller says Synced"
    if row.get("status") == "False":
        why = " ".join(str(row.get("message") or "without a reason").split())[:_MOST_SAID]
        return "refused", f"the controller refuses it: {why}"
    return "pending", "the controller has said nothing of it yet"


def _changed(cluster: Cluster, path: str, keys: Sequence[str]) -> datetime | None:
    """Return when the keys of a Secret were written last; None where it lacks one.

    Its metadata is read alone: managedFields names each key, and when its writer changed it.
    """
    try:
        found = cluster.request("GET", path, accept=METADATA)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    metadata = found["metadata"]
    moments = [parse_stamp(metadata["creationTimestamp"])]
    missing = set(keys)
    for entry in metadata.get("managedFields") or []:
        owned = ((entry.get("fieldsV1") or {}).get("f:data") or {}).keys()
        mine = {key for key in keys if f"f:{key}" in owned}
        missing -= mine
        if mine and entry.get("time"):
            moments.append(parse_stamp(entry["time"]))
    return None if missing else max(moments)
