"""The JSON Schema of the parameters says the same as the check before a run."""

from __future__ import annotations

import json
import types
import typing
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslib import runbook
from opslib.cli.main import run as cli
from opslib.core.errors import InputError
from opslib.runbook.jsonschema import json_schema
from opslib.runbook.markers import Pattern, Range
from opslib.runbook.parameters import Parameter, Schema, schema_from_source

from .conftest import Make, code, parameters

_BOUND = st.integers(-5, 5)
_NUMBERS = st.builds(
    lambda kind, low, high, closed: Annotated[
        kind, Range(ge=low, le=high) if closed else Range(gt=low, lt=high)
    ],
    st.sampled_from([int, float]),
    _BOUND,
    _BOUND,
    st.booleans(),
)
_TEXTS = st.builds(
    lambda regex: Annotated[str, Pattern(regex)],
    st.sampled_from(["[a-c]+", "a|bc", "(?i)[a-c]*", "a.c", "", "x$", r"(?s).\n?"]),
)
_CHOICES = st.builds(
    lambda items: typing.Literal[tuple(items)],
    st.lists(st.sampled_from(["a", "b", "1", 1, 2, None]), min_size=1, max_size=3, unique=True),
)
_LEAVES = st.one_of(st.sampled_from([bool, int, float, str, Path, Any]), _NUMBERS, _TEXTS, _CHOICES)
_TYPES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: types.GenericAlias(list, (one,))),
        inner.map(lambda one: types.GenericAlias(dict, (str, one))),
        inner.map(lambda one: typing.Optional[one]),  # noqa: UP045  # the member is a run-time value
    ),
    max_leaves=3,
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-6, 6),
    st.floats(-6, 6).filter(lambda one: not one.is_integer()),
    st.text("abcxAB1\n\0", max_size=3),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


def _takes(schema: Schema, given: dict[str, Any]) -> bool:
    try:
        schema.check(given)
    except InputError:
        return False
    return True


def _valid(document: dict[str, Any], given: dict[str, Any]) -> bool:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(document)
    return bool(Draft202012Validator(document).is_valid(given))


def test_both_take_and_refuse_the_same() -> None:
    """What JSON Schema takes, the check takes; text apart, what it refuses the check refuses."""
    seen: Counter[str] = Counter()

    @settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(kind=_TYPES, value=_VALUES)
    def agree(kind: Any, value: Any) -> None:
        schema = Schema(
            (Parameter("p", "", None, required=True, help="", line=1, annotation=kind),)
        )
        given = {"p": value}
        by_schema, by_check = _valid(json_schema(schema), given), _takes(schema, given)
        seen[f"{by_schema}/{by_check}"] += 1
        if isinstance(value, str):  # text for a number or a list is read by the check alone
            assert by_check or not by_schema, (kind, value)
        else:
            assert by_check == by_schema, (kind, value)

    agree()
    print("JSON Schema/check:", dict(seen))
    assert min(seen["True/True"], seen["False/False"]) > 60


SOURCE = """
from typing import Annotated, Literal
namespace: str  # where
mode: Literal["plan", "apply"] = "plan"  # what to do
replicas: Annotated[int, Range(ge=1, le=9)] = 3
name: Annotated[str, Pattern("[a-z]+")] | None = None
files: list[Path] = []
"""


def test_a_schema_in_full() -> None:
    """Types, ranges, patterns, choices, required names, defaults and help are all in it."""
    found = json_schema(schema_from_source(SOURCE, "here"), "work")
    assert found["required"] == ["namespace"]
    assert found["additionalProperties"] is False
    assert found["properties"] == {
        "namespace": {"description": "where", "type": "string"},
        "mode": {"description": "what to do", "default": "plan", "enum": ["plan", "apply"]},
        "replicas": {"default": 3, "type": "integer", "minimum": 1, "maximum": 9},
        "name": {
            "default": None,
            "anyOf": [
                {
                    "type": "string",
                    "pattern": "^(?:[a-z]+)$(?!\\n)",
                    "not": {"type": "null"},
                },
                {"type": "null"},
            ],
        },
        "files": {"default": [], "type": "array", "items": {"type": "string"}},
    }
    for wrong in ({}, {"namespace": "x", "nope": 1}, {"namespace": "x", "replicas": 10}):
        assert not _valid(found, wrong)
    assert _valid(found, {"namespace": "x", "name": "abc", "files": ["a"]})


def test_every_runbook_of_the_kit_has_one(capsys: pytest.CaptureFixture[str], make: Make) -> None:
    """`opslib run NAME --parameters --json-schema` prints it, for the kit's own runbooks too."""
    make(parameters("a: int = 1"), code("a"))
    names = sorted(path.stem for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
    for name in names:
        assert cli(["run", name, "--parameters", "--json-schema"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert list(document["properties"]) == runbook.read_schema(runbook.find(name)).names()
        assert document["title"] == name
        defaults = {k: v["default"] for k, v in document["properties"].items() if "default" in v}
        required = set(document["required"])
        assert not required or not _valid(document, defaults)
        assert required or _valid(document, defaults)
    print(f"{len(names)} runbooks")
