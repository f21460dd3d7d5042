"""What is written down beside the ciphertext: which key, which label, when, by whom, until when.

One annotation of the SealedSecret itself (not of its template, so that the Secret does not get
it), with a line for each key::

    opslib.dev/sealed: |
      dsn: key=SHA256:… label=shop/db sealed=2026-11-30 by=ada@example.com rotate=2027-02-28

A date and no time, so that a key that is sealed again on the same day changes one line of a
diff, its ciphertext. The check sum of a ciphertext, by which an edit by hand shows, stands as
a comment on its own line in YAML; JSON has no comments, so that there it is part of the note.
Nothing is derived from the value itself: a hash of a weak value tells it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

ANNOTATION = "opslib.dev/sealed"
MOST = 256 * 1024
"""Bytes of all annotations of an object: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/"""
_LINE = re.compile(r"([-._a-zA-Z0-9]{1,253}):((?: [a-z]+=\S*)+)")
_SUM = re.compile(r"#\s*sum=([0-9a-f]{8}/\d{1,9})(?=\s|$)")
_EVERYWHERE = "*"


@dataclass(frozen=True)
class Note:
    """What is known of one sealed value; ``label`` is "*" for cluster-wide.

    ``sum`` is the check sum of its ciphertext, "" where it stands elsewhere or is not known.
    """

    key: str
    label: str
    sealed: date
    by: str
    rotate: date | None = None
    sum: str = ""

    def line(self) -> str:
        """Return the note as it is written, without the name of its key."""
        words = [f"key={self.key}", f"label={self.label}", f"sealed={self.sealed.isoformat()}"]
        words.append(f"by={_word(self.by)}")
        words += [f"rotate={self.rotate.isoformat()}"] if self.rotate else []
        words += [f"sum={self.sum}"] if self.sum else []
        return " ".join(words)


def note_label(label: bytes) -> str:
    """Return a label as notes write it."""
    return label.decode() or _EVERYWHERE


def check_sum(ciphertext: str) -> str:
    """Return the check sum of a ciphertext's text, with its length: it is public already."""
    joined = "".join(ciphertext.split())
    return f"{hashlib.sha256(joined.encode()).hexdigest()[:8]}/{len(joined)}"


def comment(ciphertext: str) -> str:
    """Return the comment that stands behind a ciphertext in YAML."""
    return f"# sum={check_sum(ciphertext)}"


def find_comment(text: str) -> re.Match[str] | None:
    """Find the check sum in the rest of a line; group 1 is it."""
    return _SUM.search(text)


def write(notes: Mapping[str, Note]) -> str:
    """Return the text of the annotation: sorted lines; "" without notes."""
    lines = {id(note): note.line() for note in notes.values()}  # often one for all keys
    return "".join(f"{name}: {lines[id(note)]}\n" for name, note in sorted(notes.items()))


def read(text: object) -> tuple[dict[str, Note], list[str]]:
    """Read the annotation; return the notes, and what is wrong with lines that are none.

    It comes from Git and may hold anything: what is not understood is told, never an error.
    """
    if not isinstance(text, str):
        return {}, []
    if len(text) > MOST:
        return {}, ["the notes are larger than an annotation may be"]
    found: dict[str, Note] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        note = _parse(match[2]) if match else None
        if match is None or note is None:
            wrong.append(f"line {number} of the notes is damaged")
        else:
            found[match[1]] = note
    return found, wrong


def without_sum(note: Note) -> Note:
    return replace(note, sum="")


def _parse(text: str) -> Note | None:
    words = dict(word.partition("=")[::2] for word in text.split())
    try:
        rotate = date.fromisoformat(words["rotate"]) if words.get("rotate") else None
        sealed = date.fromisoformat(words["sealed"])
        return Note(
            words["key"], words["label"], sealed, words.get("by", ""), rotate, words.get("sum", "")
        )
    except (KeyError, ValueError):
        return None


def _word(text: str) -> str:
    """Write a name without white space, so that a note stays one line of words."""
    return re.sub(r"[^\w.@+<>()-]+", "_", text)[:100]
