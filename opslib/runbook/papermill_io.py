"""Where papermill reads and writes when a record is kept: its table of handlers, by path prefix.

``opslib://FOLDER/record.ipynb`` names a folder for records. The engine writes them; papermill
itself writes once more after the engine, unredacted and not atomically, which the entries
here take in without writing it.
https://papermill.readthedocs.io/en/latest/extending-entry-points.html#developing-a-new-i-o-handler
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.core.files import write_atomic
from opslib.runbook.folder import RECORD, RecordFolder

SCHEME = "opslib://"


class Handler:
    """Papermill's handler for the scheme: it reads records, and only the engine writes them."""

    def read(self, path: str) -> str:
        """Return the text of a record's notebook."""
        return (folder_of(path) / RECORD).read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        """Return the folders and files below a folder of records, as paths of the scheme."""
        return [f"{SCHEME}{one}" for one in sorted(folder_of(path).iterdir())]

    def pretty_path(self, path: str) -> str:
        """Return the path as it is shown."""
        return path

    def write(self, buf: str, path: str) -> None:
        """Refuse: what papermill's own engines tell of cells is not true of every run."""
        from opslib.runbook.papermill_run import refused  # noqa: PLC0415  # papermill loads us

        del buf
        raise refused(
            InputError(
                "a record is kept by opslib's engine alone",
                where=path,
                hint="add  --engine opslib",
            )
        )


HANDLER = Handler()


def folder_of(path: str) -> Path:
    """Return the folder that a path of the scheme names, without the notebook's name."""
    text = path.removeprefix(SCHEME)
    found = Path(text or ".")
    return found.parent if found.suffix == ".ipynb" else found


class Mirror:
    """Stands in papermill's table for one output path during a run, and for its last write.

    A local path is a link to the record while the run goes on, so that it is never behind
    and costs no second write, and a copy of it at the end. Any other path gets the record's
    text at the end, by the handler that it belongs to.
    """

    def __init__(self, table: Any, path: str) -> None:
        self._table = table
        self.path = path
        self._behind = table.get_handler(path)
        self._entry = (path, self)
        self._record: Path | None = None
        self.local: Path | None = None
        if _is_local(self._behind):
            self.local = Path(getattr(self._behind, "_cwd", None) or Path.cwd(), path)
            _check(self.local, path)
        table.register(*self._entry)

    def started(self, folder: RecordFolder) -> None:
        """Let the path lead to the record that is being written."""
        self._record = folder.path / RECORD
        if self.local is not None:
            # Where links cannot be made the path is written at the end all the same.
            with contextlib.suppress(OSError):
                _link(self.local, self._record)

    def finish(self) -> None:
        """Put the record's own text where the output was asked for."""
        if self._record is None or not self._record.exists() or self.path.startswith(SCHEME):
            return
        data = self._record.read_bytes()
        if self.local is not None:
            write_atomic(self.local, data)
        else:
            self._behind.write(data.decode(), self.path)

    def close(self) -> None:
        """Leave the table."""
        with contextlib.suppress(ValueError):
            self._table._handlers.remove(self._entry)  # noqa: SLF001  # there is no unregister

    def write(self, buf: str, path: str) -> None:
        """Take in papermill's last write of our path; other paths go where they belong."""
        self.close()
        if path != self.path:
            self._table.write(buf, path)

    def read(self, path: str) -> Any:
        """Read by the handler that the path belongs to."""
        return self._behind.read(path)

    def listdir(self, path: str) -> Any:
        """List by the handler that the path belongs to."""
        return self._behind.listdir(path)

    def pretty_path(self, path: str) -> Any:
        """Show by the handler that the path belongs to."""
        return self._behind.pretty_path(path)


def _is_local(handler: Any) -> bool:
    return type(handler).__name__ == "LocalHandler"


def _check(local: Path, path: str) -> None:
    if not local.parent.is_dir():
        raise InputError(
            "the folder of the output is not there",
            where=path,
            expected="a path in a folder that exists",
        )
    if local.is_dir():
        raise InputError("the output is a folder", where=path, expected="the path of a file")


def _link(path: Path, target: Path) -> None:
    name = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        os.symlink(target, name / "link")
        os.replace(name / "link", path)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(name)
