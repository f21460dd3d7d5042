"""The suite's two processes: who measures has the machine alone, and the counts are whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .copies import PROJECT

CONFIG = """[pytest]
addopts = -n auto
markers = alone: as in the project
"""
FILE = """
import os, time
from pathlib import Path
import pytest

def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{time.monotonic()} {os.getpid()} {__name__} {what}\\n")

@pytest.mark.parametrize("n", range(6))
def test_beside_others(n):
    note("begin")
    time.sleep(0.02)
    note("end")

@pytest.mark.alone
@pytest.mark.parametrize("n", range(3))
def test_alone(n):
    note("begin alone")
    time.sleep(0.02)
    note("end alone")

def test_last():
    assert __name__ != "test_c", "what is wrong"
"""


def _pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the small suite with the plugin of the large one."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "workers", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(PROJECT / "tests")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Write four files of ten tests each, one of which fails."""
    (tmp_path / "pytest.ini").write_text(CONFIG)
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(FILE)
    return tmp_path


def test_who_measures_has_the_machine_alone(suite: Path) -> None:
    """Two processes, a file in one of them, nothing beside the mark; a failure is readable."""
    done = _pytest(suite)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 39 passed" in done.stdout
    assert "AssertionError: what is wrong" in done.stdout
    assert "FAILED test_c.py::test_last" in done.stdout
    notes = sorted(line.split(maxsplit=3) for line in (suite / "notes").read_text().splitlines())
    processes = {(name, pid) for _, pid, name, _ in notes}
    assert len(processes) == 4, "a file's tests stay in one process"
    assert len({pid for _, pid in processes}) == 2
    running: dict[str, str] = {}
    most = 0
    for _, pid, _, what in notes:
        if what.startswith("end"):
            del running[pid]
            continue
        running[pid] = what
        assert len(running) == 1 or "begin alone" not in running.values()
        most = max(most, len(running))
    print(f"{len(notes) // 2} tests, {most} at once, none beside one that measures")


def test_one_file_or_a_word_needs_no_second_process(suite: Path) -> None:
    """What a person looks at runs in one process, without the seconds that two need."""
    for words in (["test_a.py"], ["-k", "beside"], ["-s", "-k", "last"]):
        done = _pytest(suite, *words)
        assert "bringing up" not in done.stdout, done.stdout
        assert " passed" in done.stdout
