"""What two equal runs differ in and a comparison leaves out: ids, times, durations, folders."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NOISE = frozenset(
    {
        *(
            "id",
            "ids",
            "run",
            "run_id",
            "runid",
            "uid",
            "uuid",
            "pid",
            "resource_version",
            "resourceversion",
            "generation",
        ),
        *(
            "started",
            "ended",
            "start",
            "end",
            "time",
            "times",
            "timestamp",
            "when",
            "date",
            "created",
            "at",
            "age",
            "seconds",
            "duration",
            "elapsed",
            "took",
            "runtime",
            "evidence",
            "folder",
            "record",
        ),
    }
)
_RULES = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b\d{8}T\d{6,9}Z?(?:-[0-9a-f]{6})?\b"), "<run>"),
    (
        re.compile(
            r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
            r"(?:Z|\s?UTC|[+-]\d\d:?\d\d)?(?![\w-])"
        ),
        "<time>",
    ),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:\.\d+)?Z?\b"), "<time>"),
    (
        re.compile(
            r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
        ),
        "<id>",
    ),
    (re.compile(r"\b0x[0-9a-fA-F]{6,16}\b"), "<id>"),
    (
        re.compile(
            r"(?<![\w.])\d+(?:\.\d+)?(?:\s?(?:ns|us|µs|ms|s|min|sec|secs|seconds?|minutes?|hours?|days?)"
            r"|[mhd](?:\d+(?:\.\d+)?[smh])*)(?![\w/])"
        ),
        "<duration>",
    ),
)
_RECORD = re.compile(r"(?:/[^\s\"'<>|:;,()]*)?/\d{4}-\d\d-\d\d/[\w.-]+-\d{8}T\d{9}Z-[0-9a-f]{6}")


def is_noise(name: str) -> bool:
    """Tell by its name that a value is an id, a time, a duration or a place."""
    return re.sub(r"[\s.-]+", "_", name.strip().lower()) in _NOISE


class Mask:
    """Writes placeholders for what differs between equal runs, of one record in ``folder``."""

    def __init__(self, folder: Path, run_id: str = "") -> None:
        self._words = [word for word in (run_id,) if word]
        self._places = sorted({str(one) for one in _places(folder)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with placeholders."""
        text = _RECORD.sub("<folder>", text)
        for place in self._places:
            text = text.replace(place, "<folder>")
        for word in self._words:
            text = text.replace(word, "<run>")
        for rule, name in _RULES:
            text = rule.sub(name, text)
        return text


def _places(folder: Path) -> Iterator[Path]:
    """Yield the folders whose names say where a run was, not what it found."""
    resolved = folder.resolve()
    # The record, its date, outputs/ and the project around it; never a root such as /srv.
    yield from [one for one in (resolved, *resolved.parents)[:4] if len(one.parts) > 2]
    yield Path(tempfile.gettempdir())
    if len(Path.home().parts) > 2:
        yield Path.home()
