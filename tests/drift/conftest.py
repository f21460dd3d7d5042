"""An app of one's own that was applied, and hands that edit it."""

from __future__ import annotations

from pathlib import Path

import pytest

from opslib.kube.client import Cluster

from .scene import Scene


@pytest.fixture
def scene(server: Cluster, namespace: str, tmp_path: Path) -> Scene:
    """Return an app in a namespace of its own, with nothing applied yet."""
    return Scene(server, namespace, tmp_path / "repo")
