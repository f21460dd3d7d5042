"""Random values of many shapes, and how they are looked for: any piece of them, in every spelling.

What is sought are windows of eight bytes of each spelling, all at once by numpy; each hit is
held against the spelling itself, so that no sum and no ciphertext is taken for a canary.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np

WINDOW, STEP, SURE = 8, 3, 14
"""Bytes that are sought, how far apart, and how many have to be equal then (all, of a shorter
spelling)."""
_NOISE = re.compile(rb'(?:\\u001b|\\x1b|\\033|\x1b)\[[0-9;]*m|\\n",\s*"')
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_UNSAFE = "@:/?#[]!$&'()*+,;=% <>\"\\^`{|}~"
_WIDE = "äöüßéñçøåæłžшжщыэюя密碼钥匙パスワード비밀😀🔑🗝"


@dataclass(frozen=True)
class Canary:
    """One value. ``cores`` are its parts that nothing else has: a frame such as JSON is none."""

    shape: str
    value: bytes
    cores: tuple[bytes, ...]

    @property
    def text(self) -> str | None:
        """The value as text; None for one that is none."""
        try:
            return self.value.decode()
        except UnicodeDecodeError:
            return None


def word(size: int, letters: str = _LETTERS) -> str:
    """Return random letters."""
    return "".join(secrets.choice(letters) for _ in range(size))


def _plain(text: str) -> tuple[bytes, tuple[bytes, ...]]:
    return text.encode(), (text.encode(),)


def _json() -> tuple[bytes, tuple[bytes, ...]]:
    core = word(24)
    return json.dumps({"user": "pay", "password": core}).encode(), (core.encode(),)


def _lines() -> tuple[bytes, tuple[bytes, ...]]:
    rows = [word(30) for _ in range(3)]
    return "\n".join(rows).encode(), tuple(row.encode() for row in rows)


def _binary() -> tuple[bytes, tuple[bytes, ...]]:
    data = b"\xff\x00" + os.urandom(30) + b"\xfe"
    return data, (data,)


def _pem() -> tuple[bytes, tuple[bytes, ...]]:
    rows = [base64.b64encode(os.urandom(48)).decode() for _ in range(4)]
    text = "\n".join(["-----BEGIN OPAQUE-----", *rows, "-----END OPAQUE-----", ""])
    return text.encode(), tuple(row.encode() for row in rows)


def _url() -> tuple[bytes, tuple[bytes, ...]]:
    core = word(20)
    return f"postgres://pay:{core}@db:5432/pay".encode(), (core.encode(),)


SHAPES: dict[str, Callable[[], tuple[bytes, tuple[bytes, ...]]]] = {
    "short": lambda: _plain(word(9)),
    "medium": lambda: _plain(word(24)),
    "long": lambda: _plain(word(600)),
    "unicode": lambda: _plain(word(4) + word(16, _WIDE) + word(4)),
    "url-unsafe": lambda: _plain(word(6) + word(14, _UNSAFE) + word(6)),
    "base64-like": lambda: _plain(base64.b64encode(os.urandom(30)).decode()),
    "lines": _lines,
    "json-like": _json,
    "binary": _binary,
    "spaces": lambda: _plain(" ".join(word(7) for _ in range(5))),
    "pem-like": _pem,
    "url": _url,
}


def make(count: int) -> list[Canary]:
    """Return distinct canaries, of each shape as many."""
    names = list(SHAPES)
    made = []
    for number in range(count):
        shape = names[number % len(names)]
        made.append(Canary(shape, *SHAPES[shape]()))
    assert len({one.value for one in made}) == count
    return made


def spellings(core: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a value in every spelling that is looked for."""
    part = core if len(core) <= 160 else core[:80]
    yield "raw", part
    yield "reversed", part[::-1]
    yield "hex", part.hex().encode()
    yield "HEX", part.hex().upper().encode()
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + part)
        inner = code[(8 * shift + 5) // 6 : 8 * (shift + len(part)) // 6]
        yield f"base64 at {shift}", inner
        yield f"base64url at {shift}", inner.replace(b"+", b"-").replace(b"/", b"_")
    yield "repr", repr(part)[2:-1].encode()
    yield "url", quote(part, safe="").encode()
    yield "url, plus", quote_plus(part).encode()
    try:
        text = part.decode()
    except UnicodeDecodeError:
        yield "latin-1", part.decode("latin-1").encode()
        return
    yield "reversed text", text[::-1].encode()
    yield "json", json.dumps(text)[1:-1].encode()
    yield "json in json", json.dumps(json.dumps(text)[1:-1])[1:-1].encode()
    yield "json, unicode", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "html", html.escape(text).encode()
    yield "python", repr(text)[1:-1].encode()


def _folded(words: Any) -> Any:
    """Return a number of 24 bits for each eight bytes."""
    return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)


class Seeker:
    """Finds canaries in bytes."""

    def __init__(self, cores: Sequence[Sequence[bytes]]) -> None:
        """``cores`` are those of each canary; a finding names a canary by its number."""
        self._forms: dict[bytes, list[tuple[int, bytes, int]]] = {}
        for number, parts in enumerate(cores):
            for form in {form for core in parts for _, form in spellings(core)}:
                last = max(0, len(form) - WINDOW)
                for at in {*range(0, last, STEP), last}:
                    self._forms.setdefault(form[at : at + WINDOW], []).append((number, form, at))
        keys = b"".join(key for key in self._forms if len(key) == WINDOW)
        self._near = np.zeros(1 << 24, dtype=bool)
        self._near[_folded(np.frombuffer(keys, dtype="<u8"))] = True
        self.bytes = 0

    def found(self, data: bytes) -> set[int]:
        """Return the numbers of the canaries in some bytes, also cut by colours or list lines."""
        self.bytes += len(data)
        bare = _NOISE.sub(b"", data)
        return self._found(data) | (self._found(bare) if len(bare) != len(data) else set())

    def _found(self, data: bytes) -> set[int]:
        found: set[int] = set()
        raw = np.frombuffer(data, dtype="u1")
        for shift in range(min(WINDOW, len(raw) - WINDOW + 1)):
            size = (len(raw) - shift) // WINDOW * WINDOW
            words = raw[shift : shift + size].view("<u8")
            for place in np.flatnonzero(self._near[_folded(words)]):
                found |= self._sure(data, int(place) * WINDOW + shift)
        return found

    def _sure(self, data: bytes, at: int) -> set[int]:
        """Hold a hit against the spellings that have these bytes."""
        found = set()
        for number, form, offset in self._forms.get(data[at : at + WINDOW], ()):
            sure = min(SURE, len(form))
            for start in range(max(0, offset + WINDOW - sure), min(offset, len(form) - sure) + 1):
                here = at - (offset - start)
                if here >= 0 and data[here : here + sure] == form[start : start + sure]:
                    found.add(number)
        return found

    def below(self, *folders: Path) -> dict[str, set[int]]:
        """Return what is found in the names and contents of all files of some folders."""
        findings: dict[str, set[int]] = {}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                found = self.found(str(path).encode())
                if path.is_file() and not path.is_symlink():
                    try:
                        found |= self.found(path.read_bytes())
                    except FileNotFoundError:
                        continue
                if found:
                    findings[str(path.relative_to(folder))] = found
        return findings
