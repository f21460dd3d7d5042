"""Keys that all tests of sealing share, and the program in this process."""

from __future__ import annotations

import io
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opslib.cli.main import run
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from . import parts
from .parts import Pair
from .running import Running, defined, running
from .vaults import Vault


@pytest.fixture(scope="session")
def one() -> Pair:
    """Return the key of a cluster."""
    return parts.pair()


@pytest.fixture(scope="session")
def two() -> Pair:
    """Return the key of another cluster."""
    return parts.pair()


@pytest.fixture(scope="session")
def vault(real_vault: Vault) -> Vault:
    """Return the real Vault."""
    return real_vault


@pytest.fixture
def cert(one: Pair, tmp_path: Path) -> Path:
    """Return a file with the certificate."""
    path = tmp_path / "cert.pem"
    path.write_bytes(one.cert)
    return path


@pytest.fixture
def key(one: Pair, tmp_path: Path) -> Path:
    """Return a file with the private key."""
    path = tmp_path / "key.pem"
    path.write_bytes(one.pem)
    return path


@dataclass(frozen=True)
class Ended:
    """What a verb did."""

    code: int
    out: str
    err: str


Verb = Callable[..., Ended]


@pytest.fixture
def seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Verb:
    """Run ``opslib seal`` in this process, in a folder of its own, without a kubeconfig."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def verb(*words: str | Path, stdin: bytes = b"") -> Ended:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = run(["seal", *map(str, words)])
        told = capfd.readouterr()
        return Ended(code, told.out, told.err)

    return verb


@pytest.fixture(scope="module")
def controller(
    sandbox: Status, server: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Run the controller in a namespace of its own, which is deleted afterwards."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    sandboxes.make_namespace(sandbox.name, name, timeout=120)
    try:
        folder = tmp_path_factory.mktemp("controller")
        with defined(server), running(sandbox.name, server, name, folder) as one:
            yield one
    finally:
        server.request("DELETE", f"/api/v1/namespaces/{name}")
