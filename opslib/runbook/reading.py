"""Reading the files of a record that may come from anybody: a plain file, of a size that fits."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError

MEBIBYTE = 1 << 20
RESULT_LIMIT = 16 * MEBIBYTE
NOTEBOOK_LIMIT = 64 * MEBIBYTE


def read_plain(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    A symbolic link, a device or a pipe is not followed, opened for long or waited for.
    Raises FileNotFoundError, and InputError for everything else that is not such a file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from None
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise InputError("the file is not a plain file", where=str(path))
        try:
            content = stream.read(limit + 1)
        except OSError as error:
            text = f"the file cannot be read: {error.strerror}"
            raise InputError(text, where=str(path)) from None
    if len(content) > limit:
        raise InputError(
            f"the file is larger than {limit // MEBIBYTE} MiB",
            where=str(path),
            expected="a file as a run leaves it",
        )
    return content


def read_object(path: Path, limit: int = RESULT_LIMIT) -> dict[str, Any]:
    """Return the JSON object in a plain file. Raises FileNotFoundError and InputError."""
    try:
        found = json.loads(read_plain(path, limit))
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"the file cannot be read: {reason}", where=str(path)) from None
    if not isinstance(found, dict):
        raise InputError("the file is not a JSON object", where=str(path))
    return found


def record_places(out: Path) -> Iterator[str]:
    """Yield <date>/<runbook>-<run id> of each folder below; links and hidden ones are left out.

    Plain text, for a Path each would take longer than the search in an index of thousands.
    """
    for day in _folders(str(out)):
        yield from (f"{day}/{name}" for name in _folders(f"{out}/{day}"))


def _folders(parent: str) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(name for name in names if not name.startswith("."))


def objects_of(*documents: Any, limit: int = 100_000) -> Iterator[dict[str, Any]]:
    """Yield every JSON object inside the documents, outer ones first, at most ``limit`` nodes."""
    waiting: list[Any] = list(reversed(documents))
    while waiting and limit > 0:
        limit -= 1
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(reversed(one.values()))
        elif isinstance(one, list):
            waiting.extend(reversed(one))


def texts_of(*documents: Any, limit: int = 100_000) -> Iterator[str]:
    """Yield every text inside the documents, at most ``limit`` nodes."""
    waiting: list[Any] = list(reversed(documents))
    while waiting and limit > 0:
        limit -= 1
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(reversed(one.values()))
        elif isinstance(one, list):
            waiting.extend(reversed(one))


def joined(source: Any) -> str:
    """Return text that a notebook file holds as a string or as a list of lines."""
    if isinstance(source, list):
        return "".join(one for one in source if isinstance(one, str))
    return source if isinstance(source, str) else ""


def outputs_of(notebook: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each output of a notebook with its cell's position, from 0."""
    cells = notebook.get("cells")
    for number, cell in enumerate(cells if isinstance(cells, list) else []):
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else []:
            if isinstance(output, dict):
                yield number, output


def data_of(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output's representations by type; empty for a stream or an error."""
    data = output.get("data")
    return data if isinstance(data, dict) else {}
