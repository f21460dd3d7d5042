"""The list of records, one record, and the names that runbooks are found by."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from opslib import runbook
from opslib.core.clock import now
from opslib.core.errors import InputError
from opslib.runbook.places import new_run_id

from .conftest import Make, code, text


def test_lists_and_shows(make: Make, tmp_path: Path) -> None:
    """Records are listed newest first and found by any clear part of their id."""
    out = tmp_path / "out"
    first = runbook.run(make(text("# One"), code("1"), name="one"), {}, out=out)
    second = runbook.run(make(code("1 / 0"), name="two"), {}, out=out)
    found = runbook.list_records(out)
    assert [(one.runbook, one.outcome, one.exit_code) for one in found] == [
        ("two", "failed", 1),
        ("one", "ok", 0),
    ]
    assert found[0].error == "division by zero"
    for name in (first.folder, first.run_id, first.run_id[-6:], first.folder.name):
        record = runbook.show(name, out)
        assert record.result["title"] == "One"
        assert record.manifest["outcome"] == "ok"
    for name in (second.run_id, "latest"):
        assert runbook.show(name, out).summary.outcome == "failed"
    with pytest.raises(InputError, match="there is no record"):
        runbook.show("nope", out)
    with pytest.raises(InputError, match="2 records match"):
        runbook.show("20", out)


def test_records_are_looked_for_where_a_run_leaves_them(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder below the project, a run and the list of records mean the same place."""
    project = tmp_path / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / "deep" / "er").mkdir(parents=True)
    shutil.copyfile(make(code("1")), project / "notebooks" / "one.ipynb")
    monkeypatch.chdir(project / "deep" / "er")
    done = runbook.run("one", {})
    assert done.folder.is_relative_to(project / "outputs")
    assert [one.run_id for one in runbook.list_records()] == [done.run_id]


def test_a_run_that_goes_on_and_one_that_was_killed(tmp_path: Path) -> None:
    """The lock on the events tells a running record from one whose process is gone."""
    folder = tmp_path / "2026-01-01" / "work-20260101T000000000Z-abcdef"
    folder.mkdir(parents=True)
    result = {
        "run_id": "20260101T000000000Z-abcdef",
        "runbook": "work",
        "outcome": "running",
        "exit_code": None,
        "started": "2026-01-01T00:00:00Z",
        "seconds": None,
    }
    (folder / "result.json").write_text(json.dumps(result))
    with (folder / "events.jsonl").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert runbook.list_records(tmp_path)[0].outcome == "running"
    (gone,) = runbook.list_records(tmp_path)
    assert gone.outcome == "interrupted"
    assert "process" in gone.error


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"outcome": 1}', '"x"', "nul\0"])
def test_a_damaged_record_is_listed_as_such(tmp_path: Path, content: str) -> None:
    """One broken result.json hides neither itself nor the others."""
    folder = tmp_path / "2026-01-01" / "work-20260101T000000000Z-abcdef"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(content)
    (one,) = runbook.list_records(tmp_path)
    assert (one.outcome, one.runbook) == ("unknown", "work")
    assert one.error


def test_no_records_is_an_empty_list(tmp_path: Path) -> None:
    """A folder that is not there holds no records."""
    assert runbook.list_records(tmp_path / "nowhere") == []


def test_run_ids_sort_by_time_and_differ() -> None:
    """Ids made in one moment differ, later ones sort after earlier ones."""
    moment = now()
    assert len({new_run_id(moment) for _ in range(1000)}) > 990
    early, late = moment.replace(microsecond=1000), moment.replace(microsecond=999_000)
    assert new_run_id(early) < new_run_id(late)


def test_find_by_name_and_path(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is found from any folder of the project; a typo gets a suggestion."""
    path = make(code("1"), name="rollout-check")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert runbook.find("rollout-check") == path.resolve()
    assert runbook.find(str(path)) == path.resolve()
    assert runbook.find("../../notebooks/rollout-check.ipynb") == path.resolve()
    with pytest.raises(InputError, match="did you mean rollout-check") as caught:
        runbook.find("rolout-check")
    assert caught.value.exit_code == 2
    for wrong in ("nowhere.ipynb", "../notebooks/x", "", "a/b", "\0"):
        with pytest.raises(InputError, match="there is no runbook"):
            runbook.find(wrong)
