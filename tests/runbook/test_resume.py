"""Runs that are killed at every kind of moment and resumed: no effect twice, none lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .audited import entries
from .conftest import HERE, LOAD, Make, code, parameters

EFFECTS = 10
MOMENTS = ("before", "begun", "written", "ended")
"""Before once(), inside before the request, inside after it, after once()."""

HEAD = """
import os
from pathlib import Path
from opslib.kube.client import connect

server = connect(p.kubeconfig)
place = f"/api/v1/namespaces/{p.namespace}/configmaps"


def at(moment):
    if Path("kill").read_text() == moment:
        os.kill(os.getppid(), 9)
        os.kill(os.getpid(), 9)


def find(number):
    items, _ = server.list(place, {"labelSelector": f"effect=e{number}"})
    return items[0]["metadata"]["name"] if items else None


def create(number):
    at(f"begun {number}")
    labels = {"effect": f"e{number}"}
    body = {"metadata": {"generateName": "made-", "labels": labels}}
    made = server.request("POST", place, body={"apiVersion": "v1", "kind": "ConfigMap", **body})
    at(f"written {number}")
    return made["metadata"]["name"]
"""

STEP = """
at("before {n}")
name = runbook.once("e{n}", lambda: create({n}), look={look})
at("ended {n}")
"""


def _names(server: Cluster, namespace: str) -> Counter[str]:
    items, _ = server.list(
        f"/api/v1/namespaces/{namespace}/configmaps", {"labelSelector": "effect"}
    )
    return Counter(item["metadata"]["labels"]["effect"] for item in items)


def test_forty_kills_no_effect_twice_none_lost(
    make: Make, sandbox: Status, server: Cluster, namespace: str, tmp_path: Path
) -> None:
    """SIGKILL of runner and kernel at 40 moments of one chain of resumed runs.

    Even effects can be looked for; for odd ones a person looks and decides (--redo, --skip).
    """
    steps = [
        code(STEP.format(n=n, look="None" if n % 2 else f"lambda: find({n})"))
        for n in range(EFFECTS)
    ]
    path = make(parameters("namespace: str\nkubeconfig: str"), LOAD, code(HEAD), *steps)
    out = tmp_path / "out"
    given = {
        "namespace": namespace,
        "kubeconfig": sandboxes.environment(sandbox.name)["KUBECONFIG"],
    }
    moments = [f"{moment} {n}" for n in range(EFFECTS) for moment in MOMENTS]
    since = datetime.now(UTC)
    kills, decisions = 0, Counter[str]()
    options: dict[str, Any] = {"parameters": given}
    for moment in [*moments, ""]:
        (tmp_path / "kill").write_text(moment)
        ended = _run(path, out, options)
        if ended.returncode == 3:  # an effect began without an end: a person has to look
            name = _undecided(out)
            decision = "skip" if _names(server, namespace)[name] else "redo"
            decisions[decision] += 1
            options = {"resume": str(_newest(out)), decision: [name]}
            ended = _run(path, out, options)
        kills += ended.returncode == -9
        assert ended.returncode == (-9 if moment else 0), (moment, ended.stderr[-2000:])
        options = {"resume": str(_newest(out))}
    made = Counter(
        entry["requestObject"]["metadata"]["labels"]["effect"]
        for entry in entries(sandbox.audit_log, since)
        if entry["verb"] == "create"
        and (entry.get("objectRef") or {}).get("namespace") == namespace
        and "labels" in entry.get("requestObject", {}).get("metadata", {})
    )
    twice = sum(count > 1 for count in made.values())
    print(
        f"{kills} kills, {EFFECTS} effects, decisions {dict(decisions)}:"
        f" {twice} twice, {EFFECTS - len(made)} lost"
    )
    assert kills >= 40
    assert made == _names(server, namespace) == {f"e{n}": 1 for n in range(EFFECTS)}
    assert set(decisions) == {"skip", "redo"}
    newest = runbook.show(_newest(out))
    assert newest.summary.outcome == "ok"
    assert newest.result["parent"]


def _run(path: Path, out: Path, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(HERE / "runner.py"), str(path), str(out), json.dumps(options)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def _newest(out: Path) -> Path:
    return max(one.parent for one in out.glob("*/*/events.jsonl"))


def _undecided(out: Path) -> str:
    error = json.loads((_newest(out) / "result.json").read_text())["error"]
    where = str(error["detail"]["where"])
    assert where.startswith("effect ")
    return where.removeprefix("effect ")
