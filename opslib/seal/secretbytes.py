"""The one object in which a secret value exists: only ``reveal`` hands it out.

It refuses whatever would copy the value somewhere by accident: text, repr, format, pickles,
copies, hashes, iteration. A traceback with local variables shows that repr failed, no value.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable
from typing import NoReturn, SupportsIndex, TypeVar

from opslib.core import secrecy

_T = TypeVar("_T")
_REFUSED = "a secret value is not shown, copied or stored; reveal() hands it out"


class SecretBytes:
    """One secret value, as bytes. ``label`` names it for people and for masks in records."""

    __slots__ = ("_value", "label")

    def __init__(self, value: bytes | str, label: str) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)
        self.label = label
        if secrecy.REGISTRY.tell is not None or "ipykernel" in sys.modules:
            self._note()  # in a kernel anything may be shown, a traceback with variables too

    def reveal(self) -> bytes:
        """Return the value; it is noted as secret before it is handed out."""
        self._note()
        return self._value

    def used_by(self, work: Callable[[bytes], _T]) -> _T:
        """Let a function of this room use the value, which then is not handed out."""
        return work(self._value)

    def _note(self) -> None:
        secrecy.note(self._value, self.label)

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return True  # an empty value is a value

    def __eq__(self, other: object) -> bool:
        """Compare in a time that does not depend on the values."""
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a weak value tells it

    def __repr__(self) -> str:
        raise TypeError(_REFUSED)

    def __str__(self) -> str:
        raise TypeError(_REFUSED)

    def __bytes__(self) -> bytes:
        raise TypeError(_REFUSED)

    def __format__(self, spec: str) -> str:
        raise TypeError(_REFUSED)

    def __copy__(self) -> SecretBytes:
        raise TypeError(_REFUSED)

    def __deepcopy__(self, _: object) -> SecretBytes:
        raise TypeError(_REFUSED)

    def __reduce_ex__(self, _: SupportsIndex) -> str:
        raise TypeError(_REFUSED)

    def __getstate__(self) -> object:
        raise TypeError(_REFUSED)

    def __iter__(self) -> NoReturn:
        raise TypeError(_REFUSED)

    def __getitem__(self, _: object) -> NoReturn:
        raise TypeError(_REFUSED)
