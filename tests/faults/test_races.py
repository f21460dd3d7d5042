"""A thousand races of a second writer with an apply: nothing unreviewed is overwritten."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from opslib.core.model import Manifest
from opslib.kube.client import connect
from opslib.reconcile.app import COMMIT, App
from opslib.reconcile.diff import show
from opslib.reconcile.plan import Action, Change, Plan
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .parts import USER_AGENT, Asked, Bench, Entry, audited, leaves, named, overhear
from .racing import MOMENTS, Ambush, History, SecondWriter

pytestmark = pytest.mark.timeout(600)  # several times what it takes at rest

RACES = 1000
LANES = 4
OBJECTS, FRESH = 18, 2
"""Objects of one plan that exist, and that do not exist yet. All are of one kind, as a conflict
in one stage of an apply may hold back the next one, which then is not raced."""

SECOND = "second-writer"
SOON = 0.4
"""Seconds in which an apply of 20 objects is mostly done on a quiet machine."""


def _pairs(number: int, stage: str) -> dict[str, str]:
    """Before: a, b and c. After: a is another, b is the same, c is gone."""
    return {"a": f"{stage}-{number}", "b": "kept"} | ({"c": "there"} if stage == "old" else {})


def _service(name: str, pairs: str) -> str:
    head = f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {pairs}}}\n"
    return f"{head}spec: {{clusterIP: None, selector: {{app: x}}, ports: [{{port: 80}}]}}\n"


def _config_map(name: str, pairs: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {pairs}\n"


@dataclass
class Lane:
    """One app in a namespace of its own, applied and raced again and again."""

    sandbox: Status
    namespace: str
    seed: int
    plural: str
    plans: dict[str, Plan] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        config = sandboxes.environment(self.sandbox.name)["KUBECONFIG"]
        self.dice = random.Random(self.seed)  # noqa: S311  # dice of a test
        self.app = App(f"race-{uuid.uuid4().hex[:8]}")
        self.cluster = connect(config)
        self.bench = Bench(self.cluster, self.namespace, self.app)
        self.other = named(connect(config), SECOND)
        dice = random.Random(self.seed + 1)  # noqa: S311  # dice of a test
        self.writer = SecondWriter(self.other, self.namespace, dice)
        self.ambushes: dict[str, Ambush] = {}
        self.history = History(self.other, self.writer.path(self.plural))
        overhear(self.cluster, before=self._meet)
        self.old = [f"old{i}" for i in range(OBJECTS)]

    def _meet(self, asked: Asked) -> None:
        if ambush := self.ambushes.get(asked.path):
            ambush.meet(asked)

    def run(self, races: int) -> None:
        """Race until there were so many; every eighth time it is the deletes that are raced."""
        number = 0
        while sum(self.writer.done.values()) < races:
            number += 1
            self._round(number, prune=number % 8 == 0)
        self.history.end()

    def close(self) -> None:
        self.cluster.close()
        self.other.close()

    def _round(self, number: int, *, prune: bool) -> None:
        before = self._text(self.old, _pairs(number, "old"))
        reset = self.bench.plan(before, f"{2 * number:040x}")
        self.plans[reset.plan.revision.commit] = reset.plan
        assert not self.bench.write(reset, wait=False).failures
        fresh = [] if prune else [f"new{number}-{i}" for i in range(FRESH)]
        names = ["keep"] if prune else [*self.old, *fresh]
        after = self._text(names, _pairs(number, "new"))
        planned = self.bench.plan(after, f"{2 * number + 1:040x}")
        self.plans[planned.plan.revision.commit] = planned.plan
        self._race([*self.old, *fresh], fresh, prune=prune)
        with ThreadPoolExecutor(2) as pool:
            late = [pool.submit(self._late, strike) for strike in self._late_ones]
            applied = self.bench.write(planned, wait=prune)
            for one in late:
                one.result()
        self.ambushes.clear()
        self.outcomes["written"] += len(applied.written)
        self.outcomes["deleted"] += len(applied.deleted)
        for failure in applied.failures:
            self.outcomes[failure.kind] += 1
            assert failure.kind in {"conflict", "api-error"}, failure

    def _text(self, names: list[str], pairs: dict[str, str]) -> str:
        flow = "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"
        one = _service if self.plural == "services" else _config_map
        return "---\n".join(one(name, flow) for name in names)

    def _race(self, names: list[str], fresh: list[str], *, prune: bool) -> None:
        """Choose for each object what happens to it and when; do what happens at once."""
        self._late_ones: list[Any] = []
        for name in names:
            edits = self.writer.edits(self.plural, fresh=name in fresh)
            what = self.dice.choice(sorted(edits))
            moment = self.dice.choice(MOMENTS)

            def strike(what: str = what, edit: Any = edits[what], name: str = name) -> None:
                self.writer.act(what, edit, name)

            if moment == "between":
                strike()
            elif moment == "while others are written":
                self._late_ones.append(strike)
            else:
                times = 2 if moment == "twice" and not prune else 1
                self.ambushes[self.writer.path(self.plural, name)] = Ambush(times, strike)

    def _late(self, strike: Any) -> None:
        threading.Event().wait(self.dice.uniform(0, SOON))
        strike()


@dataclass
class Verdict:
    """What the audit log and the watch say of one lane."""

    writes: int = 0
    moved_on: int = 0
    merged: int = 0
    deletes: int = 0
    unseen: list[str] = field(default_factory=list)


def judge(lane: Lane, entries: list[Entry]) -> Verdict:
    """Compare each write of the app with what its plan showed of the object before it."""
    verdict = Verdict()
    for entry in (one for one in entries if one.agent == USER_AGENT and one.done):
        if entry.verb == "delete":
            _judge_delete(lane, entry, verdict)
            continue
        assert entry.verb == "patch", entry
        assert entry.query["fieldManager"] == [lane.app.manager], entry
        plan = lane.plans[entry.body["metadata"]["annotations"][COMMIT]]
        (change,) = [c for c in plan.changes if _is(c, entry)]
        verdict.writes += 1
        if entry.lock is None:
            # The object was absent in the plan: see _judge_merges for what was there by then.
            assert "force=false" in entry.uri, entry
            assert entry.code == 201 or entry.name not in lane.old, entry
            continue
        uid, version = entry.lock
        versions, at = lane.history.versions[uid], lane.history.version(uid, version)
        verdict.moved_on += version != change.resource_version
        after = versions[at + 1]  # the lock held, so that the next version is this write's
        assert after["metadata"]["annotations"][COMMIT] == plan.revision.commit, after
        _compare(versions[at], after, change, verdict)
    _judge_merges(lane, verdict)
    return verdict


def _is(change: Change, entry: Entry) -> bool:
    return (f"{change.key.kind.lower()}s", change.key.name) == (entry.resource, entry.name)


def _mine(thing: Manifest, manager: str) -> list[Any]:
    entries = thing["metadata"].get("managedFields") or ()
    return [
        (one["time"], one["fieldsV1"])
        for one in entries
        if (one["manager"], one["operation"]) == (manager, "Apply")
    ]


def _compare(before: Manifest, after: Manifest, change: Change, verdict: Verdict) -> None:
    """Hold each value that a write replaced against what the plan said that it replaces."""
    shown = {one.path: (one.before, one.after) for one in change.fields}
    old, new = leaves(before), leaves(after)
    for path in old.keys() | new.keys():
        step = old.get(path), new.get(path)
        if step[0] != step[1] and shown.get(show(path)) != step:
            verdict.unseen.append(f"{change.key} {show(path)}: {step}, shown {shown}")


def _judge_delete(lane: Lane, entry: Entry, verdict: Verdict) -> None:
    """A delete took the object at exactly the version that the plan showed."""
    assert entry.lock, entry
    uid, version = entry.lock
    planned = [
        c
        for plan in lane.plans.values()
        for c in plan.changes
        if (c.action, c.uid, c.resource_version) == (Action.DELETE, uid, version)
    ]
    last = lane.history.versions[uid][-1]["metadata"]["resourceVersion"]
    verdict.deletes += 1
    if not planned or last != version:
        verdict.unseen.append(f"{entry.name} was deleted at {last}, planned {planned}")


def _judge_merges(lane: Lane, verdict: Verdict) -> None:
    """Where a create met an object that somebody made first, it added and replaced nothing."""
    steps = (step for told in lane.history.versions.values() for step in itertools.pairwise(told))
    for before, after in steps:
        name = before["metadata"]["name"]
        met = not _mine(before, lane.app.manager) and _mine(after, lane.app.manager)
        if not met or name in lane.old:
            continue  # one of the old ones made anew: a locked write, judged with these
        verdict.merged += 1
        old, new = leaves(before), leaves(after)
        verdict.unseen += [f"{name} {show(path)}" for path in old if new.get(path) != old[path]]


@pytest.fixture
def lanes(sandbox: Status) -> Iterator[list[Lane]]:
    """Return lanes, each with a namespace of its own."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    made = []
    for number in range(LANES):
        name = f"race-{uuid.uuid4().hex[:8]}"
        sandboxes.make_namespace(sandbox.name, name, timeout=120)
        plural = ("configmaps", "services")[number % 2]
        made.append(Lane(sandbox, name, seed + 10 * number, plural))
    yield made
    for lane in made:
        lane.other.request("DELETE", f"/api/v1/namespaces/{lane.namespace}")
        lane.close()


def test_no_unreviewed_field_is_ever_overwritten(lanes: list[Lane], sandbox: Status) -> None:
    """Every value that a write of the app replaced is one that its plan showed as replaced."""
    began = time.monotonic()
    with ThreadPoolExecutor(LANES) as pool:
        for job in [pool.submit(lane.run, RACES // LANES) for lane in lanes]:
            job.result()
    took = time.monotonic() - began
    verdicts = [judge(lane, audited(sandbox, lane.namespace)) for lane in lanes]
    unseen = [line for verdict in verdicts for line in verdict.unseen]
    races = sum((lane.writer.done for lane in lanes), Counter())
    outcomes = sum((lane.outcomes for lane in lanes), Counter())
    print(
        f"{races.total()} races in {took:.0f} s, {sum(v.writes for v in verdicts)} writes and "
        f"{sum(v.deletes for v in verdicts)} deletes in the audit log: "
        f"{outcomes['conflict']} conflicts shown, "
        f"{outcomes['api-error']} deletes refused by the lock, "
        f"{sum(v.moved_on for v in verdicts)} replanned and went on, "
        f"{sum(v.merged for v in verdicts)} merged without force, "
        f"overwritten unreviewed = {len(unseen)}"
    )
    print(", ".join(f"{what}: {count}" for what, count in sorted(races.items())))
    assert not unseen, unseen[:5]
    assert races.total() >= RACES
    assert min(outcomes["conflict"], sum(v.moved_on for v in verdicts)) > RACES / 20
