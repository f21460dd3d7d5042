"""The desired state: bound to the server's kinds, normal, or refused with file and line."""

from __future__ import annotations

import pytest

from opslib.core.errors import InputError, Problems
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.desired import Desired, declare

from .conftest import config_map, resources

CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: lanes.shop.example
spec:
  group: shop.example
  scope: Namespaced
  names: {kind: Lane, plural: lanes, singular: lane}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
LANE = "apiVersion: shop.example/v1\nkind: Lane\nmetadata:\n  name: left\nspec: {speed: 3}\n"


def _declare(server: Cluster, text: str) -> Desired:
    return declare(resources(text), Discovery(server), namespace="somewhere")


def test_a_resource_without_a_namespace_gets_the_default_one(server: Cluster) -> None:
    """Namespaced kinds are put where the person is; cluster-scoped ones stay without."""
    text = config_map("a", k="v") + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n"
    found = _declare(server, text)
    assert [t.key.namespace for t in found.targets] == ["somewhere", ""]
    assert found.namespaces == {"n"}


def test_a_namespace_on_a_cluster_scoped_kind_is_left_out_and_told(server: Cluster) -> None:
    """An injected namespace would make an identity that no live object ever has."""
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, namespace: wrong}\n"
    found = _declare(server, text)
    assert found.targets[0].key.namespace == ""
    assert "cluster-scoped" in found.warnings[0]


def test_the_servers_fields_are_left_out_and_told(server: Cluster) -> None:
    """Exported objects can be put into Git as they are; what is the server's is not sent."""
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, uid: x}\nstatus: {phase: Active}\n"
    found = _declare(server, text)
    assert found.targets[0].resource.manifest == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "n"},
    }
    assert len(found.warnings) == 2


def test_string_data_becomes_data(server: Cluster) -> None:
    """Server-side apply would own the write-only field, and dropped keys would stay."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hello}\n"
    manifest = _declare(server, text).targets[0].resource.manifest
    assert manifest["data"] == {"k": "aGVsbG8="}
    assert "stringData" not in manifest


def test_an_unknown_kind_is_refused_with_its_line_and_the_nearest_one(server: Cluster) -> None:
    """A misspelt kind is told with file:line and what was probably meant."""
    text = (
        config_map("a", k="v") + "---\napiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: x}\n"
    )
    with pytest.raises(Problems) as caught:
        _declare(server, text)
    assert "app.yaml:8" in str(caught.value)
    assert "Deployment" in str(caught.value)


def test_a_removed_version_is_refused_with_the_present_one(server: Cluster) -> None:
    """An API version that the server no longer has is told with the one that it has."""
    text = "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: x}\n"
    with pytest.raises(Problems) as caught:
        _declare(server, text)
    assert "apps/v1" in str(caught.value)
    assert "opslib upgrade" in str(caught.value)


def test_a_kind_may_come_from_a_crd_of_the_same_revision(server: Cluster) -> None:
    """A custom resource beside its definition is accepted, and marked as such."""
    found = _declare(server, CRD + "---\n" + LANE)
    assert [t.provided for t in found.targets] == [False, True]
    assert (
        found.targets[1].kind.path("n", "left") == "/apis/shop.example/v1/namespaces/n/lanes/left"
    )


def test_a_custom_resource_without_its_definition_is_refused(server: Cluster) -> None:
    """The missing CustomResourceDefinition is named as what to do."""
    with pytest.raises(Problems, match="Lane") as caught:
        _declare(server, LANE)
    assert "CustomResourceDefinition" in str(caught.value)


def test_one_object_declared_twice_is_refused(server: Cluster) -> None:
    """The same identity through the default namespace counts as the same."""
    text = (
        config_map("a", k="v")
        + "---\n"
        + config_map("a", k="w").replace("name: a", "name: a\n  namespace: somewhere")
    )
    with pytest.raises(Problems, match="declared twice") as caught:
        _declare(server, text)
    assert "app.yaml:1 and app.yaml:8" in str(caught.value)


def test_nothing_at_all_is_refused(server: Cluster) -> None:
    """An empty set of resources is never taken for what Git wants."""
    with pytest.raises(InputError, match="nothing to apply"):
        declare([], Discovery(server), namespace="default")
