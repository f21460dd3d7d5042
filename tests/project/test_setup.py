"""`make setup`: whole or not at all, quick when nothing changed, and clear when it cannot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from .copies import PROJECT, Copy, base_python, ending, environment


def test_the_package_is_installed_as_asked(made: Copy) -> None:
    """The environment's Python imports the package, which was built in compat mode."""
    assert made.imports()
    assert (made.folder / "settings.txt").read_text() == "{'editable_mode': 'compat'}"


@pytest.mark.alone
def test_a_second_run_does_nothing(made: Copy) -> None:
    """A valid stamp: no word, no pip, no time."""
    log = made.log.stat()
    quickest = min((made.setup() for _ in range(3)), key=lambda ended: ended.seconds)
    assert (quickest.code, quickest.said) == (0, "")
    assert quickest.seconds < 1
    assert made.log.stat() == log


def test_a_changed_project_is_installed_again_in_place(made: Copy) -> None:
    """pyproject.toml is part of the stamp; the environment itself is kept."""
    python = made.python.lstat()
    with (made.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    ended = made.setup()
    assert "set up: .venv" in ended.said
    assert "anew" not in ended.said
    assert made.python.lstat() == python


def test_what_cannot_be_had_is_said_with_the_way_out(made: Copy) -> None:
    """Pip's last words, one hint, the whole log's place; and no stamp."""
    hash_ = "0" * 64
    (made.folder / "requirements.lock").write_text(f"absent==1.0 --hash=sha256:{hash_}\n")
    ended = made.setup()
    assert ended.code != 0
    assert "No matching distribution found for absent==1.0" in ended.said
    assert "to do: make the package index reachable" in ended.said
    assert str(made.log) in ended.said
    assert not made.stamp.exists()


def test_a_file_with_another_hash_is_refused(made: Copy, tmp_path: Path) -> None:
    """A mirror that serves something else is named as such, and nothing is installed."""
    with zipfile.ZipFile(tmp_path / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "")
        wheel.writestr(
            "thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
        )
    hash_ = "0" * 64
    (made.folder / "requirements.lock").write_text(f"thing==1.0 --hash=sha256:{hash_}\n")
    ended = made.setup(PIP_FIND_LINKS=str(tmp_path))
    assert ended.code != 0
    assert "to do: the index gave another file than the locked one: do not use it" in ended.said
    assert not made.stamp.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_install_that_was_cut_off_begins_anew(made: Copy, number: signal.Signals) -> None:
    """Stopped in the middle of pip: the next run does not trust what is there, and recovers."""
    hold = made.folder / "hold"
    hold.touch()
    with (made.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    with ending(made.start(HOLD=str(hold))) as process:
        assert process.stderr is not None
        while "installing opslib … " not in (line := process.stderr.readline()):
            assert line, "ended before it showed that it is alive"
        os.killpg(process.pid, number)
        said = process.communicate(timeout=20)[1]
        assert process.returncode != 0
    hold.unlink()
    assert not made.stamp.exists()
    if number == signal.SIGINT:
        assert "interrupted; the next run begins anew" in said
    ended = made.setup()
    assert ended.code == 0, ended.said
    assert "making .venv anew: an installation was cut off" in ended.said
    assert made.imports()


def test_a_moved_folder_gets_an_environment_of_its_own(made: Copy, tmp_path: Path) -> None:
    """An environment holds absolute paths: a copy of it is not trusted."""
    shutil.copytree(made.folder, tmp_path / "moved", symlinks=True)
    ended = Copy(tmp_path / "moved").setup()
    assert ended.code == 0, ended.said
    assert "the folder has moved" in ended.said
    assert str(tmp_path) in (tmp_path / "moved" / ".venv" / "bin" / "pip").read_text()


def test_two_at_once_make_one_environment(bare: Copy) -> None:
    """The second waits for the first, and finds its work done."""
    with ending(bare.start()) as first:
        until = time.monotonic() + 90
        while not bare.log.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        second = bare.setup()
        said = first.communicate(timeout=60)[1]
    assert (first.returncode, second.code) == (0, 0)
    assert "set up: .venv" in said
    assert second.said == "another set-up of this folder runs: waiting for it\n"


def test_a_python_that_does_not_suit_is_named(bare: Copy) -> None:
    """One clear answer, with the way to get a Python."""
    ended = bare.setup(PYTHON="/bin/false")
    first, second, *_ = ended.said.splitlines()
    assert ended.code != 0
    assert first == "set-up: no Python 3.11, 3.12 or 3.13 found at PYTHON=/bin/false"
    assert second.startswith("  to do: install one (Debian, Ubuntu: apt-get install python3")
    assert not (bare.folder / ".venv").exists()


def test_a_python_without_venv_is_named(bare: Copy, tmp_path: Path) -> None:
    """Debian packs the venv module apart. A stand-in for such a Python says what it lacks."""
    python = tmp_path / "a python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    ended = bare.setup(PYTHON=str(python))
    assert ended.code != 0
    assert f"set-up: {python} cannot make virtual environments" in ended.said
    assert "apt-get install python3-venv" in ended.said


def _only(folder: Path, *programs: str) -> dict[str, str]:
    """Return an environment whose PATH has these programs and no others."""
    folder.mkdir()
    for name in programs:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return environment({}) | {"PATH": str(folder)}


def test_missing_git_is_named(bare: Copy, tmp_path: Path) -> None:
    """Git is asked for before minutes are spent on packages."""
    env = _only(tmp_path / "bin", "dirname") | {"PYTHON": base_python()}
    words = ["/bin/sh", "tools/setup.sh"]
    done = subprocess.run(
        words, cwd=bare.folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("set-up: git is missing\n  to do: install it")


def test_ci_names_what_it_cannot_install(bare: Copy, tmp_path: Path) -> None:
    """Without apt-get the run says which packages it needs, which phase failed, and fails."""
    (bare.folder / ".ci").mkdir()
    shutil.copyfile(PROJECT / ".ci" / "run", bare.folder / ".ci" / "run")
    env = _only(tmp_path / "bin", "dirname", "date", "id", "sh")
    done = subprocess.run(
        ["/bin/sh", ".ci/run"],
        cwd=bare.folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    wanted = "git make openssl gnupg openssh-client util-linux mount systemd"
    wanted += "" if os.access("/usr/sbin/sysctl", os.X_OK) else " procps"
    wanted += " fio gcc libc6-dev chromium"
    wanted += " python3 python3-venv"
    assert f"missing here: {wanted}" in done.stderr
    assert f"== failed in: installing {wanted}" in done.stderr


def test_ci_runs_the_linters_and_the_tests_of_the_readme() -> None:
    """What the README names is what is checked; the script can be started."""
    path = PROJECT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    lines = path.read_text().splitlines()
    assert lines.index("make setup") < lines.index("make lint") < lines.index("make test")
    assert "make test" in (PROJECT / "README.md").read_text()
