"""What others own, what nobody owns, and what an undisturbed twin has not: the pure part."""

from __future__ import annotations

import copy
import json
import string
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.model import ResourceKey
from opslib.drift.additions import (
    Addition,
    Owner,
    Ownership,
    beyond,
    foreign,
    owners_of,
    split,
    unowned,
)
from opslib.drift.alike import mark_of
from opslib.drift.noise import why
from opslib.drift.twins import Twin, twin_for
from opslib.drift.weigh import Defaults, is_wiped
from opslib.reconcile.diff import show
from opslib.reconcile.fieldpath import value_at

OURS = "opslib-shop"
KEY = ResourceKey("example.com", "Thing", "production", "one")
MANAGERS = ("kubectl-edit", "helm", "kube-controller-manager", OURS)

_names = st.text(string.ascii_lowercase, min_size=1, max_size=4)
_scalars = st.integers(0, 9) | st.booleans() | st.text("xyz./-", max_size=5)


def _named(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists that merge by name, as containers and env do."""
    items = st.builds(lambda name, rest: {**rest, "name": name}, _names, values)
    return st.lists(items, min_size=1, max_size=3, unique_by=lambda one: str(one["name"]))


_maps = st.recursive(
    st.dictionaries(_names, _scalars, min_size=1, max_size=3),
    lambda inner: st.dictionaries(_names, inner | _named(inner) | _scalars, min_size=1, max_size=3),
    max_leaves=8,
)


def fields_of(value: Any) -> dict[str, Any]:
    """Return the set of fields of a value, as server-side apply writes it."""
    if isinstance(value, dict):
        return {f"f:{key}": fields_of(one) for key, one in value.items()}
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        marks = (json.dumps({"name": one["name"]}, separators=(",", ":")) for one in value)
        return {
            f"k:{mark}": {".": {}, **fields_of(one)} for mark, one in zip(marks, value, strict=True)
        }
    return {}


def entry(manager: str, fields: dict[str, Any], operation: str = "Update") -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields}


def thing(spec: Any) -> dict[str, Any]:
    """Return an object as Git declares it."""
    metadata = {"name": "one", "namespace": "production"}
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": metadata, "spec": spec}


def merged(one: Any, more: Any) -> Any:
    """Return a value with what another has beside it; lists of named items by name."""
    if isinstance(one, dict) and isinstance(more, dict):
        return {
            key: merged(one[key], more[key]) if key in one and key in more else {**more, **one}[key]
            for key in [*one, *(k for k in more if k not in one)]
        }
    both = isinstance(one, list) and isinstance(more, list)
    if both and all(isinstance(item, dict) and "name" in item for item in (*one, *more)):
        mine: dict[str, Any] = {item["name"]: item for item in one}
        found = {item["name"]: merged(mine.get(item["name"], item), item) for item in more}
        return [found.get(name, item) for name, item in mine.items()] + [
            item for name, item in found.items() if name not in mine
        ]
    return one


def spots(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all mappings in a value."""
    if isinstance(node, dict):
        inner = [spots(one, (*place, key)) for key, one in node.items()]
        return [place, *(spot for one in inner for spot in one)]
    if isinstance(node, list):
        steps = [(("name", one["name"]),) for one in node if isinstance(one, dict)]
        inner = [spots(one, (*place, s)) for one, s in zip(node, steps, strict=True)]
        return [spot for one in inner for spot in one]
    return []


def fields_at(node: Any, place: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the set of fields that has ``fields`` at a place."""
    for step in reversed(place):
        if isinstance(step, tuple):
            mark = json.dumps(dict(step), separators=(",", ":"))
            fields = {f"k:{mark}": {".": {}, **fields}}
        else:
            fields = {f"f:{step}": fields}
    return fields


@given(_maps, _maps, st.data())
@settings(max_examples=300, deadline=None)
def test_exactly_what_was_edited_is_found(
    declared: Any, defaults: Any, data: st.DataObject
) -> None:
    """In any declaration with any defaults, by any manager, at any depth; nothing where nothing."""
    body, twin = thing(declared), thing(merged(declared, defaults))
    own = entry(OURS, {"f:spec": fields_of(declared)}, "Apply")
    twin["metadata"]["managedFields"] = [own]
    live = copy.deepcopy(twin)
    entries = [own]
    expected: set[tuple[Any, ...]] = set()
    for number in range(data.draw(st.integers(0, 3))):
        place = ("spec", *data.draw(st.sampled_from(spots(live["spec"]))))
        there, node = value_at(live, place)
        assert there
        key = f"NEW{number}"
        node[key] = data.draw(_scalars)
        manager = data.draw(st.sampled_from(MANAGERS))
        entries.append(entry(manager, fields_at(live, (*place, key), {})))
        if not any(place[: len(one)] == one for one in expected):
            expected.add((*place, key))
    way = data.draw(st.sampled_from(("kept", "wiped", "own gone", "theirs gone")))
    kept = {"kept": entries, "wiped": [], "own gone": entries[1:], "theirs gone": [own]}[way]
    live["metadata"]["managedFields"] = kept

    assert {one.place for one in beyond(live, twin)} == expected
    learned = Defaults()
    learned.learn(Twin(body, twin, "one"))
    strange = learned.strange(KEY, live)
    theirs = [one for one in foreign(live, OURS) if not value_at(body, one.place)[0]]
    suspect = bool(theirs or strange or is_wiped(live, OURS))
    assert suspect or not expected
    if way == "kept" and not expected:
        assert not suspect


def test_each_depth_has_its_place() -> None:
    """An env item, a label of a pod template, an atomic list, a set, a key, an owner."""
    twin = thing(
        {
            "template": {"spec": {"containers": [{"name": "app", "args": ["a", "b"]}]}},
            "grace": 30,
        }
    )
    live = copy.deepcopy(twin)
    live["metadata"] |= {
        "labels": {"by": "hand"},
        "finalizers": ["example.com/a", "example.com/b"],
        "ownerReferences": [{"uid": "u1", "name": "o"}],
    }
    live["data"] = {"new.key": "x"}
    pod = live["spec"]["template"]["spec"]
    pod["containers"][0] |= {"env": [{"name": "A", "value": "1"}], "args": ["a", "x", "b"]}
    pod["containers"].append({"name": "side", "image": "i"})
    pod["tolerations"] = [{"key": "k"}]
    live["spec"]["grace"] = 5
    found = {show(one.place): one.usual for one in beyond(live, twin)}
    pods = "spec.template.spec"
    assert found == {
        "metadata.labels.by": None,
        "metadata.finalizers[0]": None,
        "metadata.finalizers[1]": None,
        "metadata.ownerReferences[uid=u1]": None,
        'data["new.key"]': None,
        f"{pods}.containers[name=app].env[name=A]": None,
        f"{pods}.containers[name=app].args[1]": None,
        f"{pods}.containers[name=side]": None,
        f"{pods}.tolerations": None,
        "spec.grace": 30,
    }


def test_what_is_below_a_declared_empty_map_is_not_ours() -> None:
    """Git declares ``emptyDir: {}``; its sizeLimit is somebody else's."""
    live = thing({"volume": {"emptyDir": {"sizeLimit": "1Gi"}}})
    mine: dict[str, Any] = {"f:spec": {"f:volume": {"f:emptyDir": {}}}}
    theirs: dict[str, Any] = {"f:spec": {"f:volume": {"f:emptyDir": {"f:sizeLimit": {}}}}}
    live["metadata"]["managedFields"] = [entry(OURS, mine, "Apply"), entry("helm", theirs)]
    (one,) = foreign(live, OURS)
    assert show(one.place) == "spec.volume.emptyDir.sizeLimit"
    assert one.owners == {Owner("helm", "Update")}


def test_malformed_entries_own_nothing() -> None:
    """Whatever stands in managedFields is data of others: it is read or passed over."""
    live = thing({"a": 1, "list": [1, 2]})
    bad: list[Any] = [
        {},
        {"manager": None, "fieldsV1": []},
        entry("x", {"f:spec": {"f:list": {"k:{": {}, "i:9": {}, "i:x": {}, "v:[": {}, "q": {}}}}),
        entry("x", {"f:nowhere": {"f:a": {}}, "k:{}": {}}),
    ]
    live["metadata"]["managedFields"] = bad
    assert foreign(live, OURS) == []
    assert is_wiped(live, OURS)
    assert owners_of(live, ("spec", "a")) == frozenset()
    assert unowned(live) != []


def test_a_twin_serves_whoever_is_alike() -> None:
    """What the server added to one is added to the other, with the other's name."""
    first = thing({"containers": [{"name": "one", "image": "i:1"}], "n": "a"})
    made = copy.deepcopy(first)
    made["metadata"] |= {"name": "one-1a2b3c4d", "labels": {"of": "one-1a2b3c4d"}}
    made["spec"]["containers"][0]["pull"] = "Always"
    made["spec"]["containers"].append({"name": "proxy", "of": "one-1a2b3c4d"})
    other = json.loads(json.dumps(first).replace('"one"', '"two"'))
    twin = twin_for(Twin(first, made, "one-1a2b3c4d"), other)
    assert twin is not None
    assert twin["metadata"]["name"] == "two"
    assert twin["metadata"]["labels"] == {"of": "two"}
    assert twin["spec"]["containers"] == [
        {"name": "two", "image": "i:1", "pull": "Always"},
        {"name": "proxy", "of": "two"},
    ]


def test_maps_of_the_users_own_keys_are_told_key_by_key() -> None:
    """So that one of them can be ignored, adopted or reverted alone."""
    names = [show(one.place) for one in split({"a": "1", "b": "2"}, ("metadata", "labels"))]
    assert names == ["metadata.labels.a", "metadata.labels.b"]
    assert len(list(split({"a": "1", "b": "2"}, ("spec", "affinity")))) == 1


def _why(kind: str, place: tuple[Any, ...], value: Any, manager: str, **live: Any) -> str:
    group = {"Deployment": "apps", "Job": "batch"}.get(kind, "")
    owners = frozenset({Owner(manager, "Update")}) if manager else frozenset[Owner]()
    metadata = {"name": "one", "uid": "u", **live}
    one = Addition(place, value, owners)
    return why(ResourceKey(group, kind, "production", "one"), {"metadata": metadata}, one)


def test_a_rule_asks_for_manager_and_path() -> None:
    """The controller's name explains its own field and no other; nobody else's name explains it."""
    revision = ("metadata", "annotations", "deployment.kubernetes.io/revision")
    controller = "kube-controller-manager"
    assert _why("Deployment", revision, "3", controller)
    assert not _why("Deployment", revision, "3", "kubectl-annotate")
    assert not _why("Deployment", revision, "x", controller)
    assert not _why("ConfigMap", revision, "3", controller)
    assert not _why("Deployment", ("metadata", "annotations", "a"), "3", controller)
    assert _why("Service", ("spec", "ports", (("port", 80),), "nodePort"), 30080, "")
    assert not _why("Service", ("spec", "ports", (("port", 80),), "nodePort"), 30080, "kubectl")
    hold = ("metadata", "finalizers", 0)
    assert not _why("Service", hold, "example.com/x", controller)
    assert _why("Service", hold, "service.kubernetes.io/load-balancer-cleanup", controller)
    assert not _why("ConfigMap", hold, "foregroundDeletion", controller)
    assert _why("ConfigMap", hold, "foregroundDeletion", "x", deletionTimestamp="now")
    uid = ("spec", "template", "metadata", "labels", "controller-uid")
    assert _why("Job", uid, "u", "")
    assert not _why("Job", uid, "another", "")


def test_a_custom_resource_is_held_by_its_own_controller() -> None:
    """Its finalizer has the group's domain, and its setter writes the status; no one else's has."""
    key = ResourceKey("db.example.com", "Database", "production", "one")
    status = {**entry("operator", {"f:status": {}}), "subresource": "status"}
    live = {"metadata": {"name": "one", "managedFields": [status]}}

    def by(manager: str, name: str) -> str:
        hold = Addition(("metadata", "finalizers", 0), name, frozenset({Owner(manager, "Update")}))
        return why(key, live, hold)

    assert by("operator", "finalizer.example.com/db")
    assert not by("operator", "evil.com/hold")
    assert not by("operator", "notexample.com/hold")
    assert not by("kubectl-edit", "finalizer.example.com/db")


def test_lists_of_thousands_do_not_take_thousands_of_times_as_long() -> None:
    """An object that somebody filled up to the server's limit is compared in seconds."""
    names = [f"n{number}" for number in range(20_000)]
    twin = thing({"list": [{"name": "first"}]})
    live = thing({"list": [{"name": "first"}, *({"name": name} for name in names)]})
    marks: dict[str, Any] = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}} for name in names}
    live["metadata"]["managedFields"] = [entry("helm", {"f:spec": {"f:list": marks}})]
    started = time.process_time()
    found = list(beyond(live, twin))
    ownership = Ownership(live)
    assert all(ownership.of(one.place) for one in found)
    assert len(foreign(live, OURS)) == len(found) == len(names)
    assert unowned(live) == [(("spec", "list", "*", "name"), "first")]
    print(f"{time.process_time() - started:.1f} s")
    assert time.process_time() - started < 20


def _marked(name: str, **spec: Any) -> bytes:
    one = thing({"selector": name, **spec})
    one["metadata"] |= {"name": name, "uid": f"uid of {name}", "labels": {"app": name}}
    one["metadata"]["managedFields"] = [entry(OURS, {"f:spec": {"f:selector": {}}}, "Apply")]
    return mark_of(one)


def test_alike_are_objects_that_differ_by_their_names_only() -> None:
    """Another value, another owner or another field is another mark; a number alone, too."""
    assert _marked("web-1") == _marked("web-23") == _marked("till")
    assert _marked("web-1", grace=30) != _marked("web-1", grace=31)
    assert _marked("web-1", grace="30") != _marked("web-1", grace="31")
    assert _marked("web-1", host=True) != _marked("web-1")
    one = thing({})
    one["metadata"]["managedFields"] = [entry("helm", {"f:spec": {}})]
    other = thing({})
    other["metadata"]["managedFields"] = [entry("kubectl", {"f:spec": {}})]
    assert mark_of(one) != mark_of(other)
