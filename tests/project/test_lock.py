"""The lock: one version of everything, with hashes, for each Python, and no address."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .declared import PROJECT, declared, project

PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64")]
PYTHONS = ["3.11.0", "3.11.9", "3.12.0", "3.13.0"]


def _rows() -> Iterator[tuple[Requirement, list[str]]]:
    """Yield each requirement of the lock with its hashes."""
    text = (PROJECT / "requirements.lock").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            words, *hashes = re.split(r"\s--hash=", line)
            yield Requirement(words.strip()), [one.strip() for one in hashes]


def _locked(python: str, platform: str, machine: str) -> dict[str, str]:
    """Return what the lock installs there; two versions of one package are an error."""
    env = {str(k): str(v) for k, v in default_environment().items()}
    env |= {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    env |= {"sys_platform": platform, "platform_machine": machine, "os_name": "posix"}
    env |= {"platform_system": platform.capitalize()}
    out: dict[str, str] = {}
    for row, _ in _rows():
        if row.marker is None or row.marker.evaluate(env):
            name = str(canonicalize_name(row.name))
            assert name not in out, f"{name} twice for {python} on {platform}"
            (pin,) = row.specifier
            out[name] = pin.version
    return out


def test_everything_is_pinned_with_hashes() -> None:
    """Each row has one version, by ==, and SHA-256 sums of nothing else's form."""
    count = 0
    for row, hashes in _rows():
        (pin,) = row.specifier
        assert pin.operator == "=="
        assert not row.url
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), row.name
        count += 1
    assert count > 100


def test_no_address_is_in_it() -> None:
    """Where packages come from is the user's setting: no URL, no index, no folder of wheels."""
    text = (PROJECT / "requirements.lock").read_text()
    assert not re.search(
        r"://|--(extra-)?index|--find-links|--trusted|^-[a-z] ", text, re.MULTILINE
    )


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "machine"), PLATFORMS)
def test_every_dependency_is_in_it_within_its_range(
    python: str, platform: str, machine: str
) -> None:
    """For each Python and platform the lock gives what pyproject.toml asks for."""
    assert python in Requirement(f"x{project()['requires-python']}").specifier
    locked = _locked(python, platform, machine)
    for name, requirement in declared().items():
        assert name in locked, name
        assert locked[name] in requirement.specifier, name


def test_this_environment_is_the_locked_one() -> None:
    """What these tests run with is what the lock says: results are those of the lock."""
    python = ".".join(map(str, sys.version_info[:3]))
    env = default_environment()
    locked = _locked(python, sys.platform, env["platform_machine"])
    assert {name: version(name) for name in locked} == locked
