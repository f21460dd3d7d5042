"""Private keys of the controller, from a backup: PEM, a Secret, or a List of Secrets.

What ``kubectl get secret -n kube-system -l sealedsecrets.bitnami.com/sealed-secrets-key -o yaml``
wrote is what is read here. No key is ever printed, and errors name places only.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from opslib.core import secrecy
from opslib.core.errors import InputError
from opslib.seal.certificates import fingerprint
from opslib.seal.reading import read_documents, read_file

LABEL = "sealedsecrets.bitnami.com/sealed-secrets-key"
_EXPECTED = "a PEM private key (RSA), a Secret with tls.key, or a List of such Secrets"


@dataclass(frozen=True)
class PrivateKey:
    """One key of a backup: its fingerprint, and where it stands."""

    key: RSAPrivateKey = field(repr=False)
    fingerprint: str
    where: str
    compromised: bool = False


def read(paths: Iterable[Path]) -> dict[str, PrivateKey]:
    """Read the keys of files, by fingerprint. Raises InputError for a file without any."""
    found: dict[str, PrivateKey] = {}
    for path in paths:
        for one in parse(read_file(path), str(path)):
            found.setdefault(one.fingerprint, one)
    return found


def parse(data: bytes, where: str) -> list[PrivateKey]:
    """Read the keys of one text. Raises InputError where there is none or one is damaged."""
    if data.lstrip().startswith(b"-----BEGIN"):
        return [_one(block, where) for block in _blocks(data, where)]
    found = []
    for document in read_documents(data, where):
        for secret in _secrets(document.manifest, f"{where}:{document.line}"):
            found += list(_of_secret(secret, f"{where}:{document.line}"))
    if not found:
        raise InputError("there is no private key in it", where=where, expected=_EXPECTED)
    return found


def _blocks(data: bytes, where: str) -> Iterator[bytes]:
    """Yield the private keys of a PEM text, which may hold certificates besides."""
    seen = False
    for part in data.split(b"-----BEGIN ")[1:]:
        if part.partition(b"-----")[0].endswith(b"PRIVATE KEY"):
            seen = True
            yield b"-----BEGIN " + part
    if not seen:
        what = "this is a certificate: it seals, and only the private key unseals"
        raise InputError(what, where=where, expected=_EXPECTED)


def _secrets(manifest: Any, where: str) -> Iterator[dict[str, Any]]:
    items = manifest.get("items") if isinstance(manifest, dict) else None
    if isinstance(items, list):
        for item in items:
            yield from _secrets(item, where)
    elif isinstance(manifest, dict) and manifest.get("kind") in {"Secret", None}:
        yield manifest
    else:
        kind = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"this is no Secret but {kind}", where=where, expected=_EXPECTED)


def _of_secret(secret: dict[str, Any], where: str) -> Iterator[PrivateKey]:
    metadata = secret.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    place = f"{where} {metadata.get('name', '(a Secret without a name)')}"
    data = secret.get("data")
    text = data.get("tls.key") if isinstance(data, dict) else None
    plain = secret.get("stringData")
    if not isinstance(text, str):
        pem = plain.get("tls.key") if isinstance(plain, dict) else None
        if not isinstance(pem, str):
            raise InputError("the Secret holds no tls.key", where=place, expected=_EXPECTED)
        block = pem.encode()
    else:
        try:
            block = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise InputError("tls.key is not base64", where=place, expected=_EXPECTED) from None
    labels = metadata.get("labels")
    mark = labels.get(LABEL) if isinstance(labels, dict) else None
    yield _one(block, place, compromised=mark == "compromised")


def _one(block: bytes, where: str, *, compromised: bool = False) -> PrivateKey:
    secrecy.note(block, "sealed-secrets-key")
    try:
        key = load_pem_private_key(block, password=None)
    except TypeError:
        raise InputError(
            "the private key is encrypted with a password",
            where=where,
            expected=_EXPECTED,
            hint="decrypt it into a file that only you can read: openssl pkey -in FILE -out KEY",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("the private key is damaged", where=where, expected=_EXPECTED) from None
    if not isinstance(key, RSAPrivateKey):
        raise InputError("the private key is not an RSA key", where=where, expected=_EXPECTED)
    return PrivateKey(key, fingerprint(key.public_key()), where, compromised)
