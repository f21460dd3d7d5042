"""Takes secrets out of whatever is about to be written: one pass over the bytes of a file.

Known values (core.secrecy) in all their forms (forms.py) and secrets by their look
(patterns.py) are sought together by one automaton, so that a pass costs the same for one
secret as for hundreds: Aho and Corasick, https://doi.org/10.1145/360825.360855. What is found
becomes ``secret:LABEL#N`` in angle quotation marks; equal values have equal numbers in one
process, and a number says nothing of the value. Inside of longer base64 (typed arrays, images)
the same count of bytes is overwritten, so that what is around it can still be decoded.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ahocorasick_rs import BytesAhoCorasick, Implementation

from opslib.core import secrecy
from opslib.core.progress import Progress
from opslib.runbook import patterns
from opslib.runbook.forms import Form, Needle, needles

_SHORTEST = 16
"""So many characters of a longer value are masked although the rest does not follow."""
_DENSE = 3_000
"""Up to so many needles the automaton is a table (fast); above it would need too much memory."""
_FILL = b"Kioq"
"""Base64 of three asterisks."""
_HEAD, _TAIL = 4, 400
"""Bytes that a value has to have begun with, and characters in which that is looked for."""
_CODE = re.compile(rb"[A-Za-z0-9+/_-]")
_CODES = re.compile(rb"[A-Za-z0-9+/_-]*+")
_HOP = rb'(?:\\+u001b\[[0-9;?]*[A-Za-z]|\x1b\[[0-9;?]*[A-Za-z]|",[\r\n]\s*"|\\+[nr]|[\r\n])'
"""What may stand between two pieces of a value: colours, the next text of a list, a new line."""
_NEXT, _BEFORE = re.compile(_HOP), re.compile(_HOP + rb"\Z")
_MOST_HOPS = 8
_COLOURS = (b"\x1b[", b"\\u001b[")
_ANSI = re.compile(rb"(?:\\u001b|\x1b)\[[0-9;?]*[A-Za-z]")
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_MASK = re.compile(f"{secrecy.OPEN}secret:([^{secrecy.CLOSE}]*){secrecy.CLOSE}")
_NUMBER = re.compile(r"[0-9.eE+-]+")
# The beginning of an escape, of which a mask must not leave half.
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")


@dataclass(frozen=True)
class _Span:
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


class Redactor:
    """Masks what a registry knows, and what looks like a secret. Safe for threads."""

    def __init__(self, registry: secrecy.Registry = secrecy.REGISTRY) -> None:
        self._registry = registry
        self._lock = threading.RLock()
        self._version = -1
        self._numbers: dict[object, int] = {}
        self._needles: dict[secrecy.Known, tuple[Needle, ...]] = {}
        self._places: dict[bytes, list[tuple[Form, int]]] = {}
        self._rules: dict[bytes, list[patterns.Rule]] = {}
        self._heads: dict[bytes, set[bytes]] = {}
        self._words: list[bytes] = []
        self._automaton: Any = None

    def data(self, data: bytes) -> bytes:
        """Return the bytes of a text without secrets."""
        return self._cleaned(data)[0]

    def _cleaned(self, data: bytes) -> tuple[bytes, bool]:
        """Return the bytes without secrets, and whether one was risky."""
        with self._lock:
            self._refresh()
            spans = self._spans(data)
            if not spans:
                return data, False
            return _replaced(data, spans, self._mask), any(one.risky for one in spans)

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        data = text.encode(errors="surrogatepass")
        clean = self.data(data)
        return text if clean is data else clean.decode(errors="surrogatepass")

    def json_data(self, data: bytes) -> bytes:
        """Return the bytes of a JSON document (or of one per line) without secrets, still JSON.

        A value may look like JSON itself: digits, quotes and commas. Where its mask would break
        the document, each text in it is masked by itself.
        """
        clean, risky = self._cleaned(data)
        if not risky or _is_json(clean):
            return clean
        return "".join(
            json.dumps(self.value(json.loads(line)), ensure_ascii=False, indent=_indent(data))
            + "\n"
            for line in _documents(data)
        ).encode("utf-8", "backslashreplace")

    def value(self, value: Any) -> Any:
        """Return JSON data without secrets: keys, texts, and numbers that are one."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = json.dumps(value)
            return value if len(shown) < secrecy.WEAK else _or_text(value, shown, self.text(shown))
        return value

    def file_name(self, name: str) -> str:
        """Return a file's name without secrets, in letters that every file system takes."""
        clean = self.text(name)
        return name if clean == name else _MASK.sub(_for_file, clean)

    def begun(self, text: str) -> str:
        """Return a text without the beginning of a known value at its very end."""
        with self._lock:
            self._refresh()
            tail = text[-_TAIL:].encode(errors="surrogatepass")
            for place in range(len(tail) - _HEAD + 1):
                rest = tail[place:]
                if any(
                    one.startswith(rest) and one != rest
                    for one in self._heads.get(rest[:_HEAD], ())
                ):
                    kept = tail[:place].decode(errors="ignore")
                    return text[:-_TAIL] + kept if len(text) > _TAIL else kept
        return text

    def _mask(self, span: _Span) -> bytes:
        number = self._numbers.setdefault(span.key, len(self._numbers) + 1)
        return f"{secrecy.OPEN}secret:{span.label}#{number}{secrecy.CLOSE}".encode()

    def _refresh(self) -> None:
        if self._version == self._registry.version:
            return
        self._version = self._registry.version
        self._places, self._rules, self._heads = {}, {}, {}
        self._needles = {
            known: self._needles.get(known) or tuple(needles(known))
            for known in self._registry.known()
        }
        for some in self._needles.values():
            for needle in some:
                self._places.setdefault(needle.text, []).append((needle.form, needle.offset))
                if not needle.form.encoded and len(needle.form.text) > _HEAD:
                    self._heads.setdefault(needle.form.text[:_HEAD], set()).add(needle.form.text)
        for rule in patterns.RULES:
            for anchor in rule.anchors:
                self._rules.setdefault(anchor, []).append(rule)
        self._words = list({**self._places, **self._rules, **dict.fromkeys(_COLOURS)})
        dense = len(self._words) <= _DENSE
        kind = Implementation.DFA if dense else Implementation.ContiguousNFA
        self._automaton = BytesAhoCorasick(self._words, implementation=kind)

    def _spans(self, data: bytes) -> list[_Span]:
        hits = self._automaton.find_matches_as_indexes(data, overlapping=True)
        spans = list(self._found(data, hits))
        if any(self._words[number] in _COLOURS for number, _, _ in hits):
            spans.extend(self._between_colours(data))
        return spans

    def _between_colours(self, data: bytes) -> Iterator[_Span]:
        """Find what colour codes of a terminal cut to pieces."""
        flat, starts, shifts = _without_colours(data)
        hits = self._automaton.find_matches_as_indexes(flat, overlapping=True)
        for span in self._found(flat, hits):
            start = span.start + shifts[bisect_right(starts, span.start) - 1]
            end = span.end - 1 + shifts[bisect_right(starts, span.end - 1) - 1] + 1
            yield replace(span, start=start, end=end)

    def _found(self, data: bytes, hits: list[tuple[int, int, int]]) -> Iterator[_Span]:
        done: dict[int, int] = {}
        for number, start, end in hits:
            word = self._words[number]
            for form, offset in self._places.get(word, ()):
                if start >= done.get(id(form), 0):
                    span = _follow(data, form, offset, start, end)
                    if span is not None:
                        done[id(form)] = span.end
                        yield span
            for rule in self._rules.get(word, ()):
                if start < done.get(id(rule), 0):
                    continue
                place, until = patterns.find(rule, data, start)
                done[id(rule)] = until
                if place is not None:
                    yield _Span(*place, rule.label, data[place[0] : place[1]])


def _follow(data: bytes, form: Form, offset: int, start: int, end: int) -> _Span | None:
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
    return _Span(first, last, known.label, known.value, form.encoded, phase, risky)


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


def _without_colours(data: bytes) -> tuple[bytes, list[int], list[int]]:
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


def _replaced(data: bytes, spans: Iterable[_Span], mask: Callable[[_Span], bytes]) -> bytes:
    pieces = []
    place = 0
    for span in _merged(spans):
        pieces.append(data[place : span.start])
        pieces.append(_filled(data, span) if _is_within_more(data, span) else mask(span))
        place = span.end
    pieces.append(data[place:])
    return b"".join(pieces)


def _merged(spans: Iterable[_Span]) -> Iterator[_Span]:
    last: _Span | None = None
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


def _is_within_more(data: bytes, span: _Span) -> bool:
    """Tell whether much more base64 is around a place: an array or an image, not a text."""
    if not span.encoded:
        return False
    reach = 3 * (span.end - span.start) + 120
    before = _CODES.match(data[max(0, span.start - reach) : span.start][::-1])
    after = _CODES.match(data, span.end, span.end + reach)
    return len(before[0] if before else b"") + len(after[0] if after else b"") >= reach


def _filled(data: bytes, span: _Span) -> bytes:
    """Return as much base64 of asterisks, in step with the groups around it."""
    return bytes(
        _FILL[(place - span.start + span.phase) % 4] if _CODE.match(data, place) else data[place]
        for place in range(span.start, span.end)
    )


def _is_json(data: bytes) -> bool:
    try:
        for line in _documents(data):
            json.loads(line)
    except ValueError:
        return False
    return True


def _documents(data: bytes) -> list[bytes]:
    """Return the documents of a file: one, or one per line."""
    lines = data.splitlines()
    many = len(lines) > 1 and lines[0].startswith(b"{") and lines[0].endswith(b"}")
    return [line for line in lines if line] if many else [data]


def _indent(data: bytes) -> int | None:
    match = re.match(rb"[\[{]\n( +)", data)
    return len(match[1]) if match else None


def _or_text(value: Any, shown: str, clean: str) -> Any:
    return value if clean == shown else clean


def _for_file(match: re.Match[str]) -> str:
    return "secret-" + re.sub(r"[^A-Za-z0-9]+", "-", match[1])


REDACTOR = Redactor()


class Discreet:
    """Progress without secrets: what it shows goes to a terminal or a log."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        """Pass on one step."""
        self._progress.update(redacted(label), done, total)


def redacted(text: str) -> str:
    """Return a text without the secrets that this process knows or that look like one."""
    return REDACTOR.text(text)


def redacted_json(text: str) -> str:
    """Return a JSON document without secrets, still JSON."""
    data = text.encode("utf-8", "backslashreplace")
    return REDACTOR.json_data(data).decode()
