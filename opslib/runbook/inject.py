"""The cell that carries the values of a run, as papermill places it, but with exact values."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opslib.runbook.notebook import Notebook, tags_of
from opslib.runbook.parameters import INJECTED_TAG, TAG
from opslib.runbook.secret import Secret


def inject(notebook: Notebook, given: Mapping[str, Any]) -> Notebook:
    """Return a copy of the notebook with the given values in a cell after the parameters.

    An injected cell of an earlier run is replaced. Without values no cell is added.
    """
    fresh = copy.deepcopy(notebook)
    cells = [cell for cell in fresh["cells"] if INJECTED_TAG not in tags_of(cell)]
    if given:
        at = next((n for n, cell in enumerate(cells, start=1) if TAG in tags_of(cell)), 0)
        cells.insert(at, _cell(given))
    fresh["cells"] = cells
    return fresh


def _cell(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": secrets.token_hex(4),
        "metadata": {"tags": [INJECTED_TAG]},
        "source": to_source(given),
        "outputs": [],
        "execution_count": None,
    }


def to_source(given: Mapping[str, Any]) -> str:
    """Return assignments that give exactly these values; a Path is given as its text."""
    lines = [f"{name} = {_plain(value)!r}" for name, value in given.items()]
    return "\n".join(["# Parameters", *lines])


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
