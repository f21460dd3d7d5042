"""Copies of the project to set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .copies import Copy


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    copy = Copy(tmp_path_factory.mktemp("project"))
    ended = copy.setup()
    assert ended.code == 0, ended.said
    assert "set up: .venv with Python" in ended.said
    return copy


@pytest.fixture
def made(_made: Copy) -> Iterator[Copy]:
    """Lend a copy whose set-up is done; what a test changes is put back."""
    yield _made
    _made.fresh()
    assert _made.setup().code == 0


@pytest.fixture
def bare(tmp_path: Path) -> Copy:
    """Make a copy without an environment."""
    return Copy(tmp_path / "project")
