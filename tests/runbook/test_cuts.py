"""Values of which something cut a part away, and said so by an ellipsis."""

from __future__ import annotations

import html
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core import secrecy
from opslib.runbook.redact import Redactor

VALUE = "qT7#vex\u00e9 dorn\"ado<9xW'kk-Zz41"
MARKS = ("…", "...", "\ufffd", "\ufffd\ufffd\ufffd")


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    """Return one that knows a value, and others that begin and end like texts do."""
    registry = secrecy.Registry()
    registry.note(VALUE, "shop/db")
    registry.note("postgres://pay:h0rse-battery@db/pay", "shop/dsn")
    return Redactor(registry)


@given(size=st.integers(8, len(VALUE) - 1), mark=st.sampled_from(MARKS), data=st.data())
def test_what_is_left_of_a_value_is_masked(
    redactor: Redactor, size: int, mark: str, data: st.DataObject
) -> None:
    """Its beginning before the mark, its end behind one: as text, JSON and in a page."""
    spell = data.draw(st.sampled_from((str, json.dumps, html.escape, ascii, repr)))
    head, tail = VALUE[:size], VALUE[-size:]
    for text in (f"x='{head}{mark}'", f"x='{mark}{tail}'", f"{head}{mark}{tail}"):
        shown = redactor.text(spell(text))
        assert "vex" not in shown, shown
        assert "kk-Z" not in shown, shown
        assert mark in shown or spell(mark).strip("'\"") in shown


@pytest.mark.parametrize(
    "text",
    [
        "postgre... is not a value",
        "qT7#...",
        "reading ... 41",
        "working…",
        "..." * 50,
        "…",
        "a...b",
    ],
)
def test_other_texts_stay(redactor: Redactor, text: str) -> None:
    """Fewer than eight bytes tell no value, and an ellipsis alone is none."""
    assert redactor.text(text) == text


def test_many_marks_cost_little(redactor: Redactor) -> None:
    """A text full of dots is read in time that grows with its length."""
    few, many = ("step … of 12 ... " * count for count in (2_000, 20_000))
    redactor.text(few)
    seconds = []
    for text in (few, many):
        begun = time.process_time()
        assert redactor.text(text) == text
        seconds.append(time.process_time() - begun)
    print(f"{len(few)} and {len(many)} characters: {seconds[0]:.3f} and {seconds[1]:.3f} s")
    assert seconds[1] < 30 * max(seconds[0], 0.01)
