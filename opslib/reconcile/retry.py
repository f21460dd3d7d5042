"""Retries, only of what passes by itself, with back-off and a deadline.

A 500 or a 422 is read by its message, not by its number: duplicate list keys give a 500
that never passes (https://github.com/kubernetes/kubernetes/issues/113482).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from opslib.kube.errors import ApiError, Unreachable

T = TypeVar("T")

RETRY_SECONDS = 20.0
"""For so long a request is repeated that fails for what passes: a server starts in 10 s."""

_PASSING_CODES = frozenset({429, 502, 503, 504})
_PASSING_TEXTS = (
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "etcdserver: no leader",
    "failed calling webhook",
    "the object has been modified; please apply your changes to the latest version and try again",
    "Operation cannot be fulfilled on resourcequotas",
    "http2: server sent GOAWAY",
)


def passes(error: Exception) -> bool:
    """Tell whether the same request may succeed later without anybody doing anything."""
    if isinstance(error, Unreachable):
        return True
    if not isinstance(error, ApiError):
        return False
    if error.code in _PASSING_CODES:
        return True
    if error.code == 409:
        return "resourcequotas" in error.what
    return error.code == 500 and any(text in error.what for text in _PASSING_TEXTS)


def retrying(call: Callable[[], T], *, seconds: float = RETRY_SECONDS) -> T:
    """Call until it succeeds, fails for good, or ``seconds`` have passed since the first try.

    Waits as long as Retry-After asks, else 0.2 s doubled each time up to 5 s, with jitter.
    The call must be safe to repeat.
    """
    until = time.monotonic() + seconds
    pause = 0.2
    while True:
        try:
            return call()
        except (ApiError, Unreachable) as error:
            asked = getattr(error, "retry_after", None)
            wait = asked or pause * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
            if not passes(error) or time.monotonic() + wait > until:
                raise
        time.sleep(wait)
        pause = min(5.0, pause * 2)
