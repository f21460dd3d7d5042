"""What is in Git: no outputs, no package hosts, nothing built; the README's files exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# In pieces, so that this file is not a finding of its own.
HOSTS = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("proxy", "golang", "org"), ("sum", "golang", "org"),
    ("registry", "npmjs", "org"), ("deb", "debian", "org"), ("crates", "io"),
)]  # fmt: skip


def _tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    return [PROJECT / name for name in done.stdout.split("\0") if name]


def test_no_package_host_is_named() -> None:
    """Whoever has mirrors sets them in the package manager; no file fixes a host."""
    for path in _tracked():
        data = path.read_bytes()
        for host in HOSTS:
            assert host.encode() not in data, f"{path}: {host}"


def test_nothing_built_is_in_git() -> None:
    """No binary, no archive, no file above 1 MB."""
    for path in _tracked():
        assert path.stat().st_size < 1_000_000, path
        assert path.suffix not in {".so", ".pyc", ".whl", ".gz", ".zip", ".exe"}, path
        assert path.read_bytes()[:4] != b"\x7fELF", path


def test_notebooks_carry_no_outputs() -> None:
    """What is in Git is the runbook; what it found is in a record."""
    books = sorted((PROJECT / "notebooks").glob("*.ipynb"))
    assert len(books) >= 3
    for book in books:
        for cell in json.loads(book.read_text())["cells"]:
            assert not cell.get("outputs"), book
            assert cell.get("execution_count") is None, book


def test_notebooks_are_thin() -> None:
    """About 20 cells, and short ones: whatever can be tested is in the package.

    A cell of parameters has one line for each.
    """
    for book in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = json.loads(book.read_text())["cells"]
        assert len(cells) <= 30, book
        for cell in cells:
            if cell["cell_type"] == "code":
                longest = 20 if "parameters" in cell["metadata"].get("tags", []) else 14
                assert len(cell["source"]) <= longest, (book, cell["source"])


def test_every_target_of_the_makefile_is_listed() -> None:
    """`make` alone says what there is."""
    names = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    done = subprocess.run(["make"], cwd=PROJECT, check=True, capture_output=True, text=True)
    for name in names:
        assert f"make {name} " in done.stdout


def test_a_python_that_does_not_suit_is_named(tmp_path: Path) -> None:
    """Set-up says what is missing and how to get it, in a copy without an environment."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "tools/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    words = ["make", "setup", "PYTHON=/bin/false"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13 found at PYTHON=/bin/false" in done.stderr
    assert "to do: install one" in done.stderr


def test_set_up_is_quick_when_nothing_changed() -> None:
    """The stamp of this environment is valid: a second set-up says nothing and does nothing."""
    if not (PROJECT / ".venv" / "opslib-setup").exists():
        pytest.fail("this suite runs in the environment of `make setup`")
    # Asked first: a set-up that finds something to do would make the environment of this run anew.
    check = [sys.executable, "-I", "-S", "tools/setup.py", "--check"]
    assert subprocess.run(check, cwd=PROJECT, check=False).returncode == 0, "make setup is due"
    env = {**os.environ, "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        ["make", "setup"], cwd=PROJECT, capture_output=True, text=True, check=False, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_links_of_the_docs_exist() -> None:
    """Every relative link and picture leads to a file that is in Git."""
    tracked = {path.resolve() for path in _tracked()}
    for page in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).resolve() in tracked, f"{page}: {target}"
