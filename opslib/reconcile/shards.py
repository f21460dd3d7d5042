"""An inventory that is larger than one ConfigMap: its rows in shards that the head names.

The rows are dealt out by a hash of each object's identity, so that one object more or less
changes one shard. A shard is immutable and is named after its content and the version of the
head that it was made to follow. This order makes a set whole at every moment:

1. list the shards that are there, 2. create the new ones, 3. write the head under the version
that was read, 4. delete what was listed in 1 and is not named in 3.

The write in 3 succeeds only where nobody wrote the head since it was read. So whatever was
listed in 1 and is not named belongs to a head that is gone, or to a writer whose own 3 will
fail; and no later writer can make a name that is deleted in 4, as it follows another version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile.app import SYSTEM_NAMESPACE, App
from opslib.reconcile.retry import retrying

COLLECTION = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"

SHARD_BYTES = 512 * 1024
"""The most that one shard holds; a ConfigMap's limit is 1 MiB
(https://kubernetes.io/docs/concepts/configuration/configmap/#motivation)."""

FORMAT = "opslib.dev/inventory-shard/v1"
_PART = "opslib.dev/part"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Row = Sequence[str]
"""API version, kind, namespace, name."""


@dataclass(frozen=True)
class Shard:
    """Where some rows are: the ConfigMap's name, the SHA-256 of its text, how many rows."""

    name: str
    sha256: str
    count: int

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": self.sha256, "count": self.count}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Shard:
        return cls(str(row["name"]), str(row["sha256"]), int(row["count"]))


class Missing(OpslibError):
    """A shard that the head names is not there, or is not what the head says."""

    kind = "inventory-shard"


def dealt(rows: Sequence[Row]) -> dict[str, int]:
    """Return the text of each shard with its number of rows.

    As few as fit, their number a power of two: it stays the same while an app grows by half.
    """
    parts = 2
    while True:
        hands: list[list[Row]] = [[] for _ in range(parts)]
        for row in rows:
            hands[_place(row) % parts].append(row)
        found = {_text(sorted(hand, key=tuple)): len(hand) for hand in hands}
        if max(map(len, found)) <= SHARD_BYTES:
            return found
        parts *= 2


def _place(row: Row) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(row).encode()).digest()[:8], "big")


def _text(rows: Sequence[Row]) -> str:
    return json.dumps({"format": FORMAT, "objects": rows}, separators=(",", ":"))


def planned(
    app: App, parts: Mapping[str, int], old: Sequence[Shard], follows: str
) -> dict[Shard, str]:
    """Return the shards of a new head with their texts; what did not change keeps its place.

    ``follows`` is the version of the head that this one replaces.
    """
    kept = {shard.sha256: shard for shard in old}
    named: dict[Shard, str] = {}
    for text, count in parts.items():
        sha256 = _sha256(text)
        unique = _sha256(f"{follows}\n{text}")[:20]
        fresh = Shard(f"{app.inventory}.{unique}", sha256, count)
        named[kept.get(sha256, fresh)] = text
    return named


def listed(cluster: Cluster, app: App) -> dict[str, str]:
    """Return the uid of every shard of an app, named by its head or not, by its name."""
    query = {"labelSelector": f"opslib.dev/app={app.name},{_PART}=inventory-shard"}
    answer = retrying(
        lambda: cluster.request("GET", COLLECTION, query=query, accept=_METADATA_ONLY)
    )
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in answer["items"] or ()}


def create(cluster: Cluster, app: App, shard: Shard, text: str) -> None:
    """Create a shard; one that a killed writer left under this name is the same one."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": shard.name,
            "namespace": SYSTEM_NAMESPACE,
            "labels": {
                "app.kubernetes.io/managed-by": "opslib",
                "opslib.dev/app": app.name,
                _PART: "inventory-shard",
            },
        },
        "immutable": True,
        "data": {"objects": text},
    }
    try:
        retrying(lambda: cluster.request("POST", COLLECTION, body=body))
    except ApiError as error:
        if error.code != 409:
            raise
        rows_of(cluster, shard)


def rows_of(cluster: Cluster, shard: Shard) -> list[Row]:
    """Read one shard. Raises Missing unless it is exactly what the head says."""
    where = f"ConfigMap {SYSTEM_NAMESPACE}/{shard.name}"
    hint = "put it back from a backup of the cluster or from the API server's audit log"
    live = retrying(lambda: cluster.find(f"{COLLECTION}/{shard.name}"))
    if live is None:
        raise Missing("a part of the app's inventory is gone", where=where, hint=hint)
    text = (live.get("data") or {}).get("objects", "")
    if _sha256(text) != shard.sha256:
        raise Missing("a part of the app's inventory was changed", where=where, hint=hint)
    rows: list[Row] = json.loads(text)["objects"]
    return rows


def remove(cluster: Cluster, stale: Mapping[str, str]) -> None:
    """Delete shards that no head names, by name and uid; what fails is left to the next write."""
    for name, uid in stale.items():
        with contextlib.suppress(OpslibError):
            body = {"preconditions": {"uid": uid}}
            cluster.request("DELETE", f"{COLLECTION}/{name}", body=body)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
