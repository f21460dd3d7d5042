"""No row of upstream's tests is missing: read from the sources of the pinned module itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .running import module
from .upstream import ROWS

_GO_TEST = re.compile(r"^func (Test\w+)\(t \*testing\.T\)", re.MULTILINE)
_GINKGO = re.compile(r'^(?:var _ = )?(\t*)(Describe|Context|It)\("([^"]+)"', re.MULTILINE)


def _rows(text: str) -> Iterator[str]:
    """Yield the names of a file's tests; what Ginkgo describes is joined from the outside in."""
    yield from _GO_TEST.findall(text)
    above: list[tuple[int, str]] = []
    for tabs, word, name in _GINKGO.findall(text):
        above = [one for one in above if one[0] < len(tabs)]
        if word == "It":
            yield " / ".join(part for _, part in above)
        else:
            above.append((len(tabs), name))


def test_every_row_of_upstream_has_its_test_or_its_reason() -> None:
    """The table has the module's tests, each and no other, and names tests that are here."""
    folder = module()
    found = {
        str(path.relative_to(folder)): set(_rows(path.read_text()))
        for path in folder.rglob("*_test.go")
    }
    assert {file: set(rows) for file, rows in ROWS.items()} == found
    here = {
        f"{path.stem}.{node.name}"
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    named = {name for rows in ROWS.values() for tests in rows.values() for name in _tests(tests)}
    assert named <= here, named - here
    count = sum(map(len, ROWS.values()))
    reasons = [row for rows in ROWS.values() for row in rows.values() if isinstance(row, str)]
    print(f"{count} rows of upstream: {count - len(reasons)} tested here by {len(named)} tests")


def _tests(row: tuple[str, ...] | str) -> tuple[str, ...]:
    return () if isinstance(row, str) else row
