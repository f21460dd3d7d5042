"""What pyproject.toml declares, read once for the tests that compare it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]


def project() -> dict[str, Any]:
    """Return the [project] table."""
    table: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return table


def declared() -> dict[str, Requirement]:
    """Return the direct dependencies, those for development included, by canonical name."""
    table = project()
    rows = [*table["dependencies"], *table["optional-dependencies"]["dev"]]
    return {str(canonicalize_name(r.name)): r for r in map(Requirement, rows)}
