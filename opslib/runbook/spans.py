"""Where a value stands in the bytes of a file: found by a piece, followed to its ends, replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from opslib.runbook.forms import Form

_CODE = re.compile(rb"[A-Za-z0-9+/_-]")
_CODES = re.compile(rb"[A-Za-z0-9+/_-]*+")
_HOP = rb'(?:\\+u001b\[[0-9;?]*[A-Za-z]|\x1b\[[0-9;?]*[A-Za-z]|",[\r\n]\s*"|\\+[nr]|[\r\n])'
"""What may stand between two pieces of a value: colours, the next text of a list, a new line."""
_SHORTEST = 16
"""So many characters of a longer value are masked although the rest does not follow."""
_FILL = b"Kioq"
"""Base64 of three asterisks."""
_NEXT, _BEFORE = re.compile(_HOP), re.compile(_HOP + rb"\Z")
_MOST_HOPS = 8
COLOURS = (b"\x1b[", b"\\u001b[")
_ANSI = re.compile(rb"(?:\\u001b|\x1b)\[[0-9;?]*[A-Za-z]")
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_NUMBER = re.compile(r"[0-9.eE+-]+")
# The beginning of an escape, of which a mask must not leave half.
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")


@dataclass(frozen=True)
class Span:
    """A place to mask: bytes ``start`` to ``end``; ``key`` tells equal values from others.

    ``phase``: see forms.Form. ``risky``: the value may be a piece of JSON's own structure.
    """

    start: int
    end: int
    label: str
    key: object
    encoded: bool = False
    phase: int = 0
    risky: bool = False


def follow(data: bytes, form: Form, offset: int, start: int, end: int) -> Span | None:
    """Return the place of a whole form of which one piece was found, or of most of it."""
    text, known = form.text, form.known
    first, last = start - offset, start - offset + len(text)
    if first < 0 or not data.startswith(text, first):
        first, before = _back(data, text[:offset], start)
        last, after = _on(data, text[offset + end - start :], end)
        matched = before + after + end - start
        if matched < (min(len(text), _SHORTEST) if form.in_pieces else len(text)):
            return None
        if cut := _ESCAPE.search(data, max(first, last - 40), last):
            last = cut.start(1)
    if known.weak and not _alone(data, first, last):
        return None
    if form.edges[0] and first > 1 and data[first - 2] != 0x5C and _CODE.match(data, first - 1):
        first -= 1
    if form.edges[1] and _CODE.match(data, last):
        last += 1
    if first and (cut := _ESCAPE.search(data, max(0, first - 40), first)):
        first = cut.start(1)
    risky = '"' in known.value or _NUMBER.fullmatch(known.value) is not None
    phase = form.phase - (start - offset - first)
    return Span(first, last, known.label, known.value, form.encoded, phase, risky)


def _on(data: bytes, rest: bytes, at: int) -> tuple[int, int]:
    """Follow the rest of a form over line breaks; return where it ends and its length."""
    count, place, hops = 0, at, 0
    while count < len(rest) and place < len(data):
        if step := _common(data[place : place + len(rest) - count], rest[count:]):
            count, place, hops = count + step, place + step, 0
            at = place
        hop = _NEXT.match(data, place, place + 400)
        if hop is None or count == len(rest) or hops == _MOST_HOPS:
            break
        place, hops = hop.end(), hops + 1
    return at, count


def _back(data: bytes, head: bytes, at: int) -> tuple[int, int]:
    """Follow the head of a form backwards; return where it begins and its length."""
    count, place, hops = 0, at, 0
    while count < len(head) and place > 0:
        left = len(head) - count
        if step := _common(data[max(0, place - left) : place][::-1], head[:left][::-1]):
            count, place, hops = count + step, place - step, 0
            at = place
        hop = _BEFORE.search(data, max(0, place - 60), place)
        if hop is None or count == len(head) or hops == _MOST_HOPS:
            break
        place, hops = hop.start(), hops + 1
    return at, count


def _common(one: bytes, other: bytes) -> int:
    """Return the length of the common beginning."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    low = 0
    while one[low] == other[low]:
        low += 1
    return low


def _alone(data: bytes, start: int, end: int) -> bool:
    """Tell whether a word stands by itself."""
    before = data[start - 1] if start else 32
    if start > 1 and data[start - 2] == 0x5C and chr(before) in "nrt":
        before = 32  # the end of an escape
    after = data[end] if end < len(data) else 32
    return before not in _WORD and after not in _WORD


def without_colours(data: bytes) -> tuple[bytes, list[int], list[int]]:
    """Return data without colour codes; and for each piece where it begins and how far it moved."""
    pieces, starts, shifts = [], [], []
    flat = place = 0
    for match in _ANSI.finditer(data):
        pieces.append(data[place : match.start()])
        starts.append(flat)
        shifts.append(place - flat)
        flat += match.start() - place
        place = match.end()
    pieces.append(data[place:])
    starts.append(flat)
    shifts.append(place - flat)
    return b"".join(pieces), starts, shifts


def replaced(data: bytes, spans: Iterable[Span], mask: Callable[[Span], bytes]) -> bytes:
    pieces = []
    place = 0
    for span in _merged(spans):
        pieces.append(data[place : span.start])
        pieces.append(_filled(data, span) if _is_within_more(data, span) else mask(span))
        place = span.end
    pieces.append(data[place:])
    return b"".join(pieces)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if last is None or span.start >= last.end:
            if last is not None:
                yield last
            last = span
        elif span.end > last.end:
            both = last.encoded and span.encoded
            last = replace(last, end=span.end, encoded=both)
    if last is not None:
        yield last


def _is_within_more(data: bytes, span: Span) -> bool:
    """Tell whether much more base64 is around a place: an array or an image, not a text."""
    if not span.encoded:
        return False
    reach = 3 * (span.end - span.start) + 120
    before = _CODES.match(data[max(0, span.start - reach) : span.start][::-1])
    after = _CODES.match(data, span.end, span.end + reach)
    return len(before[0] if before else b"") + len(after[0] if after else b"") >= reach


def _filled(data: bytes, span: Span) -> bytes:
    """Return as much base64 of asterisks, in step with the groups around it."""
    return bytes(
        _FILL[(place - span.start + span.phase) % 4] if _CODE.match(data, place) else data[place]
        for place in range(span.start, span.end)
    )
