"""The kit's own runbooks after the run: found by what they plan, and alike when nothing changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from opslib import runbook
from opslib.runbook.compare import compare
from opslib.runbook.index import search
from opslib.runbook.query import Query
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status


def test_two_plans_of_one_commit_and_one_of_the_next(
    sandbox: Status, platform: Path, tmp_path: Path
) -> None:
    """Two plans of a commit differ in no line; that of an edited file says object and numbers."""
    env = sandboxes.environment(sandbox.name)
    given = {"repo": str(platform), "path": "production"}
    one, two = (runbook.run("reconcile", given, out=tmp_path / "out", env=env) for _ in range(2))
    assert [str(line) for line in compare(one.folder, two.folder)] == []
    page = one.html.read_text()
    assert "changes: 7, one by one in result.json" in page
    assert "resource_version" not in page
    found = search(Query(resource="Deployment payment-processor"), tmp_path / "out")
    assert {record.run_id for record in found.records} == {one.run_id, two.run_id}
    path = platform / "production" / "deployment.yaml"
    path.write_text(path.read_text().replace("replicas: 3", "replicas: 4"))
    words: list[str | Path] = [
        "git",
        "-C",
        platform,
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@localhost",
    ]
    subprocess.run([*words, "commit", "-qam", "one more"], check=True, timeout=60)
    three = runbook.run("reconcile", given, out=tmp_path / "out", env=env)
    lines = [str(line) for line in compare(one.folder, three.folder)]
    print("\n".join(lines))
    wanted = "Deployment.apps production/payment-processor, spec.replicas"
    plans = [line for line in lines if line.startswith("plan: ")]
    assert plans == [f"plan: {wanted}: (nothing) to 3 → (nothing) to 4"]
    assert any(line.startswith("report: report.revision: ") for line in lines)
    assert not search(Query(resource="Deployment no-such"), tmp_path / "out").records
