"""Real kernels killed at random moments inside cells: each effect reaches the server once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.kube.client import Cluster
from opslib.runbook.verify import verify
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .audited import entries
from .conftest import LOAD, Fork, Make, Zygote, code, parameters, read_json, wait_for

pytestmark = pytest.mark.timeout(600)  # several times what it takes at rest

CHAINS, KILLS, CELLS, EACH, MOST = 3, 5, 4, 10, 5
"""Chains that run side by side, kills of each inside a cell, cells with effects, effects of one,
and the most that a run does before it waits for its kill: else a quick one may be done by then."""

SETUP = """
import time
from functools import partial
from pathlib import Path
from opslib.kube.client import connect
from opslib.kube.errors import ApiError

server = connect(p.kubeconfig)
place = f"/api/v1/namespaces/{p.namespace}/configmaps"

def find(n):
    items, _ = server.list(place, {"labelSelector": f"chain={p.chain},effect=e{n}"})
    return items[0]["metadata"]["name"] if items else None

def create(n, name):
    done.append(n)
    labels = {"chain": p.chain, "effect": f"e{n}"}
    body = {"metadata": {"labels": labels, **name}}
    try:
        return server.request("POST", place, body=body)["metadata"]["name"]
    except ApiError as error:
        if error.code != 409:
            raise
        return name["name"]

done = []

def step(n):
    while len(done) >= p.most and not Path(p.free).exists():
        time.sleep(0.002)  # for the kill
    any_name, one_name = {"generateName": "made-"}, {"name": f"{p.chain}-e{n}"}
    if n % 3 == 0:
        return runbook.once(f"e{n}", partial(create, n, any_name), look=partial(find, n))
    if n % 3 == 1:
        return runbook.once(f"e{n}", partial(create, n, one_name), idempotent=True)
    return runbook.once(f"e{n}", partial(create, n, any_name))
"""


def cells() -> list[dict[str, Any]]:
    """Return a runbook: what it needs, then cells with several effects each."""
    names = "namespace: str\nkubeconfig: str\nchain: str\nmost: int\nfree: str"
    work = [
        code(f"for n in range({EACH * k}, {EACH * (k + 1)}):\n    step(n)") for k in range(CELLS)
    ]
    return [parameters(names), LOAD, code(SETUP), *work]


@dataclass
class Chain:
    """Runs of one work, each but the first resumed, killed at moments that dice choose."""

    name: str
    notebook: Path
    out: Path
    given: dict[str, str]
    server: Cluster
    zygote: Zygote
    dice: random.Random
    done: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def go(self) -> Counter[str]:
        """Kill inside cells as often as wanted, then let the work end."""
        options: dict[str, Any] = {"parameters": self.given}
        while True:
            if enough := self.inside >= KILLS:
                Path(self.given["free"]).touch()
            before = set(self._records())
            code_ = self._run(options, before, kill=not enough)
            (folder,) = set(self._records()) - before
            self.done = {one["cell"] for one in _events(folder) if one["event"] == "cell-end"}
            if code_ == 0:
                self._ended_well(folder)
                return self.counts
            options = {"resume": str(folder)}
            if code_ == 3:
                options |= self._decision(folder)
            else:
                assert code_ == -signal.SIGKILL, (folder / "result.json").read_text()
                self.counts[_moment(folder)] += 1

    @property
    def inside(self) -> int:
        return self.counts["inside an effect"] + self.counts["between two effects of a cell"]

    def _records(self) -> list[Path]:
        return [one.parent for one in self.out.glob("*/*/events.jsonl")]

    def _run(self, options: dict[str, Any], before: set[Path], *, kill: bool) -> int:
        fork = self.zygote.start(self.notebook, self.out, options)
        if kill:
            at_work = partial(self._at_work, fork, before, self.dice.randrange(4))
            wait_for(at_work, "the first cell that is not done")
            time.sleep(self.dice.uniform(0, 0.06))  # the random moment is the point
            self._kill(fork, before)
        return fork.wait()

    def _at_work(self, fork: Fork, before: set[Path], effects: int) -> bool:
        """Tell whether so many effects began in a cell that was not done, or the run is over."""
        begun = Counter(
            one["event"]
            for folder in set(self._records()) - before
            for one in _events(folder)
            if one["event"] == "effect-begin"
            or (one["event"] == "cell-start" and one["cell"] > 2 and one["cell"] not in self.done)
        )
        at_work = begun["cell-start"] > 0 and begun["effect-begin"] >= effects
        return fork.poll() is not None or at_work

    def _kill(self, fork: Fork, before: set[Path]) -> None:
        """Kill the runner; its kernel too, or let it find out by itself."""
        if fork.poll() is not None:
            return
        fork.kill()
        if self.dice.random() < 0.5:
            (folder,) = set(self._records()) - before
            (pid,) = [one["pid"] for one in _events(folder) if one["event"] == "kernel-start"]
            with contextlib.suppress(ProcessLookupError):  # it found out by itself
                os.kill(pid, signal.SIGKILL)

    def _decision(self, folder: Path) -> dict[str, list[str]]:
        """Look, as a person does, whether an effect without an end happened."""
        error = read_json(folder / "result.json")["error"]
        name = str(error["detail"]["where"]).removeprefix("effect ")
        decision = "skip" if self._there(name) else "redo"
        self.counts[decision] += 1
        return {decision: [name]}

    def _there(self, name: str) -> bool:
        query = {"labelSelector": f"chain={self.name},effect={name}"}
        namespace = self.given["namespace"]
        items, _ = self.server.list(f"/api/v1/namespaces/{namespace}/configmaps", query)
        return bool(items)

    def _ended_well(self, folder: Path) -> None:
        result = read_json(folder / "result.json")
        assert result["outcome"] == "ok"
        assert result["parent"]
        assert verify(folder).state == "intact"
        assert runbook.show(folder).summary.outcome == "ok"


def _events(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the events so far; the last line may be half written."""
    for line in (folder / "events.jsonl").read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _moment(folder: Path) -> str:
    """Say where a killed run was."""
    cell, effect = False, False
    for one in _events(folder):
        cell = {"cell-start": True, "cell-end": False}.get(one["event"], cell)
        effect = {"effect-begin": True, "effect-end": False}.get(one["event"], effect)
    inside = "inside an effect" if effect else "between two effects of a cell"
    return inside if cell else "between two cells"


def test_no_effect_twice_wherever_a_cell_is_cut(
    make: Make,
    *,
    sandbox: Status,
    server: Cluster,
    namespace: str,
    zygote: Zygote,
    tmp_path: Path,
) -> None:
    """Each chain ends ok, each effect happened once, wherever inside its cell a run was killed."""
    path, since = make(*cells()), datetime.now(UTC)
    kubeconfig = sandboxes.environment(sandbox.name)["KUBECONFIG"]

    def chain(number: int) -> Chain:
        name = f"c{number}"
        given = {"namespace": namespace, "kubeconfig": kubeconfig, "chain": name}
        given |= {"most": str(MOST), "free": str(tmp_path / f"{name}-free")}
        dice = random.Random(number)  # noqa: S311  # moments, not secrets
        return Chain(name, path, tmp_path / name, given, server, zygote, dice)

    with ThreadPoolExecutor(CHAINS) as pool:
        counted = sum(pool.map(lambda n: chain(n).go(), range(CHAINS)), Counter())
    made = Counter(
        f"{labels['chain']} {labels['effect']}"
        for entry in entries(sandbox.audit_log, since)
        if entry["verb"] == "create"
        and entry["responseStatus"]["code"] == 201
        and (entry.get("objectRef") or {}).get("namespace") == namespace
        and (labels := entry["requestObject"]["metadata"].get("labels", {})).get("chain")
    )
    twice = sum(count > 1 for count in made.values())
    print(f"{dict(counted)}; {len(made)} effects, {twice} twice")
    wanted = {f"c{n} e{k}" for n in range(CHAINS) for k in range(CELLS * EACH)}
    assert made == dict.fromkeys(wanted, 1)
    inside = counted["inside an effect"] + counted["between two effects of a cell"]
    assert inside >= 15
