"""The plane of secrets: a live Secret that is not what its sealed form makes. Without values.

What is sealed can be opened by the cluster's controller only, so values cannot be compared. What
can: whether the Secret is there, its keys, whose it is, and who set each key last: the controller
that unseals is the one that made itself known by the owner reference to the sealed object.
https://github.com/bitnami-labs/sealed-secrets
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.additions import Fields, Owner, entries_of
from opslib.drift.model import Difference, Drift, Plane, Unread
from opslib.drift.planes import Looked
from opslib.drift.reading import read_one
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.kube.errors import ApiError
from opslib.reconcile.desired import Target
from opslib.reconcile.diff import show
from opslib.reconcile.fieldpath import Place
from opslib.reconcile.judge import Prepared
from opslib.reconcile.mask import token

SEALED = ("bitnami.com", "SealedSecret")
_SEALED = "<sealed in Git>"


def sealed_drifts(cluster: Cluster, discovery: Discovery, prepared: Prepared) -> Looked:
    """Compare each declared SealedSecret that is applied with the Secret of its name."""
    drifts: list[Drift] = []
    unread: list[Unread] = []
    kind = discovery.find("v1", "Secret")
    for target in prepared.desired.targets:
        key, sealed = target.key, prepared.live.get(target.key)
        if (key.group, key.kind) != SEALED or sealed is None or kind is None:
            continue
        path = kind.path(key.namespace, key.name)
        try:
            live = read_one(cluster, path)
        except ApiError as error:
            unread.append(Unread(f"Secret {key.namespace}/{key.name}", error.what))
            continue
        drifts += _compare(target, sealed, live)
    return tuple(drifts), tuple(unread)


def _compare(target: Target, sealed: Manifest, live: Manifest | None) -> Iterator[Drift]:
    secret = ResourceKey("", "Secret", target.key.namespace, target.key.name)
    shell = Drift(
        Plane.SECRETS,
        Difference.MISSING,
        secret,
        origin=target.resource.origin,
        api_version="v1",
        note=_trouble(sealed),
    )
    if live is None:
        yield replace(shell, declared=_SEALED)
        return
    metadata = live["metadata"]
    shell = replace(
        shell, uid=str(metadata["uid"]), resource_version=str(metadata["resourceVersion"])
    )
    yield from _owner(shell, sealed, live)
    yield from _keys(shell, sealed, target.resource.manifest, live)


def _trouble(sealed: Manifest) -> str:
    """Say why the controller could not unseal, if it says so."""
    for one in (sealed.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Synced" and one.get("status") == "False":
            return f"the controller could not unseal it: {str(one.get('message', ''))[:200]}"
    return ""


def _owner(shell: Drift, sealed: Manifest, live: Manifest) -> Iterator[Drift]:
    """Tell where a Secret is not the sealed object's any more: what is unsealed does not reach it.

    Others than the controller may have made it on purpose, and say so by an annotation.
    """
    annotations = live["metadata"].get("annotations") or {}
    shared = any(key.startswith("sealedsecrets.bitnami.com/") for key in annotations)
    if _reference(sealed, live) is None and not shared:
        name = f"SealedSecret {sealed['metadata']['name']}"
        note = "nobody keeps it as it is sealed in Git: its owner reference is gone"
        yield _at(shell, Difference.REMOVED, ("metadata", "ownerReferences"), name, None, note=note)


def _reference(sealed: Manifest, live: Manifest) -> Mapping[str, Any] | None:
    uid = sealed["metadata"].get("uid")
    owners = live["metadata"].get("ownerReferences") or ()
    return next((one for one in owners if one.get("uid") == uid), None)


def _keys(shell: Drift, sealed: Manifest, declared: Manifest, live: Manifest) -> Iterator[Drift]:
    spec = declared.get("spec") or {}
    template = spec.get("template") or {}
    wanted = set(spec.get("encryptedData") or {}) | set(template.get("data") or {})
    data = live.get("data") if isinstance(live.get("data"), dict) else {}
    there: Mapping[str, Any] = data or {}
    for key in sorted(wanted - set(there)):
        yield _at(shell, Difference.REMOVED, ("data", key), _SEALED, None, note=shell.note)
    for key in sorted(set(there) - wanted):
        note = _by(live, sealed, key)
        yield _at(shell, Difference.ADDED, ("data", key), None, token(there[key]), note=note)
    for key in sorted(wanted & set(there)):
        if note := _by(live, sealed, key):
            value = token(there[key])
            yield _at(shell, Difference.CHANGED, ("data", key), _SEALED, value, note=note)


def _by(live: Manifest, sealed: Manifest, key: str) -> str:
    """Say who set a key, where that is not whoever unseals; "" where it is, or is not known."""
    uid = str(sealed["metadata"].get("uid"))
    entries = entries_of(live)
    controllers = {owner.manager for owner, fields in entries if _names(fields, uid)}
    setters = {owner for owner, fields in entries if _sets(fields, key)}
    strange = sorted(owner.manager for owner in setters if owner.manager not in controllers)
    if not controllers or not strange or setters & _of(controllers):
        return ""
    return f"{', '.join(strange)} set it last, not the controller that unseals it"


def _of(managers: set[str]) -> set[Owner]:
    ways = ("Update", "Apply")
    return {Owner(manager, way) for manager in managers for way in ways}


def _names(fields: Fields, uid: str) -> bool:
    """Tell whether an entry set the owner reference to an object."""
    owners = (fields.get("f:metadata") or {}).get("f:ownerReferences") or {}
    return any(uid in mark for mark in owners)


def _sets(fields: Fields, key: str) -> bool:
    part = fields.get("f:data")
    return isinstance(part, dict) and f"f:{key}" in part


def _at(
    shell: Drift, kind: Difference, place: Place, declared: Any, live: Any, *, note: str
) -> Drift:
    return replace(
        shell,
        difference=kind,
        path=show(place),
        place=place,
        declared=declared,
        live=live,
        note=note,
    )
