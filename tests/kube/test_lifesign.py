"""A holder's sign of life: what it proves, and when it proves nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opslib.core.settings import state_dir
from opslib.kube import lifesign
from opslib.kube.client import Cluster
from opslib.kube.lease import Lease
from opslib.kube.lifesign import LifeSign

HOLDER = "host_17_0a1b"
SHOWS = """
import sys
from opslib.kube.lifesign import LifeSign

LifeSign(sys.argv[1]).show()
print("shown", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test have a state folder of its own."""
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path))


own = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Start a process that shows its sign and waits."""
    words = [sys.executable, "-c", SHOWS, HOLDER]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "shown\n"
        yield process
        process.kill()


def _file() -> Path:
    (path,) = (state_dir() / "leases").iterdir()
    return path


@own
def test_only_a_process_that_ended_is_gone(holder: subprocess.Popen[str]) -> None:
    """A live one is not, one that was killed is, and one that nobody knows is not."""
    assert not lifesign.gone(HOLDER)
    assert not lifesign.gone("somebody else")
    assert oct(_file().stat().st_mode)[-3:] == "600"
    holder.kill()
    holder.wait()
    assert lifesign.gone(HOLDER)
    lifesign.forget(HOLDER)
    assert not lifesign.gone(HOLDER)


@own
def test_a_sign_of_another_machine_or_boot_proves_nothing(holder: subprocess.Popen[str]) -> None:
    """On a folder that machines share, a lock of another one may not be seen."""
    holder.kill()
    holder.wait()
    _file().write_text("another boot")
    assert not lifesign.gone(HOLDER)
    _file().write_text("")
    assert not lifesign.gone(HOLDER)


def test_without_a_place_there_is_no_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that cannot be written stops nobody; nothing is proven then."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path / "file"))
    one = LifeSign(HOLDER)
    one.show()
    assert not lifesign.gone(HOLDER)
    one.take_back()


@own
def test_a_sign_is_taken_back() -> None:
    """A holder that goes on living takes its file away; twice the same holder is no harm."""
    one, two = LifeSign(HOLDER), LifeSign(HOLDER)
    one.show()
    two.show()
    assert not lifesign.gone(HOLDER)
    two.take_back()
    assert not lifesign.gone(HOLDER)
    one.take_back()
    assert not list((state_dir() / "leases").iterdir())


def test_a_lease_of_a_dead_process_is_free_at_once(
    cluster: Cluster, namespace: str, holder: subprocess.Popen[str]
) -> None:
    """Killed on this machine, its lease is taken within its term; while it lives it is busy."""
    assert Lease(cluster, namespace, "app", holder=HOLDER).try_acquire()
    mine = Lease(cluster, namespace, "app", holder="mine")
    assert not mine.acquire()
    holder.kill()
    holder.wait()
    assert mine.acquire()
    found = mine.read()
    assert found
    assert (found.identity, found.transitions) == ("mine", 1)
    assert not lifesign.gone(HOLDER), "what is taken over is cleared away"
    mine.release()
