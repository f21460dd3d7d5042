"""Watches that go on: over time-outs, broken connections and expired versions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from opslib.kube.client import Cluster
from opslib.kube.cut import Cut
from opslib.kube.errors import ApiError, Refused, Unreachable
from opslib.kube.watch import Event, changes, watch

from .conftest import Asked, Fake, Reply, connected, serving


def item(name: str, version: int, **more: Any) -> dict[str, Any]:
    """Build an object with a name and a version."""
    return {"metadata": {"name": name, "resourceVersion": str(version)}, **more}


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    """Build a line of a watch."""
    return {"type": kind, "object": item(name, version)}


def listed(version: int, *items: Any) -> dict[str, Any]:
    """Build a list."""
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


Script = list[Callable[[Reply], None]]


def play(
    lists: list[Any], watches: Script, tmp_path: Path, *, until: int, seconds: float = 15
) -> tuple[list[tuple[str, str]], Fake]:
    """Watch a server that gives these lists and plays these watches, until so many events."""

    def answer(reply: Reply, asked: Asked) -> None:
        if asked.query.get("watch"):
            watches.pop(0)(reply) if watches else reply.lines()
        else:
            page = lists.pop(0) if len(lists) > 1 else lists[0]
            reply.json(page["body"], page["code"]) if "code" in page else reply.json(page)

    seen: list[tuple[str, str]] = []
    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        for found in watch(cluster, "/api/v1/pods", seconds=seconds):
            seen.append((found.type, found.object["metadata"]["name"]))
            if len(seen) == until:
                break
    return seen, fake


def versions(fake: Fake) -> list[str]:
    """Return the versions from which a fake server was asked to watch."""
    return [a.query["resourceVersion"] for a in fake.asked if a.query.get("watch")]


def test_real_events(cluster: Cluster, namespace: str) -> None:
    """What is there comes as ADDED, then what happens, in its order."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"

    def make(name: str) -> None:
        cluster.request("POST", path, body={"metadata": {"name": name}})

    make("before")
    seen: list[tuple[str, str]] = []
    for found in watch(cluster, path, query={"fieldSelector": "metadata.name!=x"}, seconds=20):
        name = found.object["metadata"]["name"]
        if name not in {"before", "after"}:
            continue  # the root certificates, which each namespace gets from a controller
        seen.append((found.type, name))
        if seen == [("ADDED", "before")]:
            make("after")
        if seen[-1:] == [("ADDED", "after")]:
            cluster.request("DELETE", f"{path}/after")
        if seen[-1:] == [("DELETED", "after")]:
            break
    assert seen == [("ADDED", "before"), ("ADDED", "after"), ("DELETED", "after")]


def test_ends_in_time(cluster: Cluster, namespace: str) -> None:
    """A watch on which nothing happens ends when its time is up."""
    began = time.monotonic()
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert list(watch(cluster, path, seconds=1)) == []
    assert 0.9 < time.monotonic() - began < 20


def test_server_ends_it_early(tmp_path: Path) -> None:
    """A watch that the server ends is taken up from the last version, bookmarks included."""
    first: Script = [
        lambda reply: reply.lines(event("MODIFIED", "a", 6), event("BOOKMARK", "", 8)),
        lambda reply: reply.lines(event("DELETED", "a", 9)),
    ]
    seen, fake = play([listed(5, item("a", 3))], first, tmp_path, until=3)
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert versions(fake)[:2] == ["5", "8"]


def test_broken_connection(tmp_path: Path) -> None:
    """A connection that breaks, even inside a line, loses nothing and repeats nothing."""
    half = b'{"type":"MODIFIED","object":{"metadata":{"na'
    script: Script = [
        lambda reply: reply.lines(event("ADDED", "b", 6), end=False),
        lambda reply: reply.lines(event("ADDED", "c", 7), tail=half),
        lambda reply: reply.lines(event("ADDED", "d", 8)),
    ]
    seen, fake = play([listed(5)], script, tmp_path, until=3)
    assert seen == [("ADDED", "b"), ("ADDED", "c"), ("ADDED", "d")]
    assert versions(fake)[:3] == ["5", "6", "7"]


@pytest.mark.parametrize("how", ["event", "status"])
def test_expired_version(tmp_path: Path, how: str) -> None:
    """An expired version (410) reads the list again: changes are MODIFIED, losses are DELETED."""
    gone = {"kind": "Status", "code": 410, "reason": "Expired"}
    script: Script = [
        (lambda reply: reply.lines({"type": "ERROR", "object": gone}))
        if how == "event"
        else (lambda reply: reply.json(gone, 410)),
        lambda reply: reply.lines(event("ADDED", "c", 21)),
    ]
    lists = [listed(5, item("a", 3), item("b", 4)), listed(20, item("b", 19))]
    seen, fake = play(lists, script, tmp_path, until=5)
    assert seen == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("DELETED", "a"),
        ("MODIFIED", "b"),
        ("ADDED", "c"),
    ]
    assert versions(fake)[:2] == ["5", "20"]


def test_busy_server(tmp_path: Path) -> None:
    """429, 5xx and an ERROR event that is no 410 are waited out."""
    error = {"kind": "Status", "code": 500, "message": "etcd changes its leader"}
    script: Script = [
        lambda reply: reply.json({}, 429),
        lambda reply: reply.json({}, 503),
        lambda reply: reply.lines({"type": "ERROR", "object": error}),
        lambda reply: reply.lines(event("ADDED", "a", 6)),
    ]
    seen, fake = play([listed(5)], script, tmp_path, until=1)
    assert seen == [("ADDED", "a")]
    assert versions(fake) == ["5", "5", "5", "5"]


def test_list_again_waits_for_the_server(tmp_path: Path) -> None:
    """After a 410 a list that fails in passing is asked for again."""
    script: Script = [
        lambda reply: reply.json({}, 410),
        lambda reply: reply.lines(event("ADDED", "b", 9)),
    ]
    lists = [listed(5), {"body": {}, "code": 503}, listed(8, item("a", 7))]
    seen, _ = play(lists, script, tmp_path, until=2)
    assert seen == [("MODIFIED", "a"), ("ADDED", "b")]


def test_refusals_are_raised(tmp_path: Path) -> None:
    """Lost rights end a watch with their reason: waiting would not bring them back."""
    with pytest.raises(ApiError) as caught:
        play([listed(5)], [lambda reply: reply.json({}, 403)], tmp_path, until=1)
    assert caught.value.code == 403
    with pytest.raises(Refused):
        play([listed(5)], [lambda reply: reply.json({}, 401)], tmp_path, until=1)


def test_first_list_is_raised(tmp_path: Path) -> None:
    """What the first list says is the caller's to hear at once."""
    with pytest.raises(ApiError) as caught:
        play([{"body": {"message": "no"}, "code": 503}], [], tmp_path, until=1)
    assert caught.value.code == 503


def test_server_that_hangs_up_at_once(tmp_path: Path) -> None:
    """A server that ends every watch at once is not asked in a tight loop."""
    _, fake = play([listed(5)], [], tmp_path, until=99, seconds=2.5)
    assert 2 <= len(versions(fake)) <= 4


def test_silent_connection(tmp_path: Path) -> None:
    """A connection that falls silent for ever ends with the watch's time, some seconds later."""
    over = threading.Event()

    def silent(reply: Reply) -> None:
        reply.lines(event("ADDED", "a", 6), end=False)
        over.wait(30)

    began = time.monotonic()
    seen, _ = play([listed(5)], [silent], tmp_path, until=2, seconds=0.5)
    over.set()
    assert seen == [("ADDED", "a")]
    assert time.monotonic() - began < 25


def test_server_that_went_away(tmp_path: Path) -> None:
    """A server that is gone ends a watch in its time, without an error."""

    def answer(reply: Reply, asked: Asked) -> None:
        reply.lines() if asked.query.get("watch") else reply.json(listed(5, item("a", 4)))

    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        events = watch(cluster, "/api/v1/pods", seconds=1.5)
        assert next(events) == Event("ADDED", item("a", 4))
        cluster._opener = urllib3.HTTPConnectionPool("127.0.0.1", 1)
        assert list(events) == []
        with pytest.raises(Unreachable):
            next(watch(cluster, "/api/v1/pods", seconds=1))


def follow(
    watches: Script, tmp_path: Path, *, until: int, version: int = 5
) -> tuple[list[str | None], Fake]:
    """Follow a server from now on until so many events: names, and None for "look yourself"."""

    def answer(reply: Reply, asked: Asked) -> None:
        if asked.query.get("watch"):
            watches.pop(0)(reply) if watches else reply.lines()
        else:
            reply.json(listed(version, item("a", 3)))

    seen: list[str | None] = []
    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        cut = Cut()
        for found in changes(cluster, "/api/v1/pods", cut=cut):
            seen.append(found.object["metadata"]["name"] if found else None)
            if len(seen) == until:
                cut.end()
    return seen, fake


def test_changes_reads_no_list(tmp_path: Path) -> None:
    """Only the present version is asked for, with one object at most, and metadata is enough."""
    script: Script = [lambda reply: reply.lines(event("MODIFIED", "a", 6))]
    seen, fake = follow(script, tmp_path, until=2)
    assert seen == [None, "a"]
    first, second = [a for a in fake.asked if a.path == "/api/v1/pods"][:2]
    assert first.query == {"limit": "1"}
    assert "as=PartialObjectMetadataList" in first.headers["accept"]
    assert second.query["resourceVersion"] == "5"
    assert second.query["allowWatchBookmarks"] == "true"
    assert "as=PartialObjectMetadata;" in second.headers["accept"]


def test_changes_tells_of_gaps(tmp_path: Path) -> None:
    """A broken connection is taken up where it was; after a 410 the caller looks for himself."""
    script: Script = [
        lambda reply: reply.lines(event("MODIFIED", "a", 6), end=False),
        lambda reply: reply.lines(event("DELETED", "a", 7)),
        lambda reply: reply.json({"code": 410}, 410),
        lambda reply: reply.lines(event("ADDED", "b", 8)),
    ]
    seen, fake = follow(script, tmp_path, until=5)
    assert seen == [None, "a", "a", None, "b"]
    assert versions(fake)[:4] == ["5", "6", "7", "5"]


def test_changes_of_real_objects_without_their_content(cluster: Cluster, namespace: str) -> None:
    """The real server sends names and versions of what changes, and no data."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    cut = Cut()
    seen: list[Event] = []
    for found in changes(cluster, path, cut=cut):
        if found is None:
            body = {"metadata": {"name": "s"}, "stringData": {"password": "correct-horse"}}
            cluster.request("POST", path, body=body)
            continue
        seen.append(found)
        cut.end()
    assert [(one.type, one.object["kind"]) for one in seen] == [("ADDED", "PartialObjectMetadata")]
    assert "data" not in seen[0].object


def test_a_cut_wakes_up_who_waits(cluster: Cluster, namespace: str) -> None:
    """A watch on which nothing happens ends at once when another thread cuts it, over TLS too."""
    cut = Cut()
    begun = threading.Event()

    def read() -> None:
        for found in changes(cluster, f"/api/v1/namespaces/{namespace}/pods", cut=cut):
            assert found is None
            begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60)
    time.sleep(0.5)  # the watch itself is under way
    began = time.monotonic()
    cut.end()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert time.monotonic() - began < 20
