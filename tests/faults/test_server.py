"""The API server or its store dies, hangs or is cut off in the middle of an apply."""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path

import pytest
import yaml

from opslib.sandbox.cluster import Status

from .cutter import cutting
from .field import Field
from .holding import (
    MOMENTS,
    NEW,
    OLD,
    OUTCOMES,
    bench_of,
    converges,
    hold,
    once,
    ready,
)
from .parts import Program, overhear, wait_for


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_server_is_killed_and_comes_back(field: Field, own: Status, moment: str) -> None:
    """SIGKILL in the middle, started again a second later: nothing is lost, wrong or untold."""
    bench = bench_of(field)
    prepared = bench.plan(NEW, "b")
    apiserver = Program(own, "kube-apiserver")
    timer = threading.Timer(1, apiserver.start)

    def strike() -> None:
        apiserver.kill()
        timer.start()

    overhear(bench.cluster, before=once(MOMENTS[moment](), strike))
    try:
        hold(field, bench, prepared, f"API server killed as {moment}")
    finally:
        timer.join()
        wait_for(lambda: ready(own), seconds=90)
    converges(field)


@pytest.mark.parametrize(
    "moment", ["half of the objects are written", "the first object is deleted"]
)
def test_a_server_that_stays_away(field: Field, own: Status, moment: str) -> None:
    """The apply ends about when it was told to, and names each object that it left undone."""
    bench = bench_of(field)
    prepared = bench.plan(NEW, "b")
    apiserver = Program(own, "kube-apiserver")
    overhear(bench.cluster, before=once(MOMENTS[moment](), apiserver.kill))
    applied = bench.write(prepared, timeout=4)
    apiserver.start()
    wait_for(lambda: ready(own), seconds=90)
    assert applied.seconds < 20  # 60 are what it takes of itself
    done = {*applied.written, *applied.deleted}
    left = {change.key for change in prepared.plan.writes} - done
    if moment == "half of the objects are written":
        assert not applied.deleted
        left = {key for key in left if not key.name.startswith("gone")}
    assert left == {failure.key for failure in applied.failures}
    print(f"server away as {moment}: {len(left)} objects named after {applied.seconds:.1f} s")
    OUTCOMES["ended with errors"] += 1
    assert set(field.objects()) - {"configmaps/bystander"} <= field.inventory()
    converges(field)


@pytest.mark.parametrize("moment", ["half of the objects are written", "the inventory is settled"])
def test_etcd_stops_for_a_while(field: Field, own: Status, moment: str) -> None:
    """A store that does not answer for three seconds delays the apply, and nothing else."""
    bench = bench_of(field)
    prepared = bench.plan(NEW, "b")
    etcd, frozen = Program(own, "etcd"), contextlib.ExitStack()
    thaw = threading.Timer(3, frozen.close)

    def freeze() -> None:
        frozen.enter_context(etcd.frozen())
        thaw.start()

    overhear(bench.cluster, before=once(MOMENTS[moment](), freeze))
    hold(field, bench, prepared, f"etcd stopped for 3 s as {moment}")
    thaw.join()
    wait_for(lambda: ready(own))
    converges(field)


def test_connections_that_break(field: Field, own: Status, tmp_path: Path) -> None:
    """Of many connections cut at any byte, before or after the answer, none leaves a lie."""
    seed = random.SystemRandom().randrange(10**6)
    found = yaml.safe_load(Path(field.kubeconfig).read_text(encoding="utf-8"))
    address = found["clusters"][0]["cluster"]["server"]
    cuts = attempt = 0
    while attempt < 3 or (cuts <= 5 and attempt < 20):  # dice may spare many
        with cutting(int(address.rpartition(":")[2]), share=0.0, seed=seed + attempt) as cutter:
            found["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{cutter.port}"
            path = tmp_path / "kubeconfig"
            path.write_text(yaml.safe_dump(found), encoding="utf-8")
            assert field.apply(OLD, "a")
            bench = bench_of(field, path)
            prepared = bench.plan(NEW, "b")
            cutter.share = 0.15
            hold(field, bench, prepared, f"connections cut (seed {seed + attempt})")
            cuts += cutter.cuts
            attempt += 1
            bench.cluster.close()
        converges(field)
    print(f"{cuts} connections cut")
    assert cuts > 5


def test_the_faults_are_counted() -> None:
    """Every fault ended in one of the outcomes that are allowed."""
    print(f"{OUTCOMES.total()} faults so far: {dict(OUTCOMES)}, 0 lies, 0 wrong deletes")
    assert OUTCOMES.total() >= 11
