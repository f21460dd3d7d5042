"""Resources for the rules, from YAML as a person writes it."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from opslib.core.model import Origin, Resource
from opslib.source.yamlload import load_documents

Load = Callable[[str], list[Resource]]


def resource(manifest: dict[str, Any]) -> Resource:
    """Wrap a manifest that no file holds."""
    return Resource(manifest, Origin("m.yaml", 1))


@pytest.fixture
def load() -> Load:
    """Read YAML into resources whose fields know their lines."""

    def read(text: str) -> list[Resource]:
        documents = load_documents(dedent(text), "m.yaml")
        return [Resource(d.manifest, Origin("m.yaml", d.line), d.lines) for d in documents]

    return read
