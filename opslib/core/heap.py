"""Memory that a large piece of work freed, given back to the system: for processes that stay."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

ARENAS = 2
"""As many as the kit's threads allocate from at once: Python runs one of them at a time."""

_M_ARENA_MAX = -8  # <malloc.h> of glibc


def give_back() -> bool:
    """Give pages that nothing is in back to the system; whether this system has a way to.

    glibc by itself gives back only what is free at the end of an arena, so that a process that
    works hard once in a while grows though it keeps nothing
    (https://man7.org/linux/man-pages/man3/malloc_trim.3.html). Other C libraries have no such
    call, and nothing is done there.
    """
    trim = _function("malloc_trim", "c_size_t")
    if trim:
        trim(0)
    return trim is not None


def few_arenas() -> bool:
    """Let this process make no more than ``ARENAS`` arenas; whether this system has a way to.

    glibc makes one for each new thread, up to eight for each core, and the free memory of one
    is of no use to the others (https://man7.org/linux/man-pages/man3/mallopt.3.html).
    """
    mallopt = _function("mallopt", "c_int", "c_int")
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, ARENAS))


@functools.cache
def _function(name: str, *takes: str) -> Callable[..., int] | None:
    """Return a function of the C library that gives an int; None where it has none."""
    import ctypes  # noqa: PLC0415  # start-up time

    try:
        found: Any = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return None
    found.argtypes, found.restype = [getattr(ctypes, one) for one in takes], ctypes.c_int
    return found  # type: ignore[no-any-return]  # foreign functions have no types
