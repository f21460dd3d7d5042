"""How one secret value may look in a file: escaped, quoted, encoded, wrapped, cut to pieces.

The sinks of a record add layers (a text within JSON within HTML), so the escaped forms are
closed over two further layers. Base64 shifts with what stands before a value (RFC 4648,
section 4: three bytes become four characters), so it has three forms, without the characters
at the ends that belong to neighbours.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from urllib.parse import quote, quote_plus

from opslib.core import secrecy
from opslib.core.secrecy import Known

_SHORTEST_LINE = 4
_BREAK = re.compile(
    rb"\\+[nrvf]|\\+u00(?:1[c-e]|0[bc]|85)|\\+u202[89]|\\+x(?:1[c-e]|0[bc]|85)"
    rb"|[\r\n\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]"
)
"""Where str.splitlines cuts, plain and escaped: nbformat writes a text as such a list."""
_WHITE = re.compile(rb"[ \t\n]")
_WINDOW = 24
"""A line of wrapped base64 has 64 or 76 characters: it holds such a window whole, wherever cut."""
_MOST_FORMS = 400
_MOST_OTHERS = 400
_SOUGHT = 10
"""Bytes of a piece that are sought; the rest is compared where they are found."""


@dataclass(frozen=True)
class Form:
    """One spelling of one value.

    ``edges``: characters beside it that also hold bits of it. ``phase``: the place of its first
    character in a group of four of base64. ``wrapped``: it may be broken into lines; typed
    arrays are not.
    """

    text: bytes
    known: Known
    encoded: bool = False
    edges: tuple[int, int] = (0, 0)
    phase: int = 0
    wrapped: bool = True

    @property
    def in_pieces(self) -> bool:
        """Tell whether a piece of it is a secret too: base64, and long words without a space."""
        if self.encoded:
            return True
        return len(self.known.value) >= 2 * _WINDOW and not _WHITE.search(self.text)


@dataclass(frozen=True)
class Needle:
    """What is sought: a piece of a form and where in the form it stands.

    ``stop``: any other piece as long, from there up to here, would do as well.
    """

    text: bytes
    form: Form
    offset: int
    stop: int

    def others(self) -> Iterator[tuple[bytes, int]]:
        """Yield the pieces that would do as well, with where they stand."""
        last = min(self.stop, self.offset + _MOST_OTHERS) - len(self.text)
        for at in range(self.offset + 1, last + 1):
            yield self.form.text[at : at + len(self.text)], at


def needles(known: Known) -> Iterator[Needle]:
    """Yield all that is sought for one value."""
    for form in _forms(known):
        for offset, piece, stop in _pieces(form):
            yield Needle(piece, form, offset, stop)


def _pieces(form: Form) -> Iterator[tuple[int, bytes, int]]:
    """Cut base64, and long words, so that a line break or an end within them hides nothing."""
    text, size = form.text, len(form.text)
    if not form.encoded and len(form.known.value.splitlines()) > 1:
        yield _longest_line(text)
        return
    starts = [0]
    if form.wrapped and form.in_pieces and size >= 2 * _WINDOW:
        for start in (*range(0, size - _WINDOW, _WINDOW), size - _WINDOW):
            yield start, text[start : start + _SOUGHT], start + _WINDOW
        return
    if form.wrapped and form.encoded and size >= 10:
        starts = [0, size // 2]
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        yield start, text[start : min(stop, start + _SOUGHT)], stop


def _longest_line(text: bytes) -> tuple[int, bytes, int]:
    """Return the longest line: a notebook's file is a list of lines, each a text of its own."""
    ends = [(0, 0), *(match.span() for match in _BREAK.finditer(text)), (len(text), len(text))]
    lines = [(one[1], other[0]) for one, other in pairwise(ends)]
    start, end = max(lines, key=lambda line: line[1] - line[0])
    if end - start < _SHORTEST_LINE:
        start, end = 0, len(text)
    return start, text[start : min(end, start + _SOUGHT)], end


def _forms(known: Known) -> Iterator[Form]:
    written = _written(known.value)
    for text in written:
        yield Form(text, known)
    if known.weak:
        return
    for text in _reversed(known.value) - written:
        yield Form(text, known)
    if known.line:
        return
    raw = secrecy.raw(known.value)
    seen = set(written)
    for code in {raw, json.dumps(known.value)[1:-1].encode()}:
        for form in (*_base64(code, known), *_hex(code, known)):
            if form.text not in seen:
                seen.add(form.text)
                yield form
    for wide in ("utf-16-le", "utf-32-le"):  # text in typed arrays
        for form in _base64(known.value.encode(wide, errors="surrogatepass"), known):
            yield replace(form, wrapped=False)


def _hex(raw: bytes, known: Known) -> Iterator[Form]:
    for text in {raw.hex(), raw.hex().upper()}:
        yield Form(text.encode(), known, encoded=True)


def _base64(raw: bytes, known: Known) -> Iterator[Form]:
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + raw)
        first, last = (8 * shift + 5) // 6, 8 * (shift + len(raw)) // 6
        inner = code[first:last]
        edges = (int(shift > 0), int(8 * (shift + len(raw)) % 6 > 0))
        for text in {inner, inner.translate(_URL_SAFE)}:
            yield Form(text, known, encoded=True, edges=edges, phase=first)
        if b"+" in inner or b"/" in inner:
            yield Form(quote(inner, safe="").encode(), known, encoded=True, edges=edges)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _written(value: str) -> set[bytes]:
    """Return the value as text in every escaped spelling, up to three layers deep."""
    found = {value, *_quoted(value)}
    latest = found
    for _ in range(2):
        latest = {form for one in latest for form in _escaped(one)} - found
        found |= latest
        if not latest or len(found) > _MOST_FORMS:
            break
    return (
        {one.encode(errors="backslashreplace") for one in found}
        | {one.encode(errors="surrogatepass") for one in found}
        | _bytes(value)
    )


def _bytes(value: str) -> set[bytes]:
    """Return what only bytes that are no text have: themselves, and their letters in Latin-1."""
    plain = secrecy.raw(value)
    if value.isascii() or plain == value.encode(errors="surrogatepass"):
        return set()
    shown = plain.decode("latin-1")
    return {plain, shown.encode(), *(one.encode() for one in _escaped(shown))}


def _reversed(value: str) -> set[bytes]:
    """Return the value from its end to its beginning, also as JSON and pages have that."""
    back = value[::-1]
    return {
        secrecy.raw(back),
        secrecy.raw(value)[::-1],
        *(one.encode(errors="backslashreplace") for one in _escaped(back)),
    }


def _quoted(value: str) -> set[str]:
    plain = secrecy.raw(value)
    percent = {
        quote(plain, safe=""),
        quote(plain),
        quote_plus(plain),
        quote(plain, safe="/:@!$&'()*+,;=~"),
    }
    lower = {_lower_percent(one) for one in percent}
    python = {repr(value)[1:-1], ascii(value)[1:-1], repr(plain)[2:-1]}
    shell = {shlex.quote(value).strip("'"), value.replace("'", "'\\''")}
    # https://www.rfc-editor.org/rfc/rfc4180#section-2
    table = {one.replace('"', '""') for one in (value, *python)}
    spaced = {  # as pandas writes pages
        html.escape(one, quote=False).replace("  ", "&nbsp;&nbsp;")
        for one in (value, json.dumps(value)[1:-1])
        if "  " in one
    }
    return percent | lower | python | shell | table | spaced | _escaped(value)


def _lower_percent(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join([head, *(one[:2].lower() + one[2:] for one in rest)])


def _escaped(text: str) -> set[str]:
    """Return one layer of escapes around a text: JSON's, JavaScript's and HTML's."""
    ascii_json = json.dumps(text)[1:-1]
    json_text = json.dumps(text, ensure_ascii=False)[1:-1]
    scripts = set()
    if any(letter in text for letter in "<>&/"):
        scripts = {
            json_text.replace("<", "\\u003c"),
            _each(json_text, {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}),
            _each(json_text, {"<": "\\u003c", ">": "\\u003e", "/": "\\u002f"}),
            json_text.replace("/", "\\/"),
            json_text.replace("</", "<\\/"),
        }
    if not any(letter in text for letter in "&<>\"'"):
        return {ascii_json, json_text}
    plain = html.escape(text, quote=False)
    pages = {
        plain,
        html.escape(text),
        plain.replace('"', "&quot;"),
        plain.replace('"', "&#34;").replace("'", "&#39;"),
        plain.replace('"', "&quot;").replace("'", "&#39;"),
    }
    return {ascii_json, json_text} | scripts | pages


def _each(text: str, table: dict[str, str]) -> str:
    for letter, escape in table.items():
        text = text.replace(letter, escape)
    return text
