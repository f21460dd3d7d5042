"""Evidence before correction: a revert that is killed anywhere has never corrected without it."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

from reconcile.conftest import config_map

from opslib.drift.model import Drift
from opslib.drift.revert import plan_revert
from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status

from .reverter import WRITTEN, Job, revert
from .scene import Scene

_FORK = multiprocessing.get_context("fork")
_KILLED = -9


def _spoil(scene: Scene) -> None:
    """Bring the app into the state before the revert: each class of difference is there."""
    scene.apply()
    scene.edit("configmaps", "one", {"data": {"x": "by hand", "w": None, "z": "more"}})
    scene.server.request("DELETE", scene.path("configmaps", "two"))
    if scene.server.find(scene.path("configmaps", "extra")) is None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}
        scene.make("configmaps", body)


def _run(job: Job, number: int, told: Path) -> int:
    process = _FORK.Process(target=revert, args=(job, number, told))
    process.start()
    process.join(timeout=120)
    assert process.exitcode is not None, "the revert hangs"
    return process.exitcode


def _corrected(scene: Scene) -> list[str]:
    """Return which objects are not as the hands left them."""
    found = []
    one = scene.live("configmaps", "one")["data"]
    if one != {"x": "by hand", "z": "more"}:
        found.append("one")
    if scene.server.find(scene.path("configmaps", "two")):
        found.append("two")
    if scene.server.find(scene.path("configmaps", "extra")) is None:
        found.append("extra")
    return found


def _evidence(folder: Path) -> dict[str, Any] | None:
    """Return the evidence, whole; None where there is none. A torn file is an error."""
    files = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    assert len(files) < 2
    if not files:
        return None
    found: dict[str, Any] = json.loads(files[0].read_text())
    return found


def _holds(evidence: dict[str, Any], drifts: tuple[Drift, ...]) -> None:
    """Check that what was live, who owned it, and what was to be done, is there."""
    (one,) = [live for live in evidence["live"] if live["metadata"]["name"] == "one"]
    assert one["data"] == {"x": "by hand", "z": "more"}
    assert any(entry["manager"] == "kubectl-edit" for entry in one["metadata"]["managedFields"])
    assert any(live["metadata"]["name"] == "extra" for live in evidence["live"])
    assert {row["id"] for row in evidence["drifts"]} == {drift.id for drift in drifts}
    assert all(row["attribution"]["sentence"] for row in evidence["drifts"])
    assert evidence["plan"]["revision"]["commit"]


def test_killed_anywhere_no_correction_is_without_evidence(
    scene: Scene, sandbox: Status, tmp_path: Path
) -> None:
    """Before and after each request and each file write: corrected means told on disk before.

    After the kill a revert of what is left ends well: nothing was lost or done twice.
    """
    scene.apply(one=config_map("one", x="1", w="2"), two=config_map("two", x="1"))
    environment = cluster.environment(sandbox.name)
    points = corrections = 0
    while True:
        number = points + 1
        _spoil(scene)
        taken = scene.take()
        drifts = taken.review.drifts
        assert len(drifts) == 5, drifts
        plan = plan_revert(scene.session, taken.planned, drifts, [d.id for d in drifts])
        folder = tmp_path / f"evidence-{number}"
        job = Job(environment["KUBECONFIG"], scene.session, plan, folder)
        code = _run(job, number, tmp_path / "told")
        changed, evidence = _corrected(scene), _evidence(folder)
        if changed:
            corrections += 1
            assert evidence is not None, f"corrected {changed} at step {number} without evidence"
        if evidence is not None:
            _holds(evidence, drifts)
        if code == WRITTEN:
            assert changed == ["one", "two", "extra"]
            break
        assert code == _KILLED, code
        points += 1
    # Not equal: a run before may have had a step more, as when something is asked for again.
    assert points >= int((tmp_path / "told").read_text())
    assert points > 12
    assert corrections > 2
    print(f"killed at {points} points; corrections were begun at {corrections - 1} of them")
