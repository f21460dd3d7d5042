"""A review that was saved: the file that a runbook left in its record, or what --json printed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from opslib.core.errors import InputError
from opslib.drift.encode import review_of
from opslib.drift.model import FORMAT, Review

NAMES = ("review.json", "review.json.gz")
_MOST_BYTES = 512 * 1024 * 1024


def read_review(path: Path) -> Review:
    """Read a review from its file, or from the folder of a record. Raises InputError."""
    file = next((path / name for name in NAMES if (path / name).is_file()), path)
    try:
        with open(file, "rb") as raw, gzip.GzipFile(fileobj=raw) as packed:
            data = (packed if file.suffix == ".gz" else raw).read(_MOST_BYTES)
        document = json.loads(data)
        if document.get("format") != FORMAT:
            raise ValueError(f"its format is {document.get('format')!r}")  # noqa: TRY301  # told below
        return review_of(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        why = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            f"this is no drift review: {why}",
            where=str(file),
            expected=f"a file of the format {FORMAT}, or the folder of a record that has one",
        ) from None
