"""The writer's side of tamper evidence: what is said in which order, see verify.py for why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from opslib.core.clock import stamp
from opslib.runbook import verify

Row = dict[str, Any]


class Chain:
    """The events of one record as linked lines, and what was said of cells and files.

    Everything comes in redacted, as it will be on disk: a hash of anything else would give
    the secret away to whoever tries values, and would not fit what an auditor sees.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first = self.head = ""
        self._ended: dict[int, str] = {}
        self._news = True
        self._sources: list[str] | None = None

    def numbered(self, name: str, fields: Row) -> str:
        """Return an event as the JSON text that may still be redacted."""
        line = {"seq": self.count + 1, "time": stamp(), "event": name, **fields}
        return json.dumps(line, ensure_ascii=False)

    def link(self, body: str) -> tuple[bytes, str]:
        """Return the line for a redacted event, and the head once it is written."""
        if not self.count:
            said = json.loads(body)
            self.first = verify.genesis(str(said.get("run_id", "")), str(said.get("runbook", "")))
            self.head = self.first
        return verify.linked(body, self.head)

    def said(self, name: str, head: str) -> None:
        """Note that the line of ``link`` is written."""
        self.head = head
        self.count += 1
        self._news = self._news or name == "cell-end"

    def notebook(self, data: bytes, *, final: bool) -> Iterator[tuple[str, Row]]:
        """Yield the events that have to be said before this notebook is written.

        The first time: what each cell is; then each cell that has ended since, or whose
        output was changed by a later one. Costs the parsing of the file where there is news.
        """
        if not self._news and not final:
            return
        cells = json.loads(data)["cells"]
        sources = [verify.source_digest(cell) for cell in cells]
        if sources != self._sources:
            self._sources = sources
            yield "notebook", {"sources": sources}
        for index, cell in enumerate(cells):
            outcome = verify.outcome_of(cell)
            if outcome in {"", *verify.OPEN}:
                continue
            digest = verify.digest_of(cell)
            if self._ended.get(index) != digest:
                self._ended[index] = digest
                id_ = cell.get("id")
                yield "cell", {"cell": index, "id": id_, "outcome": outcome, "sha256": digest}
        self._news = False


def rows(notebook: bytes) -> list[Row]:
    """Return what the manifest lists of each cell of the final notebook."""
    return [
        {
            "index": index,
            "id": cell.get("id"),
            "outcome": verify.outcome_of(cell) or None,
            "sha256": verify.digest_of(cell),
        }
        for index, cell in enumerate(json.loads(notebook)["cells"])
    ]


def sha256(data: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
