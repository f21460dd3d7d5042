"""The one object in which a secret value exists: only ``reveal`` hands it out.

It refuses whatever would copy the value somewhere by accident: text, repr, format, pickles,
copies, hashes, iteration, JSON. No attribute holds the value, so that what goes through all
attributes of an object finds none; work that fails with the value in its hands leaves neither
its variables nor its words in a traceback, whatever shows that.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable
from typing import Any, NoReturn, SupportsIndex, TypeVar, cast

from opslib.core import secrecy
from opslib.core.errors import OpslibError

_T = TypeVar("_T")
_Lend = Callable[[Callable[[bytes], Any]], tuple[Any, BaseException | None]]
_REFUSED = "a secret value is not shown, copied or stored; reveal() hands it out"


class SecretBytes:
    """One secret value, as bytes. ``label`` names it for people and for masks in records."""

    __slots__ = ("_lend", "label")

    _lend: _Lend

    def __init__(self, value: bytes | str, label: str) -> None:
        """Take a value. Raises ValueError, without it, for text that UTF-8 cannot hold."""
        given, value = _encoded(value), b""
        if given is None:
            raise ValueError("a secret value is no text: UTF-8 cannot hold it")
        self._lend = _lender(given)
        given = None  # what is raised from here on shows no variable with it
        self.label = label
        if secrecy.REGISTRY.tell is not None or "ipykernel" in sys.modules:
            self._note()  # in a kernel anything may be shown, a traceback with variables too

    def reveal(self) -> bytes:
        """Return the value; it is noted as secret before it is handed out."""
        self._note()
        return self.used_by(bytes)

    def used_by(self, work: Callable[[bytes], _T]) -> _T:
        """Let a function of this room use the value, which then is not handed out.

        An error of ``work`` is raised anew, without what it says: that may be of the value.
        """
        result, failed = self._lend(work)
        if failed is not None:
            raise failed
        return cast("_T", result)

    def _note(self) -> None:
        self.used_by(lambda value: secrecy.note(value, self.label))

    def __len__(self) -> int:
        return self.used_by(len)

    def __bool__(self) -> bool:
        return True  # an empty value is a value

    def __eq__(self, other: object) -> bool:
        """Compare in a time that does not depend on the values."""
        if not isinstance(other, SecretBytes):
            return NotImplemented
        equal = hmac.compare_digest
        return self.used_by(lambda one: other.used_by(lambda two: equal(one, two)))

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

    def __reduce__(self) -> str:
        raise TypeError(_REFUSED)

    def __reduce_ex__(self, _: SupportsIndex) -> str:
        raise TypeError(_REFUSED)

    def __getstate__(self) -> object:
        raise TypeError(_REFUSED)

    def __iter__(self) -> NoReturn:
        raise TypeError(_REFUSED)

    def __getitem__(self, _: object) -> NoReturn:
        raise TypeError(_REFUSED)

    def __contains__(self, _: object) -> NoReturn:
        raise TypeError(_REFUSED)


def _encoded(value: bytes | str) -> bytes | None:
    """Return a value as bytes; None for text with half a character, without raising it."""
    if not isinstance(value, str):
        return bytes(value)
    try:
        return value.encode()
    except UnicodeEncodeError:  # it carries the whole text
        return None


def _lender(value: bytes) -> _Lend:
    """Return what holds the value: a function, of which nobody sees more than its name."""

    def lend(work: Callable[[bytes], Any]) -> tuple[Any, BaseException | None]:
        try:
            return work(value), None
        except BaseException as error:  # noqa: BLE001  # Ctrl-C shows the same variables
            return None, _bare(error)  # raised by the caller, who has no variable with the value

    return lend


def _bare(error: BaseException) -> BaseException:
    """Return an error that has nothing of the value: no words, no arguments, no frames."""
    if isinstance(error, OpslibError):  # made for people, by code that knows what it handles
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
        return type(error)()
    return ValueError(f"{type(error).__name__} while a secret value was in use")
