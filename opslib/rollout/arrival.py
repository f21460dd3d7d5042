"""How far a sealed value has come: in the cluster, unsealed, and read by what uses it.

What the controller says of a SealedSecret counts only for the generation that it has seen:
https://github.com/bitnami-labs/sealed-secrets/blob/v0.40.0/pkg/apis/sealedsecrets/v1alpha1/types.go
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from opslib.core.clock import parse_stamp, stamp
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.kube.watch import METADATA
from opslib.rollout.consumers import Restart, restarts
from opslib.seal.sealed import Declared
from opslib.seal.uses import mark_of

State = Literal["unknown-kind", "absent", "before", "pending", "refused", "lost", "synced"]
_PAUSE = 0.5
_MOST_SAID = 300
Json = dict[str, Any]


@dataclass(frozen=True)
class Expected:
    """What is looked for: a SealedSecret of Git with the keys that count, in one cluster."""

    name: str
    cluster: Cluster
    declared: Declared
    keys: tuple[str, ...]
    mark: str = ""


@dataclass(frozen=True)
class Arrival:
    """How far one is. ``state``, in its order: the cluster does not know SealedSecrets; has none
    of this name; has what was before; its controller has not looked yet; refuses it; the Secret
    lacks a key; synced. ``changed`` is when the Secret got its values, RFC 3339, "" before.
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
    """Look once. Raises what the API server raises, but for rights to read the Secret."""
    declared = one.declared
    base = f"namespaces/{declared.namespace}"
    secret = f"{declared.namespace}/{declared.name}"

    def arrival(state: State, message: str, changed: str = "", *more: Restart) -> Arrival:
        return Arrival(one.name, secret, one.keys, state, message, changed, more)

    collection = f"/apis/bitnami.com/v1alpha1/{base}/sealedsecrets"
    live = one.cluster.find(f"{collection}/{declared.name}")
    if live is None:
        return arrival(*_absent(one.cluster, collection, declared))
    ciphertexts = (live.get("spec") or {}).get("encryptedData") or {}
    if any(ciphertexts.get(key) != declared.data.get(key) for key in one.keys):
        return arrival("before", "the cluster still has what was before this commit")
    state, message = _said(live)
    if state != "synced":
        return arrival(state, message)
    changed = _changed(one.cluster, f"/api/v1/{base}/secrets/{declared.name}", one.keys)
    if changed is None:
        return arrival("lost", "the controller says Synced, and the Secret does not have the key")
    found = restarts(one.cluster, declared.namespace, declared.name, changed, one.mark)
    return arrival("synced", message, stamp(changed), *found)


def mark_in(manifests: Sequence[Json], secret: str) -> str:
    """Return the mark that workloads of Git have for a Secret; "" where none has one."""
    for one in manifests:
        template = ((one.get("spec") or {}).get("template") or {}).get("metadata") or {}
        if found := (template.get("annotations") or {}).get(mark_of(secret)):
            return str(found)
    return ""


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
    status = live.get("status") or {}
    if status.get("observedGeneration") != live["metadata"].get("generation"):
        return "pending", "the controller has not looked at it yet"
    rows = status.get("conditions") or []
    row: Json = next((one for one in rows if one.get("type") == "Synced"), {})
    if row.get("status") == "True":
        return "synced", "the controller says Synced"
    if row.get("status") == "False":
        said = " ".join(str(row.get("message") or "without a reason").split())[:_MOST_SAID]
        return "refused", f"the controller refuses it: {said}"
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
