"""One run at a time for what is locked, by a file and by a Lease."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from opslib import runbook
from opslib.core.errors import InputError, LockBusy
from opslib.core.settings import state_dir
from opslib.kube.client import connect
from opslib.runbook import lock
from opslib.sandbox.cluster import Status

from .conftest import Make, code, parameters, read_json

HOLD = (
    "import json, sys, time\nfrom opslib.runbook import lock\nlock.LEASE_SECONDS = 3.0\n"
    "owner = lock.Owner(sys.argv[2], 'holder', 'me', 'here')\n"
    "with lock.hold(sys.argv[1], owner, json.loads(sys.argv[3])):\n"
    "    print('held', flush=True)\n    time.sleep(120)"
)
ME = lock.Owner("20260101T000000000Z-000001", "mine", "me", "here")


class Holder:
    """A process that holds a lock until it is killed."""

    def __init__(self, scope: str, **given: Any) -> None:
        words = [scope, "20260101T000000000Z-abcdef", json.dumps(given)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *words], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def kill(self) -> None:
        """End it without a chance to give anything back."""
        self.process.kill()
        self.process.communicate()


def test_scopes_come_from_parameters() -> None:
    """Names in braces are values; what is no parameter, or no name, is refused."""
    assert lock.scope_of("app/{app}/{n}", {"app": "pay", "n": 7}) == "app/pay/7"
    assert lock.lock_file("a/b") != lock.lock_file("a-b")
    for template, words in {
        "app/{apq}": "no parameter",
        "app/{none}": "needs a value",
        "two words": "cannot be locked",
        "lease:": "cannot be locked",
        "x" * 201: "cannot be locked",
        "{app.__class__}": "no parameter",
    }.items():
        with pytest.raises(InputError, match=words):
            lock.scope_of(template, {"app": "a", "none": None})


def test_a_dead_holders_file_is_free_at_once() -> None:
    """While a process lives it is busy, with its name; after kill -9 the next takes it."""
    holder = Holder("one/file")
    with pytest.raises(LockBusy, match=f"abcdef of holder .*{holder.process.pid}.* since 20"):
        lock.hold("one/file", ME, {}).__enter__()
    holder.kill()
    begun = time.monotonic()
    with lock.hold("one/file", ME, {}):
        assert time.monotonic() - begun < 10
    with lock.hold("one/file", ME, {}):
        pass


@pytest.mark.parametrize("source", ["1", "1 / 0", "import os\nos._exit(1)"])
def test_a_run_gives_its_lock_back(source: str, make: Make) -> None:
    """However it ends: the next run is not busy; the record names the scope."""
    path = make(parameters("app: str = 'x'"), code(source))
    done = runbook.run(path, {}, lock="gives/{app}")
    assert done.result["lock"] == "gives/x"
    assert done.outcome != "skipped"
    with lock.hold("gives/x", ME, {}):
        again = runbook.run(path, {}, lock="gives/{app}")
        other = runbook.run(path, {"app": "y"}, lock="gives/{app}")
    assert (again.outcome, again.exit_code) == ("skipped", 75)
    assert other.outcome == done.outcome
    assert read_json(again.folder / "manifest.json")["exit_code"] == 75
    listed = {
        one.run_id: one.outcome for one in runbook.list_records(path.parent.parent / "outputs")
    }
    assert listed[again.run_id] == "skipped"


def test_a_lease_is_one_for_the_whole_cluster(
    sandbox: Status, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live holder: busy at once. A dead one: free at once where it died on this machine.

    Where nothing is known of it, it is taken over when its term has run out.
    """
    monkeypatch.setattr(lock, "LEASE_SECONDS", 3.0)
    given = {"kubeconfig": str(sandbox.kubeconfig)}
    holder = Holder("lease:default/Run_One", **given)
    try:
        begun = time.monotonic()
        with pytest.raises(LockBusy, match=r"abcdef of holder .* since 20"):
            lock.hold("lease:default/Run_One", ME, given).__enter__()
        busy = time.monotonic() - begun
    finally:
        holder.kill()
    with lock.hold("lease:default/Run_One", ME, given) as held:
        assert held()
    holder = Holder("lease:default/Run_One", **given)
    holder.kill()
    for sign in (state_dir() / "leases").iterdir():
        sign.unlink()  # as on another machine
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            with lock.hold("lease:default/Run_One", ME, given) as held:
                took = time.monotonic() - end + 90
                assert held()
                break
        except LockBusy:
            time.sleep(0.5)
    print(f"busy after {busy:.2f} s; a dead holder's Lease taken over after {took:.1f} s")
    assert 2 < took < 30
    path = make(parameters("kubeconfig: str = ''"), code("1"))
    done = runbook.run(path, given, lock="lease:default/run")
    assert (done.outcome, done.result["lock"]) == ("ok", "lease:default/run")
    with contextlib.closing(connect(given["kubeconfig"])) as cluster:
        url = "/apis/coordination.k8s.io/v1/namespaces/default/leases/run"
        assert not cluster.request("GET", url)["spec"].get("holderIdentity")
