"""How long a runbook takes, from its newest good records; and what people are told with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.runbook.history import expected_seconds

from .conftest import Make, code, text


def record(out: Path, day: str, number: int, seconds: Any, **more: Any) -> None:
    """Write a result as a run leaves it."""
    run_id = f"{day.replace('-', '')}T{number:09d}Z-abcdef"
    folder = out / day / f"{more.get('runbook', 'work')}-{run_id}"
    folder.mkdir(parents=True)
    result = {"runbook": "work", "outcome": "ok", "seconds": seconds, **more}
    (folder / "result.json").write_text(json.dumps(result))


def test_the_newest_good_runs_count(tmp_path: Path) -> None:
    """The median of the newest five good runs of this runbook; what cannot be read is nothing."""
    assert expected_seconds(tmp_path / "nowhere", "work") is None
    for number, seconds in enumerate([900, 10, 20, 30, 40, 50]):
        record(tmp_path, "2026-01-02", number, seconds)
    record(tmp_path, "2026-01-01", 9, 900)
    assert expected_seconds(tmp_path, "work") == 30
    record(tmp_path, "2026-01-03", 1, 900, outcome="failed")
    record(tmp_path, "2026-01-03", 2, 900, runbook="work-2")
    record(tmp_path, "2026-01-03", 3, "soon")
    record(tmp_path, "2026-01-03", 4, None)
    (tmp_path / "2026-01-04").write_text("no folder")
    assert expected_seconds(tmp_path, "work") == 30
    assert expected_seconds(tmp_path, "other") is None


class Watcher:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        del done, total
        self.seen.append(label)


def test_people_are_told_how_long_it_will_take(make: Make, tmp_path: Path) -> None:
    """The first run tells its steps; the second also what is expected."""
    path = make(text("# Work"), code("1"), text("## Apply"), code("2"))
    first, second = Watcher(), Watcher()
    runbook.run(path, {}, progress=first)
    assert first.seen[-1] == "step 2/2 Apply"
    done = runbook.run(path, {}, progress=second)
    assert second.seen[-1].startswith("step 2/2 Apply, ")
    assert " s of about " in second.seen[-1]
    assert done.outcome == "ok"
