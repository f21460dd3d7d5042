"""Paths of fields: what a plan prints can be read back, and names the same field."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.reconcile.diff import differences, show
from opslib.reconcile.fieldpath import drop, parse_path, places, put, value_at

KEYS = st.text("abz-._/ $\"'é=,*", min_size=1, max_size=8)
LEAVES = st.one_of(st.integers(), st.text(max_size=4), st.booleans())
NAMED = st.lists(
    st.fixed_dictionaries({"name": st.text("abc-", min_size=1, max_size=4), "value": LEAVES}),
    unique_by=lambda item: item["name"],
    max_size=3,
)
OBJECTS = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES | NAMED,
        lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)
WEB: dict[str, Any] = {
    "metadata": {"annotations": {"a.b/c": "x"}},
    "spec": {
        "replicas": 3,
        "containers": [
            {"name": "app", "image": "one", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            {"name": "side", "image": "two"},
        ],
        "args": ["a", "b"],
    },
}


@given(OBJECTS, OBJECTS)
def test_what_a_plan_prints_is_read_back(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The text of any difference names exactly the field that differs, where it is."""
    for place, _, new in differences(before, after):
        text = show(place)
        if new is None or "(order)" in text or not isinstance(place[0], str):
            continue
        try:
            path = parse_path(text)
        except InputError:
            # A first key that needs quotes has no form of its own: no Kubernetes field has one.
            assert text.startswith("[")
            continue
        assert place in places(after, path)
        assert value_at(after, place) == (True, new)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("spec.replicas", [3]),
        ('metadata.annotations["a.b/c"]', ["x"]),
        ("spec.containers[name=app].image", ["one"]),
        ("spec.containers[*].image", ["one", "two"]),
        ("spec.containers[1].image", ["two"]),
        ("spec.containers[name=app].ports[containerPort=80,protocol=TCP].containerPort", [80]),
        ("spec.args[0]", ["a"]),
        ("spec.nothing", []),
        ("spec.containers[name=none].image", []),
        ("spec.replicas.more", []),
    ],
)
def test_paths_name_fields(text: str, values: list[Any]) -> None:
    """A path finds the fields that a person means by it."""
    found = [value_at(WEB, place)[1] for place in places(WEB, parse_path(text))]
    assert found == values


@pytest.mark.parametrize(
    "text", ["", ".a", "a..b", "a[", "a[]", "a[b", "[0]", "a b", "a[x=1", "a."]
)
def test_bad_paths_are_refused(text: str) -> None:
    """What is no path is an error that shows one."""
    with pytest.raises(InputError) as error:
        parse_path(text)
    assert "spec.replicas" in str(error.value)


def test_put_and_drop_touch_one_field() -> None:
    """A field is set or removed, and mappings that become empty go with it."""
    changed = copy.deepcopy(WEB)
    (image,) = places(changed, parse_path("spec.containers[name=side].image"))
    put(changed, image, "three")
    assert changed["spec"]["containers"][1] == {"name": "side", "image": "three"}
    (mark,) = places(changed, parse_path('metadata.annotations["a.b/c"]'))
    drop(changed, mark)
    assert "metadata" not in changed
