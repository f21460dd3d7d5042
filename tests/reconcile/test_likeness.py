"""New objects that are alike: what counts as alike, and that a refusal of one asks about all."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from bench import load
from hypothesis import given
from hypothesis import strategies as some

from opslib.reconcile.likeness import shape

from .conftest import Workbench, config_map

names = some.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)


def service(name: str, **spec: Any) -> dict[str, Any]:
    """Return a Service whose texts hold its name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name, "of": f"team-{name}"}},
        "spec": {"selector": {"app": name}, **spec},
    }


def placed(name: str, namespace: str) -> dict[str, Any]:
    """Return the Service in a namespace."""
    found = service(name)
    return {**found, "metadata": {**found["metadata"], "namespace": namespace}}


@given(one=names, other=names)
def test_names_make_no_difference(one: str, other: str) -> None:
    """Two Services that differ in their names alone are alike where the names are as long."""
    alike = shape(service(one)) == shape(service(other))
    rest = json.dumps(service("\0"))  # a name that is a word of it is not told from that word
    assert alike or len(one) != len(other) or one in rest or other in rest


@given(one=names, other=names)
def test_alike_means_the_same_but_for_the_name(one: str, other: str) -> None:
    """What is called alike becomes the same text when one name is put for the other."""
    first, second = service(one, note=f"x {other}"), service(other, note=f"x {one}")
    if shape(first) == shape(second):
        swapped = json.dumps(first).replace(one, "@").replace(other, "@")
        assert swapped == json.dumps(second).replace(other, "@").replace(one, "@")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (service("o1", port=80), service("o2", port=81)),
        (service("web-80", port=80), service("web-81", port=81)),
        (service("o1", clusterIP="10.0.0.1"), service("o2", clusterIP="10.0.0.2")),
        (service("o1", at="1m"), service("o2", at="2m")),
        (service("o1", type="NodePort"), service("o2", type="LoadBalancer")),
        (service("o1"), service("o12")),
        (service("o1"), service("O1")),
        (service("o1"), {**service("o2"), "spec": {"selector": {"app": "o1"}}}),
        (placed("o1", "n-o1"), placed("o2", "n-o2")),
    ],
)
def test_other_differences_are_differences(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Numbers, addresses, amounts, words, lengths of names, names of others."""
    assert shape(one) != shape(other)


def test_the_texts_of_a_config_map_are_free() -> None:
    """Its keys are not, nor is a value that is no text."""
    one = yaml.safe_load(config_map("c1", k="v"))
    assert shape(one) == shape(yaml.safe_load(config_map("c2", k="quite another")))
    assert shape(one) != shape(yaml.safe_load(config_map("c2", other="v")))
    assert shape(one) != shape({**one, "data": {"k": 1}})


def test_a_thousand_objects_have_few_shapes() -> None:
    """Three kinds with numbers of one to three digits: one question for each."""
    found = {
        shape(yaml.safe_load(load.SHAPES[number % 3].format(i=number))) for number in range(1000)
    }
    assert len(found) == 9


def _questions(bench: Workbench, text: str, **options: Any) -> tuple[Any, int]:
    """Plan, and count the dry runs that it took."""
    asked: list[str] = []
    real = type(bench.server)._send

    def send(self: Any, method: str, path: str, **rest: Any) -> Any:
        if method == "PATCH":
            asked.append(path)
        return real(self, method, path, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.server), "_send", send)
        prepared = bench.plan(text, **options)
    return prepared, len(asked)


def test_one_of_many_new_objects_is_asked_about(bench: Workbench) -> None:
    """Twenty alike cost one dry run, or twenty with ``full``; the plan is the same, to its hash."""
    text = "---\n".join(config_map(f"one-{number:02}", k=f"v{number}") for number in range(20))
    short, few = _questions(bench, text)
    whole, all_of_them = _questions(bench, text, full=True)
    print(f"20 new objects: {few} dry runs, {all_of_them} with full")
    assert (few, all_of_them) == (1, 20)
    assert short.plan.hash == whole.plan.hash
    assert short.plan.changes == whole.plan.changes
    assert bench.write(short).ok


def test_what_is_wrong_with_one_is_found_in_all(bench: Workbench) -> None:
    """The server refuses the first, so that it is asked about each: every problem has its line."""
    bad = "apiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: 99999}]}\n"
    text = "---\n".join(bad % number for number in range(5))
    prepared, asked = _questions(bench, text)
    assert asked == 5
    assert len(prepared.plan.problems) == 5
    lines = [problem.origin.line for problem in prepared.plan.problems if problem.origin]
    assert lines == [1, 6, 11, 16, 21]
    assert all(re.search("port", problem.message) for problem in prepared.plan.problems)
