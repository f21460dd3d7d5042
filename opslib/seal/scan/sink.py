"""Where in a file a text stands, and what was seen so far."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from opslib.seal.scan import looks
from opslib.seal.scan.model import Seen

MOST_SEEN = 10_000
"""Values that are told of one file."""
_CLEAN = re.compile(r"[^\w.\-/ $@:+\[\]()~#=]")


@dataclass(frozen=True)
class Place:
    """Where a text stands: the name that hints at its form, its pointer, the line it begins at.

    ``line`` and the numbers of ``rows`` (one for each of its lines, where they are known singly)
    are 0-based; ``flat``: all of its lines stand on one line of the file. ``depth`` counts how
    often it was decoded or taken out of another text.
    """

    hint: str = ""
    pointer: str = ""
    line: int = 0
    flat: bool = False
    rows: Sequence[int] = ()
    depth: int = 0
    coded: int = 0
    translated: bool = False

    def at(self, inner: int) -> int:
        """Return the line of the file of a line of the text; both 0-based."""
        if self.rows:
            return self.rows[min(inner, len(self.rows) - 1)]
        return self.line if self.flat else self.line + inner

    def within(self, name: str, inner: int, *, block: bool = False, coded: bool = False) -> Place:
        """Return the place of a text within this one."""
        flat = self.flat or not block or bool(self.rows)
        return replace(
            self,
            hint=name,
            pointer=joined(self.pointer, name) if name else self.pointer,
            line=self.at(inner + (1 if block else 0)),
            flat=flat,
            rows=(),
            depth=self.depth + 1,
            coded=self.coded + coded,
        )


class Sink:
    """Collects what is seen in one file; the same value in the same line counts once."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._lines: dict[int, list[str]] = {}
        self.full = False
        self.count = 0
        """How often a value was told, also one that was known."""

    def add(self, kind: str, line: int, key: str, value: str, detail: str = "") -> None:
        """Note a value; ``line`` is 0-based."""
        self.count += 1
        if len(self.seen) >= MOST_SEEN:
            self.full = True
            return
        known = self._lines.setdefault(line, [])
        if any(value in one or one in value for one in known):
            return
        known.append(value)
        self.seen.append(Seen(kind, line + 1, key, value, detail))


def joined(pointer: str, name: str) -> str:
    """Add a name to a JSON pointer; a name that may itself be a secret is left out.

    https://www.rfc-editor.org/rfc/rfc6901
    """
    if len(name) < 16 and name.isidentifier() and name.isascii():
        return f"{pointer}/{name}"
    if len(name) > 120 or (len(name) > 15 and looks.drawn(name) and not looks.path(name)):
        name = "(…)"
    name = _CLEAN.sub("?", name).replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{name}"
