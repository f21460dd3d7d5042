"""Imports that must stay cheap."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
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


@contextlib.contextmanager
def imported(*names: str) -> Iterator[None]:
    """Import modules in a thread while the block waits for something else, such as a program.

    The block's end waits for them. An error of an import is not told here: whoever imports the
    module next gets it.
    """

    def go() -> None:
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    thread = threading.Thread(target=go, name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
