"""Base64, and gzip inside of it: what a text says once it is decoded."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator

MOST = 4 * 1024 * 1024
"""Bytes that are inflated of one gzip stream."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_RUNS = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![A-Za-z0-9+/_=-])")
_WRAPPED = re.compile(
    r"(?:^[ \t]*[A-Za-z0-9+/]{40,}[ \t]*\r?\n)+[ \t]*[A-Za-z0-9+/]+={0,2}[ \t]*$", re.MULTILINE
)
_GZIP = b"\x1f\x8b"
_ENOUGH = 0.9


def decode(text: str) -> bytes | None:
    """Decode base64 of either alphabet, with or without padding and line breaks; else None."""
    joined = "".join(text.split())
    if len(joined) < 4 or not _BASE64.fullmatch(joined):
        return None
    bare = joined.rstrip("=")
    if len(bare) % 4 == 1:
        return None
    coded = bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4)
    try:
        return binascii.a2b_base64(coded)
    except (binascii.Error, ValueError):
        return None


def inflate(data: bytes) -> bytes | None:
    """Inflate gzip, up to MOST bytes; None where it is none."""
    if not data.startswith(_GZIP):
        return None
    try:
        return zlib.decompressobj(wbits=31).decompress(data, MOST)
    except zlib.error:
        return None


def readable(data: bytes) -> str | None:
    """Return bytes as text where they are text; None for random or binary bytes."""
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8")
    except UnicodeDecodeError:
        return None
    if not text:
        return ""
    part = text[:4096]
    good = sum(c.isprintable() or c in "\n\r\t" for c in part)
    return text if good >= len(part) * _ENOUGH else None


def text_of(text: str) -> str | None:
    """Return what base64 says, also where it is gzip, or base64 again of either; else None."""
    data = decode(text)
    if data is None:
        return None
    packed = inflate(data)
    return readable(packed if packed is not None else data)


def inner(text: str) -> Iterator[tuple[int, str, bytes]]:
    """Yield (offset, as written, decoded) of each run of base64 in a text."""
    taken = 0
    for found in _WRAPPED.finditer(text) if "\n" in text else ():
        data = decode(found[0])
        if data is not None:
            yield found.start(), found[0], data
            taken = found.end()
    del taken
    for found in _RUNS.finditer(text):
        run = found[0]
        data = decode(run)
        if data is not None and _worth(run):
            yield found.start(), run, data


def _worth(run: str) -> bool:
    """Pass over words and hex, which are base64 by chance only."""
    return not (run.isalpha() and (run.islower() or run.isupper())) and any(
        c.isupper() for c in run
    )


def encode(data: bytes) -> str:
    """Write bytes in base64."""
    return base64.b64encode(data).decode()
