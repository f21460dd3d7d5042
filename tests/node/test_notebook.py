"""The runbook: verdict first, a table per node and plane, what to do; its record has it all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from opslib.core.errors import DriftFound
from opslib.runbook import run
from opslib.view import nodes

from .conftest import BASELINE, Git, Machine


def test_node_drift_as_a_runbook(tmp_path: Path, git: Git) -> None:
    """Three nodes, one of them lower: exit 4 with alarm, and the record says what and why."""
    git.commit(
        "Baseline", nodes__b_DOT_yaml=BASELINE.replace("absent, why", "eq, value: none, why")
    )
    for number in range(3):
        machine = Machine(tmp_path / str(number))
        machine.write("proc/sys/kernel/hostname", f"worker-{number}\n")
        if number == 2:
            machine.write("proc/sys/vm/max_map_count", "<b>65530</b>\n")
        git.commit(f"Snapshot {number}", **{f"nodes__{number}_DOT_json": machine.snapshot()})
    given = {"repo": str(git.folder), "nodes": "*", "alarm": "true"}
    begun = time.process_time()
    result = run("node-drift", given, out=tmp_path / "out")
    print(f"{time.process_time() - begun:.1f} s of this process")
    assert (result.outcome, result.result["exit_code"]) == ("failed", 4)
    report = result.result["report"]
    assert report["headline"] == "1 difference on 1 of 3 nodes, 1 error"
    assert [row["verdict"] for row in report["nodes"]] == ["clean", "clean", "drift"]
    page = result.html.read_text()
    for text in (
        "worker-2",
        "262144 on 2 of 3",
        "the search needs it",
        "as declared: worker-0, worker-1",
    ):
        assert text in page
    assert "<b>65530</b>" not in page
    kept = json.loads((result.folder / "check.json").read_text())
    assert kept["nodes"][2]["differences"][0]["changed"]["subject"] == "Snapshot 2"


def test_beside_a_drift_review(
    machine: Machine, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    """A review of something else says how the nodes below are, where it is asked to."""
    git.commit("Baseline", nodes__b_DOT_yaml=BASELINE)
    git.commit("Snapshot", nodes__1_DOT_json=machine.snapshot())
    found = nodes.beside(str(git.folder), " worker-1, ")
    assert found is not None
    assert found.headline == "1 difference on 1 of 1 node"
    assert "1 difference on 1 of 1 node" in capsys.readouterr().out
    with pytest.raises(DriftFound):
        nodes.alarm(found, on=True)
    nodes.alarm(found, on=False)
    assert nodes.beside(str(git.folder), "") is None
    nodes.alarm(None, on=True)
