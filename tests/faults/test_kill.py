"""kill -9 at every request of an apply with prune: the next apply makes it whole."""

from __future__ import annotations

import multiprocessing
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from opslib.kube.client import Cluster
from opslib.reconcile.app import App
from opslib.reconcile.inventory import read_inventory
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from . import victim

POINTS = 200
"""Kills at least, over all stories together."""


def config(*names: str, value: str = "1") -> str:
    """Return the YAML of ConfigMaps."""
    return "---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: '{value}'}}\n"
        for name in names
    )


def service(*names: str) -> str:
    """Return the YAML of headless Services."""
    return "---\n".join(
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        "spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80}]}\n"
        for name in names
    )


def secret(name: str, value: str) -> str:
    """Return the YAML of a Secret."""
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{p: {value}}}\n"


STORIES = {
    "a first apply": ("", config("a", "b", "c", "d") + "---\n" + service("s", "t")),
    "changes, additions and deletes": (
        config("a", "b", "c", "d", "e", "f") + "---\n" + service("s", "t"),
        config("a", "b", "c", value="2")
        + "---\n"
        + config("d", "new", "newer")
        + "---\n"
        + service("t", "u"),
    ),
    "most of it is deleted": (
        config("keep", *(f"old{i}" for i in range(8))) + "---\n" + service("s"),
        config("keep"),
    ),
    "it grows and moves": (
        config("a", "b") + "---\n" + service("s"),
        config("b", value="2") + "---\n" + config(*"cdefg") + "---\n" + service("s", "t"),
    ),
    "a secret changes and a kind goes": (
        secret("p", "one") + "---\n" + config("a", "b") + "---\n" + service("s", "t", "u"),
        secret("p", "two") + "---\n" + config("a", "b", value="3"),
    ),
}


@dataclass
class Field:
    """A namespace in which applies are killed; a bystander in it belongs to nobody's app."""

    cluster: Cluster
    kubeconfig: str
    namespace: str
    app: str = field(default_factory=lambda: f"k{uuid.uuid4().hex[:8]}")

    def objects(self) -> dict[str, tuple[str, Any]]:
        """Return what lies here: uid and data by kind and name, without what controllers make."""
        found = {}
        for plural in ("configmaps", "secrets", "services"):
            items, _ = self.cluster.list(f"/api/v1/namespaces/{self.namespace}/{plural}")
            for item in items:
                name = item["metadata"]["name"]
                if name != "kube-root-ca.crt":
                    found[f"{plural}/{name}"] = (item["metadata"]["uid"], item.get("data"))
        return found

    def inventory(self) -> set[str]:
        """Return what the app's inventory names."""
        read = read_inventory(self.cluster, App(self.app))
        return {f"{key.kind.lower()}s/{key.name}" for key in read.objects}

    def apply(self, text: str, commit: str) -> bool:
        """Apply to the end."""
        return victim.apply(victim.Job(self.kubeconfig, self.namespace, self.app, text, commit))

    def clear(self) -> None:
        """Remove all but the bystander, and the inventory."""
        for name in self.objects():
            if name != "configmaps/bystander":
                self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}/{name}")
        path = f"/api/v1/namespaces/opslib-system/configmaps/{App(self.app).inventory}"
        if self.cluster.find(path):
            self.cluster.request("DELETE", path)


@pytest.fixture
def arena(server: Cluster, sandbox: Status, namespace: str) -> Iterator[Field]:
    """Return a namespace with a bystander."""
    one = Field(server, sandboxes.environment(sandbox.name)["KUBECONFIG"], namespace)
    server.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/configmaps",
        body={"metadata": {"name": "bystander"}, "data": {"k": "mine"}},
    )
    yield one
    one.clear()


def _killed(arena: Field, text: str, number: int, moment: str) -> bool:
    """Apply in a process that is killed at a request; False when it ended before that."""
    job = victim.Job(arena.kubeconfig, arena.namespace, arena.app, text, "b")
    process = multiprocessing.get_context("forkserver").Process(
        target=victim.dies, args=(job, number, moment)
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode in {-signal.SIGKILL, victim.WRITTEN}, process.exitcode
    return process.exitcode == -signal.SIGKILL


COUNTS: dict[str, int] = {}


@pytest.mark.parametrize("story", STORIES)
def test_a_killed_apply_is_made_whole_by_the_next(arena: Field, story: str) -> None:
    """At every request, before it is sent and after it was answered."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([victim.__name__])
    old, new = STORIES[story]
    number = 0
    began = time.monotonic()
    for moment in ("before", "after"):
        for number in range(1, 1000):
            arena.clear()
            if old:
                assert arena.apply(old, "a")
            before = arena.objects()
            killed = _killed(arena, new, number, moment)
            middle = arena.objects()
            _nothing_wrong_was_deleted(before, middle, new)
            _nothing_is_untracked(arena, middle)
            assert arena.apply(new, "b"), f"killed {moment} request {number}"
            after = arena.objects()
            assert set(after) == {*_names(new), "configmaps/bystander"}
            assert arena.inventory() == _names(new)
            assert all(after[name][0] == middle[name][0] for name in middle if name in after)
            if not killed:
                break
            COUNTS[story] = COUNTS.get(story, 0) + 1
    print(f"{story}: {COUNTS[story]} kills of {number - 1} requests each way, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip


def fixed(value: str) -> str:
    """Return the YAML of an immutable ConfigMap that may be deleted and created."""
    return (
        "apiVersion: v1\nkind: ConfigMap\nimmutable: true\nmetadata:\n  name: fixed\n"
        f"  annotations: {{opslib.dev/replace: enabled}}\ndata: {{k: '{value}'}}\n"
    )


def test_a_killed_replacement_is_made_whole_by_the_next(arena: Field) -> None:
    """Killed between the delete and the create too, the object comes back with its new value."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([victim.__name__])
    rest = "---\n" + config("other")
    gone, kills = 0, 0
    for moment in ("before", "after"):
        for number in range(1, 1000):
            arena.clear()
            assert arena.apply(fixed("1") + rest, "a")
            killed = _killed(arena, fixed("2") + rest, number, moment)
            gone += "configmaps/fixed" not in arena.objects()
            assert "configmaps/fixed" in arena.inventory()
            assert arena.apply(fixed("2") + rest, "b"), f"killed {moment} request {number}"
            assert arena.objects()["configmaps/fixed"][1] == {"k": "2"}
            if not killed:
                break
            kills += 1
    print(f"a replacement: {kills} kills, {gone} of them while the object was gone")
    assert gone > 0


def test_there_were_enough_kills() -> None:
    """The stories together have as many points as promised."""
    print(f"{sum(COUNTS.values())} kills, 0 orphans, 0 wrong deletes")
    assert sum(COUNTS.values()) >= POINTS


def _names(text: str) -> set[str]:
    return {
        f"{manifest['kind'].lower()}s/{manifest['metadata']['name']}"
        for manifest in yaml.safe_load_all(text)
        if manifest
    }


def _nothing_wrong_was_deleted(before: dict[str, Any], middle: dict[str, Any], new: str) -> None:
    """What the new revision has, and the bystander, are the objects that they were."""
    for name in {*_names(new), "configmaps/bystander"} & set(before):
        assert middle[name][0] == before[name][0], name


def _nothing_is_untracked(arena: Field, middle: dict[str, Any]) -> None:
    """Every object that is there, but the bystander, is in the inventory."""
    assert set(middle) - {"configmaps/bystander"} <= arena.inventory()
