"""Large outputs of a run that goes on: written once, beside the notebook that names them.

A notebook is one JSON document, so every save writes all of it: 61 cells with one embedded
plotly.js make papermill write 616 MB for a file of 5 MB. Here an output above a limit goes
into payloads/NNNN.json.gz once, and the partial notebook holds a note in its place. The last
save holds everything and the payloads are removed; only a record whose process was killed
keeps them, and ``restore`` puts them back.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from opslib.core.errors import InputError
from opslib.runbook import streams
from opslib.runbook.folder import PAYLOADS, RECORD

LARGE = 64 * 1024
"""Characters of output from which on it is written apart."""
CROWD, SMALL = 512 * 1024, 8 * 1024
"""When what stays in the notebook is more than CROWD, SMALL takes the place of LARGE."""
_MOST = 1 << 30
"""Bytes that one payload may have unpacked; a record's folder is hostile input."""
_NAME = re.compile(rf"{PAYLOADS}/[0-9]{{4,6}}\.json\.gz")

Output = Any
Key = tuple[tuple[int, int, int], ...]


@dataclass
class Payloads:
    """Keeps what was written apart in one run. ``write(name, text)`` writes one payload."""

    write: Callable[[str, str], object]
    _count: int = 0
    _limit: int = LARGE
    _sizes: dict[tuple[int, int], tuple[Any, int]] = field(default_factory=dict)
    _written: dict[Key, tuple[Output, list[Output]]] = field(default_factory=dict)
    _settled: dict[int, tuple[Key, list[Output], bool]] = field(default_factory=dict)

    def shown(self, nb: Any) -> Any:
        """Return the notebook as it is saved while it runs; large outputs are written first."""
        inline = 0
        cells = []
        for index, cell in enumerate(nb.cells):
            if not cell.get("outputs"):
                cells.append(cell)
                continue
            outputs = self._cell(index, cell.outputs)
            inline += sum(map(self._size, outputs))
            cells.append(NotebookNode({**cell, "outputs": outputs}))
        if inline > CROWD:
            self._limit = SMALL
        return NotebookNode({**nb, "cells": cells})

    def settle(self, index: int, before: list[Output], join: Callable[[], list[Output]]) -> Any:
        """Return what ``join`` makes of a cell's outputs, and keep its notes for what it joined."""
        shown = self._grouped(before)
        apart = any(map(_payload_of, shown))
        after = join()
        self._settled[index] = (self._key(after), shown if apart else [], apart)
        self._written.clear()
        return after

    def _cell(self, index: int, outputs: list[Output]) -> list[Output]:
        if index not in self._settled:
            return self._grouped(outputs)
        key, shown, apart = self._settled[index]
        now = self._key(outputs)
        if apart and now[: len(key)] == key:
            return [*shown, *outputs[len(key) :]]
        grouped = self._grouped(outputs)
        self._settled[index] = (now, grouped, any(map(_payload_of, grouped)))
        return grouped

    def _grouped(self, outputs: list[Output]) -> list[Output]:
        """Put a note in the place of each large output, and of each large group of small ones."""
        found: list[Output] = []
        waiting: list[Output] = []
        total = 0
        for output in outputs:
            size = self._size(output)
            if size >= self._limit and not (waiting and _goes_on(waiting[-1])):
                found += waiting
                waiting, total = [], 0
            waiting.append(output)
            total += size
            if total >= self._limit and not _goes_on(output):
                found.append(self._note(waiting, total))
                waiting, total = [], 0
        return [*found, *waiting]

    def _note(self, outputs: list[Output], size: int) -> Output:
        key = self._key(outputs)
        if key not in self._written:
            self._count += 1
            name = f"{PAYLOADS}/{self._count:04d}.json.gz"
            # Joined, as a secret in two pieces of text could not be seen.
            whole = streams.join([NotebookNode(one) for one in outputs])
            self.write(name, json.dumps(whole, ensure_ascii=False))
            text = (
                f"{size / 1e6:.1f} MB of output, not repeated here while the run goes on: "
                f"{name} beside this notebook holds it"
            )
            about = {"opslib": {"payload": name}}
            note = new_output("display_data", data={"text/plain": text}, metadata=about)
            self._written[key] = (note, outputs)
        return self._written[key][0]

    def _key(self, outputs: list[Output]) -> Key:
        return tuple((id(one), id(one.get("data")), self._size(one)) for one in outputs)

    def _size(self, output: Output) -> int:
        """Return the characters of an output. What is measured is kept, so its id is its own."""
        if "text" in output:
            return len(output["text"])
        known = id(output), id(output.get("data"))
        if known not in self._sizes:
            values = output.get("data", output).values()
            size = sum(len(v if isinstance(v, str) else json.dumps(v)) for v in values)
            self._sizes[known] = ((output, output.get("data")), size)
        return self._sizes[known][1]


def _goes_on(output: Output) -> bool:
    """Tell whether a text breaks off within a line: a secret may go on in the next piece."""
    return output.get("output_type") == "stream" and not str(output["text"]).endswith("\n")


def _payload_of(output: Output) -> str:
    about = output.get("metadata") or {}
    mine = about.get("opslib") if isinstance(about, dict) else None
    name = mine.get("payload", "") if isinstance(mine, dict) else ""
    return name if isinstance(name, str) else ""


def restore(folder: Path) -> dict[str, Any]:
    """Return the notebook of a record whose run was killed, with the payloads in their places.

    A record that is finished comes back as it is. Raises InputError for a file that is
    missing or not what this module writes.
    """
    notebook = _read(folder / RECORD, (folder / RECORD).read_bytes)
    for cell in notebook.get("cells", []):
        found: list[Any] = []
        for output in cell.get("outputs", []):
            name = _payload_of(output)
            found += _load(folder, name) if name else [output]
        if found:
            cell["outputs"] = found
    return dict(notebook)


def _load(folder: Path, name: str) -> list[Any]:
    if not _NAME.fullmatch(name):
        raise InputError("the name of a payload is not one", where=str(folder / RECORD))
    path = folder / name

    def unpacked() -> bytes:
        with gzip.open(path) as stream:
            return stream.read(_MOST)

    outputs = _read(path, unpacked)
    if not isinstance(outputs, list):
        raise InputError("the payload holds no outputs", where=str(path))
    return outputs


def _read(path: Path, read: Callable[[], bytes]) -> Any:
    try:
        return json.loads(read())
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the file cannot be read: {error}", where=str(path)) from None
