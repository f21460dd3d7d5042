"""The report of the benchmark: it says what was missed, and touches only its own section."""

from __future__ import annotations

import re
from typing import Any

from bench import driftreport, reconcile, report


def _line(seconds: float, rounds: int = 5) -> dict[str, Any]:
    samples = [seconds] * rounds
    return {"median_seconds": seconds, "peak_mb": 120.0, "samples": samples}


def _size(objects: int, plan: float) -> dict[str, Any]:
    """Return the results of a size in which all but the plan is the same each time."""
    steady = {
        reconcile.PLAN: _line(plan),
        reconcile.DIFF: _line(12.0),
        reconcile.PEER: _line(8.0),
        reconcile.GET: _line(1.0),
        reconcile.SECOND: _line(0.5),
    }
    first = {
        reconcile.APPLY: _line(6.2),
        reconcile.ONLY: _line(6.0),
        reconcile.PEER: _line(14.0),
    }
    bare = {"bare PATCHes, 4 workers": _line(5.0)}
    drifted = {reconcile.PLAN: _line(plan), reconcile.DRIFT: _line(1.1 * plan)}
    return {
        "objects": objects,
        "machine": "x86_64, 2 cores",
        "python": "3.11.7",
        "first": first,
        "bare": bare,
        "steady": steady,
        "drifted": drifted,
        "requests of a plan": {"list configmaps": 4, "list services": 4, "list deployments": 4},
        "ratios": reconcile._ratios(first, bare, steady, drifted),
    }


def _document(plan: float) -> dict[str, Any]:
    start = {"rows": {reconcile.START: _line(0.6)}}
    return {"start": start, "sizes": {str(n): _size(n, plan) for n in (1000, 5000)}}


def test_what_is_reached_and_what_is_missed_is_said() -> None:
    """A plan of one second reaches six times diff's speed, one of three does not."""
    good, bad = report.section(_document(0.5)), report.section(_document(3.0))
    assert "missed" not in good
    rows = [line for line in bad.splitlines() if "**missed**" in line]
    assert len(rows) == 4
    assert all("no-op" in row for row in rows)
    assert re.search(r"6 times as fast \| 4\.0 times \| \*\*missed\*\*", bad)


def test_every_promise_has_a_row() -> None:
    """Speed, memory, requests, a second pass, drift, a first apply, start."""
    text = report.section(_document(0.5))
    for word in ("peak memory", "its requests", "in one process", "drifted", "first", "start"):
        assert word in text


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    """At first it is put at the end; later in its place; the rest stays, byte for byte."""
    once = report.rewrite("# Measurements\n\ntext\n", "one\n")
    assert once.startswith("# Measurements\n\ntext\n\n<!--")
    twice = report.rewrite(once + "after\n", "two\n")
    assert twice == once.replace("one\n", "two\n") + "after\n"
    assert report.rewrite(twice, "two\n") == twice


def test_few_rounds_are_named() -> None:
    """A peer that ran once is not passed off as a median of five."""
    document = _document(0.5)
    document["sizes"]["5000"]["steady"][reconcile.DIFF]["samples"] = [12.0]
    assert f"{reconcile.DIFF} at 5,000 objects: 1" in report.section(document)


def test_a_review_that_costs_too_much_is_said() -> None:
    """The bound, the figure and the verdict; what was found by class and writer."""
    line = {"median_seconds": 2.0, "peak_mb": 180.0}
    cost = {
        "machine": "x86_64, 2 cores",
        "python": "3.11.7",
        "objects": 5000,
        "rows": {"plan": line, "review": line},
        "review to plan": 1.49,
    }
    recall = {
        "objects": 1300,
        "untouched": 1000,
        "edits": 30,
        "identities": 5,
        "found": 29,
        "reported beside": 1,
        "reported before any edit": 0,
        "by class and writer": {"key added": {"kubectl edit": [9, 10], "kubectl scale": [0, 0]}},
        "kubectl diff --server-side": {"key added": [3, 10]},
    }
    text = driftreport.reviews(cost, recall)
    assert "1.49 times the plan; at most 1.5 is asked: reached" in text
    assert "| key added | 9/10 | - | 9/10 | 3/10 |" in text
    assert "30 edits under 5 identities on 1,300 objects" in text
    assert "**missed**" in driftreport.reviews({**cost, "review to plan": 1.51}, {})
    assert driftreport.reviews({}, {}) == ""
