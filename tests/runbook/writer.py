"""A program that saves growing notebooks and is killed: WRITER PLACE KILLS SEED.

Each run is a forked child that drives the real Manager and RecordFolder as fast as they go,
without a kernel; its parent kills it at a random moment and looks at what is on disk. Before
each save the child tells, in memory that both share, how far the notebook is.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat

from opslib.runbook.engine import to_text
from opslib.runbook.folder import RECORD, RecordFolder
from opslib.runbook.manager import Manager
from opslib.runbook.outcome import Outcome
from opslib.runbook.payloads import restore
from opslib.runbook.session import Session

CELLS, LINES = 12, 40


def notebook() -> Any:
    """Return a notebook of cells that print much."""
    cells = [nbformat.v4.new_code_cell(f"print({n})") for n in range(CELLS)]
    return nbformat.v4.new_notebook(cells=cells)


def write(folder: RecordFolder, far: mmap.mmap, begin: int) -> None:
    """Grow a notebook output by output; from ``begin`` outputs on each one is saved at once."""
    nb = notebook()

    def save(shown: Any, sync: bool) -> None:
        folder.write(RECORD, to_text(shown), sync=sync)

    manager = Manager(nb, Session(save=save, apart=folder.write, event=folder.event))
    manager.notebook_start()
    count = 0
    for index, cell in enumerate(nb.cells):
        manager.cell_start(cell, index)
        for line in range(LINES):
            words = f"output {count + 1} " + "x" * (20_000 if line % 8 == 3 else 50) + "\n"
            printed = {"output_type": "stream", "name": "stdout", "text": words}
            cell.outputs.append(nbformat.from_dict(printed))
            count += 1
            if count >= begin:
                manager.save()
                far[0:4] = count.to_bytes(4, "big")
        manager.join_streams(cell, index)
        manager.cell_end(cell, index, Outcome.OK)
    manager.notebook_complete()


def check(folder: Path, told: int) -> tuple[int, int]:
    """Return how many outputs are on disk, and how many files were left half written.

    The notebook must be valid as it is, whole with its payloads, and hold what was told.
    """
    text = (folder / RECORD).read_text(encoding="utf-8")
    nbformat.validate(json.loads(text))
    whole = restore(folder)
    printed = ["".join(one["text"]) for cell in whole["cells"] for one in cell.get("outputs", [])]
    lines = [line.split(" ")[1] for line in "".join(printed).splitlines()]
    if lines != [str(n) for n in range(1, len(lines) + 1)]:
        raise SystemExit(f"{folder}: outputs are missing or twice: {lines[:5]} ... {lines[-5:]}")
    if not told <= len(lines) <= told + 1:
        raise SystemExit(f"{folder}: {told} outputs were saved, {len(lines)} are on disk")
    for cell in nb_code(whole):
        ours = cell["metadata"]["opslib"]
        if ours["outcome"] == "never-run" and cell["outputs"]:
            raise SystemExit(f"{folder}: a cell that did not run has an output")
    return len(lines), len(list(folder.rglob("*.tmp")))


def nb_code(nb: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the code cells."""
    return [cell for cell in nb["cells"] if cell["cell_type"] == "code"]


def main() -> None:
    """Kill many, and print what was found as one JSON document."""
    place, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    dice = random.Random(seed)  # noqa: S311  # moments, not secrets
    far = mmap.mmap(-1, 8)
    seen, litter, apart = [], 0, 0
    for number in range(kills):
        path = place / f"{number:04d}"
        path.mkdir()
        begin = dice.randrange(1, CELLS * LINES - 20)
        far[0:4] = b"\xff\xff\xff\xff"
        if (pid := os.fork()) == 0:
            write(RecordFolder(path), far, begin)
            os._exit(0)
        while far[0:4] == b"\xff\xff\xff\xff":
            time.sleep(0.0005)
        time.sleep(dice.uniform(0, 0.02))  # the random moment is the point
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lines, left = check(path, int.from_bytes(far[0:4], "big"))
        seen.append(lines)
        litter += left
        apart += (path / "payloads").is_dir()
    found = {"kills": kills, "valid": len(seen), "outputs": sum(seen), "furthest": max(seen)}
    print(json.dumps({**found, "half_written": litter, "with_payloads": apart}))


if __name__ == "__main__":
    main()
