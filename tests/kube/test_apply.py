"""Writes under a lock, and discovery, against a real API server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError
from opslib.core.model import ResourceKey
from opslib.kube.apply import Lock, delete, server_side_apply
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.errors import ApiError

from .conftest import Asked, Reply, connected, serving

ME = "opslib-test"


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    """Build a ConfigMap."""
    metadata = {"name": "one", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.fixture
def kind(discovery: Discovery) -> Kind:
    """Return the ConfigMap's kind."""
    found = discovery.find("v1", "ConfigMap")
    assert found
    return found


def refused(code: int, *args: Any, **more: Any) -> ApiError:
    """Apply and return the error, which must have this code."""
    with pytest.raises(ApiError) as caught:
        server_side_apply(*args, manager=ME, **more)
    assert caught.value.code == code, caught.value
    return caught.value


def test_create_and_change_under_a_lock(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """An object is created without a lock and changed under the one that was read."""
    first = server_side_apply(cluster, kind, config_map(namespace, a="1"), manager=ME)
    second = server_side_apply(
        cluster, kind, config_map(namespace, a="2"), manager=ME, lock=Lock.of(first)
    )
    assert second["data"] == {"a": "2"}
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert second["metadata"]["managedFields"][0]["manager"] == ME


def test_dry_run_writes_nothing(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """A dry run answers as the write would, and nothing is there afterwards."""
    answer = server_side_apply(
        cluster, kind, config_map(namespace, a="1"), manager=ME, dry_run=True
    )
    assert answer["data"] == {"a": "1"}
    assert cluster.find(kind.path(namespace, "one")) is None


@pytest.mark.parametrize("dry_run", [False, True])
def test_object_that_moved(cluster: Cluster, kind: Kind, namespace: str, *, dry_run: bool) -> None:
    """An object that somebody changed since is a conflict (409), forced or not, dry or not."""
    lock = Lock.of(server_side_apply(cluster, kind, config_map(namespace, a="1"), manager=ME))
    server_side_apply(cluster, kind, config_map(namespace, a="2"), manager="other")
    refused(409, cluster, kind, config_map(namespace, a="3"), lock=lock, dry_run=dry_run)
    assert cluster.get(kind.path(namespace, "one"))["data"] == {"a": "2"}


def test_object_that_is_gone(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """An object that was deleted since is a conflict (409) and is not made again."""
    lock = Lock.of(server_side_apply(cluster, kind, config_map(namespace), manager=ME))
    assert delete(cluster, kind, namespace, "one", lock=lock)
    refused(409, cluster, kind, config_map(namespace), lock=lock)
    assert cluster.find(kind.path(namespace, "one")) is None


def test_object_that_was_made_anew(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """An object deleted and made anew since is refused (422): it is not the one that was read."""
    lock = Lock.of(server_side_apply(cluster, kind, config_map(namespace, a="1"), manager=ME))
    delete(cluster, kind, namespace, "one", lock=lock)
    anew = server_side_apply(cluster, kind, config_map(namespace, a="2"), manager=ME)
    version = anew["metadata"]["resourceVersion"]
    error = refused(422, cluster, kind, config_map(namespace, a="3"), lock=Lock(lock.uid, version))
    assert error.causes[0].field == "metadata.uid"
    assert cluster.get(kind.path(namespace, "one"))["data"] == {"a": "2"}


def test_owned_by_another_manager(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """Without force a field of another manager is a conflict that names the manager."""
    server_side_apply(cluster, kind, config_map(namespace, a="1"), manager="other")
    error = refused(409, cluster, kind, config_map(namespace, a="2"), force=False)
    assert 'conflict with "other"' in error.what
    assert error.causes[0].field == ".data.a"


def test_unknown_field(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """A field that the kind does not have is an error, not left out in silence."""
    body = {**config_map(namespace), "datta": {"a": "1"}}
    with pytest.raises(ApiError, match="datta"):
        server_side_apply(cluster, kind, body, manager=ME)
    assert cluster.find(kind.path(namespace, "one")) is None


def test_missing_namespace(cluster: Cluster, kind: Kind) -> None:
    """A namespace that does not exist is a 404 that names it."""
    assert "no-such" in refused(404, cluster, kind, config_map("no-such")).what


def test_delete_under_a_lock(cluster: Cluster, kind: Kind, namespace: str) -> None:
    """Only the object that was read is deleted: another version or another uid is a conflict."""
    live = server_side_apply(cluster, kind, config_map(namespace, a="1"), manager=ME)
    uid, version = live["metadata"]["uid"], live["metadata"]["resourceVersion"]
    for wrong in (Lock(uid, "1"), Lock(str(uuid.uuid4()), version)):
        with pytest.raises(ApiError) as caught:
            delete(cluster, kind, namespace, "one", lock=wrong)
        assert caught.value.code == 409
    lock = Lock(uid, version)
    assert delete(cluster, kind, namespace, "one", lock=lock, dry_run=True)
    assert cluster.find(kind.path(namespace, "one"))
    assert delete(cluster, kind, namespace, "one", lock=lock)
    assert not delete(cluster, kind, namespace, "one", lock=lock)


def test_kinds(discovery: Discovery) -> None:
    """Kinds know their scope, verbs, subresources and paths; the preferred version comes first."""
    deployment = discovery.find("apps/v1", "Deployment")
    assert deployment
    assert deployment.namespaced
    assert "scale" in deployment.subresources
    assert "patch" in deployment.verbs
    assert deployment.path("a b", "x", "scale") == (
        "/apis/apps/v1/namespaces/a%20b/deployments/x/scale"
    )
    node = discovery.of_key(ResourceKey("", "Node", "", "n"))
    assert node
    assert node.path("ignored", "n") == "/api/v1/nodes/n"
    scaler = discovery.preferred("autoscaling", "HorizontalPodAutoscaler")
    assert scaler
    assert scaler.api_version == "autoscaling/v2"
    assert discovery.preferred("apps", "Nothing") is None


def test_unknown_kinds(discovery: Discovery) -> None:
    """An unknown kind is answered with other versions of it, or with names that are near."""

    def answer(api_version: str, kind: str) -> InputError:
        with pytest.raises(InputError) as caught:
            discovery.of({"apiVersion": api_version, "kind": kind}, "app.yaml:3")
        assert caught.value.where == "app.yaml:3"
        assert f"no {kind} in {api_version}" in caught.value.what
        return caught.value

    assert "apps/v1" in str(answer("extensions/v1beta1", "Deployment").hint)
    assert "Deployment" in str(answer("apps/v1", "Deploymnet").hint)
    hint = str(answer("example.dev/v1", "Zyxwvut").hint)
    assert "CustomResourceDefinition" in hint
    assert "nearest" not in hint


@pytest.fixture
def definition(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Give a CustomResourceDefinition of a name of its own; it is deleted afterwards."""
    word = f"w{uuid.uuid4().hex[:8]}"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    yield {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{word}s.tests.opslib.dev"},
        "spec": {
            "group": "tests.opslib.dev",
            "scope": "Namespaced",
            "names": {"plural": f"{word}s", "singular": word, "kind": word.title()},
            "versions": [version],
        },
    }
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    if cluster.find(f"{root}/{word}s.tests.opslib.dev"):
        cluster.request("DELETE", f"{root}/{word}s.tests.opslib.dev")


def test_refresh_after_a_definition(
    cluster: Cluster, discovery: Discovery, definition: dict[str, Any]
) -> None:
    """A kind that was just defined is found after refresh, and not before."""
    name = definition["spec"]["names"]["kind"]
    assert discovery.find("tests.opslib.dev/v1", name) is None
    kind = discovery.of(definition, "crd.yaml:1")
    server_side_apply(cluster, kind, definition, manager=ME)
    assert discovery.find("tests.opslib.dev/v1", name) is None
    until = time.monotonic() + 90
    while time.monotonic() < until:
        discovery.refresh()
        if discovery.find("tests.opslib.dev/v1", name):
            return
        time.sleep(0.1)
    pytest.fail("the new kind was not found")


def _lasting(discovery: Discovery) -> set[tuple[tuple[str, str], Kind]]:
    """Return the kinds but those of this module's own definition, which takes its time to go."""
    return {one for one in discovery.all().items() if one[0][0] != "tests.opslib.dev/v1"}


def test_discovery_takes_two_requests(tmp_path: Path, cluster: Cluster) -> None:
    """All kinds of an API server with aggregated discovery cost two requests, and only once."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    real = {path: cluster.request("GET", path, accept=accept) for path in ("/api", "/apis")}
    assert "items" in real["/apis"]
    with (
        serving(lambda reply, asked: reply.json(real[asked.path])) as fake,
        connected(fake, tmp_path / "k") as other,
    ):
        discovery = Discovery(other)
        assert _lasting(discovery) == _lasting(Discovery(cluster))
        assert discovery.find("v1", "Pod")
        assert [a.path for a in fake.asked] == ["/version", "/api", "/apis"]


def test_older_form_of_discovery(tmp_path: Path, cluster: Cluster) -> None:
    """An API server without aggregated discovery is read version by version, to the same kinds."""

    def answer(reply: Reply, asked: Asked) -> None:
        if asked.path == "/apis":
            body = cluster.get(asked.path)
            down = {"groupVersion": "metrics.example/v1", "version": "v1"}
            extra = {"name": "metrics.example", "versions": [down], "preferredVersion": down}
            reply.json({**body, "groups": [*body["groups"], extra]})
        elif "metrics.example" in asked.path:
            reply.json({"reason": "ServiceUnavailable"}, 503)
        else:
            reply.json(cluster.get(asked.path))

    with serving(answer) as fake, connected(fake, tmp_path / "k") as other:
        assert _lasting(Discovery(other)) == _lasting(Discovery(cluster))
