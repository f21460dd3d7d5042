"""Folders for a short while: private, gone with their block, and nobody else's is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opslib.core import scratch


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a temporary folder of the test's own, for this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def left(base: Path) -> list[str]:
    """Return what lies in this user's folder."""
    return sorted(one.name for one in (base / f"opslib-{os.geteuid()}").iterdir())


def test_it_is_private_and_goes_with_its_block(base: Path) -> None:
    """Only its owner can enter it; whatever is in it goes too, also after an error."""

    def work() -> None:
        with scratch.folder("x-") as place:
            (place / "deep" / "er").mkdir(parents=True)
            assert place.stat().st_mode & 0o777 == 0o700
            assert place.parent.stat().st_mode & 0o777 == 0o700
            assert left(base) == [place.name]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert left(base) == []
    made = scratch.make(base=str(base))
    assert len(str(made.path)) <= len(str(base)) + 28
    made.remove()
    made.remove()
    assert left(base) == []


HOLD = """
import os, signal, sys
from opslib.core import scratch
made = scratch.make("held-")
(made.path / "key").write_text("secret")
print(made.path, flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next(base: Path) -> None:
    """Not before its process is dead, and not the one of a process that lives."""
    words = [sys.executable, "-c", HOLD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first, second = (subprocess.Popen(words, **pipes) for _ in range(2))  # type: ignore[call-overload]  # the pipes
    with first, second:
        places = [Path(one.stdout.readline().strip()) for one in (first, second)]
        with scratch.folder("x-"):
            assert all((one / "key").exists() for one in places)
        first.stdin.close()
        assert first.wait(60) == -signal.SIGKILL
        assert places[0].exists()
        with scratch.folder("x-") as mine:
            assert left(base) == sorted([places[1].name, mine.name])
        assert (places[1] / "key").read_text() == "secret"
        second.stdin.close()
    assert scratch.make().path.exists()
    assert not places[1].exists()


MANY = """
from opslib.core import scratch
for number in range(60):
    with scratch.folder("m-") as one, scratch.folder("n-") as two:
        for place in (one, two):
            (place / "mine").write_text("x")
        assert [[found.name for found in place.iterdir()] for place in (one, two)] == [["mine"]] * 2
"""


def test_many_at_once_keep_theirs(base: Path) -> None:
    """Six processes make and remove folders beside each other; none loses one that it holds."""
    running = [
        subprocess.Popen([sys.executable, "-c", MANY], stderr=subprocess.PIPE) for _ in range(6)
    ]
    for one in running:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said.decode()
    assert left(base) == []
    print(f"{6 * 120} folders made and removed by 6 processes at once")


@pytest.mark.parametrize("kind", ["file", "open folder", "link"])
def test_a_place_that_somebody_planted_is_not_used(base: Path, kind: str) -> None:
    """Where the common folder is not this user's own the folder lies beside it, and is private."""
    planted, elsewhere = base / f"opslib-{os.geteuid()}", base / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        planted.write_text("")
    elif kind == "link":
        planted.symlink_to(elsewhere)
    else:
        planted.mkdir(mode=0o755)
        planted.chmod(0o755)
    with scratch.folder("x-") as place:
        assert place.parent == base
        assert place.stat().st_mode & 0o777 == 0o700
        assert list(elsewhere.iterdir()) == []
    assert not place.exists()


def test_what_is_no_folder_of_ours_is_left_alone(base: Path) -> None:
    """A link out of the place is not followed; a file stays."""
    target = base / "target"
    target.mkdir()
    (target / "kept").write_text("")
    with scratch.folder("x-") as place:
        (place.parent / "link").symlink_to(target)
        (place.parent / "file").write_text("")
    with scratch.folder("x-"):
        assert (target / "kept").exists()
    assert left(base) == ["file", "link"]
