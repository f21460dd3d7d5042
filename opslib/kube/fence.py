"""Writes of a process that may lose its right to write: asked at the last moment, or not sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opslib.core.errors import OpslibError


class Fenced(OpslibError):
    """A write was not sent, because this process may no longer write."""

    kind = "fenced"


def guard(may_write: Callable[[], bool], where: str) -> None:
    """Raise Fenced where this process may no longer write."""
    if not may_write():
        raise Fenced(
            "this process may no longer write: its lease ended or was taken",
            where=where,
            hint="nothing to do: whoever holds the lease now goes on",
        )


def fenced_body(payload: bytes, may_write: Callable[[], bool], where: str) -> Iterator[bytes]:
    """Yield the body of a request right before it goes into the connection, or not at all.

    Without its body the server does nothing: this is the last moment there is, a millisecond
    after the headers. A connection that breaks off here is closed and not used again.
    """
    guard(may_write, where)
    yield payload
