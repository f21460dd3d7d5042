"""What a parameter may say about its values, beside its type: ``Annotated[int, Range(ge=1)]``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Numbers between bounds: ``ge``/``le`` include the bound, ``gt``/``lt`` do not."""

    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    lt: float | None = None

    def __str__(self) -> str:
        bounds = [(">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True)
class Pattern:
    """Text that matches ``regex`` as a whole."""

    regex: str

    def __str__(self) -> str:
        return f"matching {self.regex}"
