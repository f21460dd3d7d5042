"""The schema of a parameters cell and the values it lets through."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError, Problems
from opslib.runbook.inject import to_source
from opslib.runbook.parameters import Schema, read_schema, schema_from_source

from .conftest import Make, code, parameters, text

CELL = '''"""What the runbook needs."""
from pathlib import Path
from typing import Annotated, Literal, Optional
from opslib.runbook import Pattern, Range

# which application
app: str
image: str = "1.10"  # tag of the image
replicas: Annotated[int, Range(ge=1, le=20)] = 3
ratio: float = 0.5
apply: bool = False  # false: plan only
mode: Literal["plan", "apply"] = "plan"
limit: int | None = None
folder: Path = Path("manifests")
labels: dict[str, str] = {"app": "x"}
names: list[str] = []
tag: Annotated[str, Pattern(r"v[0-9.]+")] = "v1"
old: Optional[float] = None
plain = 7
'''


def schema(source: str = CELL) -> Schema:
    """Read a schema from source."""
    return schema_from_source(source, "cell")


def test_reads_names_types_defaults_and_help() -> None:
    """Each declaration becomes a parameter with its type, default, help and line."""
    found = {one.name: one for one in schema().parameters}
    assert list(found)[:3] == ["app", "image", "replicas"]
    assert found["app"].required
    assert found["app"].help == "which application"
    assert (found["image"].type, found["image"].default, found["image"].help) == (
        "str",
        "1.10",
        "tag of the image",
    )
    assert (found["replicas"].type, found["replicas"].line) == ("int", 9)
    assert found["replicas"].expected == "a whole number >= 1 and <= 20"
    assert found["mode"].choices == ("plan", "apply")
    assert found["apply"].choices == (True, False)
    assert found["folder"].default == Path("manifests")
    assert (found["limit"].type, found["plain"].type) == ("int | None", "int")


@pytest.mark.parametrize(
    ("name", "given_value", "wanted"),
    [
        ("image", "1.10", "1.10"),
        ("image", "007", "007"),
        ("image", "1_000", "1_000"),
        ("image", "false", "false"),
        ("image", "", ""),
        ("replicas", "5", 5),
        ("replicas", 5, 5),
        ("ratio", "1e-3", 0.001),
        ("ratio", 1, 1.0),
        ("apply", "false", False),
        ("apply", "True", True),
        ("apply", True, True),
        ("mode", "apply", "apply"),
        ("limit", "12", 12),
        ("limit", "null", None),
        ("limit", None, None),
        ("folder", "a/b", Path("a/b")),
        ("folder", Path("a"), Path("a")),
        ("labels", '{"a": "1.10"}', {"a": "1.10"}),
        ("names", '["007"]', ["007"]),
        ("tag", "v1.2", "v1.2"),
        ("old", "2", 2.0),
    ],
)
def test_values_keep_what_was_typed(name: str, given_value: object, wanted: object) -> None:
    """A good value arrives typed and unchanged."""
    value = schema().check({"app": "a", name: given_value})[name]
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("name", "given_value"),
    [
        ("image", 1.1),
        ("image", None),
        ("replicas", "0"),
        ("replicas", "21"),
        ("replicas", "1_0"),
        ("replicas", "1.0"),
        ("replicas", ""),
        ("replicas", "٣"),
        ("replicas", "9" * 5000),
        ("replicas", True),
        ("ratio", "nan"),
        ("ratio", "1e999"),
        ("ratio", math.inf),
        ("apply", "yes"),
        ("apply", "1"),
        ("apply", 0),
        ("apply", ""),
        ("mode", "Plan"),
        ("limit", "none of it"),
        ("folder", ""),
        ("labels", "[]"),
        ("labels", '{"a": 1}'),
        ("labels", '{"a": "1", "a": "2"}'),
        ("names", "a,b"),
        ("names", "[1.10]"),
        ("names", "[" * 100_000),
        ("tag", "1.2"),
        ("tag", "v1\nx"),
        ("old", "x"),
    ],
)
def test_a_wrong_value_is_refused(name: str, given_value: object) -> None:
    """A value of another type is an error that names the parameter, its line and the type."""
    with pytest.raises(Problems) as caught:
        schema().check({"app": "a", name: given_value})
    (problem,) = caught.value.problems
    assert f"parameter {name} cannot be" in problem.what
    assert "cell, line" in str(problem.where)
    assert problem.expected
    assert len(str(problem)) < 500


def test_all_problems_come_at_once() -> None:
    """Unknown names (with a suggestion), wrong values and missing values in one error."""
    with pytest.raises(Problems) as caught:
        schema().check({"imag": "x", "replicas": "many"})
    message = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "there is no parameter imag" in message
    assert "did you mean image?" in message
    assert "replicas cannot be 'many'" in message
    assert "parameter app has no value" in message
    assert caught.value.exit_code == 2


def test_float_for_text_names_papermills_trap() -> None:
    """1.10 read as a number by papermill's -p is refused with the way around it."""
    with pytest.raises(Problems, match="-r image"):
        schema().check({"app": "a", "image": 1.1})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a = 1\nfor x in y: pass", "line 2"),
        ("import os\na: str = os.environ['HOME']", "computed"),
        ("a: set[int] = None", "not a type that a parameter can have"),
        ("a: int = 'x'", "default"),
        ("a: int = '3'", "it is text"),
        ("a: int = None", "default of parameter a is None"),
        ("a = 1\na = 2", "declared twice"),
        ("a, b = 1, 2", "more than declarations"),
        ("a: int =", "not Python"),
        ("%matplotlib inline", "not Python"),
        ("a: Annotated[str, Pattern('(')] = ''", "not a regular expression"),
        ("a: Literal['x', 'y'] = 'z'", "not one of the choices"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_line(source: str, words: str) -> None:
    """What cannot be read without running code is named with its line in the cell."""
    with pytest.raises(InputError) as caught:
        schema(source)
    assert words in str(caught.value)
    assert "line" in str(caught.value)


def test_a_default_is_never_shared() -> None:
    """Changing a list that one run got does not change the next run's default."""
    one = schema()
    one.check({"app": "a"})["names"].append("x")
    assert one.check({"app": "a"})["names"] == []


def test_reads_the_tagged_cell_of_a_file(make: Make) -> None:
    """The schema comes from the cell tagged parameters; without one there are none."""
    path = make(text("# T"), parameters("a: int = 1  # help"), code("b = 2"))
    assert [(one.name, one.help) for one in read_schema(path).parameters] == [("a", "help")]
    bare = make(code("b = 2"), name="bare")
    assert read_schema(bare).parameters == ()
    with pytest.raises(Problems, match="takes no parameters"):
        read_schema(bare).check({"b": 1})


def test_two_parameters_cells_are_an_error(make: Make) -> None:
    """Two cells with the tag would be read differently by different tools."""
    with pytest.raises(InputError, match="more than one cell"):
        read_schema(make(parameters("a = 1"), parameters("b = 1")))


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"nbformat": 3, "worksheets": []}', '{"nbformat": 4, "cells": [1]}', "\udcff"],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: str) -> None:
    """Whatever the file holds, the error names it."""
    path = tmp_path / "x.ipynb"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"x\.ipynb"):
        read_schema(path)


def test_a_notebook_in_another_language_is_refused(tmp_path: Path) -> None:
    """A notebook for R is not started in a Python kernel."""
    path = tmp_path / "x.ipynb"
    metadata = {"kernelspec": {"name": "ir", "language": "R"}}
    path.write_text(json.dumps({"nbformat": 4, "cells": [], "metadata": metadata}))
    with pytest.raises(InputError, match="written in R"):
        read_schema(path)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
finite = scalars.filter(lambda one: not (isinstance(one, float) and math.isinf(one)))
nested = st.recursive(
    finite, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(nested)
def test_the_injected_cell_gives_exactly_the_value(value: Any) -> None:
    """The source that is injected evaluates to the same value, whatever text it holds."""
    namespace: dict[str, Any] = {}
    exec(to_source({"x": value}), namespace)  # noqa: S102  # the very thing a kernel does
    assert namespace["x"] == value


@given(st.text())
def test_text_stays_text(value: str) -> None:
    """No text is changed on its way to a str parameter."""
    assert schema('a: str = ""').check({"a": value}) == {"a": value}


@given(st.text())
def test_any_text_is_typed_or_refused(value: str) -> None:
    """For every type, any text gives a value of the type or an InputError, nothing else."""
    one = schema()
    for name in one.names():
        with contextlib.suppress(InputError):
            assert name in one.check({"app": "a", name: value})


@given(st.text(max_size=80))
def test_any_source_is_read_or_refused(source: str) -> None:
    """The reader of the cell ends with a schema or an InputError, whatever is in the cell."""
    with contextlib.suppress(InputError):
        assert schema(source).where == "cell"


def test_importing_the_room_is_cheap() -> None:
    """A notebook that only loads its parameters does not pay for papermill and nbconvert."""
    heavy = "{'papermill', 'nbclient', 'nbconvert', 'nbformat', 'jsonschema', 'pydantic'}"
    program = (
        "import sys; from opslib import runbook; runbook.load; runbook.report; runbook.run; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
