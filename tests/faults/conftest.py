"""A scene for disasters: what is left at its end is held against what was there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opslib.kube.client import Cluster
from opslib.sandbox.cluster import Status

from .parts import Repository
from .scene import REPLAYED, Scene


@pytest.fixture
def scene(  # noqa: PLR0917  # fixtures come by name
    server: Cluster,
    sandbox: Status,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Scene]:
    """Return an empty repository and namespace; afterwards nothing may be missing in it."""
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))
    one = Scene(server, sandbox, namespace, Repository(tmp_path / "repo"))
    yield one
    one.verify()
    REPLAYED.add(request.node.name)
