"""What people look at: text that cannot move the cursor, plans that say all, plots with numbers."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.model import Origin, ResourceKey, Revision
from opslib.reconcile.diff import FieldChange
from opslib.reconcile.plan import Action, Change, Plan
from opslib.view import plots, show, tables
from opslib.view.plans import plan_rows, plan_table, summary
from opslib.view.progress import Bar
from opslib.view.text import clean, columns, styled, value


def _plan(*actions: Action) -> Plan:
    changes = tuple(
        Change(
            action,
            ResourceKey("", "ConfigMap", "n", f"c{number}"),
            "v1",
            Origin("a.yaml", number + 1),
            (FieldChange("data.k", "a", "b", 7),) if action is Action.UPDATE else (),
            reason="because" if action is Action.KEEP else "",
        )
        for number, action in enumerate(actions)
    )
    return Plan("app", Revision("u", "main", "a" * 40), "https://s", "uid", changes)


@given(st.text(max_size=50))
def test_no_text_moves_the_cursor(text: str) -> None:
    """Whatever comes from Git or the cluster, no control character reaches a terminal."""
    shown = clean(text)
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\u202e" not in shown
    assert all(c in "\n\t" or c.isprintable() or c.isspace() or ord(c) > 127 for c in shown)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text())))
def test_a_value_is_one_line(item: Any) -> None:
    """A value in a table never breaks it, and says when it was cut."""
    text = value(item, 30)
    assert len(text) <= 30
    assert "\n" not in text


def test_columns_line_up() -> None:
    """Cells of a column start at the same place; nothing trails."""
    lines = columns([["a", "long cell", "z"], ["longer", "b", "y"]])
    assert [line.index(mark) for line, mark in zip(lines, "zy", strict=True)] == [19, 19]


def test_no_colour_beside_a_terminal() -> None:
    """A file or a pipe gets plain text."""
    assert styled("x", "red", io.StringIO()) == "x"


def test_a_plan_in_one_sentence() -> None:
    """The counts are terraform's words, and what is kept is told."""
    plan = _plan(Action.CREATE, Action.UPDATE, Action.DELETE, Action.KEEP, Action.UNCHANGED)
    assert summary(plan) == (
        "1 to create, 1 to change, 1 to delete, 1 unchanged, 1 kept that Git no longer has"
    )


def test_a_plan_as_a_table() -> None:
    """One row per changed field with its line, one per whole object, none for the unchanged."""
    rows = plan_rows(_plan(Action.CREATE, Action.UPDATE, Action.KEEP, Action.UNCHANGED))
    assert [(r["action"], r["field"], r["declared at"]) for r in rows] == [
        ("create", "(whole object)", "a.yaml:1"),
        ("update", "data.k", "a.yaml:7"),
        ("keep", "(whole object)", "a.yaml:3"),
    ]
    assert rows[2]["after"] == "because"
    assert plan_table(_plan()).empty


def test_the_plot_of_a_plan_has_its_numbers() -> None:
    """The bars are the counts of the table that is shown with them."""
    fig, data = plots.plan_figure(_plan(Action.CREATE, Action.CREATE, Action.DELETE))
    assert data.to_dict("records") == [
        {"kind": "ConfigMap", "action": "create", "objects": 2},
        {"kind": "ConfigMap", "action": "delete", "objects": 1},
    ]
    drawn = json.loads(fig.to_json())["data"]
    assert [trace["name"] for trace in drawn] == ["create", "delete"]


def test_the_plot_of_a_rollout_has_its_rows() -> None:
    """Each phase is a bar as long as it took; an instant is still seen."""
    row = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:02Z", "subject": "pod a"}
    rows = [
        {**row, "phase": "pending", "detail": "d"},
        {**row, "end": row["start"], "phase": "ready"},
    ]
    fig, data = plots.timeline_figure(rows, "t")
    drawn = {t["name"]: t["x"] for t in json.loads(fig.to_json())["data"]}
    assert drawn == {"pending": [2000.0], "ready": [150.0]}
    assert len(data) == 2


def test_tables_escape_what_they_show() -> None:
    """A name from a cluster is text in a page, not markup."""
    frame = tables.mappings([{"name": "<script>alert(1)</script>"}])
    assert "<script>" not in show.table_html(frame)


def test_progress_is_told_beside_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is quick says nothing; what is slow says a line with its count on standard error."""
    with Bar() as quick:
        quick.update("working", 1, 2)
    monkeypatch.setattr("opslib.view.progress.SHOW_AFTER", 0.0)
    with Bar() as slow:
        slow.update("working", 1, 2)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "… working 1 of 2\n")
