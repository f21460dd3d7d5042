"""What surrounded a run: code, versions, person, machine. Gathered once, before the first cell."""

from __future__ import annotations

import getpass
import os
import platform
import socket
from importlib import metadata
from pathlib import Path
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.hashes import file_digest
from opslib.core.proc import run

PACKAGES = (
    *("opslib", "papermill", "nbclient", "nbconvert", "nbformat", "ipykernel", "kubernetes"),
    *("pydantic", "GitPython", "PyYAML", "plotly", "ipywidgets", "pandas", "numpy"),
)
LOCK = "requirements.lock"


def surroundings(notebook: Path, root: Path) -> dict[str, Any]:
    """Return commit, notebook and lock file hashes, versions, user and host as JSON data."""
    lock = root / LOCK
    return {
        "commit": commit_of(root),
        "notebook": {"path": _below(notebook, root), "sha256": file_digest(notebook)},
        "lock": {"path": LOCK, "sha256": file_digest(lock)} if lock.is_file() else None,
        "versions": {"python": platform.python_version(), **versions()},
        "platform": platform.platform(),
        "user": user(),
        "host": socket.gethostname(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages a record depends on, those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def user() -> str:
    """Return the name of the person or account, or its number where it has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry in the password file, as in many containers
        return f"uid {os.getuid()}"


def commit_of(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository around ``folder``, and whether files differ from it."""
    try:
        # fsmonitor names a program that git would start: a repository must not choose one.
        git = ("git", "-c", "core.fsmonitor=false", "-C", folder)
        head = run([*git, "rev-parse", "HEAD"], timeout=10).text.strip()
        status = run([*git, "status", "--porcelain", "--untracked-files=no"], timeout=30)
    except OpslibError:
        return None
    return {"id": head, "dirty": bool(status.out.strip())}


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
