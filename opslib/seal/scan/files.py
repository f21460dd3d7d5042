"""One file: its bytes, told text from binary, and read."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from opslib.seal.scan import coded, shapes, texts
from opslib.seal.scan.model import Seen
from opslib.seal.scan.sink import Place, Sink
from opslib.seal.scan.walk import TooLarge

MOST = 32 * 1024 * 1024
"""Bytes of one file that are read; a larger one is told."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Every value that is told of has one of these near it, or is base64, or is spelled by escapes.
_WORTH = re.compile(
    rb"(?i)pass|pwd|pswd|psk|secret|token|key|cred|auth|cookie|otp|private|dsn|conn|bearer|phrase"
    rb"|mnemonic|kennwort|code|_pw|\bpw|sas|identified|machine|chpasswd|curl|mysql|redis-cli|://|-----BEGIN|PuTTY|ENC\[|\\[xuU][0-9a-f]"
    rb"|[A-Za-z0-9+/_=-]{16}|[a-z]\.[A-Za-z0-9]{20}"
)
_PICTURES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"wOFF", "font"),
    (b"wOF2", "font"),
    (b"OTTO", "font"),
    (b"\0\1\0\0\0", "font"),
    (b"\0\0\1\0", "icon"),
    (b"RIFF", "RIFF"),
    (b"%PDF", "PDF"),
    (b"\x7fELF", "program"),
    (b"PK\3\4", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"SQLite format 3", "SQLite"),
)
_ENCRYPTED = (
    (b"\0GITCRYPT\0", "git-crypt"),
    (b"age-encryption.org/v1", "age"),
    (b"Salted__", "openssl"),
)
_STRINGS = re.compile(rb"[\t\n\r\x20-\x7e]{8,}")


@dataclass(frozen=True)
class Scanned:
    """What a file holds, and why not all of it was read ("" where it was).

    ``failing``: what was not read may hide a value, and nothing vouches for it.
    """

    seen: tuple[Seen, ...] = ()
    unread: str = ""
    failing: bool = False


def scan_bytes(data: bytes, path: str) -> Scanned:
    """Read one file; ``path`` hints at its form. Never raises for what a file holds."""
    if len(data) > MOST:
        return Scanned(unread=f"larger than {MOST >> 20} MB", failing=True)
    if not data or (not _WORTH.search(data) and not _odd(data)):
        return Scanned()
    sink = Sink()
    text = _text(data)
    if text is None:
        return _binary(data, path, sink)
    try:
        texts.read(text, Place(hint=path), sink)
    except (TooLarge, RecursionError):
        return Scanned(
            tuple(sink.seen), "nested too deeply or too large to be looked at", failing=True
        )
    if sink.full:
        return Scanned(tuple(sink.seen), "more values than are told of one file", failing=True)
    return Scanned(tuple(sink.seen))


def _odd(data: bytes) -> bool:
    return b"\0" in data[:8192] or data.startswith(tuple(mark for mark, _ in _MARKS))


def _text(data: bytes) -> str | None:
    """Decode a text by its mark, as UTF-8, or as the Latin of old; None for binary."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(name)
            except UnicodeDecodeError:
                break
    if b"\0" in data[:8192]:
        return _unmarked(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    odd = sum(not (c.isprintable() or c in "\n\r\t\f") for c in text[:8192])
    return text if odd < len(text[:8192]) * 0.05 else None


def _unmarked(data: bytes) -> str | None:
    """Decode UTF-16 without a mark: every second byte of plain letters is zero."""
    part = data[:4096]
    for name, zeros in (("utf-16-le", part[1::2]), ("utf-16-be", part[::2])):
        if zeros and zeros.count(0) > len(zeros) * 0.7:
            try:
                return data.decode(name)
            except UnicodeDecodeError:
                return None
    return None


def _binary(data: bytes, path: str, sink: Sink) -> Scanned:
    """Judge a binary file: a key store, gzip, what is encrypted; else search its strings."""
    store = shapes.der(data)
    if store:
        kind = "keystore" if "store" in store else "private-key"
        sink.add(kind, 0, "", path, store)
        return Scanned(tuple(sink.seen))
    inflated = coded.inflate(data)
    if inflated is not None:
        inner = scan_bytes(inflated, re.sub(r"\.(?:gz|tgz)$", "", path))
        cut = "gzip: only a part was read" if len(inflated) >= coded.MOST else inner.unread
        return Scanned(inner.seen, cut, failing=len(inflated) >= coded.MOST)
    for mark, name in _ENCRYPTED:
        if data.startswith(mark):
            return Scanned(unread=f"encrypted by {name}")
    strings = b"\n".join(_STRINGS.findall(data)).decode("ascii")
    for one in shapes.shapes(strings):
        sink.add(one.kind, 0, "", one.value, one.detail)
    known = next((name for mark, name in _PICTURES if data.startswith(mark)), "")
    return Scanned(tuple(sink.seen), f"binary ({known})" if known else "binary")
