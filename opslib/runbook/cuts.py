"""Values that were cut short: their beginning before an ellipsis, their end behind one.

ipywidgets cuts the text of a widget after 110 letters, IPython the variables of a traceback,
pandas a column, rich a cell, and each writes an ellipsis there. What stands beside one is held
against the beginnings and ends of all known values. A letter that a pipe cut in two and a reader
took for none (U+FFFD) is such a mark, too. A cut that nothing marks is not seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from opslib.runbook.forms import Form
from opslib.runbook.spans import Span

MARKS = (b"\xe2\x80\xa6", b"...", b"\\u2026", b"&hellip;", b"\xef\xbf\xbd", b"\\ufffd")
_LEAST = 8
"""Bytes of a value that have to be there: fewer are words that many texts have."""
_MOST = 400
"""Bytes beside an ellipsis that are looked at: what shortens a text leaves less."""
_KEY, _GRAM, _BITS = 6, 4, 20


class Cuts:
    """Finds beginnings and ends of forms. What it needs for that is made at the first ellipsis."""

    def __init__(self, forms: Callable[[], Iterable[Form]]) -> None:
        self._forms = forms
        self._made = False
        self._heads: dict[bytes, list[Form]] = {}
        self._tails: dict[bytes, list[Form]] = {}
        self._filter = bytearray()

    def spans(self, data: bytes, start: int, end: int) -> Iterator[Span]:
        """Yield what belongs to a value beside the ellipsis from ``start`` to ``end``."""
        if not self._made:
            self._make()
        if self._known(data[start - _GRAM : start]) and (found := self._before(data, start)):
            yield found
        if self._known(data[end : end + _GRAM]) and (found := self._behind(data, end)):
            yield found

    def _before(self, data: bytes, end: int) -> Span | None:
        for start in range(max(0, end - _MOST), end - _LEAST + 1):
            for form in self._heads.get(data[start : start + _KEY], ()):
                if form.text.startswith(data[start:end]):
                    return Span(start, end, form.known.label, form.known.value)
        return None

    def _behind(self, data: bytes, start: int) -> Span | None:
        for end in range(min(len(data), start + _MOST), start + _LEAST - 1, -1):
            for form in self._tails.get(data[end - _KEY : end], ()):
                if form.text.endswith(data[start:end]):
                    return Span(start, end, form.known.label, form.known.value)
        return None

    def _make(self) -> None:
        self._made, self._filter = True, bytearray(1 << _BITS)
        for form in self._forms():
            text = form.text
            if len(text) <= _LEAST or form.known.weak or form.encoded:
                continue
            self._heads.setdefault(text[:_KEY], []).append(form)
            self._tails.setdefault(text[-_KEY:], []).append(form)
            for part in {text[:_MOST], text[-_MOST:]}:
                for at in range(len(part) - _GRAM + 1):
                    self._filter[_place(part[at : at + _GRAM])] = 1

    def _known(self, gram: bytes) -> bool:
        return len(gram) == _GRAM and bool(self._filter[_place(gram)])


def _place(gram: bytes) -> int:
    return zlib.crc32(gram) >> (32 - _BITS)
