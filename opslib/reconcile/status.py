"""What the loop says of itself, in the cluster, where everybody who may look can read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import InputError
from opslib.core.model import Manifest
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile.app import SYSTEM_NAMESPACE, App
from opslib.reconcile.trials import Quarantine
from opslib.source.revert import Proposal

FORMAT = "opslib.dev/status/v1"
_COLLECTION = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"


@dataclass(frozen=True)
class LoopStatus:
    """The last word of a loop about one app; all times are RFC 3339 in UTC, "" for never.

    ``phase``: starting, synced, progressing, drifted, failed, error, waiting (for an
    app that this one depends on), quarantined or stopped.
    ``tried_commit`` is the source's head, ``applied_commit`` what is live. ``source_error`` is
    why the source's head could not be had or not be applied, while the last good revision is
    kept. ``quarantined`` is the head that failed, ``proposal`` how it may be taken back in Git,
    ``kept`` what Git does not have and is not deleted, each with the reason. ``unwatched`` is
    what can only be read at each poll. ``depends_on`` names the apps that have to be there
    first. ``signed_by`` is of the applied commit, where that was verified.
    """

    app: str
    url: str
    ref: str
    path: str
    mode: str
    interval_seconds: float
    holder: str
    phase: str = "starting"
    message: str = ""
    tried_commit: str = ""
    tried_at: str = ""
    applied_commit: str = ""
    applied_at: str = ""
    health: str = "Unknown"
    unhealthy: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    errors_in_a_row: int = 0
    next_poll: str = ""
    health_timeout_seconds: float = 0.0
    source_error: str = ""
    signed_by: str = ""
    quarantined: Quarantine | None = None
    proposal: Proposal | None = None
    kept: tuple[str, ...] = ()
    unwatched: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    updated_at: str = field(default="", compare=False)

    def as_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def write_status(cluster: Cluster, app: App, status: LoopStatus) -> None:
    """Replace the app's status; only the holder of its lease calls this."""
    text = json.dumps(replace(status, updated_at=stamp()).as_dict(), indent=1)
    labels = {"app.kubernetes.io/managed-by": "opslib", "opslib.dev/app": app.name}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": app.status, "namespace": SYSTEM_NAMESPACE, "labels": labels},
        "data": {"status": text},
    }
    try:
        cluster.request("PUT", f"{_COLLECTION}/{app.status}", body=body)
    except ApiError as error:
        if error.code != 404:
            raise
        cluster.request("POST", _COLLECTION, body=body)


def read_status(cluster: Cluster, app: App) -> LoopStatus:
    """Return the app's status; InputError where no loop has run for it, naming those that did."""
    status = find_status(cluster, app)
    if status is None:
        known = ", ".join(one.app for one in list_statuses(cluster))
        raise InputError(
            f"no loop has reported on app {app.name}",
            where="--app",
            expected=f"one of: {known}" if known else None,
            hint="start one: opslib watch",
        )
    return status


def find_status(cluster: Cluster, app: App) -> LoopStatus | None:
    """Return the app's status; None where no loop has run for it."""
    live = cluster.find(f"{_COLLECTION}/{app.status}")
    return None if live is None else _read(live)


def list_statuses(cluster: Cluster) -> list[LoopStatus]:
    """Return what every loop of this cluster last said, by the name of its app."""
    items, _ = cluster.list(_COLLECTION, {"labelSelector": "opslib.dev/app"})
    found = [_read(item) for item in items if "status" in (item.get("data") or {})]
    return sorted(found, key=lambda status: status.app)


def _read(live: Manifest) -> LoopStatus:
    """Read what any version of the kit wrote: fields that are new to it are left out."""
    document = json.loads(live["data"]["status"])
    known = {f.name: document[f.name] for f in fields(LoopStatus) if f.name in document}
    for name, value in known.items():
        if isinstance(value, list):
            known[name] = tuple(value)
    if row := known.get("quarantined"):
        known["quarantined"] = Quarantine(**row)
    if row := known.get("proposal"):
        lists = {name: tuple(row[name]) for name in ("commits", "commands")}
        known["proposal"] = Proposal(**{**row, **lists})
    return LoopStatus(**known)
