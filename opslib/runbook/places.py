"""Where runbooks are found and where their records go."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import opslib
from opslib.core.errors import InputError

NOTEBOOKS = "notebooks"
OUTPUTS = "outputs"


def find(name_or_path: str) -> Path:
    """Return the notebook that a name ("rollout") or a path ("notebooks/rollout.ipynb") means.

    A name is looked up in notebooks/ of the present folder, of the folders above it,
    and of the project that opslib is installed from. Raises InputError with the names
    that are there.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    if path.suffix != ".ipynb" and len(path.parts) == 1:
        for folder in notebook_folders():
            if (candidate := folder / f"{name_or_path}.ipynb").is_file():
                return candidate.resolve()
    raise _not_found(path)


def notebook_folders() -> Iterator[Path]:
    """Yield each notebooks/ folder in which a runbook's name is looked up, nearest first."""
    here = Path.cwd()
    project = Path(opslib.__file__).resolve().parent.parent
    roots = dict.fromkeys([here, *here.parents, project])
    yield from (root / NOTEBOOKS for root in roots if (root / NOTEBOOKS).is_dir())


def records_folder() -> Path:
    """Return where ``opslib run`` leaves the records of the nearest runbooks."""
    nearest = next(notebook_folders(), None)
    return (nearest.resolve().parent if nearest else Path.cwd()) / OUTPUTS


def _not_found(path: Path) -> InputError:
    known = sorted({one.stem for folder in notebook_folders() for one in folder.glob("*.ipynb")})
    close = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "opslib run NAME, or the path of a notebook"
    return InputError(
        f"there is no runbook {path}",
        where=str(path),
        expected=f"one of {', '.join(known)}" if known else "the path of an .ipynb file",
        hint=hint,
    )


def project_root(notebook: Path) -> Path:
    """Return the folder that a runbook works in: the one that holds notebooks/, else its own."""
    parent = notebook.resolve().parent
    return parent.parent if parent.name == NOTEBOOKS else parent


def new_run_id(moment: datetime) -> str:
    """Return an id that sorts by time (UTC, milliseconds) and is unique by 24 random bits."""
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z-{secrets.token_hex(3)}"


def new_folder(out: Path, runbook: str, run_id: str, moment: datetime) -> Path:
    """Create the folder of a record: OUT/<YYYY-MM-DD>/<runbook>-<run id>, the date in UTC.

    Raises InputError when it cannot be created or is there already.
    """
    folder = out.resolve() / f"{moment:%Y-%m-%d}" / f"{runbook}-{run_id}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise InputError(
            f"the record's folder cannot be created: {error.strerror}",
            where=str(folder),
            expected="a folder that can be written, with space left",
            hint="choose another place with --out",
        ) from None
    return folder
