"""Differences: every field that differs is named, nothing else is, and each has its line."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opslib.core.model import Origin, Resource
from opslib.reconcile.diff import declared_fields, differences, field_changes, show

LEAF = st.one_of(st.booleans(), st.integers(), st.text(max_size=4))
NODE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "spec", "a.b", "ports", "x"]), inner, max_size=4),
    ),
    max_leaves=12,
)


def _pod(**containers: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": n, "image": i} for n, i in containers.items()]},
    }


@given(NODE)
def test_an_object_does_not_differ_from_its_copy(node: Any) -> None:
    """Equal values have no differences, whatever they are."""
    assert list(differences(node, copy.deepcopy(node))) == []


@given(NODE, NODE)
def test_different_objects_have_a_difference(one: Any, other: Any) -> None:
    """Whatever is not equal in JSON is named, and nothing that is equal."""
    found = list(differences({"k": one}, {"k": other}))
    assert bool(found) == (json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    for _, before, after in found:
        assert json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)


def test_items_are_matched_by_name_and_not_by_position() -> None:
    """A container that moves is no change of its image; the move itself is one."""
    before, after = _pod(app="a:1", side="s:1"), _pod(side="s:1", app="a:2")
    paths = {show(path): (old, new) for path, old, new in differences(before, after)}
    assert paths == {
        "spec.containers[name=app].image": ("a:1", "a:2"),
        "spec.containers (order)": ("name=app, name=side", "name=side, name=app"),
    }


def test_ports_are_matched_by_number_and_protocol() -> None:
    """Two ports of one number are different ports when their protocols differ."""
    before = {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}
    after = {"ports": [{"port": 53, "protocol": "TCP"}]}
    found = [(show(path), new) for path, _, new in differences(before, after)]
    assert found == [("ports[port=53,protocol=UDP]", None)]


def test_the_servers_own_fields_are_not_compared() -> None:
    """Status, resourceVersion and managedFields of a live object are nobody's change."""
    live = _pod(app="a:1")
    live["metadata"].update({"resourceVersion": "7", "managedFields": [{}], "uid": "u"})
    live["status"] = {"phase": "Running"}
    resource = Resource(_pod(app="a:1"), Origin("pod.yaml", 1))
    assert field_changes(live, resource.manifest, resource) == []


def test_each_field_knows_its_line() -> None:
    """A changed field has its own line; one that Git does not declare has its parent's."""
    lines = {"/spec": 5, "/spec/containers/0": 6, "/spec/containers/0/image": 7}
    resource = Resource(_pod(app="a:2"), Origin("pod.yaml", 1), lines)
    live = _pod(app="a:1")
    live["spec"]["containers"][0]["tty"] = True
    found = {c.path: c.line for c in field_changes(live, resource.manifest, resource)}
    assert found == {
        "spec.containers[name=app].image": 7,
        "spec.containers[name=app].tty": 6,
    }


def test_keys_with_dots_are_quoted_in_a_path() -> None:
    """An annotation's key stays one step."""
    assert show(("metadata", "annotations", "a.b/c")) == 'metadata.annotations["a.b/c"]'


def test_a_creation_lists_every_declared_leaf() -> None:
    """What creating an object sets is what its manifest declares, without its identity."""
    resource = Resource(_pod(app="a:1"), Origin("pod.yaml", 1))
    found = {c.path: c.after for c in declared_fields(resource)}
    assert found == {
        "spec.containers[name=app].name": "app",
        "spec.containers[name=app].image": "a:1",
    }
