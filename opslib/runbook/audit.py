"""Whether a record is what somebody vouched for: integrity by verify.py, then who and when.

The keys come from the one who asks, never from the record or a repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opslib.core.errors import InputError
from opslib.runbook import verify
from opslib.runbook.folder import MANIFEST
from opslib.runbook.records import list_records, show
from opslib.runbook.verify import Problem, Verdict


@dataclass(frozen=True)
class Vouching:
    """What a record is held against besides itself. All empty: nothing."""

    trust: tuple[Path, ...] = ()
    repo: Path | None = None
    tsa: Path | None = None

    @property
    def any(self) -> bool:
        return bool(self.trust or self.repo or self.tsa)


def folders(records: Sequence[str | Path], out: Path | None = None) -> list[Path]:
    """Return the folders that are meant: records by id or folder, or all below a folder.

    None named: all records that ``list_records`` finds. Raises InputError for none.
    """
    if not records:
        found = [one.folder for one in list_records(out)]
        return found or _none(out or Path("outputs"))
    return [folder for one in records for folder in _meant(one, out)]


def _meant(record: str | Path, out: Path | None) -> list[Path]:
    path = Path(record)
    if not path.is_dir():
        return [show(record, out).summary.folder]
    if any((path / name).exists() for name in (MANIFEST, verify.EVENTS, "result.json")):
        return [path]
    below = {one.parent for name in (MANIFEST, verify.EVENTS) for one in path.glob(f"**/{name}")}
    return sorted(below) or _none(path)


def _none(path: Path) -> list[Path]:
    raise InputError(
        "there is no record",
        where=str(path),
        expected="the folder of a record, a folder of records, or a run id",
    )


def audit(folder: Path, vouching: Vouching = Vouching()) -> Verdict:  # frozen
    """Verify one record; what vouches for it is checked where keys or places are named.

    Raises InputError for a folder that is no record, and for a bad file of keys.
    """
    try:
        verdict = verify.verify(folder)
    except verify.NoRecord as error:
        raise InputError(str(error), where=str(folder)) from None
    if vouching.any and not verdict.head:
        verdict.problems.append(Problem(MANIFEST, "there is no head that could be vouched for"))
    elif vouching.any:
        from opslib.runbook import vouch  # noqa: PLC0415  # keys and Git, for who asks about them

        verdict.problems += vouch.vouched(folder, verdict, vouching)
    if verdict.problems:
        verdict.state = "changed"
    return verdict
