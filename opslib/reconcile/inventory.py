"""What an app has applied: a ConfigMap, written ahead of every change.

Before an apply it grows to the union of what was and what will be; after the prune it
shrinks to what is. Whatever happens in between, no object is ever untracked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import ConflictError, OpslibError
from opslib.core.model import Manifest, ResourceKey, group_of
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile.app import SYSTEM_NAMESPACE, App
from opslib.reconcile.retry import retrying

FORMAT = "opslib.dev/inventory/v1"
_COLLECTION = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"


@dataclass(frozen=True)
class Inventory:
    """Objects of one app by identity, each with the API version that it was applied in.

    ``commit`` is the last one that was applied whole and healthy; "" before the first.
    """

    objects: Mapping[ResourceKey, str] = field(default_factory=dict)
    commit: str = ""
    url: str = ""
    path: str = ""
    applied_at: str = ""
    resource_version: str = ""


def read_inventory(cluster: Cluster, app: App) -> Inventory:
    """Return an app's inventory; an empty one where it has none yet.

    Raises OpslibError for one that cannot be read: it is never taken for an empty one.
    """
    live = cluster.find(f"{_COLLECTION}/{app.inventory}")
    if live is None:
        return Inventory()
    where = f"ConfigMap {SYSTEM_NAMESPACE}/{app.inventory}"
    try:
        document = json.loads(live["data"]["inventory"])
        if document["format"] != FORMAT:
            raise ValueError(document["format"])  # noqa: TRY301  # one place says what is wrong
        objects = {
            ResourceKey(group_of(version), kind, namespace, name): version
            for version, kind, namespace, name in document["objects"]
        }
    except (KeyError, ValueError, TypeError) as error:
        raise OpslibError(
            "the app's inventory cannot be read",
            where=where,
            hint="somebody edited it: put it back from the API server's backup or audit log",
        ) from error
    return Inventory(
        objects,
        document["commit"],
        document["url"],
        document["path"],
        document["applied_at"],
        live["metadata"]["resourceVersion"],
    )


def write_ahead(
    cluster: Cluster, app: App, old: Inventory, more: Mapping[ResourceKey, str]
) -> Inventory:
    """Write the union of ``old`` and ``more``; return it. Nothing is sent if nothing is new."""
    union = {**old.objects, **more}
    if old.resource_version and union == dict(old.objects):
        return old
    return _write(
        cluster,
        app,
        Inventory(union, old.commit, old.url, old.path, old.applied_at, old.resource_version),
    )


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
    fresh = Inventory(objects, commit, url, path, stamp(), ahead.resource_version)
    return _write(cluster, app, fresh)


def _write(cluster: Cluster, app: App, inventory: Inventory) -> Inventory:
    """Create or replace the ConfigMap under the version that was read."""
    rows = sorted((v, k.kind, k.namespace, k.name) for k, v in inventory.objects.items())
    document = {
        "format": FORMAT,
        "app": app.name,
        "commit": inventory.commit,
        "url": inventory.url,
        "path": inventory.path,
        "applied_at": inventory.applied_at,
        "objects": rows,
    }
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": app.inventory,
            "namespace": SYSTEM_NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "opslib", "opslib.dev/app": app.name},
        },
        "data": {"inventory": json.dumps(document, separators=(",", ":"))},
    }
    method, place = "POST", _COLLECTION
    if inventory.resource_version:
        body["metadata"]["resourceVersion"] = inventory.resource_version
        method, place = "PUT", f"{_COLLECTION}/{app.inventory}"
    try:
        live = retrying(lambda: cluster.request(method, place, body=body))
    except ApiError as error:
        if error.code == 404 and method == "POST":
            make_namespace(cluster)
            return _write(cluster, app, inventory)
        if error.code == 409 and (live := _written_already(cluster, app, body)):
            return replace(inventory, resource_version=live["metadata"]["resourceVersion"])
        if error.code in {404, 409}:
            raise ConflictError(
                "another process wrote this app's inventory at the same time",
                where=f"ConfigMap {SYSTEM_NAMESPACE}/{app.inventory}",
                hint="plan again",
            ) from error
        raise
    return replace(inventory, resource_version=live["metadata"]["resourceVersion"])


def _written_already(cluster: Cluster, app: App, body: Manifest) -> Manifest | None:
    """Return the live ConfigMap if it is what was to be written: only its answer was lost."""
    live: Manifest | None = cluster.find(f"{_COLLECTION}/{app.inventory}")
    return live if live and live.get("data") == body["data"] else None


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
