"""Certificates to seal for: the first one of a PEM text, its dates, its key's fingerprint.

Only the key and the dates are read. The extensions are left alone: the controller's own
certificates say encipherOnly without keyAgreement, which strict readers refuse
(https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.3).
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from opslib.core import clock
from opslib.core.errors import InputError

WARN_BEFORE = timedelta(days=30)
"""A certificate's last days: it is told then, and refused afterwards."""
_BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----[^\S\n]*(?:\n|$)", re.DOTALL
)
_OTHERS = (
    (rb"PRIVATE KEY-----", "this is a private key, not a certificate"),
    (rb"PUBLIC KEY-----", "this is a bare public key: it has no dates and is no certificate"),
    (rb"BEGIN CERTIFICATE-----", "the certificate is cut off: its end line is missing"),
    (rb"\Assh-", "this is an ssh public key, not a certificate"),
    (rb"\A\x30", "this is a binary file (DER), not PEM"),
    (rb"\A\s*<", "this is a web page, not a certificate"),
    (rb"\A\s*\Z", "the certificate is empty"),
    (rb"tls\.(?:crt|key)", "this is a manifest that holds a certificate, not the certificate"),
)
_EXPECTED = "a PEM file with -----BEGIN CERTIFICATE-----, as `opslib seal --fetch-cert` prints it"


@dataclass(frozen=True)
class Certificate:
    """A certificate: its RSA key, the key's fingerprint as ssh writes it, its dates in UTC."""

    pem: bytes = field(repr=False)
    key: RSAPublicKey = field(repr=False)
    fingerprint: str
    not_before: datetime
    not_after: datetime
    where: str

    @property
    def modulus_bytes(self) -> int:
        return (self.key.key_size + 7) // 8

    def as_dict(self) -> dict[str, str | int]:
        return {
            "fingerprint": self.fingerprint,
            "bits": self.key.key_size,
            "not_before": clock.stamp(self.not_before),
            "not_after": clock.stamp(self.not_after),
            "where": self.where,
        }


def fingerprint(key: RSAPublicKey) -> str:
    """Return the fingerprint of a public key as ssh and the controller's log write it.

    https://www.rfc-editor.org/rfc/rfc4253#section-6.6 (the form of the key that is hashed).
    """
    blob = base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse(data: bytes, where: str) -> Certificate:
    """Read the first certificate of a PEM text. Raises InputError for anything else."""
    found = _BLOCK.search(data.replace(b"\r\n", b"\n"))
    if found is None:
        raise InputError(_instead(data), where=where, expected=_EXPECTED, hint=_hint(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a serial number of another age says nothing here
            one = x509.load_pem_x509_certificate(found[0])
            key = one.public_key()
            dates = one.not_valid_before_utc, one.not_valid_after_utc
    except ValueError:
        raise InputError(
            "the certificate is damaged: it cannot be decoded", where=where, expected=_EXPECTED
        ) from None
    if not isinstance(key, RSAPublicKey):
        raise InputError(
            "the certificate's key is not an RSA key",
            where=where,
            expected="the certificate of a Sealed Secrets controller: RSA, 4096 bits by default",
        )
    return Certificate(found[0], key, fingerprint(key), *dates, where)


def check_dates(one: Certificate, now: datetime | None = None) -> list[str]:
    """Return what a person should know about a certificate's dates.

    Raises InputError for one that has expired: nothing is sealed with it.
    """
    moment = now or clock.now()
    if moment > one.not_after:
        raise InputError(
            f"the certificate expired on {one.not_after:%Y-%m-%d}",
            where=one.where,
            expected="a certificate that is valid now",
            hint="fetch the present one: opslib seal --fetch-cert; then pin it: opslib seal pin",
        )
    told = []
    if one.not_after - moment < WARN_BEFORE:
        days = (one.not_after - moment).days
        told.append(
            f"the certificate {one.where} expires on {one.not_after:%Y-%m-%d}, in {days} days:"
            " after that nothing can be sealed with it"
        )
    if moment < one.not_before:
        told.append(
            f"the certificate {one.where} is valid from {one.not_before:%Y-%m-%d} only:"
            " is this machine's clock right?"
        )
    return told


def _instead(data: bytes) -> str:
    """Say what a text is that is no certificate."""
    found = (text for pattern, text in _OTHERS if re.search(pattern, data))
    return next(found, "this is no certificate")


def _hint(data: bytes) -> str | None:
    if b"PRIVATE KEY-----" in data:
        return "keep it away from Git; the certificate is public and made for sealing"
    if data[:1] == b"\x30":
        return "openssl x509 -inform der -in FILE -out cert.pem"
    return None
