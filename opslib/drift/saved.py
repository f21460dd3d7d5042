"""A review that was saved: the file that a runbook left in its record, or what --json printed.

Beside it a record keeps the evidence: each object that differs, as it was read.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.errors import InputError
from opslib.drift.encode import review_of
from opslib.drift.model import FORMAT, Review
from opslib.reconcile.mask import masked

if TYPE_CHECKING:
    from opslib.drift.review import Taken

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


def evidence_of(taken: Taken) -> list[dict[str, Any]]:
    """Return each live object that differs, with its managedFields; Secrets are masked."""
    keys = dict.fromkeys(one.key for one in taken.review.drifts)
    return [masked(live) for key in keys if (live := taken.found.live.get(key)) is not None]
