"""The format of Sealed Secrets: one value, sealed for one RSA key under one label.

::

    uint16be(len(C)) | C | AES-256-GCM(session key, nonce = 12 zero bytes, value) with its tag
    C = RSA-OAEP(SHA-256, MGF1 with SHA-256, label) of a fresh session key of 32 bytes

in base64. The label binds a value to its place: ``namespace/name``, ``namespace`` or nothing,
by the scope. https://github.com/bitnami-labs/sealed-secrets/blob/v0.40.0/docs/developer/crypto.md
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from opslib.seal.secretbytes import SecretBytes

DOMAIN = "sealedsecrets.bitnami.com"
_SESSION = 32
_AES_KEYS = (16, 24, 32)
_TAG = 16
_NONCE = bytes(12)  # a session key is used once, so its nonce may be fixed
_HASH = 32


class Scope(enum.StrEnum):
    """How far a sealed value may travel."""

    STRICT = "strict"
    NAMESPACE = "namespace-wide"
    CLUSTER = "cluster-wide"

    @property
    def annotation(self) -> str:
        """The annotation that says so; "" for strict."""
        return "" if self is Scope.STRICT else f"{DOMAIN}/{self.value}"


class Malformed(ValueError):
    """Bytes that no key can unseal; its text says why, and never holds a value."""


class CannotUnseal(ValueError):
    """None of the keys opens the value under this label."""


@dataclass(frozen=True)
class Parts:
    """A sealed value taken apart: the session key under RSA, and the body under AES."""

    rsa: bytes = field(repr=False)
    body: bytes = field(repr=False)


def scope_of(annotations: Mapping[str, Any] | None) -> Scope:
    """Return the scope that annotations say: only the text "true" counts, the wider one wins."""
    found = annotations or {}
    for scope in (Scope.CLUSTER, Scope.NAMESPACE):
        if found.get(scope.annotation) == "true":
            return scope
    return Scope.STRICT


def label_of(scope: Scope, namespace: str, name: str) -> bytes:
    """Return the label that binds a value to its place."""
    if scope is Scope.CLUSTER:
        return b""
    return (namespace if scope is Scope.NAMESPACE else f"{namespace}/{name}").encode()


def encrypt(key: RSAPublicKey, value: SecretBytes, label: bytes) -> bytes:
    """Seal one value; each call gives other bytes."""
    return Sealer(key, label).seal(value)


class Sealer:
    """Seals many values for one key and one label."""

    def __init__(self, key: RSAPublicKey, label: bytes) -> None:
        self._key = key
        self._padding = _oaep(label)

    def seal(self, value: SecretBytes) -> bytes:
        """Seal one value."""
        session = os.urandom(_SESSION)
        rsa = self._key.encrypt(session, self._padding)
        cipher = AESGCM(session)
        body = value.used_by(lambda clear: cipher.encrypt(_NONCE, clear, None))
        return len(rsa).to_bytes(2, "big") + rsa + body


def decrypt(
    keys: Iterable[RSAPrivateKey], data: bytes, label: bytes, name: str = "value"
) -> SecretBytes:
    """Unseal one value by whichever key opens it, as the controller does.

    ``name`` is the label of the result for people. Raises Malformed for what no key can open,
    CannotUnseal where none of these does.
    """
    parts = split(data)
    for key in keys:
        session = _session(key, parts, label)
        if session is not None:
            try:
                return SecretBytes(AESGCM(session).decrypt(_NONCE, parts.body, None), name)
            except InvalidTag:
                continue
    raise CannotUnseal("no key opens it under this label")


def opens(key: RSAPrivateKey, data: bytes, label: bytes) -> bool:
    """Tell whether a key opens the session key of a value; the value itself is not decrypted."""
    try:
        return _session(key, split(data), label) is not None
    except Malformed:
        return False


def split(data: bytes) -> Parts:
    """Take sealed bytes apart. Raises Malformed where they are too short to be any."""
    if len(data) < 2:
        raise Malformed("it is cut off: not even the length of its session key is there")
    length = int.from_bytes(data[:2], "big")
    if len(data) < 2 + length + _TAG:
        raise Malformed(
            f"it is cut off: {len(data)} bytes, of at least {2 + length + _TAG} that it says it has"
        )
    return Parts(data[2 : 2 + length], data[2 + length :])


def decode(text: str) -> bytes:
    """Read base64 as the controller does: line breaks inside are ignored, nothing else is.

    https://pkg.go.dev/encoding/base64#Encoding.DecodeString . Raises Malformed.
    """
    joined = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(_why_not_base64(joined)) from None


def encode(data: bytes) -> str:
    """Write sealed bytes as they stand in a SealedSecret."""
    return base64.b64encode(data).decode()


def label_hash(key: RSAPrivateKey, data: bytes) -> bytes | None:
    """Return the SHA-256 of the label under which a value was sealed for this key.

    None where it was sealed for another key, or its session key is damaged. For finding out
    why a value does not unseal: the library's own decryption does not tell these apart
    (RFC 8017, 7.1.2, step 3: https://www.rfc-editor.org/rfc/rfc8017#section-7.1.2). It is for
    whoever holds the key, on their own machine, so that no answer of it reaches an attacker.
    """
    try:
        cipher = split(data).rsa
    except Malformed:
        return None
    size = (key.key_size + 7) // 8
    if len(cipher) != size:
        return None
    numbers = key.private_numbers()
    number = int.from_bytes(cipher, "big")
    if number >= numbers.public_numbers.n:
        return None
    one = pow(number, numbers.dmp1, numbers.p)
    two = pow(number, numbers.dmq1, numbers.q)
    clear = two + numbers.q * ((one - two) * numbers.iqmp % numbers.p)
    text = clear.to_bytes(size, "big")
    masked = text[1 + _HASH :]
    seed = _xor(text[1 : 1 + _HASH], _mask(masked, _HASH))
    block = _xor(masked, _mask(seed, len(masked)))
    zeros, mark, session = block[_HASH:].partition(b"\x01")
    whole = text[0] == 0 and mark and not any(zeros) and len(session) in _AES_KEYS
    return block[:_HASH] if whole else None


def _session(key: RSAPrivateKey, parts: Parts, label: bytes) -> bytes | None:
    try:
        session = key.decrypt(parts.rsa, _oaep(label))
    except ValueError:
        return None
    return session if len(session) in _AES_KEYS else None


def _oaep(label: bytes) -> OAEP:
    return OAEP(mgf=MGF1(algorithm=SHA256()), algorithm=SHA256(), label=label or None)


def _mask(seed: bytes, length: int) -> bytes:
    """MGF1 with SHA-256: https://www.rfc-editor.org/rfc/rfc8017#appendix-B.2.1 ."""
    count = -(-length // _HASH)
    out = b"".join(hashlib.sha256(seed + n.to_bytes(4, "big")).digest() for n in range(count))
    return out[:length]


def _xor(one: bytes, two: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(two, "big")).to_bytes(len(one), "big")


def _why_not_base64(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    odd = next((n for n, char in enumerate(text, 1) if char not in alphabet), None)
    if odd is not None:
        return f"it is not base64: character {odd} of {len(text)} is none of its alphabet"
    if len(text) % 4:
        return f"it is cut off: {len(text)} characters of base64 are no whole groups of four"
    return "it is not base64: its padding (=) does not stand at its end"
