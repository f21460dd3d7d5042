"""What an app has applied: a ConfigMap, written ahead of every change.

Before an apply it grows to the union of what was and what will be; after the prune it
shrinks to what is. Whatever happens in between, no object is ever untracked. What does not
fit into one ConfigMap is kept in several, which the first one names (see ``shards``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import ConflictError, OpslibError
from opslib.core.model import ResourceKey, group_of
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile import shards
from opslib.reconcile.app import SYSTEM_NAMESPACE, App
from opslib.reconcile.retry import retrying
from opslib.reconcile.shards import Row, Shard

FORMAT = "opslib.dev/inventory/v1"
SHARDED = "opslib.dev/inventory/v2"

SINGLE_BYTES = 1024 * 1024 - 4096
"""The most that is kept in one ConfigMap, whose limit is 1 MiB
(https://kubernetes.io/docs/concepts/configuration/configmap/#motivation)."""

_READS = 5
"""How often a reader begins again because the inventory was written meanwhile."""


@dataclass(frozen=True)
class Inventory:
    """Objects of one app by identity, each with the API version that it was applied in.

    ``commit`` is the last one that was applied whole and healthy; "" before the first.
    ``shards`` are the ConfigMaps that hold the objects where one is too small.
    """

    objects: Mapping[ResourceKey, str] = field(default_factory=dict)
    commit: str = ""
    url: str = ""
    path: str = ""
    applied_at: str = ""
    resource_version: str = ""
    shards: tuple[Shard, ...] = ()


def read_inventory(cluster: Cluster, app: App) -> Inventory:
    """Return an app's inventory; an empty one where it has none yet.

    Raises OpslibError for one that cannot be read whole: it is never taken for an empty one.
    """
    seen = ""
    for _ in range(_READS):
        live = retrying(lambda: cluster.find(_place(app)))
        if live is None:
            return Inventory()
        try:
            return _inventory(cluster, app, live)
        except shards.Missing:
            # A writer deletes the old shards once a new head is there: read that one.
            version = live["metadata"]["resourceVersion"]
            if version == seen:
                raise
            seen = version
    raise OpslibError("the app's inventory changes faster than it can be read", where=_where(app))


def _inventory(cluster: Cluster, app: App, live: Mapping[str, Any]) -> Inventory:
    try:
        document = json.loads(live["data"]["inventory"])
        parts = _parts(document)
        rows = [row for part in parts for row in shards.rows_of(cluster, part)]
        rows += document.get("objects", ())
        objects = {
            ResourceKey(group_of(version), kind, namespace, name): version
            for version, kind, namespace, name in rows
        }
        if parts and len(objects) != document["count"]:
            raise ValueError(len(objects))  # noqa: TRY301  # one place says what is wrong
        return Inventory(
            objects,
            document["commit"],
            document["url"],
            document["path"],
            document["applied_at"],
            live["metadata"]["resourceVersion"],
            parts,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise OpslibError(
            "the app's inventory cannot be read",
            where=_where(app),
            hint="somebody edited it: put it back from the API server's backup or audit log",
        ) from error


def _parts(document: Mapping[str, Any]) -> tuple[Shard, ...]:
    """Return the shards that a head names; none where it holds the objects itself."""
    if document["format"] == FORMAT:
        return ()
    if document["format"] != SHARDED or not document["shards"]:
        raise ValueError(document["format"])
    return tuple(Shard.from_dict(row) for row in document["shards"])


def namespaces_in_use(cluster: Cluster, app: App) -> dict[str, str]:
    """Return the namespaces that other apps have objects in, and one such object of each."""
    query = {"labelSelector": "opslib.dev/app"}
    items, _ = cluster.list(shards.COLLECTION, query)
    names = {str(item["metadata"]["labels"]["opslib.dev/app"]) for item in items}
    return {
        key.namespace: f"{key} of app {name}"
        for name in sorted(names - {app.name})
        for key in read_inventory(cluster, App(name)).objects
        if key.namespace
    }


def write_ahead(
    cluster: Cluster, app: App, old: Inventory, more: Mapping[ResourceKey, str]
) -> Inventory:
    """Write the union of ``old`` and ``more``; return it. Nothing is sent if nothing is new."""
    union = {**old.objects, **more}
    if old.resource_version and union == dict(old.objects):
        return old
    return _write(cluster, app, replace(old, objects=union))


def settle(
    cluster: Cluster,
    app: App,
    ahead: Inventory,
    *,
    gone: Iterable[ResourceKey],
    commit: str,
    url: str,
    path: str,
) -> Inventory:
    """Write what is true after everything was applied and pruned."""
    lost = set(gone)
    objects = {key: version for key, version in ahead.objects.items() if key not in lost}
    same = (objects, commit, url, path) == (
        dict(ahead.objects),
        ahead.commit,
        ahead.url,
        ahead.path,
    )
    if same and ahead.resource_version:
        return ahead
    fresh = replace(ahead, objects=objects, commit=commit, url=url, path=path, applied_at=stamp())
    return _write(cluster, app, fresh)


def _write(cluster: Cluster, app: App, inventory: Inventory) -> Inventory:
    """Write an inventory under the version that was read: one ConfigMap, or a head and shards."""
    rows = sorted((v, k.kind, k.namespace, k.name) for k, v in inventory.objects.items())
    text = _document(app, inventory, {"format": FORMAT}, {"objects": rows})
    if len(text) > SINGLE_BYTES:
        return _write_sharded(cluster, app, inventory, rows)
    if not inventory.shards:
        return _write_head(cluster, app, inventory, text)
    there = shards.listed(cluster, app)
    written = _write_head(cluster, app, replace(inventory, shards=()), text)
    shards.remove(cluster, there)
    return written


def _write_sharded(
    cluster: Cluster, app: App, inventory: Inventory, rows: Sequence[Row]
) -> Inventory:
    """Write what is new of the shards, then the head; delete what is stale. See ``shards``."""
    follows = inventory.resource_version
    parts = shards.planned(app, shards.dealt(rows), inventory.shards, follows)
    there = _listed(cluster, app)
    for shard, text in parts.items():
        if shard not in inventory.shards:
            shards.create(cluster, app, shard, text)
    names = [shard.as_dict() for shard in parts]
    head = _document(app, inventory, {"format": SHARDED}, {"count": len(rows), "shards": names})
    written = _write_head(cluster, app, replace(inventory, shards=tuple(parts)), head)
    named = {shard.name for shard in parts}
    shards.remove(cluster, {name: uid for name, uid in there.items() if name not in named})
    return written


def _listed(cluster: Cluster, app: App) -> dict[str, str]:
    """List the shards; a list of a namespace that does not exist is empty, a write fails."""
    there = shards.listed(cluster, app)
    if not there:
        make_namespace(cluster)
    return there


def _document(
    app: App, inventory: Inventory, form: Mapping[str, Any], objects: Mapping[str, Any]
) -> str:
    document = {
        **form,
        "app": app.name,
        "commit": inventory.commit,
        "url": inventory.url,
        "path": inventory.path,
        "applied_at": inventory.applied_at,
        **objects,
    }
    return json.dumps(document, separators=(",", ":"))


def _write_head(cluster: Cluster, app: App, inventory: Inventory, text: str) -> Inventory:
    """Create or replace the ConfigMap that everything hangs on, under the version that was read."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": app.inventory,
            "namespace": SYSTEM_NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "opslib", "opslib.dev/app": app.name},
        },
        "data": {"inventory": text},
    }
    method, place = "POST", shards.COLLECTION
    if inventory.resource_version:
        body["metadata"]["resourceVersion"] = inventory.resource_version
        method, place = "PUT", _place(app)
    tries: list[int] = []

    def send() -> Any:
        tries.append(1)
        return cluster.request(method, place, body=body)

    try:
        live = retrying(send)
    except ApiError as error:
        if error.code == 404 and method == "POST":
            make_namespace(cluster)
            return _write_head(cluster, app, inventory, text)
        if error.code not in {404, 409}:
            raise
        live = _ours(cluster, app, text) if len(tries) > 1 else None
        if live is None:
            raise ConflictError(
                "another process wrote this app's inventory at the same time",
                where=_where(app),
                hint="plan again",
            ) from error
    return replace(inventory, resource_version=live["metadata"]["resourceVersion"])


def _ours(cluster: Cluster, app: App, text: str) -> Any | None:
    """Return the live head if it is what was sent: the answer to a first try was lost."""
    live = retrying(lambda: cluster.find(_place(app)))
    return live if live and (live.get("data") or {}).get("inventory") == text else None


def _place(app: App) -> str:
    return f"{shards.COLLECTION}/{app.inventory}"


def _where(app: App) -> str:
    return f"ConfigMap {SYSTEM_NAMESPACE}/{app.inventory}"


def make_namespace(cluster: Cluster) -> None:
    """Create the kit's own namespace where it is missing."""
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": SYSTEM_NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "opslib"},
        },
    }
    try:
        cluster.request("POST", "/api/v1/namespaces", body=body)
    except ApiError as error:
        if error.code != 409:
            raise
