"""Is every key that Git depends on in the backup: proven by opening, and no key is shown.

For each sealed value the key is found whose private half opens its session key under the
value's label. The value itself is not decrypted. What the cluster holds now is compared too,
where it may be asked: a key that is there and not in the backup is one that a disaster takes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError
from opslib.kube.client import Cluster
from opslib.seal import certificates
from opslib.seal.privatekeys import LABEL, PrivateKey
from opslib.seal.sealed import Declared
from opslib.seal.wire import Malformed, decode, label_hash, opens

LEGACY = "sealed-secrets-key"
"""The Secret with the key of the first controllers, which has no label."""


@dataclass(frozen=True)
class Held:
    """One key: how many values of Git it opens, and where its backup stands."""

    fingerprint: str
    values: int
    where: str

    def as_dict(self) -> dict[str, str | int]:
        return dict(vars(self))


@dataclass(frozen=True)
class Lost:
    """A value that no key of the backup opens, and why, as far as can be told."""

    where: str
    subject: str
    key: str
    why: str

    def as_dict(self) -> dict[str, str]:
        return dict(vars(self))


@dataclass(frozen=True)
class Proof:
    """What the backup opens. ``unsaved`` are keys of the cluster that it lacks."""

    held: tuple[Held, ...]
    lost: tuple[Lost, ...]
    values: int
    unsaved: tuple[str, ...] = ()
    compromised: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.lost and not self.unsaved

    def as_dict(self) -> dict[str, Any]:
        return {
            "complete": self.complete,
            "values": self.values,
            "keys": [one.as_dict() for one in self.held],
            "lost": [one.as_dict() for one in self.lost],
            "unsaved": list(self.unsaved),
            "compromised": list(self.compromised),
        }


def prove(
    objects: Sequence[Declared], keys: Mapping[str, PrivateKey], cluster_keys: Sequence[str] = ()
) -> Proof:
    """Try every value of Git with the keys of the backup.

    ``cluster_keys`` are fingerprints of the keys that the cluster has now.
    """
    counts = dict.fromkeys(keys, 0)
    lost: list[Lost] = []
    total = 0
    for one in objects:
        noted, _ = one.read_notes()
        for key, text in one.data.items():
            total += 1
            note = noted.get(str(key))
            found, why = _opener(one, text, keys, note.key if note else "")
            if found:
                counts[found] += 1
            else:
                lost.append(Lost(one.place_of(str(key)), str(one), str(key), why))
    held = tuple(Held(name, count, keys[name].where) for name, count in counts.items())
    unsaved = tuple(one for one in cluster_keys if one not in keys)
    bad = tuple(name for name, key in keys.items() if key.compromised)
    return Proof(held, tuple(lost), total, unsaved, bad)


def of_cluster(cluster: Cluster, namespace: str) -> list[str]:
    """Return the fingerprints of the keys that the controller has, by their certificates.

    Raises ApiError where their Secrets may not be read, InputError where there are none.
    """
    place = f"/api/v1/namespaces/{namespace}/secrets"
    items, _ = cluster.list(place, {"labelSelector": LABEL})
    names = {secret["metadata"]["name"] for secret in items}
    legacy = None if LEGACY in names else cluster.find(f"{place}/{LEGACY}")
    found = []
    for secret in [*items, *([legacy] if legacy else [])]:
        text = (secret.get("data") or {}).get("tls.crt")
        where = f"Secret {namespace}/{secret['metadata']['name']}"
        try:
            pem = base64.b64decode(text or "", validate=True)
        except binascii.Error:
            raise InputError("tls.crt is not base64", where=where) from None
        found.append(certificates.parse(pem, where).fingerprint)
    if not found:
        raise InputError(
            "the cluster has no sealing keys there",
            where=f"namespace {namespace}, label {LABEL}",
            hint="name the controller's namespace with --controller-namespace",
        )
    return found


def _opener(
    one: Declared, text: object, keys: Mapping[str, PrivateKey], noted: str
) -> tuple[str, str]:
    """Return the fingerprint of the key that opens a value, or why none does."""
    try:
        data = decode(text if isinstance(text, str) else "")
    except Malformed as error:
        return "", str(error)
    ordered = sorted(keys.items(), key=lambda pair: pair[0] != noted)
    for name, private in ordered:
        if opens(private.key, data, one.label):
            return name, ""
    for name, private in ordered:
        if label_hash(private.key, data) is not None:
            return "", f"its key {name} is there, but it was sealed for another place"
    if noted and noted not in keys:
        return "", f"its key {noted} is not in the backup"
    return "", "no key of the backup opens it"
