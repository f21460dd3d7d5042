"""The record of a review of ten thousand differences: it opens at once, and nothing is left out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from runbook.conftest import LOAD, code, write

from opslib import runbook

TESTS = Path(__file__).parents[1]
SETUP = (
    f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n"
    "from drift.made import many, review\n"
    "from opslib.drift.carry import Acts\n"
    "from opslib.view import decide, drift, driftplots, driftreport\n"
    "found = review(*many(10_000, alike=False))\n"
    "answers = decide.Answers(found, 'all=escalate')\n"
    "acts = Acts(found, tuple(answers.drifts))"
)
REPORT = """
runbook.attach('review.json', driftreport.document(found, answers))
runbook.report(**driftreport.report(found, acts, {}))
"""
CELLS = (
    SETUP,
    "drift.summary(found)",
    "drift.table(found)",
    "driftplots.timeline(found.drifts)",
    "drift.diffs(found)",
    "decide.form(answers)",
    "decide.preview(answers, acts)",
    REPORT,
)


def test_ten_thousand_differences_open_at_once(chromium: Any, tmp_path: Path) -> None:
    """Under 5 MB, under 3 s in a browser without scripts; all of them are in the record's JSON."""
    path = write(tmp_path / "notebooks" / "big.ipynb", LOAD, *map(code, CELLS))
    run = runbook.run(path, {}, out=tmp_path / "out")
    assert run.outcome == "ok", run.result["error"]
    kept = json.loads((run.folder / "review.json").read_text())
    assert len(kept["drifts"]) == 10_000
    assert {one["decision"]["disposition"] for one in kept["drifts"]} == {"escalate"}
    assert len(run.result["report"]["drifts"]) == 500
    (answer,) = run.result["report"]["decided"]
    assert len(answer["ids"]) == 10_000
    size = run.html.stat().st_size
    assert size < 5_000_000
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    times = []
    for _ in range(3):
        began = time.monotonic()
        page.goto(run.html.as_uri(), wait_until="load")
        assert page.get_by_text("10000 differences in 2500 objects").first.is_visible()
        times.append(time.monotonic() - began)
    seconds = min(times)
    page.locator("summary", has_text="51 to 100 of 10000").first.click()
    assert page.locator("table.rows").nth(1).is_visible()
    context.close()
    assert seconds < 3
    files = [run.record.stat().st_size, (run.folder / "review.json").stat().st_size]
    sizes = ", ".join(f"{one / 1e6:.1f} MB" for one in (size, *files))
    print(
        f"page, notebook, JSON: {sizes}; opened in {seconds:.2f} s; ran {run.result['seconds']} s"
    )
