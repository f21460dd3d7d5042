"""How the lower rooms tell that work goes on, without knowing who watches."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Somebody who wants to know how far the work is."""

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        """Say what is being done now, and how much of it (``total`` None: not known)."""


class Silent:
    """Progress for nobody."""

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        del label, done, total


SILENT = Silent()
