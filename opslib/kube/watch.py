"""Watches that survive what watches do: time-outs, expired versions, broken connections."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster, Query
from opslib.kube.cut import Cut
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


METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
# Names and versions only, where the server can:
# https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches

LONGEST = 240.0
"""Seconds of one connection of ``changes``: one that died without a word is noticed after them."""


def changes(
    cluster: Cluster, path: str, *, query: Query | None = None, cut: Cut
) -> Iterator[Event | None]:
    """Follow ``path`` from now on, without reading what is there, until ``cut`` ends it.

    None comes first, and again whenever changes may have been missed (410): whatever was read
    before may be old. The objects are their metadata only, and none is kept here: a thousand
    quiet objects cost nothing. A server that is away is waited for. Raises Refused, and
    ApiError below 500 other than 410 and 429.
    """
    while not cut.done.is_set():
        version = _version(cluster, path, query, cut)
        if version is None:
            return
        yield None
        for event in _follow(cluster, path, query, version, math.inf, accept=METADATA, cut=cut):
            if event is None:
                break
            yield event


def _version(cluster: Cluster, path: str, query: Query | None, cut: Cut) -> str | None:
    """Return the version that a collection has now; None when cut before the server answers."""
    asked: dict[str, str | int | bool] = {**(query or {}), "limit": 1}
    while not cut.done.is_set():
        try:
            page = cluster.request("GET", path, query=asked, accept=_METADATA_LIST)
            return str(page["metadata"]["resourceVersion"])
        except (Unreachable, ApiError) as error:
            if not _passing(error):
                raise
            cut.done.wait(RETRY_SECONDS)
    return None


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
            _pause(until, Cut())
    return None


def _passing(error: OpslibError) -> bool:
    """Whether an error is one of a server that restarts or is busy."""
    if isinstance(error, ApiError):
        return error.code in {410, 429} or error.code >= 500
    return isinstance(error, Unreachable)


def _pause(until: float, ended: Cut) -> None:
    ended.done.wait(max(0.0, min(RETRY_SECONDS, until - time.monotonic())))


def _name(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name"))


def _follow(
    cluster: Cluster,
    path: str,
    query: Query | None,
    version: str,
    until: float,
    *,
    accept: str = "*/*",
    cut: Cut | None = None,
) -> Iterator[Event | None]:
    """Yield events from ``version`` on; None asks the caller to list again."""
    ended = cut or Cut()
    while (left := until - time.monotonic()) > 0 and not ended.done.is_set():
        seconds = min(left, LONGEST) if cut else left
        asked: dict[str, str | int | bool] = {
            **(query or {}),
            "watch": True,
            "resourceVersion": version,
            "allowWatchBookmarks": True,
            "timeoutSeconds": max(1, round(seconds)),
        }
        began = time.monotonic()
        try:
            lines = cluster.stream(path, query=asked, timeout=seconds + 5, accept=accept, cut=ended)
            for event in _events(lines, path):
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
            _pause(until, ended)
        else:
            if time.monotonic() - began < RETRY_SECONDS:  # a server that hangs up at once
                _pause(until, ended)


def _events(lines: Iterator[bytes], path: str) -> Iterator[Event]:
    """Yield the events of one connection, up to one that is cut off; an ERROR event is raised."""
    for line in lines:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        if event["type"] == "ERROR":
            code = int(event["object"].get("code") or 500)
            raise from_response(code, event["object"], where=f"WATCH {path}", retry_after=None)
        yield Event(str(event["type"]), dict(event["object"]))
