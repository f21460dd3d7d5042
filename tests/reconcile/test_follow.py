"""The loop between its polls: woken up by what moves, and asleep while nothing does."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import Any

import pytest
from auditlog import lines

from opslib.core.model import ResourceKey
from opslib.kube.discovery import Kind
from opslib.reconcile import reconciler
from opslib.reconcile.follow import NAMESPACES, Follower, _places
from opslib.reconcile.status import read_status
from opslib.sandbox.cluster import Status

from .conftest import Start, Workbench, config_map, deployment
from .loops import Repository, wait

LONG = 600.0
"""An interval that no test lives to see the end of: what happens is told by watches."""


def test_drift_is_corrected_at_once(bench: Workbench, repository: Repository, start: Start) -> None:
    """An edit is put back within seconds, long before the next poll; so is a deleted object."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start(interval=LONG)
    loop.heard("is live")
    seconds = []
    for change in ("edit", "delete"):
        began = time.monotonic()
        if change == "edit":
            bench.patch("configmaps", "one", {"data": {"k": "edited"}})
        else:
            path = f"/api/v1/namespaces/{bench.namespace}/configmaps/one"
            bench.server.request("DELETE", path)
        wait(
            lambda: (bench.live("configmaps", "one") or {}).get("data") == {"k": "v"}, running=loop
        )
        seconds.append(round(time.monotonic() - began, 2))
    print(f"drift corrected after {seconds[0]} s, a deleted object is back after {seconds[1]} s")
    assert max(seconds) < LONG / 20


def test_drift_is_reported_at_once(bench: Workbench, repository: Repository, start: Start) -> None:
    """In report mode the status names the object without a poll, and forgets it when it is over."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start(interval=LONG, mode="report")
    loop.heard("is live")
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    wait(lambda: read_status(bench.server, bench.app).phase == "drifted", running=loop)
    bench.patch("configmaps", "one", {"data": {"k": "v"}})
    wait(lambda: read_status(bench.server, bench.app).phase == "synced", running=loop)
    assert read_status(bench.server, bench.app).drift == ()


def test_health_is_reported_at_once(bench: Workbench, repository: Repository, start: Start) -> None:
    """An object that becomes unhealthy is in the status without a poll, and drift is not seen."""
    repository.commit({"app/d.yaml": deployment("app")})
    loop = start(interval=LONG)
    loop.heard("is live")
    path = f"/api/v1/namespaces/{bench.namespace}/resourcequotas"
    body = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    bench.server.request("POST", path, body=body)
    wait(lambda: (bench.server.get(f"{path}/none").get("status") or {}).get("hard"))
    bench.server.request("DELETE", f"/api/v1/namespaces/{bench.namespace}/pods")
    ill = wait(lambda: (s := read_status(bench.server, bench.app)).unhealthy and s, running=loop)
    assert (ill.phase, ill.drift) == ("synced", ())
    bench.server.request("DELETE", f"{path}/none")
    wait(lambda: read_status(bench.server, bench.app).health == "Current", running=loop)
    assert not any("drift" in line for line in loop.said)


def test_a_rollout_is_done_before_the_next_poll(
    bench: Workbench, repository: Repository, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision that outlasts its pass is settled when it is healthy, not at some poll."""
    monkeypatch.setattr(reconciler, "APPLY_SECONDS", 2.0)
    slow = deployment("app").replace("spec:\n  replicas", "spec:\n  minReadySeconds: 5\n  replicas")
    commit = repository.commit({"app/d.yaml": slow})
    loop = start(interval=LONG)
    loop.heard("not healthy yet")
    wait(lambda: read_status(bench.server, bench.app).applied_commit == commit, running=loop)


def _asked(sandbox: Status, since: int) -> Counter[str]:
    """Count the requests of loops after so many lines of the audit log, by what they were for."""
    found: Counter[str] = Counter()
    for line in list(lines(sandbox.audit_log))[since:]:
        entry: dict[str, Any] = json.loads(line)
        ref = entry.get("objectRef") or {}
        if entry["userAgent"] == "opslib" and entry["verb"] != "watch":
            what = ref.get("resource") or entry["requestURI"].partition("?")[0]
            found[f"{entry['verb']} {what} {ref.get('name', '')}".rstrip()] += 1
    return found


def test_at_rest_a_poll_reads_no_object(
    bench: Workbench, repository: Repository, start: Start, sandbox: Status
) -> None:
    """While nothing moves, a poll asks for the served kinds and admission, and for no object."""
    repository.commit({f"app/{i}.yaml": config_map(f"c{i}", k="v") for i in range(5)})
    loop = start()
    loop.heard("is live")
    # The watches begin, and what was written is looked at once.
    began = wait(lambda: _quiet(sandbox, bench), running=loop)
    first = read_status(bench.server, bench.app).tried_at
    polled = {first}

    def enough() -> bool:
        polled.add(read_status(bench.server, bench.app).tried_at)
        return len(polled) > 4

    wait(enough, running=loop)
    asked = _asked(sandbox, began)
    told = dict(asked)
    print(f"{len(polled) - 1} polls at rest: {told}")
    places = {f"{verb} configmaps" for verb in ("list", "get")}
    assert not {what for what in asked if what in places}
    assert asked[f"update configmaps status-{bench.app.name}"] >= 4


def _quiet(sandbox: Status, bench: Workbench) -> int:
    """Return how long the audit log is, once no object of the namespace was read for 3 s."""
    before = len(list(lines(sandbox.audit_log)))
    time.sleep(3)
    later = list(lines(sandbox.audit_log))
    read = [
        line
        for line in later[before:]
        if f'"namespace":"{bench.namespace}"'.encode() in line and b'"verb":"list"' in line
    ]
    return 0 if read else len(later)


def test_a_watch_that_ended_falls_back_to_reading(bench: Workbench) -> None:
    """A watch that breaks is no quiet one: it is told, and taken up by the next pass."""
    bench.apply(config_map("one", k="v"))
    kind = bench.discovery.find("v1", "ConfigMap")
    assert kind
    key = ResourceKey("", "ConfigMap", bench.namespace, "one")
    follower = Follower(bench.server)
    try:
        follower.follow({key: kind})
        wait(lambda: follower.sound)
        assert follower.take() == {key}  # it may have moved before the watch began
        (watch,) = follower._watches.values()
        watch.cut.end()
        wait(lambda: not follower.sound)
        assert follower.broken == (f"ConfigMap in {bench.namespace}: it ended",)
        follower.follow({key: kind})
        wait(lambda: follower.sound)
        assert follower.take() == {key}
        assert not follower.stirred
        bench.patch("configmaps", "one", {"data": {"k": "edited"}})
        wait(lambda: follower.stirred)
    finally:
        follower.close()


def test_watches_end_with_the_loop(bench: Workbench, repository: Repository, start: Start) -> None:
    """No thread of a loop outlives it."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start(interval=LONG)
    loop.heard("is live")
    wait(lambda: _threads() == {f"watch ConfigMap in {bench.namespace}"}, running=loop)
    began = time.monotonic()
    loop.end()
    assert _threads() == set()
    assert time.monotonic() - began < 20


def _threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("watch ")}


def test_one_watch_for_each_kind_and_place() -> None:
    """Few namespaces have a watch each, many share one, and a single object is watched alone."""
    kind = Kind("v1", "ConfigMap", "configmaps", namespaced=True, verbs=frozenset())
    keys = {
        ResourceKey("", "ConfigMap", f"n{space}", f"c{number}"): kind
        for space in range(NAMESPACES)
        for number in range(2)
    }
    assert {(p.namespace, p.name) for p in _places(keys)} == {("n0", ""), ("n1", ""), ("n2", "")}
    keys |= {ResourceKey("", "ConfigMap", "n9", "c"): kind}
    (place,) = _places(keys)
    assert (place.namespace, place.name) == ("", "")
    assert set(_places(keys)[place].values()) == set(keys)
    alone = ResourceKey("", "ConfigMap", "n", "c")
    assert [(p.namespace, p.name) for p in _places({alone: kind})] == [("n", "c")]
