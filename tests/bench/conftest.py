"""A folder on a real disk for the probes, and the library that changes fdatasync."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from opslib.bench.probe import place
from opslib.core.files import exclusive

from . import disk as bench

_TURN = Path(tempfile.gettempdir()) / f"opslib-bench-tests-{os.getuid()}.lock"
"""Two suites on one machine take turns, for two probes on one disk refuse to."""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built by the system's compiler."""
    return bench.build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder that is no memory: the checkout's, where temporary files are in memory."""
    with exclusive(_TURN, "the disk for measuring", wait=True):
        yield from _on_a_disk()


def _on_a_disk() -> Iterator[Path]:
    for parent in (Path(tempfile.gettempdir()), Path(__file__).parents[2] / "outputs"):
        if place.look(str(parent)).kind not in place.IN_MEMORY | place.OVERLAYS:
            with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as folder:
                yield Path(folder)
            return
    pytest.fail("no folder on a disk was found for the probe")
