"""Runbooks: notebooks with typed parameters, executed into records that tell the truth.

In a notebook::

    from opslib import runbook

    p = runbook.load(globals())                     # first cell after the parameters
    runbook.report(applied=3, revision="4f2a…")     # last cell: results for result.json

The names are loaded on first use: a notebook pays for what it uses and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opslib.runbook.attachments import attach
    from opslib.runbook.effects import once
    from opslib.runbook.execute import find, resumed, run
    from opslib.runbook.facts import context, report, result
    from opslib.runbook.gates import Plan, gate
    from opslib.runbook.live import record
    from opslib.runbook.markers import Pattern, Range
    from opslib.runbook.parameters import load, read_schema
    from opslib.runbook.records import list_records, show
    from opslib.runbook.secret import Secret

_HOME = {
    "Pattern": "markers",
    "Plan": "gates",
    "Range": "markers",
    "Secret": "secret",
    "attach": "attachments",
    "context": "facts",
    "find": "execute",
    "gate": "gates",
    "list_records": "records",
    "load": "parameters",
    "once": "effects",
    "read_schema": "parameters",
    "record": "live",
    "report": "facts",
    "result": "facts",
    "resumed": "execute",
    "run": "execute",
    "show": "records",
}

__all__ = [
    "Pattern",
    "Plan",
    "Range",
    "Secret",
    "attach",
    "context",
    "find",
    "gate",
    "list_records",
    "load",
    "once",
    "read_schema",
    "record",
    "report",
    "result",
    "resumed",
    "run",
    "show",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
