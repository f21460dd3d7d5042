"""What papermill finds as its engine "opslib": this module, by the functions of an engine.

papermill loads its plugins while it is being imported itself, so the engine, which is made
of papermill's classes, has to come later: at the first function that papermill asks for.
https://papermill.readthedocs.io/en/latest/extending-entry-points.html#developing-a-new-engine
"""

from __future__ import annotations

from typing import Any

_ASKED = ("execute_notebook", "nb_kernel_name", "nb_language")


def __getattr__(name: str) -> Any:
    """Return a function of ``opslib.runbook.engine.OpslibEngine``."""
    if name not in _ASKED:
        raise AttributeError(name)
    from opslib.runbook.engine import OpslibEngine  # noqa: PLC0415  # see above

    return getattr(OpslibEngine, name)
