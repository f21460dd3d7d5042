"""Imports that must stay cheap."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def absent(*names: str) -> Iterator[None]:
    """Make optional modules look uninstalled while others are imported.

    A library that probes for an optional extra at import pays for it even where
    nobody uses it: jsonschema compiles a grammar for IRI formats (about 3 s).
    ``None`` in sys.modules is the documented way to block an import:
    https://docs.python.org/3/reference/import.html#the-module-cache
    Modules that are loaded already are left alone.
    """
    blocked = [name for name in names if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]  # documented, not in the stub
    try:
        yield
    finally:
        for name in blocked:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]
