"""The demonstration: `make demo` as a new user types it, and what it leaves in the cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opslib.kube.client import connect
from opslib.reconcile.app import COMMIT
from opslib.reconcile.prune import apply_managers
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.binaries import kubectl

pytestmark = pytest.mark.timeout(600)  # several times what it takes at rest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(_own_state: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run the demonstration twice, as two users one after the other; return the second's end."""
    out = tmp_path_factory.mktemp("demo")
    # A make that runs this suite would else be named on standard output (GNU make's MAKELEVEL).
    words = ["make", "--no-print-directory", "demo", f"ARGS=--json --out {out}"]
    try:
        for _ in range(2):
            done = subprocess.run(
                words, cwd=PROJECT, capture_output=True, text=True, timeout=290, check=False
            )
            assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads(done.stdout)
    finally:
        sandboxes.down("default")


def test_every_step_ends_as_the_story_says(demo: dict[str, Any]) -> None:
    """Eight records: seven that say ok, and the bad release that says failed."""
    assert demo["ok"]
    outcomes = [step["outcome"] for step in demo["steps"]]
    assert outcomes == ["ok", "failed", "ok", "ok", "ok", "ok", "ok", "ok"]
    print(f"second run: {demo['seconds']} s, {outcomes.count('ok')} records that say ok")


def test_the_cluster_is_at_the_commit_of_the_record(demo: dict[str, Any]) -> None:
    """3/3, owned by this app's field manager, at the commit that the last record names."""
    words = [str(kubectl()), "get", "deploy", "payment-processor", "--no-headers"]
    words += ["--namespace", "production"]
    env = {**os.environ, "KUBECONFIG": demo["kubeconfig"]}
    seen = subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout.split()
    assert seen[:2] == ["payment-processor", "3/3"]
    server = connect(demo["kubeconfig"])
    live = server.get("/apis/apps/v1/namespaces/production/deployments/payment-processor")
    server.close()
    assert apply_managers(live) == {"opslib-payment-platform-production"}
    record = json.loads((Path(demo["steps"][-1]["record"]).parent / "result.json").read_text())
    assert record["outcome"] == "ok"
    assert record["report"]["revision"] == live["metadata"]["annotations"][COMMIT]


def test_the_reason_of_the_bad_release_is_in_its_record(demo: dict[str, Any]) -> None:
    """The record says in one sentence which image cannot be pulled, and which commit brought it."""
    record = json.loads((Path(demo["steps"][2]["record"]).parent / "result.json").read_text())
    verified = record["report"]["verified"]
    assert not verified["ready"]
    assert "payment:v1.4.3-does-not-exist" in verified["reason"]
    text = Path(demo["steps"][2]["record"]).read_text()
    assert "git revert " + record["report"]["revision"] in text


def test_the_review_names_what_was_done_by_hand(demo: dict[str, Any]) -> None:
    """Both fields, by whom; both decided and reverted, and verified as gone."""
    record = json.loads((Path(demo["steps"][-1]["record"]).parent / "result.json").read_text())
    report = record["report"]
    assert report["headline"].startswith("2 differences in 1 object, 2 by people")
    assert {one["disposition"] for one in report["decisions"]} == {"revert"}
    assert report["verified"]["ok"]
