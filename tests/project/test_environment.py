"""Dependencies: the lock, environment.yml and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
# The few whose name on conda-forge is another.
CONDA_NAMES = {"kubernetes": "python-kubernetes"}


def _declared() -> dict[str, Requirement]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    rows = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {canonicalize_name(r.name): r for r in map(Requirement, rows)}


def _conda() -> tuple[dict[str, str], list[str]]:
    document = yaml.safe_load((PROJECT / "environment.yml").read_text())
    rows = document["dependencies"]
    (pip,) = [row["pip"] for row in rows if isinstance(row, dict)]
    names = dict((row + " ").split(" ", 1) for row in rows if isinstance(row, str))
    return {canonicalize_name(n): r.strip() for n, r in names.items()}, pip


def test_environment_and_pyproject_are_in_step() -> None:
    """Each dependency is in environment.yml with the same range, and nothing else is."""
    conda, pip = _conda()
    by_pip = {canonicalize_name(r.name): r for r in map(Requirement, pip[:-1])}
    assert pip[-1] == "-e ."
    for name, requirement in _declared().items():
        wanted = set(str(requirement.specifier).split(","))
        other = canonicalize_name(CONDA_NAMES.get(name, name))
        found = str(by_pip[name].specifier) if name in by_pip else conda.pop(other)
        assert set(found.split(",")) == wanted, name
    assert set(conda) == {"python", "git", "make", "pip"}


def test_python_is_the_same_range() -> None:
    """Conda and pip users get the same Pythons."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    conda, _ = _conda()
    assert set(conda["python"].split(",")) == set(project["requires-python"].split(","))


def test_the_lock_pins_everything_with_hashes_and_no_address() -> None:
    """Every package has one version and at least one SHA-256; no index or file is named."""
    text = (PROJECT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    starts = re.split(r"^(?=[A-Za-z0-9_.-]+==)", text, flags=re.MULTILINE)[1:]
    hashed = [one for one in starts if re.search(r"--hash=sha256:[0-9a-f]{64}", one)]
    assert len(hashed) == len(starts) > 100
    print(f"{len(starts)} packages locked")


def test_the_lock_has_every_dependency_within_its_range() -> None:
    """What pyproject.toml asks for is what the lock gives."""
    text = (PROJECT / "requirements.lock").read_text()
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(version)
    for name, requirement in _declared().items():
        assert name in locked, name
        assert all(requirement.specifier.contains(v) for v in locked[name]), name
