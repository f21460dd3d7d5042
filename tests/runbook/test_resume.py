"""Runs that are killed at every kind of moment and resumed: no effect twice, none lost."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from . import pair
from .audited import entries
from .conftest import HERE, LOAD, Make, Zygote, code, parameters

pytestmark = pytest.mark.timeout(600)  # several times what it takes at rest

EFFECTS = 10
MOMENTS = ("before", "begun", "written", "ended")
"""Before once(), inside before the request, inside after it, after once()."""

WORK = """
import os
from pathlib import Path
from runbook import pair

pair.work(p.kubeconfig, p.namespace, p.effects, Path("kill").read_text())
"""


def _names(server: Cluster, namespace: str) -> Counter[str]:
    query = {"labelSelector": "effect"}
    items, _ = server.list(f"/api/v1/namespaces/{namespace}/configmaps", query)
    return Counter(item["metadata"]["labels"]["effect"] for item in items)


def _created(log: Path, namespace: str, since: datetime) -> Counter[str]:
    """Count the creations of each effect where they arrived."""
    return Counter(
        entry["requestObject"]["metadata"]["labels"]["effect"]
        for entry in entries(log, since)
        if entry["verb"] == "create"
        and (entry.get("objectRef") or {}).get("namespace") == namespace
        and "labels" in entry.get("requestObject", {}).get("metadata", {})
    )


@dataclass
class Chain:
    """Runs of one work, each killed at its moment, each but the first a resumed one."""

    start: Callable[[str, dict[str, Any]], int]
    undecided: Callable[[], str]
    out: Path
    done: Callable[[], Counter[str]]
    kills: int = 0
    decisions: Counter[str] = field(default_factory=Counter)

    def go(self, moments: list[str]) -> None:
        """Kill at each moment in turn, then let the work end.

        Where an effect began without an end and cannot be looked for, decide as a person does.
        """
        options: dict[str, Any] = {}
        for moment in [*moments, ""]:
            code = self.start(moment, options)
            if code == 3:
                name = self.undecided()
                decision = "skip" if self.done()[name] else "redo"
                self.decisions[decision] += 1
                code = self.start(moment, {"resume": str(self.newest()), decision: [name]})
            self.kills += code == -9
            assert code == (-9 if moment else 0), moment
            options = {"resume": str(self.newest())}

    def newest(self) -> Path:
        """Return the newest record."""
        return max(one.parent for one in self.out.glob("*/*/events.jsonl"))


def test_forty_kills_no_effect_twice_none_lost(
    make: Make,
    *,
    sandbox: Status,
    server: Cluster,
    namespace: str,
    tmp_path: Path,
) -> None:
    """SIGKILL of runner and kernel at 40 moments of one chain of resumed runs."""
    path, out = make(code("work")), tmp_path / "out"
    out.mkdir()
    kubeconfig = sandboxes.environment(sandbox.name)["KUBECONFIG"]
    # Python 3.11's fork server does not preload by our sys.path, and says nothing of it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE.parent))
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload([pair.__name__])
        forkserver.ensure_running()

    def start(moment: str, options: dict[str, Any]) -> int:
        told = {**options, "work": [kubeconfig, namespace, EFFECTS, moment]}
        process = forks.Process(target=pair.run, args=(str(path), str(out), told))
        process.start()
        process.join(60)
        return int(process.exitcode if process.exitcode is not None else 1)

    def undecided() -> str:
        return (out / "undecided").read_text().removeprefix("effect ")

    since = datetime.now(UTC)
    chain = Chain(start, undecided, out, lambda: _names(server, namespace))
    chain.go([f"{moment} {n}" for n in range(EFFECTS) for moment in MOMENTS])
    made = _created(sandbox.audit_log, namespace, since)
    twice, lost = sum(count > 1 for count in made.values()), EFFECTS - len(made)
    decided = dict(chain.decisions)
    print(f"{chain.kills} kills, {EFFECTS} effects: {twice} twice, {lost} lost; {decided}")
    assert chain.kills >= 40
    assert made == _names(server, namespace) == {f"e{n}": 1 for n in range(EFFECTS)}
    assert set(chain.decisions) == {"skip", "redo"}


def test_the_same_with_real_kernels(
    make: Make,
    *,
    sandbox: Status,
    server: Cluster,
    namespace: str,
    zygote: Zygote,
    tmp_path: Path,
) -> None:
    """A notebook in Jupyter's kernel, killed at three moments of its second effect."""
    path = make(parameters("namespace: str\nkubeconfig: str\neffects: int"), LOAD, code(WORK))
    out, kubeconfig = tmp_path / "out", sandboxes.environment(sandbox.name)["KUBECONFIG"]
    given = {"namespace": namespace, "kubeconfig": kubeconfig, "effects": "2"}
    env = {"PYTHONPATH": str(HERE.parent)}

    def start(moment: str, options: dict[str, Any]) -> int:
        (tmp_path / "kill").write_text(moment)
        told = {**(options or {"parameters": given}), "env": env}
        return zygote.start(path, out, told).wait()

    def undecided() -> str:
        error = json.loads((chain.newest() / "result.json").read_text())["error"]
        return str(error["detail"]["where"]).removeprefix("effect ")

    since = datetime.now(UTC)
    chain = Chain(start, undecided, out, lambda: _names(server, namespace))
    chain.go(["begun 1", "written 1", "ended 1"])
    made = _created(sandbox.audit_log, namespace, since)
    print(f"{chain.kills} kills of real kernels: {dict(made)}")
    assert made == _names(server, namespace) == {"e0": 1, "e1": 1}
    newest = runbook.show(chain.newest())
    assert newest.summary.outcome == "ok"
    assert newest.result["parent"]
