"""Writes: server-side apply and delete, each under the lock of what was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.model import Manifest, StandIn
from opslib.kube.client import APPLY, Cluster
from opslib.kube.discovery import Kind
from opslib.kube.errors import ApiError


@dataclass(frozen=True)
class Lock:
    """The identity and version of a live object as it was read.

    Sent with every write, so that an object that moved or was made anew is a conflict
    and not overwritten. A resourceVersion alone would re-create a deleted object; with
    the uid that is a conflict too.
    """

    uid: str
    resource_version: str

    @classmethod
    def of(cls, live: Manifest) -> Lock:
        """Take the lock from a live object."""
        return cls(str(live["metadata"]["uid"]), str(live["metadata"]["resourceVersion"]))


def server_side_apply(
    cluster: Cluster,
    kind: Kind,
    manifest: Manifest,
    *,
    manager: str,
    lock: Lock | None = None,
    force: bool = True,
    dry_run: bool = False,
) -> dict[str, Any]:
    """PATCH with the declared fields and return the object as the server has (or would have) it.

    ``manager`` owns the fields, 128 characters at most. Raises ApiError: 409 when the
    lock does not hold, 404 when the namespace is missing; OpslibError for a body that still
    has stand-ins, which nothing but a dry run may have.
    https://kubernetes.io/docs/reference/using-api/server-side-apply/
    """
    if not dry_run:
        _refuse_stand_ins(manifest)
    body = manifest
    if lock is not None:
        metadata = {**manifest["metadata"], "uid": lock.uid}
        metadata["resourceVersion"] = lock.resource_version
        body = {**manifest, "metadata": metadata}
    query: dict[str, str | int | bool] = {"fieldManager": manager, "force": force}
    # An unknown field is an error of server-side apply in any case; strict validation would only
    # parse the body a second time, for keys that stand in it twice, which JSON made of a dict
    # cannot have. Without a word the server warns, and parses twice too.
    # https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/endpoints/handlers/patch.go#L532
    query["fieldValidation"] = "Ignore"
    if dry_run:
        query["dryRun"] = "All"
    metadata = manifest["metadata"]
    path = kind.path(str(metadata.get("namespace") or ""), str(metadata["name"]))
    answer = cluster.request("PATCH", path, query=query, body=body, content_type=APPLY)
    return dict(answer)


def _refuse_stand_ins(manifest: Manifest) -> None:
    data = manifest.get("data")
    for key, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, StandIn):
            raise OpslibError(f"the value of {key} was not read, so the object is not written")


def delete(
    cluster: Cluster, kind: Kind, namespace: str, name: str, *, lock: Lock, dry_run: bool = False
) -> bool:
    """Delete the object that ``lock`` names, in the background; False when it is gone already.

    Raises ApiError 409 when the object is not the one that was read.
    """
    preconditions = {"uid": lock.uid, "resourceVersion": lock.resource_version}
    body: dict[str, Any] = {"preconditions": preconditions, "propagationPolicy": "Background"}
    if dry_run:
        # In the body: beside one the API server does not look at the query, and would delete.
        body["dryRun"] = ["All"]
    try:
        cluster.request("DELETE", kind.path(namespace, name), body=body)
    except ApiError as error:
        if error.code == 404:
            return False
        raise
    return True
