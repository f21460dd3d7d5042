"""Secrets, plain and sealed, and custom resources: differences are told, values are not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from opslib.drift.encode import review_document
from opslib.drift.model import Plane
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError

from .scene import ADDED, CHANGED, MISSING, REMOVED, Scene, told

GROUP = "bitnami.com/v1alpha1"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OPENER = "controller"
"""The field manager of the sealed-secrets controller; a hand here writes in its place."""


@pytest.fixture
def sealing(server: Cluster) -> Iterator[None]:
    """Let the server have the kind SealedSecret; without its controller."""
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {**open_schema}},
    }
    names = {"plural": "sealedsecrets", "kind": "SealedSecret", "singular": "sealedsecret"}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "sealedsecrets.bitnami.com"},
        "spec": {
            "group": "bitnami.com",
            "names": names,
            "scope": "Namespaced",
            "versions": [version],
        },
    }
    server.request("POST", _CRDS, body=body)
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            server.get(f"/apis/{GROUP}/namespaces/default/sealedsecrets")
            break
        except ApiError:
            time.sleep(0.1)
    yield
    server.request("DELETE", f"{_CRDS}/sealedsecrets.bitnami.com")


def sealed(name: str, *keys: str) -> str:
    """Return the YAML of a SealedSecret."""
    body = {
        "apiVersion": GROUP,
        "kind": "SealedSecret",
        "metadata": {"name": name},
        "spec": {"encryptedData": {key: f"AgB{key}" for key in keys}},
    }
    return json.dumps(body)


def unsealed(scene: Scene, name: str, **data: str) -> None:
    """Do what the controller does: write the Secret that a SealedSecret stands for."""
    owner = scene.live("sealedsecrets", name, GROUP)
    reference = {
        "apiVersion": GROUP,
        "kind": "SealedSecret",
        "name": name,
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": name, "ownerReferences": [reference]}
    scene.server.request(
        "POST",
        scene.path("secrets"),
        query={"fieldManager": OPENER},
        body={"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data},
    )


def test_sealed_secrets_are_compared_without_values(scene: Scene, sealing: None) -> None:
    """Missing, other keys, no longer kept, edited by somebody: told, and no value is."""
    names = ("good", "edited", "keys", "free", "gone")
    scene.apply(**{name: sealed(name, "password", "user") for name in names})
    for name in names[:-1]:
        unsealed(scene, name, password=f"canary-{name}", user="app")
    scene.edit("secrets", "edited", {"stringData": {"password": "canary-by-hand"}})
    scene.edit("secrets", "keys", {"stringData": {"more": "canary-more"}, "data": {"user": None}})
    scene.edit("secrets", "free", {"metadata": {"ownerReferences": None}})
    review = scene.review()
    assert told(review.drifts) == sorted(
        [
            ("Secret/edited", CHANGED, "data.password"),
            ("Secret/free", REMOVED, "metadata.ownerReferences"),
            ("Secret/gone", MISSING, ""),
            ("Secret/keys", ADDED, "data.more"),
            ("Secret/keys", REMOVED, "data.user"),
        ]
    )
    assert {one.plane for one in review.drifts} == {Plane.SECRETS}
    assert "canary" not in json.dumps(review_document(review))
    edited = next(one for one in review.drifts if one.key.name == "edited")
    assert "kubectl-edit" in edited.note
    assert not review.unread


def test_plain_secrets_are_compared_by_tokens(scene: Scene) -> None:
    """A value that changed is a drift of two tokens; added keys are tokens, too."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: canary-1, b: x}\n"
    scene.apply(s=text)
    scene.edit("secrets", "s", {"stringData": {"a": "canary-2", "c": "canary-3"}})
    review = scene.review()
    assert told(review.drifts) == [
        ("Secret/s", ADDED, "data.c"),
        ("Secret/s", CHANGED, "data.a"),
    ]
    document = json.dumps(review_document(review))
    for value in ("canary", "Y2FuYXJ5"):
        assert value not in document
    changed = review.drifts[0]
    assert str(changed.declared).startswith("<masked ")
    assert changed.declared != changed.live


def test_custom_resources_are_compared_without_a_schema(scene: Scene, sealing: None) -> None:
    """In a kind of which nothing is known: nested keys, items, lists; and its controller's hold."""
    body: dict[str, Any] = {
        "apiVersion": GROUP,
        "kind": "SealedSecret",
        "metadata": {"name": "one"},
        "spec": {"deep": {"a": {"b": 1}}, "items": [{"name": "x"}], "cpu": "1000m"},
    }
    scene.apply(one=json.dumps(body))
    unsealed(scene, "one")
    scene.edit("sealedsecrets", "one", {"status": {"ok": True}}, GROUP, manager=OPENER,
               subresource="status")  # fmt: skip
    hold = {"metadata": {"finalizers": ["finalizer.bitnami.com"]}}
    scene.edit("sealedsecrets", "one", hold, GROUP, manager=OPENER)
    assert told(scene.review().drifts) == []
    change = {"spec": {"deep": {"a": {"c": 2}, "d": {"e": [1]}}, "new": "x"}}
    scene.edit("sealedsecrets", "one", change, GROUP)
    more = [{"op": "add", "path": "/spec/items/-", "value": {"name": "y"}}]
    scene.edit("sealedsecrets", "one", more, GROUP)
    added = [{"op": "add", "path": "/metadata/finalizers/-", "value": "evil.example.com"}]
    scene.edit("sealedsecrets", "one", added, GROUP)
    review = scene.review()
    scene.edit("sealedsecrets", "one", {"metadata": {"finalizers": None}}, GROUP)
    assert told(review.drifts) == sorted(
        [
            ("SealedSecret/one", ADDED, "spec.deep.a.c"),
            ("SealedSecret/one", ADDED, "spec.deep.d"),
            ("SealedSecret/one", ADDED, "spec.new"),
            ("SealedSecret/one", ADDED, "spec.items[name=y]"),
            ("SealedSecret/one", ADDED, "metadata.finalizers[1]"),
        ]
    )
