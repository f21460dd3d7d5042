"""What makes a start cheap: imports beside other work, and no look for garbage among what stays."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from opslib.core.imports import imported
from opslib.core.memory import kept, uncollected


def test_modules_are_there_when_the_block_ends() -> None:
    """In a process of its own, where they were not before; one that is missing says nothing yet."""
    code = (
        "import sys; from opslib.core.imports import imported\n"
        "with imported('colorsys', 'no_such_module'): pass\n"
        "assert 'colorsys' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_error_of_the_block_goes_on() -> None:
    """What fails in the block is told, not what is imported beside it."""
    with pytest.raises(ValueError, match="here"), imported("no_such_module"):
        raise ValueError("here")


def test_the_collector_is_off_and_on_again() -> None:
    """Inside, also one within the other; what was made while it was off is not its business."""
    gc.unfreeze()
    with kept():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
        made: list[object] = [[one] for one in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)
    gc.unfreeze()
