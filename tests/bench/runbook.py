"""A notebook by papermill's own engine and by ours: outputs/bench/runbook.json.

``python -m tests.bench.runbook [ROUNDS]``: whole processes in alternating runs. papermill writes
one notebook; with our engine, and by ``opslib run``, the same notebook leaves a whole record
(page, result, manifest, events), and with papermill's command line the notebook as well.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .measure import PROJECT, Took, alternating, machine, ratio, run, table, write

ROUNDS = 5
STOCK, OURS, RUN = "papermill", "papermill --engine opslib", "opslib run"
SMALL, LARGE = "60 small cells", "61 cells, 5 MB"
BIG = (
    "from IPython.display import HTML, display\nfrom plotly.offline import get_plotlyjs\n"
    "display(HTML('<script>' + get_plotlyjs() + '</script>'))"
)
MOST, LEAST = 1.05, 1.5
"""Bounds: our time to papermill's for small cells; papermill's to ours for the large one."""


def notebook(sources: list[str]) -> dict[str, Any]:
    """Return a notebook of code cells."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def work(place: Path, sources: list[str]) -> dict[str, Callable[[], Took]]:
    """Return the three ways to run one notebook; each run starts with empty outputs."""
    path = place / "notebooks" / "work.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook(sources)), encoding="utf-8")
    here = Path(sys.executable).parent
    out = str(place / "out.ipynb")
    papermill = [str(here / "papermill"), "--no-progress-bar", str(path), out]
    ways = {
        STOCK: papermill,
        OURS: [*papermill, "--engine", "opslib"],
        RUN: [str(here / "opslib"), "run", str(path)],
    }

    def one(words: list[str]) -> Callable[[], Took]:
        def go() -> Took:
            shutil.rmtree(place / "outputs", ignore_errors=True)
            return run(words)

        return go

    return {name: one(words) for name, words in ways.items()}


def main(rounds: int = ROUNDS) -> None:
    """Measure both notebooks and write the results."""
    small = [f"print('cell', {number})" for number in range(60)]
    document: dict[str, Any] = {**machine(), "rounds": rounds, "rows": {}, "ratios": {}}
    for name, sources in {SMALL: small, LARGE: [BIG, *small]}.items():
        with tempfile.TemporaryDirectory() as place:
            results = alternating(work(Path(place), sources), rounds)
        document["rows"][name] = results
        document["ratios"][name] = {way: ratio(results, STOCK, way) for way in (OURS, RUN)}
        print(f"{name}\n{table(results)}\n{document['ratios'][name]}")
    path = write("runbook", document)
    print(f"written: {path.relative_to(PROJECT)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
