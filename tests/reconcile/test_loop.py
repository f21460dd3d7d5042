"""The pull loop on a real repository and a real API server."""

from __future__ import annotations

from opslib.reconcile.status import read_status

from .conftest import Start, Workbench, config_map, deployment
from .loops import Repository, wait


def _data(bench: Workbench, name: str = "one") -> dict[str, str] | None:
    live = bench.live("configmaps", name)
    return live["data"] if live else None


def test_a_commit_is_live_within_a_poll(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """The first commit and the next one reach the cluster, and the status names both."""
    first = repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start()
    wait(lambda: _data(bench) == {"k": "v"}, running=loop)
    second = repository.commit({"app/one.yaml": config_map("one", k="w")})
    wait(lambda: _data(bench) == {"k": "w"}, running=loop)
    status = wait(
        lambda: (s := read_status(bench.server, bench.app)).applied_commit == second and s
    )
    assert first != second
    assert (status.phase, status.health, status.tried_commit) == ("synced", "Current", second)
    assert status.next_poll > status.applied_at


def test_a_second_loop_waits_for_the_lease(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """Beside a loop another one does nothing but wait, and takes over when the first ends."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    first = start()
    first.heard("is live")
    second = start()
    line = second.heard("waiting")
    assert "lease is held by" in line
    repository.commit({"app/one.yaml": config_map("one", k="w")})
    wait(lambda: _data(bench) == {"k": "w"}, running=first)
    assert not any("revision" in said for said in second.said)
    first.end()
    second.heard("holding the lease")
    repository.commit({"app/one.yaml": config_map("one", k="x")})
    wait(lambda: _data(bench) == {"k": "x"}, running=second)


def test_drift_is_corrected(bench: Workbench, repository: Repository, start: Start) -> None:
    """An edit by hand is put back at the next poll, and told."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start()
    loop.heard("is live")
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    wait(lambda: _data(bench) == {"k": "v"}, running=loop)
    assert "correcting" in loop.heard("drift")


def test_drift_is_reported_and_left(bench: Workbench, repository: Repository, start: Start) -> None:
    """In report mode the edit stays, and the status names the object."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start(mode="report")
    loop.heard("is live")
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    loop.heard("not corrected")
    status = wait(lambda: (s := read_status(bench.server, bench.app)).phase == "drifted" and s)
    assert status.drift == (f"update ConfigMap {bench.namespace}/one",)
    assert _data(bench) == {"k": "edited"}


def test_a_broken_commit_changes_nothing_and_is_told(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """A file that is no YAML is an error in the status; the next good commit goes on."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    loop = start()
    loop.heard("is live")
    repository.commit({"app/one.yaml": "kind: [\n"})
    loop.heard("error")
    status = wait(lambda: (s := read_status(bench.server, bench.app)).phase == "error" and s)
    assert "app/one.yaml" in status.message
    assert _data(bench) == {"k": "v"}
    repository.commit({"app/one.yaml": config_map("one", k="w")})
    wait(lambda: _data(bench) == {"k": "w"}, running=loop)


def test_a_rollout_that_hangs_is_mended_by_the_next_commit(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """The loop does not wait for a hanging revision so long that its mending stays out."""
    repository.commit({"app/d.yaml": deployment("app")})
    loop = start()
    loop.heard("is live")
    repository.commit({"app/d.yaml": deployment("app", image="registry.example/a:does-not-exist")})
    loop.heard("not healthy yet")
    good = repository.commit({"app/d.yaml": deployment("app")})
    wait(lambda: read_status(bench.server, bench.app).applied_commit == good, running=loop)


def test_once_ends_after_one_poll(bench: Workbench, repository: Repository, start: Start) -> None:
    """With --once the loop polls, applies and ends, and gives the lease back."""
    repository.commit({"app/one.yaml": config_map("one", k="v")})
    start(once=True).thread.join(timeout=90)
    assert _data(bench) == {"k": "v"}
    again = start(once=True)
    again.thread.join(timeout=90)
    assert not any("waiting" in said for said in again.said)
