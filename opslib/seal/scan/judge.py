"""Whether a value is a secret, by its name and by itself."""

from __future__ import annotations

import re

from opslib.seal.scan import blanks, coded, looks
from opslib.seal.scan.names import Telling, harmless

_PUBLIC = re.compile(
    r"\s*(?:(?:-----BEGIN (?:TRUSTED |X509 |NEW )?(?:CERTIFICATE|CERTIFICATE REQUEST|X509 CRL|CRL"
    r"|(?:RSA |EC |DSA )?PUBLIC KEY|PGP PUBLIC KEY BLOCK|PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE"
    r"|DH PARAMETERS|EC PARAMETERS|PKCS7|CMS|AGE ENCRYPTED FILE|SSH2 PUBLIC KEY)-----"
    r"[^-]*-----END [A-Z0-9 ]+-----|#[^\n]*)\s*)+"
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----", re.DOTALL)
_SSH = re.compile(
    r"(?:[\w.,:\[\]*|+/=@-]+ )?(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S+|sk-\S+) AAAA[\w+/=]+.*",
    re.DOTALL,
)
_DIGEST = re.compile(
    r"(?:sha(?:1|224|256|384|512)|md5|h1|blake2\w*|SHA256|SHA512)[:=-][A-Za-z0-9+/=_-]{20,}|[\w./-]+@sha256:[0-9a-f]{64}"
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)
_ENCRYPTED = re.compile(
    r"\$ANSIBLE_VAULT;|ENC\[PKCS7,[A-Za-z0-9+/=\s]+\]$|ENC\([A-Za-z0-9+/=]{16,}\)$|age1[a-z0-9]{50,}$"
    r"|vault:v\d+:[A-Za-z0-9+/=]{20,}$|-----BEGIN (?:AGE ENCRYPTED FILE|PGP MESSAGE)-----"
)
_MOST = 16 * 1024


def public(text: str) -> bool:
    """Tell certificates, public keys, digests, and what is encrypted for somebody."""
    text = text.strip()
    if "-----BEGIN" in text and "PRIVATE KEY" not in text and _PUBLIC.fullmatch(_joined(text)):
        return True
    rows = text.split("\n")
    if "AAAA" in text and all(
        not r.strip() or r.lstrip().startswith("#") or _SSH.fullmatch(r.strip()) for r in rows
    ):
        return True
    return bool(_DIGEST.fullmatch(text) or _ENCRYPTED.match(text))


def _joined(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\r", "")


def serious(telling: Telling, text: str) -> bool:
    """Tell whether a value under a name is a secret; ``text`` as it stands, without its quotes."""
    value = text.strip()
    if not telling or len(value) < 3 or len(value) > _MOST:
        return False
    if any(_literal(telling, one) for one in blanks.defaults(value)):
        return True
    if blanks.blank(value) or _harmless_form(value):
        return False
    return _weighed(telling, value)


def _literal(telling: Telling, value: str) -> bool:
    value = value.strip(" \"'")
    return len(value) > 2 and not blanks.blank(value) and _weighed(telling, value)


def _harmless_form(value: str) -> bool:
    if public(value) or looks.path(value) or _TIME.fullmatch(value):
        return True
    if value[:4] in {"/9j/", "iVBO", "R0lG", "data"} and len(value) > 100:
        return True  # pictures
    return bool(_URL.fullmatch(value))  # those with a password in them have a rule of their own


def _weighed(telling: Telling, value: str) -> bool:
    if telling is Telling.PASSWORD:
        return not looks.prose(value)
    if " " in value:
        return False
    if telling is Telling.COMPOUND and looks.mixed(value):
        return True
    return looks.drawn(value) or (telling is Telling.BARE and looks.mixed(value))


def in_secret(key: str, text: str, *, encoded: bool) -> bool:
    """Tell whether an entry of a Secret is a secret: whatever is no placeholder and not public.

    ``encoded``: it stands under data, in base64. What stands beside secrets (a user, a host)
    is none by itself.
    """
    clear = coded.text_of(text) if encoded else None
    for one in {text, clear if clear is not None else text}:
        if any(len(d.strip()) > 2 and not blanks.blank(d) for d in blanks.defaults(one)):
            return True
        if _empty(one):
            return False
    value = clear if clear is not None else text
    return not (harmless(key) and _plain_name(value.strip()))


def _empty(text: str) -> bool:
    value = text.strip()
    if not value or value.lower() in {"true", "false", "null", "none", "{}", "[]"}:
        return True
    if blanks.placeholder(value) or blanks.templated(value) or public(value):
        return True
    return blanks.reference(value) or blanks.masked(value)


def _plain_name(value: str) -> bool:
    if looks.mixed(value) or (looks.drawn(value) and "." not in value):
        return False
    return bool(re.fullmatch(r"[\w.@:/,-]{0,120}", value)) and not re.search(
        r"://[^/@]*:[^/@]+@", value
    )
