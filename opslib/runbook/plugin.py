"""What papermill finds as its engine "opslib": this module, by its one function.

papermill loads its plugins while it is being imported itself, so the engine, which is made
of papermill's classes, has to come later.
"""

from __future__ import annotations

from typing import Any


def execute_notebook(nb: Any, kernel_name: str, **options: Any) -> Any:
    """Execute ``nb`` in place; see ``opslib.runbook.engine.OpslibEngine``."""
    from opslib.runbook.engine import OpslibEngine  # noqa: PLC0415  # see above

    return OpslibEngine.execute_notebook(nb, kernel_name, **options)
