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
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ahocorasick_rs import BytesAhoCorasick, Implementation

from opslib.core import secrecy
from opslib.core.progress import Progress
from opslib.runbook import patterns
from opslib.runbook.cuts import MARKS, Cuts
from opslib.runbook.forms import Form, Needle, needles
from opslib.runbook.spans import COLOURS, Span, follow, replaced, without_colours

_DENSE = 3_000
"""Up to so many needles the automaton is a table (fast); above it would need too much memory."""
_CROWD = 8
"""Forms that may share a piece; where it stands each of them is compared."""
_HEAD, _TAIL = 4, 400
"""Bytes that a value has to have begun with, and characters in which that is looked for."""
_MASK = re.compile(f"{secrecy.OPEN}secret:([^{secrecy.CLOSE}]*){secrecy.CLOSE}")


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
        self._cuts = Cuts(self._forms)
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
            return replaced(data, spans, self._mask), any(one.risky for one in spans)

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

    def _mask(self, span: Span) -> bytes:
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
                text, offset = self._least_crowded(needle)
                self._places.setdefault(text, []).append((needle.form, offset))
                if not needle.form.encoded and len(needle.form.text) > _HEAD:
                    self._heads.setdefault(needle.form.text[:_HEAD], set()).add(needle.form.text)
        for rule in patterns.RULES:
            for anchor in rule.anchors:
                self._rules.setdefault(anchor, []).append(rule)
        self._cuts = Cuts(self._forms)
        marks = dict.fromkeys((*COLOURS, *MARKS))
        self._words = list({**self._places, **self._rules, **marks})
        dense = len(self._words) <= _DENSE
        kind = Implementation.DFA if dense else Implementation.ContiguousNFA
        self._automaton = BytesAhoCorasick(self._words, implementation=kind)

    def _forms(self) -> Iterator[Form]:
        """Yield each form of each known value once."""
        for some in self._needles.values():
            yield from {id(one.form): one.form for one in some}.values()

    def _least_crowded(self, needle: Needle) -> tuple[bytes, int]:
        """Choose a piece that few other forms have: values often begin alike, as addresses do."""
        best, fewest = (needle.text, needle.offset), len(self._places.get(needle.text, ()))
        if fewest >= _CROWD:
            for text, offset in needle.others():
                count = len(self._places.get(text, ()))
                if count < fewest:
                    best, fewest = (text, offset), count
                if fewest < _CROWD:
                    break
        return best

    def _spans(self, data: bytes) -> list[Span]:
        hits = self._automaton.find_matches_as_indexes(data, overlapping=True)
        spans = list(self._found(data, hits))
        if any(self._words[number] in COLOURS for number, _, _ in hits):
            spans.extend(self._between_colours(data))
        return spans

    def _between_colours(self, data: bytes) -> Iterator[Span]:
        """Find what colour codes of a terminal cut to pieces."""
        flat, starts, shifts = without_colours(data)
        hits = self._automaton.find_matches_as_indexes(flat, overlapping=True)
        for span in self._found(flat, hits):
            start = span.start + shifts[bisect_right(starts, span.start) - 1]
            end = span.end - 1 + shifts[bisect_right(starts, span.end - 1) - 1] + 1
            yield replace(span, start=start, end=end)

    def _found(self, data: bytes, hits: list[tuple[int, int, int]]) -> Iterator[Span]:
        done: dict[int, int] = {}
        for number, start, end in hits:
            word = self._words[number]
            for form, offset in self._places.get(word, ()):
                if start >= done.get(id(form), 0):
                    span = follow(data, form, offset, start, end)
                    if span is not None:
                        done[id(form)] = span.end
                        yield span
            if word in MARKS:
                yield from self._cuts.spans(data, start, end)
            for rule in self._rules.get(word, ()):
                if start < done.get(id(rule), 0):
                    continue
                place, until = patterns.find(rule, data, start)
                done[id(rule)] = until
                if place is not None:
                    yield Span(*place, rule.label, data[place[0] : place[1]])


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
