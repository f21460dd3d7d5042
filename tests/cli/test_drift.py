"""opslib drift and opslib check: what differs, who did it, and each answer with its exit code."""

from __future__ import annotations

import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from drift.made import ADMIN, ALL, OWNER, REPLICAS, review

from opslib.core.clock import now
from opslib.drift.encode import review_document
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .conftest import Opslib, git, run

DAY = str(now().date() + timedelta(days=30))


def test_a_saved_review_is_read_without_a_cluster(tmp_path: Path) -> None:
    """List and explain read a review's file or a record's folder; what is none is refused."""
    (tmp_path / "review.json").write_text(json.dumps(review_document(review(*ALL))))
    nowhere = {"KUBECONFIG": str(tmp_path / "none")}
    listed = run("drift", "list", "--review", tmp_path, env=nowhere)
    assert listed.code == 0, listed.err
    lines = listed.out.splitlines()
    assert lines[0] == "5 differences in 3 objects, 3 by people, oldest 3 months"
    assert lines[2].split()[:2] == ["security", ADMIN.id[:8]]
    same = run("drift", "list", "--review", tmp_path / "review.json", "--json", env=nowhere)
    assert same.json["drifts"] == json.loads((tmp_path / "review.json").read_text())["drifts"]
    words = ("drift", "explain", OWNER.id[:4], "Deployment production/api", "--review", tmp_path)
    told = run(*words, env=nowhere)
    assert told.out.count("What each answer does:") == 3
    assert "+     example.com/owner: bob" in told.out
    assert "user unknown" in told.out
    rows = run(*words, "--json", env=nowhere).json
    assert {row["id"] for row in rows} > {OWNER.id, REPLICAS.id}
    assert all(set(row["answers"]) == {"revert", "adopt", "ignore", "escalate"} for row in rows)
    refused = run("drift", "explain", "0000", "--review", tmp_path, env=nowhere)
    assert refused.code == 2
    assert "no difference here is '0000'" in refused.told()
    (tmp_path / "other.json").write_text("{}")
    other = run("drift", "list", "--review", tmp_path / "other.json", "--json", env=nowhere)
    assert (other.code, other.json["error"]["kind"]) == (2, "bad-input")


def _drifted(server: Cluster, place: str) -> None:
    """Change a Deployment's replicas, add a label to it, and make a ConfigMap that Git lacks."""
    merge = "application/merge-patch+json"
    path = f"/apis/apps/v1/namespaces/{place}/deployments/payment-processor"
    body = {"metadata": {"labels": {"team": "night"}}, "spec": {"replicas": 5}}
    server.request("PATCH", path, body=body, content_type=merge)
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left"}}
    server.request("POST", f"/api/v1/namespaces/{place}/configmaps", body=extra)


def _by_path(document: Any) -> dict[str, dict[str, Any]]:
    return {row["path"] or row["name"]: row for row in document["drifts"]}


def test_from_check_to_each_answer(
    opslib: Opslib, sandbox: Status, platform: Path, server: Cluster, place: str
) -> None:
    """Check exits 4 with who did it; ignore and adopt are branches, revert asks; then 0 is near."""
    common = ("--repo", platform, "--path", "production", "--app", f"d-{place[2:9]}")
    log = sandboxes.environment(sandbox.name)["OPSLIB_AUDIT_LOG"]
    assert opslib("apply", *common, "--yes").code == 0
    clean = opslib("check", *common, "--json")
    assert (clean.code, clean.json["drifts"]) == (0, []), clean.out
    _drifted(server, place)
    check = opslib("check", *common, "--audit", log, "--json")
    assert check.code == 4
    rows = _by_path(check.json)
    assert set(rows) == {"spec.replicas", "metadata.labels.team", "left"}
    assert check.json["counts"]["update"] == 1
    assert {row["attribution"]["confidence"] for row in rows.values()} == {"certain"}
    assert check.json["review"]["headline"].startswith("3 differences in 2 objects, 3 by people")
    _branches(opslib, common, rows, platform)
    _bundle(opslib, (*common, "--audit", log), rows)
    _revert(opslib, common, rows, server, place)
    last = opslib("check", *common, "--json")
    assert set(_by_path(last.json)) == {"metadata.labels.team"}


def _branches(opslib: Opslib, common: Any, rows: dict[str, Any], repo: Path) -> None:
    label, replicas = rows["metadata.labels.team"]["id"], rows["spec.replicas"]["id"]
    who = ("--author", "Ada <ada@example.com>", "--json")
    why = ("--until", DAY, "--reason", "the night team's own")
    ignored = opslib("drift", "ignore", label, *why, *common, *who)
    assert ignored.code == 0, ignored.err
    rule = git(repo, "show", f"{ignored.json['done']['ignore']['branch']}:production/opslib.yaml")
    assert DAY in rule
    adopted = opslib("drift", "adopt", replicas, "-m", "it is right", *common, *who)
    assert adopted.code == 0, adopted.err
    assert "+  replicas: 5" in git(repo, "show", adopted.json["done"]["adopt"]["branch"])
    assert "it is right" in git(repo, "log", "-1", adopted.json["done"]["adopt"]["commit"])
    assert not git(repo, "status", "--porcelain")


def _bundle(opslib: Opslib, common: Any, rows: dict[str, Any]) -> None:
    ended = opslib("drift", "escalate", rows["left"]["id"], *common, "--to", "out", "--json")
    assert ended.code == 0, ended.err
    path = Path(ended.json["done"]["escalate"]["path"])
    assert path.stat().st_size > 500
    with zipfile.ZipFile(path) as bundle:
        (name,) = [one for one in bundle.namelist() if one.endswith("audit.jsonl")]
        assert b"/configmaps" in bundle.read(name)


def _revert(opslib: Opslib, common: Any, rows: dict[str, Any], server: Cluster, place: str) -> None:
    ids = (rows["spec.replicas"]["id"], rows["left"]["id"])
    shown = opslib("drift", "revert", *ids, *common)
    assert shown.code == 3
    (line,) = [one for one in shown.out.splitlines() if one.startswith("Hash: ")]
    assert opslib("drift", "revert", *ids, *common, "--approve", "0" * 64).code == 3
    done = opslib("drift", "revert", *ids, *common, "--approve", line[6:], "--json")
    assert done.code == 0, done.err
    path = f"/apis/apps/v1/namespaces/{place}/deployments/payment-processor"
    live = server.get(path)
    assert (live["spec"]["replicas"], live["metadata"]["labels"]["team"]) == (3, "night")
    assert server.find(f"/api/v1/namespaces/{place}/configmaps/left") is None
