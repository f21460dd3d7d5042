"""Loops that meet, freeze, die and have wrong clocks: one writer at a time, whatever happens."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import yaml
from auditlog import lines
from reconcile.loops import Repository, wait

from opslib.core.clock import parse_stamp
from opslib.kube.client import Cluster
from opslib.reconcile.app import App
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.status import read_status
from opslib.reconcile.trials import read_trials
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from . import looper

NAMES = tuple(f"c{number}" for number in range(12))


def files(value: str) -> dict[str, str | None]:
    """Return the files of a commit: ConfigMaps that all have one value."""
    head = "apiVersion: v1\nkind: ConfigMap\n"
    return {
        f"app/{name}.yaml": f"{head}metadata: {{name: {name}}}\ndata: {{k: '{value}'}}\n"
        for name in NAMES
    }


class Process:
    """One loop's process, its user and what it said."""

    def __init__(self, arena: Arena, user: str, **options: Any) -> None:
        self.said = arena.place / f"said-{user}-{uuid.uuid4().hex[:6]}"
        self.said.touch()
        self.user = arena.user(user)
        job = looper.Job(
            str(arena.kubeconfig(user)),
            str(arena.repository.folder),
            arena.app.name,
            arena.namespace,
            str(self.said),
            **options,
        )
        context = multiprocessing.get_context("forkserver")
        self.process: BaseProcess = context.Process(target=looper.loops, args=(job,))
        self.process.start()
        assert self.process.pid
        self.pid = self.process.pid

    def lines(self) -> list[str]:
        return self.said.read_text(encoding="utf-8").splitlines()

    def heard(self, word: str, seconds: float = 90, after: int = 0) -> int:
        """Wait for a line with this word; return how many lines there were until it."""

        def found() -> int:
            rows = self.lines()
            return next((n + 1 for n, row in enumerate(rows) if n >= after and word in row), 0)

        try:
            return int(wait(found, seconds))
        except AssertionError:
            raise AssertionError(f"{self.user} never said {word!r}: {self.lines()}") from None

    def stopped(self) -> bool:
        """Whether the process is frozen (state T)."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> int | None:
        """Stop the loop as a service manager does, and return its exit code."""
        if self.process.is_alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        self.process.join(timeout=90)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


@dataclass
class Arena:
    """A namespace, a repository, an app, and users that the audit log can tell apart."""

    cluster: Cluster
    sandbox: Status
    namespace: str
    place: Path
    app: App = field(default_factory=lambda: App(f"l{uuid.uuid4().hex[:8]}"))
    started: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.repository = Repository(self.place / "repo")

    def user(self, name: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{name}"

    def kubeconfig(self, name: str) -> Path:
        """Return a kubeconfig of a service account of this name, which may do everything."""
        path = self.place / f"kubeconfig-{name}"
        if path.exists():
            return path
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        self.cluster.request("POST", accounts, body={"metadata": {"name": name}})
        bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        body = {
            "metadata": {"name": f"{self.namespace}-{name}"},
            "roleRef": {**role, "name": "cluster-admin"},
            "subjects": [subject],
        }
        self.cluster.request("POST", bindings, body=body)
        asked = self.cluster.request("POST", f"{accounts}/{name}/token", body={"spec": {}})
        admin = sandboxes.environment(self.sandbox.name)["KUBECONFIG"]
        config = yaml.safe_load(Path(admin).read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": asked["status"]}]
        config["users"][0]["user"] = {"token": asked["status"]["token"]}
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def start(self, user: str, **options: Any) -> Process:
        self.started.append(Process(self, user, **options))
        return self.started[-1]

    def live(self) -> dict[str, str]:
        """Return the values of the app's ConfigMaps by name."""
        items, _ = self.cluster.list(f"/api/v1/namespaces/{self.namespace}/configmaps")
        return {
            item["metadata"]["name"]: item["data"]["k"]
            for item in items
            if "k" in (item.get("data") or {})
        }

    def holds(self, value: str, seconds: float = 90) -> None:
        """Wait until every object has a value."""
        try:
            wait(lambda: self.live() == dict.fromkeys(NAMES, value), seconds)
        except AssertionError:
            said = {one.user: one.lines() for one in self.started}
            raise AssertionError(f"not {value}: {self.live()}; said: {said}") from None

    def settled(self, commit: str) -> None:
        """Wait until a commit is the last good one."""
        wait(lambda: read_inventory(self.cluster, self.app).commit == commit)

    def lease(self) -> dict[str, Any]:
        path = "/apis/coordination.k8s.io/v1/namespaces/opslib-system/leases"
        return dict(self.cluster.get(f"{path}/{self.app.lease}")["spec"])

    def writes(self, *, leases: bool = False) -> list[dict[str, Any]]:
        """Return the audit log's writes of this app by loops, oldest first; dry runs are none."""
        found = []
        for line in lines(self.sandbox.audit_log):
            entry = json.loads(line)
            ref = entry.get("objectRef") or {}
            own = ref.get("namespace") == self.namespace or self.app.name in str(ref.get("name"))
            if not own or entry["verb"] in {"get", "list", "watch"}:
                continue
            if not str(entry["user"]["username"]).startswith(self.user("")):
                continue
            if "dryRun=All" in entry["requestURI"] or (ref["resource"] == "leases") != leases:
                continue
            found.append(entry)
        return sorted(found, key=_when)

    def taken(self, user: str) -> Any:
        """Return when a user first took the lease, by the API server's clock."""
        mine = [e for e in self.writes(leases=True) if e["user"]["username"] == user]
        done = [e for e in mine if e["responseStatus"]["code"] < 300]
        return parse_stamp(done[0]["stageTimestamp"])

    def close(self) -> None:
        for one in self.started:
            one.end()
        for path in self.place.glob("kubeconfig-*"):
            name = path.name.removeprefix("kubeconfig-")
            bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
            self.cluster.request("DELETE", f"{bindings}/{self.namespace}-{name}")


def _when(entry: dict[str, Any]) -> str:
    return str(entry["requestReceivedTimestamp"])


def _told(entry: dict[str, Any]) -> str:
    ref, code = entry["objectRef"], entry["responseStatus"]["code"]
    return f"{_when(entry)} {entry['verb']} {ref['resource']} {ref.get('name')}: {code}"


def _by_user(entries: list[dict[str, Any]]) -> Counter[str]:
    return Counter(str(e["user"]["username"]).rpartition(":")[2] for e in entries)


@pytest.fixture
def arena(server: Cluster, sandbox: Status, namespace: str, tmp_path: Path) -> Iterator[Arena]:
    """Return an arena; its loops end with the test."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([looper.__name__])
    one = Arena(server, sandbox, namespace, tmp_path)
    yield one
    one.close()


def test_of_two_loops_started_at_once_one_writes(arena: Arena) -> None:
    """Over several commits every write is of the one that holds the lease."""
    arena.kubeconfig("a"), arena.kubeconfig("b")
    arena.repository.commit(files("1"))
    pair = [arena.start("a"), arena.start("b")]
    for value in ("1", "2", "3"):
        if value != "1":
            arena.repository.commit(files(value))
        arena.holds(value)
    counts = _by_user(arena.writes())
    print(f"writes of two loops started at once: {dict(counts)}")
    assert len(counts) == 1
    assert counts.total() >= 3 * len(NAMES)
    (idle,) = [one for one in pair if one.user.rpartition(":")[2] not in counts]
    assert any("waiting" in line for line in idle.lines())


@pytest.mark.parametrize("moment", ["between two passes", "just before a write is sent"])
def test_a_frozen_holder_does_not_write_after_its_lease_was_taken(
    arena: Arena, moment: str
) -> None:
    """Frozen, outlived by its lease, and woken up: the audit log has no write of it any more."""
    arena.kubeconfig("b")
    arena.repository.commit(files("1"))
    # Its second apply begins with a write after all of the first.
    number = len(NAMES) + 3 if "sent" in moment else 0
    old = arena.start("a", number=number, signal=signal.SIGSTOP if number else 0)
    arena.holds("1")
    old.heard("is live and healthy")
    if number:
        arena.repository.commit(files("2"))
    else:
        old.signal(signal.SIGSTOP)
    wait(old.stopped)
    new = arena.start("b")
    new.heard("holding the lease")
    taken = arena.taken(new.user)
    old.signal(signal.SIGCONT)
    old.heard("the lease was lost")
    arena.repository.commit(files("3"))
    arena.holds("3")
    late = [e for e in arena.writes() if e["user"]["username"] == old.user]
    late = [e for e in late if parse_stamp(_when(e)) > taken]
    # A thread that was frozen inside a request, after its headers, breaks off: nothing is written.
    broken = [e for e in late if e["responseStatus"]["code"] >= 400]
    print(f"frozen {moment}: {len(late) - len(broken)} writes after the lease was taken "
          f"({len(broken)} requests broken off), "
          f"of {dict(_by_user(arena.writes()))}")  # fmt: skip
    assert [_told(entry) for entry in late if entry not in broken] == []
    assert len(broken) < len(NAMES), [_told(entry) for entry in broken]
    assert new.process.is_alive()


def test_clock_jumps_cost_nothing(arena: Arena, tmp_path: Path) -> None:
    """The wall clock jumps by hours: the lease is kept, polls go on, no trial runs out of time."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    arena.kubeconfig("b")
    arena.repository.commit(files("1"))
    wrong = arena.start("a", clock=str(offset), health_timeout=30.0)
    arena.holds("1")
    other = arena.start("b")
    other.heard("waiting")
    before = arena.lease()
    for number, hours in enumerate((6, -6, 48, -48), 2):
        (tmp_path / "next").write_text(str(hours * 3600))
        (tmp_path / "next").rename(offset)
        began = time.monotonic()
        arena.repository.commit(files(str(number)))
        arena.holds(str(number))
        print(f"clock wrong by {hours} h: the next commit is live "
              f"after {time.monotonic() - began:.1f} s")  # fmt: skip
    # Longer than a lease: whoever believed in the jumps would have taken it.
    until = time.monotonic() + looper.LEASE_SECONDS + 1
    while time.monotonic() < until:
        assert arena.lease()["holderIdentity"] == before["holderIdentity"]
        time.sleep(0.2)
    after = arena.lease()
    assert after["leaseTransitions"] == before["leaseTransitions"]
    assert not any("lost" in line for line in wrong.lines())
    assert not any("holding" in line for line in other.lines())
    assert read_trials(arena.cluster, arena.app).quarantines == ()
    assert set(_by_user(arena.writes())) == {"a"}


def test_a_killed_loop_goes_on_where_it_was(arena: Arena) -> None:
    """Killed (-9) inside an apply, several times: the next loop makes it whole, nothing is lost."""
    arena.repository.commit(files("0"))
    first = arena.start("a")
    arena.holds("0")
    first.heard("is live")
    first.end()
    kills = 0
    for value, number in enumerate((1, 6, len(NAMES)), 1):
        commit = arena.repository.commit(files(str(value)))
        victim = arena.start("a", number=number, signal=signal.SIGKILL)
        victim.process.join(timeout=90)
        assert victim.process.exitcode == -signal.SIGKILL
        kills += 1
        trial = read_trials(arena.cluster, arena.app).trial
        assert trial
        assert trial.commit == commit
        again = arena.start("a")
        arena.holds(str(value))
        arena.settled(commit)
        again.end()
    known = read_inventory(arena.cluster, arena.app).objects
    deletes = [e for e in arena.writes() if e["verb"].startswith("delete")]
    print(f"{kills} kills, {len(deletes)} deletes, {len(known)} objects in the inventory")
    assert {key.name for key in known} == set(NAMES)
    assert deletes == []
    trials = read_trials(arena.cluster, arena.app)
    assert (trials.trial, trials.quarantines) == (None, ())


def test_sigterm_ends_between_two_writes(arena: Arena) -> None:
    """A stopped loop writes what is under way and nothing more, and gives its lease back."""
    arena.repository.commit(files("0"))
    first = arena.start("a")
    arena.holds("0")
    first.heard("is live")
    first.end()
    commit = arena.repository.commit(files("1"))
    number = 3
    stopped = arena.start("b", number=number, signal=signal.SIGTERM)
    stopped.process.join(timeout=90)
    assert stopped.process.exitcode == 0, stopped.lines()
    mine = [e for e in arena.writes() if e["user"]["username"] == stopped.user]
    patches = [e for e in mine if e["verb"] == "patch"]
    print(f"SIGTERM at write {number}: {len(patches)} of {len(NAMES)} objects written")
    assert number <= len(patches) < len(NAMES)
    assert sorted(arena.live().values()) == ["0"] * (len(NAMES) - len(patches)) + ["1"] * len(
        patches
    )
    assert not arena.lease().get("holderIdentity")
    assert read_status(arena.cluster, arena.app).phase == "stopped"
    began = time.monotonic()
    again = arena.start("a")
    again.heard("holding the lease")
    print(f"the successor holds the lease after {time.monotonic() - began:.1f} s")
    arena.holds("1")
    arena.settled(commit)
