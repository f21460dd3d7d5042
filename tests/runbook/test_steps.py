"""Steps that may be tried again: what they say, what is tried, what is written down of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.core.errors import InputError, Problems
from opslib.runbook.steps import ONCE, Step, check, step_of

from .conftest import Cell, Make, code, parameters, read_json

FLAKY = (
    "from pathlib import Path\ncount = Path('count')\n"
    "tries = int(count.read_text()) + 1 if count.exists() else 1\n"
    "count.write_text(str(tries))\nprint('attempt', tries)\n"
)


def marked(source: str, *tags: str, **step: Any) -> Cell:
    """Return a code cell with a step in its metadata."""
    cell = code(source, *tags)
    cell["metadata"]["opslib"] = {"step": step}
    return cell


def tries(path: Path) -> int:
    """Return how often the flaky cell ran, by its own count."""
    return int((path.parent.parent / "count").read_text())


def test_marks_are_read() -> None:
    """Metadata and tags say the same; a cell without a mark runs once."""
    full = marked("1", idempotent=True, retries=3, timeout="1m", wait="250ms")
    assert step_of(full) == Step(idempotent=True, retries=3, timeout=60.0, wait=0.25)
    assert step_of(code("1", "idempotent", "retries-4")) == Step(idempotent=True, retries=4)
    assert step_of(code("1", "idempotent")) == Step(idempotent=True, retries=2)
    assert step_of(marked("1", timeout=5)) == Step(timeout=5.0)
    assert step_of(code("1")) == ONCE
    assert [Step(wait=2).pause(n) for n in (1, 2, 3, 9)] == [2, 4, 8, 60]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (code("1", "retries-2"), "does not say that it is idempotent"),
        (code("1", "idempotent", "retries-many"), "retries cannot be 'many'"),
        (code("1", "idempotent", "retries-11"), "retries cannot be 11"),
        (marked("1", idempotent="yes"), "idempotent cannot be 'yes'"),
        (marked("1", idempotent=True, retries=True), "retries cannot be True"),
        (marked("1", idempotent=True, retrys=2), "a step has no retrys"),
        (marked("1", timeout="soon"), "timeout cannot be 'soon'"),
        (marked("1", timeout=0), "timeout cannot be 0"),
    ],
)
def test_a_wrong_mark_is_refused_before_anything_starts(
    cell: Cell, words: str, make: Make, tmp_path: Path
) -> None:
    """It is bad input, exit code 2, with the number of the cell; no record is begun."""
    with pytest.raises(InputError, match=words) as found:
        runbook.run(make(parameters("a: int = 1"), cell), {})
    assert found.value.exit_code == 2
    assert "cell 2" in str(found.value)
    assert not (tmp_path / "outputs").exists()


def test_all_wrong_marks_are_told_at_once() -> None:
    """Two cells with wrong marks are two problems of one error."""
    cells = [code("1", "retries-2"), code("2", "retries-x")]
    with pytest.raises(Problems) as found:
        check({"cells": cells}, "x.ipynb")
    assert len(found.value.problems) == 2


def test_an_idempotent_step_is_tried_again(make: Make) -> None:
    """Two attempts fail and the third ends well; each is in the cell and among the events."""
    cell = marked(
        FLAKY + "if tries < 3:\n    raise OSError('not yet')", idempotent=True, wait="50ms"
    )
    path = make(cell, code("print('after')"))
    done = runbook.run(path, {})
    assert (done.outcome, tries(path)) == ("ok", 3)
    ours = read_json(done.record)["cells"][0]["metadata"]["opslib"]
    assert ours["outcome"] == "ok"
    assert ours["step"] == {"idempotent": True, "wait": "50ms"}
    told = [(one["outcome"], one["error"]["name"]) for one in ours["attempts"]]
    assert told == [("failed", "OSError")] * 2
    lines = [json.loads(one) for one in (done.folder / "events.jsonl").read_text().splitlines()]
    again = [(one["attempt"], one["wait"]) for one in lines if one["event"] == "cell-retry"]
    assert again == [(1, 0.05), (2, 0.1)]
    assert "attempt 3" in str(read_json(done.record)["cells"][0]["outputs"])


def test_attempts_have_an_end(make: Make) -> None:
    """When the last attempt fails the cell failed, and nothing after it runs."""
    path = make(marked(FLAKY + "1 / 0", idempotent=True, retries=1, wait="50ms"), code("2"))
    done = runbook.run(path, {})
    assert (done.outcome, done.exit_code, tries(path)) == ("failed", 1, 2)
    assert done.result["cells"] == {"failed": 1, "never-run": 1}
    assert len(read_json(done.record)["cells"][0]["metadata"]["opslib"]["attempts"]) == 1


def test_a_step_that_hangs_is_tried_again(make: Make) -> None:
    """A step's own time limit ends an attempt; a kernel that answers tries the next."""
    source = FLAKY + "import time\nif tries < 2:\n    time.sleep(60)"
    path = make(marked(source, idempotent=True, timeout="3s", wait="50ms"))
    done = runbook.run(path, {})
    assert (done.outcome, tries(path)) == ("ok", 2)
    ours = read_json(done.record)["cells"][0]["metadata"]["opslib"]
    assert [one["outcome"] for one in ours["attempts"]] == ["timeout"]


NEVER = {
    "no mark": ("1 / 0", False, "failed"),
    "denied": (
        "from opslib.core.errors import ApprovalError\nraise ApprovalError('no')",
        *(True, "denied"),
    ),
    "bad input": (
        "from opslib.core.errors import InputError\nraise InputError('no')",
        *(True, "failed"),
    ),
    "kernel dead": ("import os\nos._exit(1)", True, "kernel-dead"),
    "own end": ("import sys\nsys.exit(3)", True, "failed"),
}


@pytest.mark.parametrize("name", NEVER)
def test_what_is_never_tried_again(name: str, make: Make) -> None:
    """A step that does not say it may, a refusal, wrong input, a dead kernel: one attempt."""
    source, idempotent, outcome = NEVER[name]
    first = "from opslib import runbook\np = runbook.load(globals())"
    step = {"idempotent": True, "retries": 3} if idempotent else {}
    path = make(parameters("a: int = 1"), code(first), marked(FLAKY + source, **step))
    done = runbook.run(path, {})
    assert (done.outcome, tries(path)) == (outcome, 1)


def test_no_attempt_begins_after_the_deadline(make: Make) -> None:
    """A pause that would outlast the run's deadline is not begun."""
    path = make(marked(FLAKY + "1 / 0", idempotent=True, retries=5, wait="1m"))
    done = runbook.run(path, {}, deadline=55)
    assert (done.outcome, tries(path)) == ("failed", 1)
    assert done.result["seconds"] < 50
