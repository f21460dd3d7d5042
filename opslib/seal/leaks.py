"""Plaintext that travels beside the ciphertext: a SealedSecret with it is never written.

kubectl's and kubecfg's copies of the whole object are stripped, as kubeseal does. Other tools
keep such copies too, under annotations of their own (kapp, Rancher and whoever comes next), so
that every text that would be written is searched for every value, in the forms that it may have.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core import secrecy
from opslib.core.errors import InputError
from opslib.seal.secretbytes import SecretBytes

_INFLATED = 4 * 1024 * 1024
_BASE64 = "A-Za-z0-9+/"


def refuse(
    texts: Mapping[str, str], values: Mapping[str, SecretBytes], where: str, name: str
) -> None:
    """Raise InputError where a text holds a value; ``texts`` by the field that each stands in.

    The error names the field and the key. Values that no search can tell from ordinary words
    ("true", a user name) are not sought, but a copy of the object is found by its form.
    """
    if not texts:
        return
    # What is packed may be longer than the text that it stands in.
    longest = max(*map(len, texts.values()), _INFLATED if _any_packed(texts) else 0)
    forms = {
        key: value.used_by(functools.partial(_forms, label=f"{name}/{key}", longest=longest))
        for key, value in values.items()
    }
    for place, text in texts.items():
        for key in _found(text, forms):
            raise InputError(
                f"{place} holds the value of {key}: it would stand in Git beside the ciphertext",
                where=where,
                expected="metadata without copies of the object",
                hint="take this annotation or label out of the Secret, and seal it again",
            )


@dataclass(frozen=True)
class _Form:
    """One spelling of a value. ``apart``: it counts only where none of these is beside it.

    ``folded``: its letters may be large or small.
    """

    text: str
    apart: Callable[[str], bool] = lambda _: False
    folded: bool = False

    def within(self, text: str, low: str) -> bool:
        """Find it in a text; ``low`` is the text in small letters."""
        place = low if self.folded else text
        at = place.find(self.text)
        while at >= 0:
            end = at + len(self.text)
            if not self.apart(place[max(at - 1, 0) : at]) and not self.apart(place[end : end + 1]):
                return True
            at = place.find(self.text, at + 1)
        return False


def _word(char: str) -> bool:
    return char == "_" or char.isalnum()


def _letter(char: str) -> bool:
    return (char.isascii() and char.isalnum()) or char in {"+", "/"}


def _found(text: str, forms: Mapping[str, list[_Form]]) -> Iterator[str]:
    for one in (text, *_unpacked(text)):
        low = one.lower()
        for key, known in forms.items():
            if any(form.within(one, low) for form in known):
                yield key
        yield from _copied(one, forms)


def _forms(raw: bytes, label: str, longest: int) -> list[_Form]:
    """Return a value as text, as a JSON string, in base64 and in hex.

    ``longest`` is the length of the longest text: a value that fits into none is not spelled.
    """
    return list(_spelled(raw, label)) if len(raw) <= longest else []


def _spelled(raw: bytes, label: str) -> Iterator[_Form]:
    if len(raw) > 2:
        coded = base64.b64encode(raw).decode().rstrip("=")
        yield _Form(coded, _letter) if len(raw) < 12 else _Form(coded)
        url = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        if url != coded:
            yield _Form(url)
    if len(raw) > 3:
        yield _Form(raw.hex(), folded=True)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    for one in {text, text.strip()}:
        if secrecy.sought(one, label):
            for form in {one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]}:
                yield _Form(form, _word) if secrecy.is_weak(one) else _Form(form)


def _any_packed(texts: Mapping[str, str]) -> bool:
    return any(True for text in texts.values() for _ in _unpacked(text))


def _unpacked(text: str) -> Iterator[str]:
    """Yield what is packed into a text: base64, and gzip in base64 as Rancher has it."""
    if len(text) < 8 or not re.fullmatch(rf"[{_BASE64}\s]+=*\s*", text):
        return
    try:
        data = base64.b64decode(text)
    except (binascii.Error, ValueError):
        return
    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, _INFLATED)
        except zlib.error:
            return
    yield data.decode(errors="replace")


def _copied(text: str, keys: Mapping[str, object]) -> Iterator[str]:
    """Find a copy of the object by its form: JSON with data or stringData that has a key."""
    if text.lstrip()[:1] != "{" or "ata" not in text:
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    todo: list[tuple[Any, int]] = [(document, 0)]
    while todo:
        node, depth = todo.pop()
        if not isinstance(node, dict) or depth > 20:
            continue
        for field, inner in node.items():
            if field in {"data", "stringData"} and isinstance(inner, dict):
                yield from (key for key in keys if inner.get(key))
            todo.append((inner, depth + 1))
