"""Present values from the cluster, only where it is proven that they are those of the file.

A live Secret holds the file's values when the live SealedSecret has the same ciphertext, the
controller says that it is synced, and nobody but the controller has written the key since. All
other keys are taken as unknown and sealed anew: a ciphertext that is kept by mistake would
throw a new value away.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.seal.sealed import Declared
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.synced import said


def values(cluster: Cluster, one: Declared) -> dict[str, SecretBytes]:
    """Return the values that are proven, by key; nothing where the cluster does not tell."""
    place = f"namespaces/{one.namespace}"
    try:
        sealed = cluster.find(f"/apis/bitnami.com/v1alpha1/{place}/sealedsecrets/{one.name}")
        secret = cluster.find(f"/api/v1/{place}/secrets/{one.name}") if sealed else None
    except OpslibError:
        return {}
    if (
        not isinstance(sealed, dict)
        or not isinstance(secret, dict)
        or said(sealed).get("status") != "True"
    ):
        return {}
    ciphertexts = sealed.get("spec", {}).get("encryptedData") or {}
    written = _by_controller(secret, str(sealed.get("metadata", {}).get("uid", "")))
    found = {}
    for key, text in (secret.get("data") or {}).items():
        if key in one.data and ciphertexts.get(key) == one.data[key] and key in written:
            try:
                found[key] = SecretBytes(base64.b64decode(text), f"{one.name}/{key}")
            except binascii.Error:
                continue
    return found


def _by_controller(secret: Mapping[str, Any], uid: str) -> set[str]:
    """Return the keys whose last writer also made the SealedSecret the Secret's owner."""
    metadata = secret.get("metadata") or {}
    if not any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or []):
        return set()
    owned: dict[str, set[str]] = {}
    owners: set[str] = set()
    for entry in metadata.get("managedFields") or []:
        fields = entry.get("fieldsV1") or {}
        manager = str(entry.get("manager"))
        owned.setdefault(manager, set()).update(
            name.removeprefix("f:") for name in fields.get("f:data") or {} if name != "."
        )
        if any("f:ownerReferences" in inner for inner in (fields.get("f:metadata") or {},)):
            owners.add(manager)
    if len(owners) != 1:
        return set()
    (mine,) = owners
    others = set().union(*(keys for manager, keys in owned.items() if manager != mine))
    return owned.get(mine, set()) - others
