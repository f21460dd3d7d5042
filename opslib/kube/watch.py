"""Watches that survive what watches do: time-outs, expired versions, broken connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster, Query
from opslib.kube.errors import ApiError, Unreachable, from_response


@dataclass(frozen=True)
class Event:
    """ADDED, MODIFIED or DELETED, and the object as it is after it."""

    type: str
    object: dict[str, Any]


RETRY_SECONDS = 1.0
"""Pause before a broken watch is taken up again."""


def watch(
    cluster: Cluster, path: str, *, query: Query | None = None, seconds: float
) -> Iterator[Event]:
    """List ``path``, then follow it for ``seconds``; each object present first comes as ADDED.

    A broken connection is taken up where it broke. When the version watched from has expired
    (410) the list is read again: its objects come as MODIFIED, and those that are no longer in
    it as DELETED, so that a caller who keeps the last state by name stays right. Objects of a
    list carry apiVersion and kind only if the server sends them. Raises what the first list
    raises, and later Refused and ApiError below 500 other than 410 and 429.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
    """
    until = time.monotonic() + seconds
    known: dict[tuple[str, str], dict[str, Any]] = {}
    items, version = cluster.list(path, query)
    kind = "ADDED"
    while True:
        yield from _listed(items, known, kind)
        kind = "MODIFIED"
        for event in _follow(cluster, path, query, version, until):
            if event is None:
                break
            if event.type == "DELETED":
                known.pop(_name(event.object), None)
            else:
                known[_name(event.object)] = event.object
            yield event
        again = _list_again(cluster, path, query, until)
        if again is None:
            return
        items, version = again


def _listed(
    items: list[dict[str, Any]], known: dict[tuple[str, str], dict[str, Any]], kind: str
) -> Iterator[Event]:
    now = {_name(item): item for item in items}
    gone = [known[name] for name in known if name not in now]
    known.clear()
    known.update(now)
    yield from (Event("DELETED", item) for item in gone)
    yield from (Event(kind, item) for item in items)


def _list_again(
    cluster: Cluster, path: str, query: Query | None, until: float
) -> tuple[list[dict[str, Any]], str] | None:
    """List until the server answers; None when the time is up."""
    while time.monotonic() < until:
        try:
            return cluster.list(path, query)
        except (Unreachable, ApiError) as error:
            if not _passing(error):
                raise
            _pause(until)
    return None


def _passing(error: OpslibError) -> bool:
    """Whether an error is one of a server that restarts or is busy."""
    if isinstance(error, ApiError):
        return error.code in {410, 429} or error.code >= 500
    return isinstance(error, Unreachable)


def _pause(until: float) -> None:
    time.sleep(max(0.0, min(RETRY_SECONDS, until - time.monotonic())))


def _name(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name"))


def _follow(
    cluster: Cluster, path: str, query: Query | None, version: str, until: float
) -> Iterator[Event | None]:
    """Yield events from ``version`` on; None asks the caller to list again."""
    while (left := until - time.monotonic()) > 0:
        asked: dict[str, str | int | bool] = {
            **(query or {}),
            "watch": True,
            "resourceVersion": version,
            "allowWatchBookmarks": True,
            "timeoutSeconds": max(1, round(left)),
        }
        began = time.monotonic()
        try:
            for event in _events(cluster, path, asked, left + 5):
                version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    yield event
                if time.monotonic() > until:
                    return
        except (Unreachable, ApiError) as error:
            if not _passing(error):
                raise
            if isinstance(error, ApiError) and error.code == 410:
                yield None
                return
            _pause(until)
        else:
            if time.monotonic() - began < RETRY_SECONDS:  # a server that hangs up at once
                _pause(until)


def _events(cluster: Cluster, path: str, query: Query, silence: float) -> Iterator[Event]:
    """Yield the events of one connection, up to one that is cut off; an ERROR event is raised."""
    for line in cluster.stream(path, query=query, timeout=silence):
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        if event["type"] == "ERROR":
            code = int(event["object"].get("code") or 500)
            raise from_response(code, event["object"], where=f"WATCH {path}", retry_after=None)
        yield Event(str(event["type"]), dict(event["object"]))
