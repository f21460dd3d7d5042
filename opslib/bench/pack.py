"""The probe as one file: a zip that Python runs (PEP 441), for a server without this package."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import opslib
from opslib.core.files import write_atomic

_ROOT = Path(opslib.__file__).parent
_FILES = ("__init__.py", "core/__init__.py", "core/errors.py", "bench/__init__.py")
_MAIN = "import sys\n\nfrom opslib.bench.probe.__main__ import main\n\nsys.exit(main())\n"


def portable() -> bytes:
    """Return the file: `python3 FILE disk --dir …`, Python 3.8 and newer, nothing else.

    The same sources give the same bytes, so that its hash can be compared with another's.
    """
    paths = [_ROOT / name for name in _FILES] + sorted((_ROOT / "bench" / "probe").glob("*.py"))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            _add(archive, f"opslib/{path.relative_to(_ROOT).as_posix()}", path.read_bytes())
        _add(archive, "__main__.py", _MAIN.encode())
    return b"#!/usr/bin/env python3\n" + held.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def write(path: Path) -> None:
    """Write the portable probe, executable."""
    write_atomic(path, portable(), mode=0o755)
