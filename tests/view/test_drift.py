"""A drift review as people see it: the diff, the table, the picture, the answers; at any size."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from drift.made import ADMIN, ALL, GONE, IMAGE, OWNER, REPLICAS, changed, deployment, many, review
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.model import ResourceKey
from opslib.drift.carry import Acts
from opslib.drift.model import Difference, Disposition, Drift, Plane, Review
from opslib.view import decide, drift, driftplots, show, yamldiff
from opslib.view.decide import Answers
from opslib.view.decideform import ROWS, Form
from opslib.view.driftexplain import explain

HOSTILE = "</td><script>alert(1)</script>\x1b[2J\u202e"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Collect what a notebook would show."""
    found: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: found.append(data))
    return found


def _page(one: Review, shown: list[dict[str, str]], given: str = "") -> str:
    """Return all that the runbook shows of a review."""
    shown.clear()
    drift.summary(one)
    drift.table(one)
    driftplots.timeline(one.drifts)
    drift.diffs(one)
    answers = Answers(one, given, by="ada")
    decide.form(answers)
    decide.preview(answers, Acts(one, tuple(answers.drifts)))
    return "".join(data["text/html"] for data in shown)


def test_the_diff_reads_like_the_file() -> None:
    """Keys, list items and signs as in YAML; Git's blame at -, the cluster's at +."""
    text = yamldiff.as_text(yamldiff.lines([REPLICAS, IMAGE, OWNER]))
    assert [line.split("    #")[0] for line in text] == [
        "  metadata:",
        "    annotations:",
        "+     example.com/owner: bob",
        "  spec:",
        "-   replicas: 3",
        "+   replicas: 5",
        "    template:",
        "      spec:",
        "        containers:",
        "        - name: app",
        "-         image: r.example/api:v1",
        "+         image: api:hot",
    ]
    blames = {line.text.strip(): (line.git, line.live) for line in yamldiff.lines([REPLICAS])}
    assert blames["replicas: 3"] == (
        "production/api.yaml:7 · 4f2a1b3c Ada 3 months ago · Three",
        "",
    )
    assert blames["replicas: 5"] == ("", "bob@example.com by kubectl/v1.37.2 · 5 hours ago")


def _plain(one: Drift) -> list[str]:
    return yamldiff.as_text(yamldiff.lines([one]), blame=False)


def test_whole_objects_items_and_texts() -> None:
    """A lost object, an extra one, an item of a list, one line of a long text, an order."""
    assert _plain(GONE) == ["- # Service production/api: the whole object"]
    assert _plain(ADMIN)[0] == "+ kind: ClusterRoleBinding"
    item = changed("spec.ports[port=80,protocol=TCP]", {"port": 80, "name": "a"}, None)
    item = replace(item, difference=Difference.REMOVED)
    assert _plain(item) == [
        "  spec:",
        "    ports:",
        "-   - port: 80",
        "-     name: a",
    ]
    old = "".join(f"k{n}=v\n" for n in range(300))
    text = yamldiff.as_text(
        yamldiff.lines([changed("data.f", old, old.replace("k200=v", "k200=w"))]), blame=False
    )
    assert len(text) < 12
    assert [line.split() for line in text if line[0] in "-+"] == [["-", "k200=v"], ["+", "k200=w"]]
    order = changed("spec.list (order)", "a, b", "b, a")
    assert _plain(order)[-1] == '+     # order of the items: "b, a"'


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(_values, _values, st.text(max_size=30), st.sampled_from(Difference), st.sampled_from(Plane))
@settings(max_examples=150, deadline=None)
def test_anything_can_be_shown(
    declared: Any, live: Any, path: str, difference: Difference, plane: Plane
) -> None:
    """No value and no path breaks the diff, the row or the explanation; no mark-up gets through."""
    key = ResourceKey("", "K<b>", "n", HOSTILE)
    one = Drift(plane, difference, key, path + HOSTILE, declared, live, note=HOSTILE)
    page = drift.diff_html(yamldiff.lines([one])) + drift._row(drift.groups_of([one])[0])
    assert "<script" not in page
    for text in (page, explain(one), drift.table_text(drift.groups_of([one]))):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_an_object_too_large_to_show(shown: list[dict[str, str]]) -> None:
    """Megabytes in one field are a few lines around what differs, in well under a second."""
    old = "".join(f"line {n} of a file\n" for n in range(100_000))
    rows = [{"a": n} for n in range(50_000)]
    drifts = [
        changed("data.big", old, old.replace("line 90000 of", "line 90000 OF")),
        changed("spec.rows", rows, [*rows, {"b": 1}]),
        changed("spec.deep", json.loads("[" * 200 + "]" * 200), {}),
        replace(ADMIN, live={f"k{n}": "x" * 10_000 for n in range(2000)}),
    ]
    began = time.process_time()
    page = _page(review(*drifts), shown)
    seconds = time.process_time() - began
    assert "line 90000 OF" in page
    assert len(page) < 200_000
    assert seconds < 3
    print(f"{len(old) / 1e6:.1f} MB in a field: {len(page) / 1e3:.0f} kB, {seconds:.2f} s")


def test_ten_thousand_alike_differences(shown: list[dict[str, str]]) -> None:
    """They are a dozen rows; the page is small, and quickly made (all different: see the page)."""
    one = review(*many(10_000, alike=True))
    began = time.process_time()
    page = _page(one, shown)
    seconds = time.process_time() - began
    assert "10000 differences in 2500 objects" in page
    assert "2500 Deployment objects: svc-" in page or "834 Deployment objects: svc-" in page
    assert len(page) < 300_000
    assert seconds < 10
    print(f"10,000 alike: {len(page) / 1e6:.2f} MB in {seconds:.1f} s")


def test_the_page_needs_no_script(shown: list[dict[str, str]]) -> None:
    """First line, table, picture, diff and answers are HTML; a reader by ear has text for each."""
    page = _page(review(*ALL, warnings=("3 commits are not applied yet",)), shown, "people=revert")
    assert "<script" not in page
    assert "5 differences in 3 objects, 3 by people, oldest 3 months" in page
    for words in ("bob@example.com", "or before", "production/api.yaml:7", "goes back to 3"):
        assert words in page
    assert "3 to revert, 2 open" in page
    assert page.count("<circle") == 1 + 2  # the legend's, and two objects that a person changed
    empty = [data["text/html"][-200:] for data in shown if not data["text/plain"].strip()]
    assert not empty
    _page(review(), shown)
    assert "No differences in 41 objects" in shown[0]["text/html"]


def test_answers_for_one_and_for_many() -> None:
    """An ignore without a day is not taken, and what was answered before is open again."""
    answers = Answers(review(*ALL), f"{ADMIN.id}=revert", by="ada")
    assert answers.sentence() == "1 to revert, 4 open"
    assert answers.answer([ADMIN, OWNER], Disposition.IGNORE, reason="x").startswith(
        "an ignore needs a last day"
    )
    assert answers.sentence() == "5 open"
    assert answers.answer(ALL, Disposition.ADOPT) == ""
    assert answers.answer([GONE], Disposition.OPEN) == ""
    assert [one.id for one in answers.drifts] == [ADMIN.id, IMAGE.id, REPLICAS.id, OWNER.id]
    assert {one.decision.by for one in answers.drifts} == {"ada"}


def test_the_form_answers_rows_and_selections() -> None:
    """A row's list answers it, the selected are answered at once, words find; pages have 20."""
    drifts = tuple(changed(f"spec.f{n}", 1, 2, deployment(f"d{n:03d}")) for n in range(50))
    answers = Answers(review(*drifts), by="ada")
    form = Form(answers)
    first = form._rows[0]
    assert len(form._rows) == ROWS
    assert first.group is not None
    first.fields.answer.value = Disposition.REVERT
    assert answers.of(first.group.first).disposition is Disposition.REVERT
    first.fields.answer.value = Disposition.IGNORE
    assert "Not yet" in first.does.value
    assert answers.of(first.group.first).disposition is Disposition.OPEN
    form._find.value = "d01 F"
    assert len(form.found) == 10
    form._select_all()
    form._many.show(Disposition.ADOPT, "it is right", "")
    form._answer_many()
    assert answers.sentence() == "10 to adopt, 40 open"
    form._find.value = ""
    form._turn(ROWS)
    form._turn(ROWS)
    assert "41 to 50 of 50" in form._place.value
    assert [row.box.layout.display for row in form._rows].count("none") == 10
    form._turn(ROWS)
    assert "41 to 50" in form._place.value


def test_the_form_of_thousands_is_as_small() -> None:
    """10,000 differences are groups; words show them one by one again; nothing takes seconds."""
    began = time.process_time()
    answers = Answers(review(*many(10_000, alike=True)), by="ada")
    form = Form(answers)
    assert len(form._rows) == ROWS
    assert len(form.found) == 12
    form._rows[0].fields.answer.value = Disposition.ESCALATE
    assert len(answers.decisions) == len(form.found[0])
    form._find.value = "svc-00007"
    assert [len(group) for group in form.found] == [1, 1, 1, 1]
    assert time.process_time() - began < 10


def test_a_widget_keeps_its_keys(shown: list[dict[str, str]]) -> None:
    """Before a form comes what keeps letters at its lists from being commands to the notebook."""
    form = Form(Answers(review(*ALL), by="ada"))
    show.widget(form.box, "<p>static</p>")
    assert "stopPropagation" in shown[0]["application/javascript"]
    assert shown[1]["text/html"] == "<p>static</p>"
