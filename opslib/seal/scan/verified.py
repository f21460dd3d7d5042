"""Forms that are verified, not believed: sealed values and what SOPS encrypted."""

from __future__ import annotations

import re

from opslib.seal import wire
from opslib.seal.scan import coded
from opslib.seal.scan.tree import Node

_ENC = re.compile(
    r"ENC\[AES256_GCM,data:(?P<data>[A-Za-z0-9+/=]*),iv:(?P<iv>[A-Za-z0-9+/=]+),tag:(?P<tag>[A-Za-z0-9+/=]+)"
    r",type:(?:str|int|float|bytes|bool|comment|time)\]"
)
_SIZES = {128, 256, 384, 512, 1024}
"""Bytes of an RSA ciphertext: keys of 1024 to 8192 bits."""
_SIGNED = re.compile(r"^\s*(?:\"?sops_mac\"?|mac)\s*[=:]\s*\"?(ENC\[[^\n\"]+\])", re.MULTILINE)


def sealed(text: str) -> bool:
    """Tell a sealed value by its form; one that was cut off and shows no text is not in the open.

    See ``opslib.seal.wire`` for the format.
    """
    try:
        data = wire.decode(text)
    except wire.Malformed:
        head = re.sub(r"[^A-Za-z0-9+/].*", "", "".join(text.split()))
        data = coded.decode(head[: len(head) // 4 * 4]) or b""
    if int.from_bytes(data[:2], "big") not in _SIZES or len(data) < 20:
        return False
    return not _shows(data[2:])


def _shows(data: bytes) -> bool:
    """Tell text from random bytes, of which a third would be letters."""
    printable = sum(32 <= byte < 127 for byte in data)
    return printable > len(data) * 0.85


def encrypted(text: str) -> bool:
    """Tell a value of SOPS by its form: every part is base64 of its size, and shows no text.

    https://github.com/getsops/sops/blob/main/aes/cipher.go
    """
    found = _ENC.fullmatch(text.strip())
    if found is None:
        return False
    data, iv, tag = (coded.decode(found[name]) for name in ("data", "iv", "tag"))
    if found["data"] and data is None:
        return False
    if iv is None or len(iv) < 12 or tag is None or len(tag) != 16:
        return False
    return not (data and len(data) >= 12 and _shows(data))


def claims(text: str) -> bool:
    """Tell a value that says SOPS encrypted it."""
    return text.lstrip().startswith("ENC[AES256_GCM,")


def has_mac(root: Node) -> bool:
    """Tell a document with SOPS's own metadata and its mac."""
    own = root.get("sops") if root.form == "map" else None
    if own is None or own.form != "map":
        return False
    return encrypted(own.word("mac"))


def signed(text: str) -> bool:
    """Tell a dotenv or ini file that SOPS encrypted: its mac stands in a line."""
    return "sops" in text and any(encrypted(found) for found in _SIGNED.findall(text))
