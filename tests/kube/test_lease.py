"""One holder at a time, by real Leases."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opslib.core.clock import awake
from opslib.core.errors import LockBusy
from opslib.kube.client import Cluster
from opslib.kube.lease import Lease, identity

Make = Callable[..., Lease]


@pytest.fixture
def make(cluster: Cluster, namespace: str) -> Make:
    """Return a function that makes contenders for one lease."""

    def _make(holder: str, duration: float = 15) -> Lease:
        return Lease(cluster, namespace, "app", holder=holder, duration=duration)

    return _make


def wait_acquired(lease: Lease, seconds: float = 90) -> float:
    """Try until the lease is acquired, and return after how many seconds."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if lease.try_acquire():
            return time.monotonic() - began
        time.sleep(0.1)
    pytest.fail(f"{lease.holder} did not get the lease")


def test_the_term_is_counted_while_the_machine_sleeps() -> None:
    """It is the clock of the kernel's uptime, which a suspend does not stop."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert uptime - 0.1 <= awake() <= uptime + 5


def test_identities_differ() -> None:
    """No two identities are the same, not even of one process."""
    assert len({identity() for _ in range(100)}) == 100


def test_two_contenders(make: Make) -> None:
    """One of two gets the lease; the other sees who holds it, and the error says so."""
    first, second = make("first"), make("second")
    assert first.try_acquire()
    assert not second.try_acquire()
    assert (first.held(), second.held()) == (True, False)
    holder = second.read()
    assert holder
    assert (holder.identity, holder.transitions) == ("first", 0)
    error = second.busy()
    assert isinstance(error, LockBusy)
    assert error.exit_code == 75
    assert "first" in error.what


def test_start_at_the_same_time(make: Make) -> None:
    """Of many that start at once exactly one gets the lease."""
    contenders = [make(f"holder-{n}") for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(Lease.try_acquire, contenders))
    assert sum(got) == 1
    assert [c.held() for c in contenders] == got


def test_renewal_keeps_it(make: Make) -> None:
    """A holder that renews keeps the lease beyond its duration, and the time it got it."""
    first, second = make("first", 2), make("second", 2)
    assert first.try_acquire()
    before = first.read()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert first.try_acquire()
        assert not second.try_acquire()
        time.sleep(0.2)
    after = first.read()
    assert before
    assert after
    assert after.acquired == before.acquired
    assert after.renewed > before.renewed
    assert after.transitions == 0


def test_expiry_by_observation(make: Make) -> None:
    """A lease that nobody renews is taken once it was seen unchanged for its whole duration."""
    first, second = make("first", 1), make("second", 1)
    assert first.try_acquire()
    took = wait_acquired(second)
    assert took >= 1
    holder = second.read()
    assert holder
    assert (holder.identity, holder.transitions) == ("second", 1)


def test_clock_of_the_holder_does_not_count(make: Make, cluster: Cluster, namespace: str) -> None:
    """A renewal stamped long ago, by a holder whose clock is wrong, still counts when it is new."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    stamp = "2001-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "old", "leaseDurationSeconds": 2, "renewTime": stamp}
    cluster.request("POST", path, body={"metadata": {"name": "app"}, "spec": spec})
    contender = make("new")
    assert not contender.try_acquire()
    assert wait_acquired(contender) >= 1.8


def test_frozen_holder(make: Make) -> None:
    """A holder that was frozen beyond its term knows that it holds nothing, without asking."""
    first, second = make("first", 3), make("second", 3)
    assert first.try_acquire()
    assert first.held()
    wait_acquired(second)
    assert not first.held()
    assert not first.try_acquire()
    assert second.held()


def test_holder_never_outlasts_the_wait_of_others(make: Make, cluster: Cluster) -> None:
    """A fraction of a second is rounded up for others: they wait as long as the holder holds."""
    lease = make("first", 2.5)
    assert lease.try_acquire()
    live = cluster.get(f"{lease._collection}/app")
    assert live["spec"]["leaseDurationSeconds"] == 3


def test_lease_taken_by_hand(make: Make, cluster: Cluster) -> None:
    """A holder that sees another name in its lease stops holding at once."""
    first = make("first")
    assert first.try_acquire()
    path = f"{first._collection}/app"
    live = cluster.get(path)
    live["spec"]["holderIdentity"] = "admin"
    cluster.request("PUT", path, body=live)
    assert first.held()
    assert not first.try_acquire()
    assert not first.held()


def test_release(make: Make) -> None:
    """A released lease is free at once; releasing what one does not hold changes nothing."""
    first, second = make("first"), make("second")
    assert first.try_acquire()
    second.release()
    assert first.read()
    first.release()
    assert not first.held()
    assert first.read() is None
    assert second.busy().what == "the lease is held by another process"
    assert second.try_acquire()
    holder = second.read()
    assert holder
    assert holder.transitions == 1


def test_release_of_nothing(make: Make) -> None:
    """Releasing a lease that does not exist is no error."""
    make("first").release()


def test_lease_without_a_spec(make: Make, cluster: Cluster, namespace: str) -> None:
    """A lease that somebody made by hand without a spec is free."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    cluster.request("POST", path, body={"metadata": {"name": "app"}})
    lease = make("first")
    assert lease.read() is None
    assert lease.try_acquire()


def test_same_holder_after_a_restart(make: Make) -> None:
    """A process that comes back under the same name goes on holding its lease."""
    assert make("same").try_acquire()
    again = make("same")
    assert again.try_acquire()
    holder = again.read()
    assert holder
    assert holder.transitions == 0
