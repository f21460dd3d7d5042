"""Edits of YAML: only the lines concerned, in the layout that is there, proven by reading again."""

from __future__ import annotations

from typing import Any

import pytest

from opslib.source.yamledit import amend_document, documents, remove_document
from opslib.source.yamltree import CannotEdit
from opslib.source.yamlwrite import Layout, inline

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("a: 1 # one\nb: 2\n", {"a": 3, "b": 2}, "a: 3 # one\nb: 2\n"),
    ("a: 'x' # s\n", {"a": "it's"}, "a: 'it''s' # s\n"),
    ('a: "x"\n', {"a": "yes"}, 'a: "yes"\n'),
    ("a: x\n", {"a": "yes"}, 'a: "yes"\n'),
    ("a: x\n", {"a": None}, "a: null\n"),
    ("a:   # none\nb: 1\n", {"a": 5, "b": 1}, "a: 5   # none\nb: 1\n"),
    ("a: x  # c\n", {"a": {"b": 1}}, "a:  # c\n  b: 1\n"),
    ("a:  # c\n  b: 1\n  # d\nz: 1\n", {"a": "x", "z": 1}, "a: x  # c\n  # d\nz: 1\n"),
    ("a: |  # t\n  x\n  w\nb: 1\n", {"a": "x\nv\n", "b": 1}, "a: |  # t\n  x\n  v\nb: 1\n"),
    ("a: >-\n  x\n  w\nb: 1\n", {"a": "z", "b": 1}, "a: z\nb: 1\n"),
    ("a: x\t# tab\nb:\t1\n", {"a": "z", "b": 2}, "a: z\t# tab\nb:\t2\n"),
    ("l: {a: 'b', c: 1} # x\n", {"l": {"a": "yes", "c": 2}}, "l: {a: 'yes', c: 2} # x\n"),
    ("l: {a: b}\n", {"l": {"a": "b", "c": "d"}}, "l: {a: b, c: d}\n"),
    ("l: {a: b, c: d}\n", {"l": {"c": "d"}}, "l: {c: d}\n"),
    ("l: [a, b] # x\n", {"l": ["a", "c", "b"]}, "l: [a, c, b] # x\n"),
    ("l:\n- a\n# c\n- b\n", {"l": ["a", "k", "b"]}, "l:\n- a\n- k\n# c\n- b\n"),
    ("l:\n  - a\n  - b # c\n", {"l": ["b"]}, "l:\n  - b # c\n"),
    ("l:\n- a # c\nm: 1\n", {"l": [], "m": 1}, "l: []\nm: 1\n"),
    ("l:\n- name: x\n  v: 1\n", {"l": [{"name": "x"}]}, "l:\n- name: x\n"),
    ("l:\n- v: 1 # c\n  name: x\n", {"l": [{"name": "x"}]}, "l:\n- name: x\n"),
    (
        "l:\n# x\n- name: x\n- {name: z, v: 1}\n",
        {"l": [{"name": "z", "v": 1}, {"name": "x"}]},
        "l:\n# x\n- {name: z, v: 1}\n- name: x\n",
    ),
    ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2, "c": {"d": 3}}, "a: 1\r\nb: 2\r\nc:\r\n  d: 3\r\n"),
    ("a: 1", {"a": 1, "b": 2}, "a: 1\nb: 2\n"),
    ('{"a": 1}', {"a": 1, "b": "x"}, '{"a": 1, "b": "x"}'),
    ("m:\n    a: 1\n", {"m": {"a": 1, "k": {"b": 2}}}, "m:\n    a: 1\n    k:\n        b: 2\n"),
    ("m: {}\n", {"m": {"a": 1}}, "m: {a: 1}\n"),
    ("x: &a 1\nw: 2\n", {"x": 3, "w": 2}, "x: &a 3\nw: 2\n"),
    ("x: &a 1\nw: *a\n", {"x": 1, "w": 3}, "x: &a 1\nw: 3\n"),
    (
        "x: &a {b: {d: 1}}\nw:\n  <<: *a\n  c: 1\n",
        {"x": {"b": {"d": 1}}, "w": {"b": {"d": 2}, "c": 1}},
        "x: &a {b: {d: 1}}\nw:\n  <<: *a\n  c: 1\n  b:\n    d: 2\n",
    ),
    ("8080: x\nyes: w\n", {"8080": "z", "true": "w"}, "8080: z\nyes: w\n"),
]


@pytest.mark.parametrize(("text", "value", "edited"), CASES)
def test_the_smallest_edit(text: str, value: dict[str, Any], edited: str) -> None:
    """Quotes, comments, indentation and line ends are those that were there."""
    assert amend_document(text, 0, value) == edited


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x: &a {b: 1}\nw: *a\n", {"x": {"b": 2}, "w": {"b": 1}}),
        ("x: &a {b: 1}\nw: *a\n", {"x": {"b": 1}, "w": {"b": 2}}),
        ("x: &a {b: 1}\nw: {<<: *a, c: 1}\n", {"x": {"b": 1}, "w": {"c": 1}}),
        ("a: |\n  x", {"a": "x", "b": 1}),
    ],
)
def test_what_others_share_is_refused(text: str, value: dict[str, Any]) -> None:
    """Rather no edit than one that changes another value, too."""
    assert documents(text)
    with pytest.raises(CannotEdit):
        amend_document(text, 0, value)


def test_other_documents_stay_byte_for_byte() -> None:
    """Only the one is edited, and only the one goes; comments above a blank line stay."""
    text = "# head\n\n# one\na: 1\n---  # two\n# it\nb: 1\n---\n\n---\nc: 1\n"
    assert amend_document(text, 1, {"b": 2}) == text.replace("b: 1", "b: 2")
    assert remove_document(text, 1) == "# head\n\n# one\na: 1\n---\n\n---\nc: 1\n"
    assert remove_document(text, 0) == "# head\n\n" + text[text.index("---  # two") :]
    assert remove_document("# only\na: 1\n", 0) is None


@pytest.mark.parametrize("flow", [True, False])
def test_words_are_quoted_that_some_reader_takes_for_something_else(*, flow: bool) -> None:
    """Numbers, dates, booleans, and what YAML means by itself."""
    for word in (
        "1",
        "0644",
        "1e3",
        "yes",
        "n",
        "null",
        "~",
        "2027-03-31",
        "12:30:45",
        "=",
        "a: b",
    ):
        assert inline(word, layout=Layout(), flow=flow) == f'"{word}"'
    for word in ("info", "v1.2.3", "--flag=1", "/a/b", "http://host:80/p", "a b"):
        assert inline(word, layout=Layout(), flow=flow) == word
