"""What papermill finds as its engine "opslib": this module, by the functions of an engine.

papermill loads its plugins while it is being imported itself, so the engine, which is made
of papermill's classes, has to come later: at the first function that papermill calls.
https://papermill.readthedocs.io/en/latest/extending-entry-points.html#developing-a-new-engine
"""

from __future__ import annotations

import contextlib
from typing import Any


def execute_notebook(nb: Any, kernel_name: str | None = None, **options: Any) -> Any:
    """Run a notebook with progress on standard error, and live figures in the record."""
    from opslib.cli.common import bar
    from opslib.runbook.engine import OpslibEngine
    from opslib.view.assets import plotly_js

    with contextlib.ExitStack() as stack:
        if options.get("progress_bar"):
            options["progress"] = stack.enter_context(bar())
        return OpslibEngine.execute_notebook(nb, kernel_name, html_assets=plotly_js, **options)


def nb_kernel_name(nb: Any, name: str | None = None) -> str:
    """Return a name for papermill; the kernel is this interpreter whatever it is."""
    del nb
    return name or "python3"


def nb_language(nb: Any, language: str | None = None) -> str:
    """Return the language: runbooks are written in Python."""
    del nb
    return language or "python"
