"""Inventories larger than one ConfigMap: whole at every moment, small ones as cheap as ever."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from opslib.core.errors import ConflictError, OpslibError
from opslib.core.model import ResourceKey
from opslib.kube.client import Cluster
from opslib.reconcile import shards
from opslib.reconcile.app import App
from opslib.reconcile.inventory import (
    FORMAT,
    SINGLE_BYTES,
    Inventory,
    make_namespace,
    read_inventory,
    settle,
    write_ahead,
)

MANY = 20_000
LARGE = 5_000
"""With names as long as they may be this is more than one ConfigMap holds, too."""


def objects(count: int, first: int = 0, *, name: str = "x" * 200) -> dict[ResourceKey, str]:
    """Return so many objects, by default with long names."""
    return {
        ResourceKey("apps", "Deployment", "payment-platform-production", f"{name}-{n:06}"): (
            "apps/v1"
        )
        for n in range(first, first + count)
    }


class Killed(BaseException):
    """A process that ends here, as by kill -9: nothing of it runs any more."""


class Wire:
    """Counts what is sent, and ends the sender after so many requests."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.die_at = -1

    def through(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def send(cluster: Cluster, method: str, path: str, **options: Any) -> Any:
            if len(self.sent) == self.die_at:
                raise Killed
            self.sent.append(f"{method} {path.rpartition('/')[2]}")
            return real(cluster, method, path, **options)

        return send


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Return the wire that all requests of this test go over."""
    one = Wire()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "_send", one.through(Cluster._send))
        yield one


@pytest.fixture
def app(server: Cluster) -> Iterator[App]:
    """Return an app of its own; what it leaves is removed."""
    make_namespace(server)
    one = App(f"i{uuid.uuid4().hex[:8]}")
    yield one
    for name in _there(server, one):
        server.request("DELETE", f"{shards.COLLECTION}/{name}")


def _there(server: Cluster, app: App) -> list[str]:
    """Return the names of all ConfigMaps of an app."""
    items, _ = server.list(shards.COLLECTION, {"labelSelector": f"opslib.dev/app={app.name}"})
    return sorted(item["metadata"]["name"] for item in items)


def _settled(server: Cluster, app: App, ahead: Inventory, gone: Any = (), commit: str = "b") -> Any:
    return settle(server, app, ahead, gone=gone, commit=commit, url="file:///r", path="app")


def test_a_small_inventory_is_one_configmap_and_one_request(
    server: Cluster, app: App, wire: Wire
) -> None:
    """Read, create and replace cost one request each; its format is the one it always was."""
    old = read_inventory(server, app)
    ahead = write_ahead(server, app, old, objects(100))
    _settled(server, app, ahead)
    assert wire.sent == [
        f"GET {app.inventory}",
        "POST configmaps",
        f"PUT {app.inventory}",
    ]
    assert _there(server, app) == [app.inventory]
    live = server.get(f"{shards.COLLECTION}/{app.inventory}")
    assert json.loads(live["data"]["inventory"])["format"] == FORMAT


def test_a_large_inventory_is_read_as_it_was_written(server: Cluster, app: App, wire: Wire) -> None:
    """20,000 objects, more than 1 MiB: a head and shards, each below the limit."""
    wanted = objects(MANY, name="processor")
    ahead = write_ahead(server, app, read_inventory(server, app), wanted)
    settled = _settled(server, app, ahead)
    wire.sent.clear()
    read = read_inventory(server, app)
    requests = len(wire.sent)
    assert dict(read.objects) == wanted
    assert (read.commit, read.url, read.path) == ("b", "file:///r", "app")
    assert read == settled
    sizes = [
        len(server.get(f"{shards.COLLECTION}/{name}")["data"].get("objects", ""))
        for name in _there(server, app)
    ]
    print(f"{MANY} objects: shards of {sizes[1:]} bytes, read by {requests} requests")
    assert sum(sizes) > SINGLE_BYTES
    assert requests == len(sizes)
    assert max(sizes) <= shards.SHARD_BYTES


def test_one_object_more_changes_one_shard(server: Cluster, app: App, wire: Wire) -> None:
    """A new commit alone changes none: the head is small."""
    ahead = write_ahead(server, app, Inventory(), objects(LARGE))
    wire.sent.clear()
    more = write_ahead(server, app, ahead, objects(1, LARGE))
    assert [line.split()[0] for line in wire.sent] == ["GET", "POST", "PUT", "DELETE"]
    wire.sent.clear()
    _settled(server, app, more, commit="c")
    assert [line.split()[0] for line in wire.sent] == ["GET", "PUT"]
    assert len(read_inventory(server, app).objects) == LARGE + 1


def test_it_grows_over_the_limit_and_shrinks_back(server: Cluster, app: App) -> None:
    """From one ConfigMap to several to one; nothing is left over."""
    small = write_ahead(server, app, Inventory(), objects(10))
    large = write_ahead(server, app, small, objects(LARGE))
    assert len(_there(server, app)) > 2
    gone = [key for key in large.objects if key not in small.objects]
    _settled(server, app, large, gone)
    assert _there(server, app) == [app.inventory]
    assert dict(read_inventory(server, app).objects) == objects(10)


def _steps(server: Cluster, app: App, start: str) -> Callable[[], object]:
    """Return the write that is killed: a growth over the limit, a change, a shrinking."""
    old = read_inventory(server, app)
    if start == "shrinks":
        gone = list(objects(LARGE - 10, 10))
        return lambda: _settled(server, app, old, gone)
    more = objects(LARGE) if start == "grows" else objects(500, LARGE)
    return lambda: write_ahead(server, app, old, more)


@pytest.mark.parametrize("story", ["grows", "changes", "shrinks"])
def test_killed_at_any_request_it_is_what_it_was_or_what_it_was_to_be(
    server: Cluster, app: App, wire: Wire, story: str
) -> None:
    """After each request of a write, so before each next one; the next write makes it tidy."""
    start = objects(10) if story == "grows" else objects(LARGE)
    kills = 0
    for number in range(30):
        old = read_inventory(server, app)
        missing = {key: one for key, one in start.items() if key not in old.objects}
        back = write_ahead(server, app, old, missing)
        _settled(server, app, back, [key for key in back.objects if key not in start], "a")
        before = dict(read_inventory(server, app).objects)
        assert before == start
        write = _steps(server, app, story)
        wire.sent.clear()
        wire.die_at = number
        try:
            write()
            killed = False
        except Killed:
            killed = True
        wire.die_at = -1
        after = dict(read_inventory(server, app).objects)
        wanted = {
            "grows": objects(LARGE),
            "changes": objects(LARGE + 500),
            "shrinks": objects(10),
        }[story]
        assert after in (before, wanted)
        kills += killed
        _steps(server, app, story)()
        whole = _settled(server, app, read_inventory(server, app), commit=f"c{number}")
        assert dict(whole.objects) == wanted
        if story != "shrinks":
            assert set(_there(server, app)) == {app.inventory, *(s.name for s in whole.shards)}
        if number and not killed:
            break
    print(f"{story}: {kills} kills, always the old or the new set")
    assert kills >= 5


def test_readers_between_the_steps_see_one_set_or_the_other(server: Cluster, app: App) -> None:
    """While a writer goes to and fro, every reader reads the old objects or the new ones."""
    first, second = objects(LARGE), objects(LARGE + 500)
    now = write_ahead(server, app, Inventory(), first)
    done = threading.Event()
    sizes: list[int] = []

    def read() -> None:
        while not done.is_set():
            sizes.append(len(read_inventory(server, app).objects))

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(read) for _ in range(2)]
        try:
            for _ in range(4):
                now = write_ahead(server, app, now, second)
                extra = [key for key in second if key not in first]
                now = _settled(server, app, now, extra, commit=uuid.uuid4().hex)
        finally:
            done.set()
        for job in jobs:
            job.result()
    print(f"{len(sizes)} reads during 8 writes: {sorted(set(sizes))} objects")
    assert set(sizes) <= {len(first), len(second)}


def test_of_two_writers_one_wins_and_the_set_is_whole(server: Cluster, app: App) -> None:
    """The other has a conflict; what it wrote in vain is removed by the next write."""
    base = write_ahead(server, app, Inventory(), objects(LARGE))
    won = write_ahead(server, app, base, objects(100, LARGE))
    with pytest.raises(ConflictError):
        write_ahead(server, app, base, objects(300, 2 * LARGE))
    assert dict(read_inventory(server, app).objects) == objects(LARGE + 100)
    after = _settled(server, app, won)
    assert set(_there(server, app)) == {app.inventory, *(s.name for s in after.shards)}


@pytest.mark.parametrize("harm", ["deleted", "replaced", "left out of the head"])
def test_a_set_that_is_not_whole_is_an_error(server: Cluster, app: App, harm: str) -> None:
    """A shard that is gone, has other rows, or is no longer named: never a smaller inventory."""
    whole = write_ahead(server, app, Inventory(), objects(LARGE))
    name = whole.shards[0].name
    path = f"{shards.COLLECTION}/{name}"
    live = server.get(path)
    if harm == "left out of the head":
        head = server.get(f"{shards.COLLECTION}/{app.inventory}")
        document = json.loads(head["data"]["inventory"])
        document["shards"] = document["shards"][1:]
        head["data"]["inventory"] = json.dumps(document)
        server.request("PUT", f"{shards.COLLECTION}/{app.inventory}", body=head)
    else:
        server.request("DELETE", path)
    if harm == "replaced":
        metadata = {"name": name, "labels": live["metadata"]["labels"]}
        text = shards._text([["v1", "ConfigMap", "default", "x"]])
        body = {"metadata": metadata, "data": {"objects": text}}
        server.request("POST", shards.COLLECTION, body=body)
    with pytest.raises(OpslibError) as caught:
        read_inventory(server, app)
    assert caught.value.where
    assert name in caught.value.where or app.inventory in caught.value.where
    assert caught.value.hint


def test_a_shard_cannot_be_edited(server: Cluster, app: App) -> None:
    """It is immutable: the API server itself refuses."""
    whole = write_ahead(server, app, Inventory(), objects(LARGE))
    path = f"{shards.COLLECTION}/{whole.shards[0].name}"
    with pytest.raises(OpslibError, match="immutable"):
        server.request(
            "PATCH",
            path,
            body={"data": {"objects": "[]"}},
            content_type="application/merge-patch+json",
        )


def test_a_head_of_an_unknown_format_is_an_error(server: Cluster, app: App) -> None:
    """What a newer opslib wrote is not taken for an empty inventory."""
    write_ahead(server, app, Inventory(), objects(2))
    head = server.get(f"{shards.COLLECTION}/{app.inventory}")
    head["data"]["inventory"] = head["data"]["inventory"].replace("/v1", "/v9")
    server.request("PUT", f"{shards.COLLECTION}/{app.inventory}", body=head)
    with pytest.raises(OpslibError, match="cannot be read"):
        read_inventory(server, app)


def test_names_of_shards_are_no_inventories_of_other_apps() -> None:
    """The dot in them is in no app's name."""
    parts = shards.planned(App("a"), {"x": 1}, (), "7")
    assert all("." in shard.name for shard in parts)
    with pytest.raises(OpslibError):
        App("a.b")
