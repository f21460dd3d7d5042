"""Where things live and what the environment says; read once, never at import."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Return the kit's cache folder: OPSLIB_CACHE, else XDG's or macOS's place for caches."""
    if explicit := os.environ.get("OPSLIB_CACHE"):
        return Path(explicit).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "opslib"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opslib"


def state_dir() -> Path:
    """Return the folder for what must survive a reboot: OPSLIB_STATE, else XDG's state folder."""
    if explicit := os.environ.get("OPSLIB_STATE"):
        return Path(explicit).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "opslib"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "opslib"


def machine() -> tuple[str, str]:
    """Return (os, arch) in Go's words, such as ("linux", "amd64")."""
    arch = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "AMD64": "amd64"}
    name = platform.machine()
    return sys.platform, arch.get(name, name.lower())
