"""Conda users get the same environment: environment.yml and pyproject.toml say the same."""

from __future__ import annotations

import re

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from .declared import PROJECT, declared, project

# The few whose name on conda-forge is another.
CONDA_NAMES = {"kubernetes": "python-kubernetes"}
PROGRAMS = {"python", "git", "make", "pip"}


def _conda() -> tuple[dict[str, SpecifierSet], list[str]]:
    """Return the rows of conda by name with their ranges, and the rows left to pip."""
    rows = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
    (pip,) = [row["pip"] for row in rows if isinstance(row, dict)]
    names: dict[str, SpecifierSet] = {}
    for row in rows:
        if isinstance(row, str):
            name, _, span = row.partition(" ")
            assert name not in names, name
            names[name] = SpecifierSet(span)
    return names, pip


def test_environment_and_pyproject_are_in_step() -> None:
    """Each dependency is there once, by conda or by pip, with the same range, and nothing else."""
    conda, pip = _conda()
    assert pip[-1] == "-e ."
    found = {str(canonicalize_name(r.name)): r.specifier for r in map(Requirement, pip[:-1])}
    back = {conda_name: name for name, conda_name in CONDA_NAMES.items()}
    for name, span in conda.items():
        if name not in PROGRAMS:
            assert back.get(name, name) not in found, name
            found[str(canonicalize_name(back.get(name, name)))] = span
    assert found == {str(canonicalize_name(n)): r.specifier for n, r in declared().items()}


def test_python_is_the_same_range() -> None:
    """Conda and pip users get the same Pythons, and set-up looks for just these."""
    conda, _ = _conda()
    span = SpecifierSet(project()["requires-python"])
    assert conda["python"] == span
    minors = [minor for minor in range(30) if f"3.{minor}.0" in span]
    script = (PROJECT / "tools" / "setup.sh").read_text()
    assert f"(3, {minors[0]}) <= sys.version_info[:2] <= (3, {minors[-1]})" in script
    names = re.findall(r"\bpython3\.(\d+)\b", script.partition("set --")[2].partition("mode=")[0])
    assert sorted(map(int, names)) == minors


def test_conda_needs_one_channel_and_the_programs() -> None:
    """The community's channel only; Git and make come along."""
    document = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert (document["name"], document["channels"]) == ("opslib", ["conda-forge"])
    assert _conda()[0].keys() >= PROGRAMS
