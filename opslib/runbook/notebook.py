"""Notebook files read without a notebook library: what is cheap enough to do before a start."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError

Notebook = dict[str, Any]

_FRESH, _TRIES = 0.5, 5
"""Seconds after its last change in which a file may still be in the making; looks in them."""

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.+?)\s*#*\s*$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1", re.MULTILINE | re.DOTALL)


def read_notebook(path: Path) -> Notebook:
    """Read an .ipynb file of nbformat 4.

    Raises InputError when there is no such file, when it is not JSON (with the
    line), or not a notebook of format 4 in Python.
    """
    text = _settled(path)
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the notebook is not JSON: {error.msg}",
            where=f"{path}:{error.lineno}",
            expected="a notebook file as JupyterLab saves it",
            hint="restore the file from Git, or look for the marks of a merge conflict in it",
        ) from None
    check_format(notebook, path)
    return dict(notebook)


def _settled(path: Path) -> str:
    """Return the file's text; a file that is being saved right now is read once more.

    JupyterLab writes in place, so that a reader may meet an empty or half a file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        for _ in range(_TRIES):
            fresh = time.time() - path.stat().st_mtime < _FRESH
            if text.rstrip().endswith("}") or not fresh:
                break
            time.sleep(_FRESH / _TRIES)
            text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the notebook cannot be read: {reason}", where=str(path)) from None
    return text


def check_format(notebook: Any, path: Path) -> None:
    """Raise InputError for what is not a notebook of format 4 in Python."""
    is_v4 = isinstance(notebook, dict) and notebook.get("nbformat") == 4
    cells = notebook.get("cells") if is_v4 else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise InputError(
            "the file is not a notebook of format 4",
            where=str(path),
            expected='JSON with "nbformat": 4 and a list of cells',
            hint="open it in JupyterLab and save it again",
        )
    metadata = notebook.get("metadata") or {}
    spec, info = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
    language = str(spec.get("language") or info.get("name") or "python")
    if language.lower() not in {"python", "ipython", "python3"}:
        raise InputError(
            f"the notebook is written in {language}",
            where=str(path),
            expected="a notebook with a Python kernel",
        )


def source_of(cell: dict[str, Any]) -> str:
    """Return a cell's source as one string (files hold a string or a list of lines)."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def tags_of(cell: dict[str, Any]) -> list[str]:
    """Return a cell's tags."""
    return list(cell.get("metadata", {}).get("tags", []))


def runs_code(cell: dict[str, Any]) -> bool:
    """Tell whether a kernel would be asked to run the cell."""
    return cell.get("cell_type") == "code" and bool(source_of(cell).strip())


def headings(notebook: Notebook) -> list[str]:
    """Return for each cell the nearest Markdown heading at or above it, "" before the first."""
    current, found = "", []
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "markdown":
            in_cell = _HEADING.findall(_FENCE.sub("", source_of(cell)))
            current = in_cell[-1][1] if in_cell else current
        found.append(current)
    return found


def title_of(notebook: Notebook, fallback: str) -> str:
    """Return the first heading of the notebook."""
    return next((heading for heading in headings(notebook) if heading), fallback)
