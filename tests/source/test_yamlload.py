"""YAML means what kubectl says it means, and every field knows its line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslib.core.errors import InputError, Problems
from opslib.sandbox.binaries import kubectl
from opslib.source.yamlload import load_documents

HEAD = "apiVersion: x.example/v1\nkind: Foo\nmetadata:\n  name: a\n"
SCALARS = """
y Y yes Yes YES yEs n N no No NO on On ON off Off OFF true True TRUE tRue false False ~
null Null NULL nULL = 08 0644 0o644 0O17 0b11 0x1F 0X1f 1_000 _1 1__0 1e3 1E3 1e+3 1.5e3
1. .5 +.5 -.5 5e-1 .inf .Inf -.inf .nan 12:30:45 2001-12-14 2001-12-14T21:59:43.10-05:00
9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616
-9223372036854775808 -9223372036854775809 1e400 0x 1.2345678901234567e18 1e20 1e21 -0 -0.0
+5 0.1 1.0 100000000000000000000 0b 0o8 -0x1F 1e 1.e3 .e3 . .. 1.2.3 <<x 0x_1 0_8 1_0.5_0
-1_0 ++1 +-1 0.1e-10 017_7 1,000 0xFFFFFFFFFFFFFFFF +0b1 -0b1 -0o17 0.0 00 000 09.5 1:2 --
+ 1e6 -1e21 1e-7 123456789012345678901 0.30000000000000004 1e22 0x8000000000000000
-0x8000000000000000 -0x8000000000000001 0b2 09 0_ 1_ -_1 1._5 1e1_0 oN 4e-5
""".split()  # noqa: SIM905  # a list of 116 quoted words is harder to read
TREES = [
    "{off: 1, 1: a, 1.5: b, yes: c, 2001-01-01: e, 1e3: x, 0x10: y, 1e30: z, 1e6: q, 1e39: inf}",
    '{a: !!str 1, b: !!int "3", c: !!float 1, d: !!binary aGk=, e: ! 5, f: !foo 7}',
    "{x: &a {k: 1, l: 2}, y: {k: 9, <<: *a}, z: {<<: *a, k: 9}, w: {<<: [*a, {k: 3, m: 4}]}}",
    "{d: !!timestamp 2001-01-01, e: !!null ~, f: !!bool yes, g: !!int 0x10}",
    '{"<<": {a: 1}}',
    "[!!set {a, b}, [1, [2]], {a: }]",
    "{a: \"\\u00e9\\n\\t\", b: é, c: 'it''s'}",
]


def oracle(text: str, folder: Path) -> dict[str, Any] | None:
    """Return how kubectl reads an object; None when it refuses."""
    path = folder / "f.yaml"
    path.write_text(text)
    words = [str(kubectl()), "annotate", "--local", "-f", str(path), "oracle=1", "-o", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    # Go prints whole float64 without a point; ours keep their type.
    return dict(
        json.loads(
            done.stdout, parse_int=lambda t: int(t) if -(2**63) <= int(t) < 2**63 else float(t)
        )
    )


def ours(text: str) -> dict[str, Any] | None:
    """Return how we read it; None when we refuse."""
    try:
        (document,) = load_documents(text, "f.yaml")
    except InputError:
        return None
    return document.manifest


def test_scalars_mean_what_kubectl_says(tmp_path: Path) -> None:
    """Each plain scalar of the table has kubectl's value and type, in one call per ten."""
    fine = [s for s in SCALARS if ours(f"{HEAD}spec: {{v: {s}}}\n") is not None]
    assert set(SCALARS) - set(fine) == {".inf", ".Inf", "-.inf", ".nan"}
    text = HEAD + "spec:\n" + "".join(f"- {s}\n" for s in fine)
    theirs = oracle(text, tmp_path)
    mine = ours(text)
    assert theirs is not None
    assert mine is not None
    same = [
        (a == b and type(a) is type(b)) or (isinstance(a, float) and a == b)
        for a, b in zip(mine["spec"], theirs["spec"], strict=True)
    ]
    print(f"{sum(same)} of {len(same)} scalars as kubectl reads them")
    assert all(same), [s for s, good in zip(fine, same, strict=True) if not good]
    assert oracle(f"{HEAD}spec: {{v: .inf}}\n", tmp_path) is None


@pytest.mark.parametrize("tree", TREES)
def test_structures_mean_what_kubectl_says(tree: str, tmp_path: Path) -> None:
    """Keys, tags, anchors and merges are kubectl's."""
    text = f"{HEAD}spec: {tree}\n"
    theirs, mine = oracle(text, tmp_path), ours(text)
    assert theirs is not None
    assert mine is not None
    assert mine["spec"] == theirs["spec"]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False, width=32).filter(lambda f: f % 1 != 0),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]), max_size=12),
        st.sampled_from(SCALARS),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text("abyn01.", min_size=1), inner, max_size=4),
    ),
    max_leaves=10,
)


@given(JSON)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_json_is_read_as_it_is(value: Any) -> None:
    """Whatever is written as JSON, quoted, is read back the same, also on many lines."""
    for indent in (None, 1):
        text = (
            HEAD
            + "spec: "
            + json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", "\n ")
            + "\n"
        )
        (document,) = load_documents(text, "f.yaml")
        assert document.manifest["spec"] == value


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9), min_size=1), min_size=1)
)
def test_every_field_knows_its_line(rows: list[dict[str, int]]) -> None:
    """The line of a field is the one on which its key stands."""
    text = HEAD + "spec:\n" + yaml.safe_dump(rows, sort_keys=False)
    (document,) = load_documents(text, "f.yaml")
    lines = text.splitlines()
    for index, row in enumerate(rows):
        for key, value in row.items():
            line = document.lines[f"/spec/{index}/{key}"]
            assert f"{key}: {value}" in lines[line - 1]


@pytest.mark.parametrize(
    ("text", "where", "word"),
    [
        ("kind: [\n", "f.yaml:2:1", "not YAML"),
        ("a:\n\tb: 1\n", "f.yaml:2:1", "tabs"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1", "first in line 1"),
        ("1: a\n'1': b\n", "f.yaml:2:1", "written twice"),
        ("a: *x\n", "f.yaml:1:4", "no anchor"),
        ("a: b\x07\n", "f.yaml:1", "does not allow"),
        ("? [a]\n: b\n", "f.yaml:1:3", "key"),
        ("- a\n", "f.yaml:1", "no Kubernetes object"),
        ("kind: Foo\nmetadata: {name: a}\n", "f.yaml:1", "apiVersion"),
        (HEAD.replace("name: a", "generateName: a-"), "f.yaml:3", "server-side apply needs a name"),
        (HEAD + "  labels: {on: off}\n", "f.yaml:5", "quotes"),
        (HEAD + "  annotations: {port: 80}\n", "f.yaml:5", "a number, not text"),
        (HEAD + "spec: .inf\n", "f.yaml:5:7", "JSON has no infinity"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, where: str, word: str) -> None:
    """File, line and what was expected; never a stack of the parser."""
    with pytest.raises(InputError) as caught:
        load_documents(text, "f.yaml")
    assert where in str(caught.value)
    assert word in str(caught.value)


def test_all_wrong_objects_of_a_file_are_told() -> None:
    """Two objects without a name are two problems of one pass."""
    text = "---\n".join([HEAD.replace("name: a", "nam: a")] * 2)
    with pytest.raises(Problems) as caught:
        load_documents(text, "f.yaml")
    assert len(caught.value.problems) == 2


def test_empty_documents_are_skipped_and_lists_taken_apart() -> None:
    """Comments alone are no object; the items of a List are objects with lines of their own."""
    item = "  apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: %s}\n"
    text = (
        "---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- "
        + (item % "a").lstrip()
        + "- "
        + (item % "b").lstrip()
        + "---\n"
        + HEAD
    )
    found = load_documents(text, "f.yaml")
    assert [d.manifest["metadata"]["name"] for d in found] == ["a", "b", "a"]
    assert [d.line for d in found] == [7, 10, 14]
    assert found[1].lines["/kind"] == 11


def test_a_bomb_of_aliases_is_refused() -> None:
    """Ten levels of ten aliases are ten thousand million values, told in a moment."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InputError, match="too large"):
        load_documents("\n".join(rows), "f.yaml")
    with pytest.raises(InputError, match="too deep"):
        load_documents("a: " + "[" * 200 + "]" * 200, "f.yaml")


def test_json_files_are_read_too() -> None:
    """Escaped surrogates and tabs, which YAML does not know, are fine in JSON."""
    text = '{\n\t"apiVersion": "v1", "kind": "Foo",\n\t"metadata": {"name": "\\ud83d\\ude00"}}'
    (document,) = load_documents(text, "f.json")
    assert document.manifest["metadata"] == {"name": "\U0001f600"}
