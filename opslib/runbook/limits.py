"""The limits of a run: what the caller gave, else what the notebook's metadata says.

In the notebook's metadata::

    {"opslib": {"deadline": "30m", "cell_timeout": "5m", "grace": "20s", "lock": "app/{app}"}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opslib.core.clock import parse_duration
from opslib.core.errors import InputError
from opslib.runbook.notebook import Notebook
from opslib.runbook.session import GRACE


@dataclass(frozen=True)
class Limits:
    """Seconds for the whole run, for each cell and for a clean-up; the scope that is locked."""

    deadline: float | None = None
    cell_timeout: float | None = None
    grace: float | None = None
    lock: str = ""

    @property
    def seconds_of_grace(self) -> float:
        """What an interrupted cell has for its clean-up."""
        return GRACE if self.grace is None else self.grace

    def over(self, notebook: Notebook, name: str) -> Limits:
        """Return the limits with what the notebook says where nothing was given.

        Raises InputError for a time that is none, wherever it comes from.
        """
        said = said_of(notebook)
        scope = self.lock or said.get("lock") or ""
        if not isinstance(scope, str):
            raise InputError(
                f"the lock cannot be {scope!r}",
                where=f"{name}, metadata opslib.lock",
                expected="a name such as cluster/{context}/{app}",
            )
        times = {
            one: _seconds(said.get(one), f"{name}, metadata opslib.{one}")
            if (given := getattr(self, one)) is None
            else float(given)
            for one in ("deadline", "cell_timeout", "grace")
        }
        for one, seconds in times.items():
            least = "0 or more" if one == "grace" else "above 0"
            good = seconds is None or 0 <= seconds < float("inf")
            if not good or (seconds == 0 and one != "grace"):
                raise InputError(f"{one} is {seconds:g}", where=one, expected=f"seconds, {least}")
        return Limits(**times, lock=scope)


def said_of(notebook: Notebook) -> dict[str, Any]:
    """Return what the author put under "opslib" into the notebook's metadata."""
    found = (notebook.get("metadata") or {}).get("opslib") or {}
    ours = ("run_id", "runbook", "outcome", "started", "ended", "exit_code", "error")
    return {key: found[key] for key in found if key not in ours} if isinstance(found, dict) else {}


def _seconds(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return parse_duration(str(value), name=where)
    raise InputError(f"{value!r} is no time", where=where, expected="a time such as 30s or 5m")
