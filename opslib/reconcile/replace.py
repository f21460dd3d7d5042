"""Delete-and-create for a field that cannot be changed in place: planned, allowed, proven.

Three things must hold. The server refuses the change because a field is immutable, which it
says in words: a 422 alone says nothing. The object allows it, by an annotation in Git. And the
server would admit it anew, shown by a dry run under a name that is free: an object that was
deleted and then cannot be created again is an outage.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from opslib.core.errors import DeadlineExceeded
from opslib.core.model import Manifest, Resource
from opslib.kube.apply import Lock, delete, server_side_apply
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.kube.errors import ApiError
from opslib.reconcile.diff import FieldChange, comparable, differences, line_of, show
from opslib.reconcile.fieldpath import value_at
from opslib.reconcile.prune import BY_NAME_ONLY
from opslib.reconcile.retry import retrying

REPLACE = "opslib.dev/replace"
"""Annotation by which an object in Git allows that it is deleted and created: ``enabled``."""

_NEVER = frozenset({"Namespace", "CustomResourceDefinition"})
"""What goes with all that is in it."""

_IMMUTABLE = re.compile(
    r"immutable|may not be changed|cannot be changed|may not change once set"
    r"|updates to statefulset spec for fields other than|can not be updated|cannot be updated"
    r"|pod updates may not change fields|cannot change "
)
"""What the API server's validation says of such fields (k8s.io/apimachinery and k8s.io/kubernetes
pkg/apis/*/validation). Wrong identities in metadata say so too, and are no field of Git."""

GONE_SECONDS = 60.0
_POLL = 0.25


def immutable(error: ApiError) -> str:
    """Return the field that the server does not let change; "" where that is not the trouble."""
    if error.code != 422:
        return ""
    for cause in error.causes:
        told = _IMMUTABLE.search(cause.message)
        if told and not cause.field.startswith("metadata."):
            return cause.field or "a field"
    return "" if error.causes or not _IMMUTABLE.search(error.what) else "a field"


def refusal(resource: Resource, confirmed: frozenset[str]) -> str:
    """Return what is missing before this object may be deleted and created; "" when nothing is."""
    key = resource.key
    if key.kind in _NEVER:
        return f"a {key.kind} is never deleted and created: all that is in it would go"
    if (resource.manifest["metadata"].get("annotations") or {}).get(REPLACE) != "enabled":
        return (
            "the field cannot be changed in place: give the object another name, or let it be "
            f"deleted and created by its annotation {REPLACE}: enabled"
        )
    if (key.group, key.kind) in BY_NAME_ONLY and str(key) not in confirmed:
        return f"a {key.kind} is deleted and created only when named: --prune '{key}'"
    return ""


def free_name(name: str) -> str:
    """Return a name like this one that no object has, for a dry run."""
    return f"{name[:40].rstrip('-.')}-{secrets.token_hex(4)}"


def admitted(cluster: Cluster, kind: Kind, body: Manifest, manager: str) -> Manifest:
    """Return the object as the server would create it, asked under a name that is free.

    Raises the server's refusal.
    """
    metadata = body["metadata"]
    trial = {**body, "metadata": {**metadata, "name": free_name(str(metadata["name"]))}}
    made = retrying(
        lambda: server_side_apply(cluster, kind, trial, manager=manager, force=False, dry_run=True)
    )
    return {**made, "metadata": {**made["metadata"], "name": metadata["name"]}}


def replaced_fields(live: Manifest, made: Manifest, resource: Resource) -> list[FieldChange]:
    """Return the declared fields that differ between the object that goes and the one that comes.

    What Git does not declare is made anew by the server and differs each time.
    """
    before, after = comparable(live), comparable(made)
    return [
        FieldChange(show(path), old, new, line_of(path, resource), path)
        for path, old, new in differences(before, after)
        if value_at(resource.manifest, path)[0]
    ]


def replace_object(
    cluster: Cluster,
    kind: Kind,
    body: Manifest,
    lock: Lock,
    *,
    manager: str,
    go_on: Callable[[], bool],
) -> Manifest:
    """Delete the object that ``lock`` names, wait until it is gone, create it and return it.

    The server is asked once more right before whether it would take the new one. Raises
    DeadlineExceeded where finalizers hold the old one: it is being deleted then, and the next
    plan shows what is left to do.
    """
    admitted(cluster, kind, body, manager)
    metadata: dict[str, Any] = body["metadata"]
    namespace, name = str(metadata.get("namespace") or ""), str(metadata["name"])
    retrying(lambda: delete(cluster, kind, namespace, name, lock=lock))
    path = kind.path(namespace, name)
    until = time.monotonic() + GONE_SECONDS
    while live := retrying(lambda: cluster.find(path)):
        if str(live["metadata"]["uid"]) != lock.uid:
            break  # somebody else was faster: the create that follows is a conflict, not forced
        if time.monotonic() > until or not go_on():
            holders = ", ".join(live["metadata"].get("finalizers") or ()) or "its dependents"
            raise DeadlineExceeded(
                f"it is being deleted and not gone after {GONE_SECONDS:.0f} s: held by {holders}",
                hint="apply again when it is gone: the plan then creates it",
            )
        time.sleep(_POLL)
    return retrying(lambda: server_side_apply(cluster, kind, body, manager=manager, force=False))
