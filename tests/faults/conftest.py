"""A scene for disasters, and a control plane of these tests' own for faults."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from reconcile.loops import Repository

from opslib.kube.client import Cluster, connect
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .field import Field
from .holding import OLD
from .parts import Program
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


@pytest.fixture(scope="package")
def own() -> Iterator[Status]:
    """Bring up a control plane whose parts these tests may kill and stop."""
    name = f"faults-{uuid.uuid4().hex[:8]}"
    yield sandboxes.up(name, nodes=1)
    sandboxes.down(name)
    Program.reap()


@pytest.fixture
def field(own: Status) -> Iterator[Field]:
    """Return a namespace with a bystander, and what is applied before the fault."""
    config_file = sandboxes.environment(own.name)["KUBECONFIG"]
    name = f"f-{uuid.uuid4().hex[:8]}"
    cluster = connect(config_file)
    # Without waiting for its default account: the controllers see these faults, too.
    cluster.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    one = Field(cluster, config_file, name)
    body = {"metadata": {"name": "bystander"}, "data": {"k": "mine"}}
    cluster.request("POST", f"/api/v1/namespaces/{name}/configmaps", body=body)
    assert one.apply(OLD, "a")
    yield one
    cluster.close()
