"""Writers of records, killed at random: children of one process, so that each costs little.

Arguments: a folder and how many. Each child writes a record as a run does, notebook, events
and result, with canaries in all of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from opslib.core import secrecy
from opslib.runbook.folder import RECORD, RESULT, RecordFolder, to_json
from opslib.runbook.redact import REDACTOR

from .canaries import CANARIES


def _write_for_ever(path: Path) -> None:
    folder = RecordFolder(path)
    cells: list[dict[str, str]] = []
    while True:
        cells.append({"text": " ".join(CANARIES), "json": json.dumps(CANARIES), "pad": "x" * 5000})
        folder.write(RECORD, json.dumps({"cells": cells}, indent=1), sync=False)
        folder.event("cell-end", heading=CANARIES[len(cells) % 20])
        folder.write(RESULT, to_json({"report": CANARIES}), sync=len(cells) % 5 == 0)


def main(base: Path, count: int) -> None:
    for number, value in enumerate(CANARIES):
        secrecy.note(value, f"canary-{number}")
    REDACTOR.text("the automaton is made once, before the children are")
    dice = random.Random(23)  # noqa: S311  # moments, not secrets
    notebooks = leftovers = 0
    for number in range(count):
        path = base / f"record-{number}"
        path.mkdir()
        if (child := os.fork()) == 0:
            _write_for_ever(path)
        time.sleep(dice.uniform(0.003, 0.12))  # the random moment is the point
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if (path / RECORD).exists():
            json.loads((path / RECORD).read_bytes())
            notebooks += 1
        leftovers += len(list(path.glob(".*.tmp")))
    print(f"{count} writers killed: {notebooks} whole notebooks, {leftovers} unfinished files")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
