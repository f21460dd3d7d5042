"""runbook.load in a kernel's namespace: history, injected names, frozen values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError, Problems
from opslib.runbook import load

CELL = "from pathlib import Path\nimage: str = '1.10'\napply: bool = False\nwhere: Path = Path('x')"


def kernel(*cells: str) -> dict[str, Any]:
    """Return the namespace of a kernel that has run these cells and is now in load's."""
    namespace: dict[str, Any] = {"In": ["", *cells, "p = runbook.load(globals())"]}
    for cell in cells:
        exec(cell, namespace)  # noqa: S102  # what a kernel does
    return namespace


def test_values_are_typed_and_frozen() -> None:
    """The parameters come back by attribute, and cannot be changed."""
    namespace = kernel(CELL)
    p = load(namespace)
    assert (p.image, p.apply, p.where) == ("1.10", False, Path("x"))
    with pytest.raises(AttributeError, match="cannot be changed"):
        p.image = "2"
    with pytest.raises(AttributeError, match="cannot be removed"):
        del p.image


def test_papermills_text_for_a_bool_is_not_truthy() -> None:
    """`-p apply false` reaches the kernel as the text "false": it must not switch apply on."""
    namespace = kernel(CELL, '# Parameters\napply = "false"\n')
    assert load(namespace).apply is False
    assert namespace["apply"] is False


def test_papermills_number_for_text_is_refused() -> None:
    """`-p image 1.10` reaches the kernel as 1.1: refused, not passed on."""
    with pytest.raises(Problems, match=r"image cannot be 1\.1"):
        load(kernel(CELL, "# Parameters\nimage = 1.1\n"))


def test_an_injected_name_that_does_not_exist_is_refused() -> None:
    """Papermill only warns of an unknown name; here it is an error with a suggestion."""
    with pytest.raises(Problems, match="did you mean image"):
        load(kernel(CELL, "# Parameters\nimge = 'x'\n"))


def test_other_cells_in_between_do_not_matter() -> None:
    """In JupyterLab cells run in any order: the last cell of declarations counts."""
    namespace = kernel("import os", "print", CELL, "print(1)")
    assert load(namespace).image == "1.10"


def test_without_a_parameters_cell_it_says_what_to_do() -> None:
    """The message tells where load belongs."""
    with pytest.raises(InputError, match="first cell after"):
        load(kernel("print"))
