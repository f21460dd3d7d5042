"""A revision that fails is taken back: quarantine, return, proposal, release."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError
from opslib.reconcile import reconciler
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.session import Session, open_session
from opslib.reconcile.status import LoopStatus, read_status
from opslib.reconcile.trials import read_trials, release
from opslib.source.mirror import Source

from .conftest import Start, Workbench, config_map, deployment
from .loops import Repository, Running, wait

GONE = "registry.example/app:does-not-exist"
GOOD, BAD = deployment("app"), deployment("app", image=GONE)
SOON = BAD.replace("spec:\n", "spec:\n  progressDeadlineSeconds: 2\n", 1)
"""Fails by the controller's own verdict, whatever time a good revision is given."""
CLAIM = """apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
"""


def status_when(
    bench: Workbench, loop: Running, condition: Callable[[LoopStatus], Any]
) -> LoopStatus:
    """Wait until the loop's status in the cluster is as asked."""

    def look() -> LoopStatus | None:
        one = read_status(bench.server, bench.app)
        return one if condition(one) else None

    found = wait(look, running=loop)
    assert isinstance(found, LoopStatus)
    return found


def returned(bench: Workbench, loop: Running, bad: str) -> LoopStatus:
    """Wait until a revision is in quarantine and the last good one is back."""

    def done(one: LoopStatus) -> bool:
        return bool(one.quarantined and one.quarantined.commit == bad and one.proposal
                    and one.quarantined.returned_at)  # fmt: skip

    return status_when(bench, loop, done)


def image(bench: Workbench) -> str:
    """Return the image that the live Deployment asks for."""
    live = bench.live("deployments", "app", "apps/v1")
    assert live
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def polls(bench: Workbench, loop: Running, number: int) -> None:
    """Wait for so many polls."""
    for _ in range(number):
        before = read_status(bench.server, bench.app).next_poll
        status_when(bench, loop, lambda one, before=before: one.next_poll > before)  # type: ignore[misc]  # bound per poll


def session_of(bench: Workbench, repository: Repository) -> Session:
    """Open the app as a person at a terminal would."""
    source = Source(str(repository.folder), "", "app")
    return open_session(bench.server, source, app=bench.app.name, namespace=bench.namespace)


def no_pods(bench: Workbench) -> Callable[[], None]:
    """Let the namespace refuse every pod; return what ends that."""
    path = f"/api/v1/namespaces/{bench.namespace}/resourcequotas"
    body = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    bench.server.request("POST", path, body=body)
    # A quota without a status is not enforced yet.
    wait(lambda: (bench.server.get(f"{path}/none").get("status") or {}).get("hard"))
    return lambda: bench.server.request("DELETE", f"{path}/none") and None


def test_a_revision_that_is_not_healthy_in_time_is_taken_back(
    bench: Workbench, repository: Repository, start: Start, tmp_path: Path
) -> None:
    """It is quarantined, the last good one is live again, and the proposal leads Git back."""
    good = repository.commit({"app/d.yaml": GOOD})
    loop = start(health_timeout=2.0)
    loop.heard("is live")
    bad = repository.commit({"app/d.yaml": BAD}, "an image that nobody has")
    status = returned(bench, loop, bad)
    assert (status.phase, status.health, status.applied_commit) == ("quarantined", "Current", good)
    assert status.quarantined
    assert status.quarantined.good == good
    assert "not healthy after 2" in status.quarantined.reason
    assert image(bench) == "registry.example/app:1"
    generation = (bench.live("deployments", "app", "apps/v1") or {})["metadata"]["generation"]
    polls(bench, loop, 3)
    live = bench.live("deployments", "app", "apps/v1") or {}
    assert live["metadata"]["generation"] == generation
    assert len([line for line in loop.said if line.startswith(f"revision {bad[:12]}: ")]) == 1
    assert repository.git("rev-parse", "HEAD") == bad
    assert status.proposal
    _follow(repository, tmp_path, status.proposal.commands)
    clone = Repository.__new__(Repository)
    clone.folder = tmp_path / "clone"
    assert clone.git("rev-parse", "HEAD:app") == repository.git("rev-parse", f"{good}:app")
    assert "an image that nobody has" in clone.git("log", "-1", "--format=%B")


def _follow(repository: Repository, place: Path, commands: tuple[str, ...]) -> None:
    """Do in a clone what a proposal says, by a shell as a person does."""
    subprocess.run(["git", "clone", "-q", str(repository.folder), place / "clone"], check=True)
    script = "git config user.name Ada; git config user.email ada@example.com\n"
    script += " && ".join(commands)
    subprocess.run(["bash", "-ec", script], cwd=place / "clone", check=True, capture_output=True)


def test_a_failed_object_fails_its_revision_before_the_time_is_up(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """The controller's own verdict is not waited out: Failed is failed."""
    repository.commit({"app/d.yaml": GOOD})
    loop = start(health_timeout=600.0, interval=300.0)
    loop.heard("is live")
    loop.end()
    bad = repository.commit({"app/d.yaml": SOON})
    again = start(health_timeout=600.0, interval=300.0)
    status = returned(bench, again, bad)
    assert status.quarantined
    assert "timed out progressing" in status.quarantined.reason
    assert image(bench) == "registry.example/app:1"


def test_a_quarantine_outlives_the_loop_and_ends_by_release(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """Another loop does not apply the revision either, until somebody releases it."""
    repository.commit({"app/d.yaml": GOOD})
    first = start(health_timeout=2.0)
    first.heard("is live")
    bad = repository.commit({"app/d.yaml": BAD})
    returned(bench, first, bad)
    first.end()
    second = start(health_timeout=2.0)
    second.heard("is quarantined")
    polls(bench, second, 2)
    tried = f"revision {bad[:12]}: "
    assert not any(line.startswith(tried) for line in second.said)
    with pytest.raises(InputError, match="no revision 'abcdef0' in quarantine"):
        release(bench.server, bench.app, "abcdef0")
    assert release(bench.server, bench.app, bad[:8]).commit == bad
    second.heard(tried)
    returned(bench, second, bad)


def test_a_newer_commit_is_tried_and_ends_the_quarantine(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """The mending goes live at the next poll; nothing of the quarantine is left."""
    repository.commit({"app/d.yaml": GOOD})
    loop = start()
    loop.heard("is live")
    bad = repository.commit({"app/d.yaml": SOON})
    returned(bench, loop, bad)
    mended = repository.commit({"app/d.yaml": deployment("app", image="registry.example/app:2")})
    status = status_when(bench, loop, lambda one: one.applied_commit == mended)
    assert (status.phase, status.quarantined, status.proposal) == ("synced", None, None)
    assert read_trials(bench.server, bench.app).quarantines == ()
    assert image(bench) == "registry.example/app:2"


def test_git_may_be_down(bench: Workbench, repository: Repository, start: Start) -> None:
    """The return comes from the mirror, and drift is corrected, while the remote is gone."""
    good = repository.commit({"app/d.yaml": GOOD, "app/c.yaml": config_map("one", k="v")})
    loop = start(health_timeout=3.0)
    loop.heard("is live")
    bad = repository.commit({"app/d.yaml": BAD})
    loop.heard(f"revision {bad[:12]}: ")
    repository.folder.rename(repository.folder.with_name("away"))
    returned(bench, loop, bad)
    status = status_when(bench, loop, lambda one: "last good commit" in one.source_error)
    assert (status.phase, status.applied_commit) == ("error", good)
    assert "source unavailable: reconciling last good commit" in status.message
    assert status.quarantined
    assert image(bench) == "registry.example/app:1"
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    wait(lambda: (bench.live("configmaps", "one") or {})["data"] == {"k": "v"}, running=loop)


def test_rewritten_history_keeps_the_last_good_revision(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """A head that is not to be trusted is not applied; what was good is still held."""
    repository.commit({"app/c.yaml": config_map("one", k="v")})
    good = repository.commit({"app/c.yaml": config_map("one", k="w")})
    loop = start()
    loop.heard("is live")
    repository.git("reset", "--hard", "--quiet", "HEAD^")
    repository.commit({"app/c.yaml": config_map("one", k="other")})
    status = status_when(bench, loop, lambda one: "was rewritten" in one.source_error)
    assert (status.phase, status.applied_commit) == ("error", good)
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    wait(lambda: (bench.live("configmaps", "one") or {})["data"] == {"k": "w"}, running=loop)


def test_a_commit_that_cannot_be_applied_keeps_the_last_good_revision(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """A file that is no YAML is told, and drift is corrected nevertheless."""
    good = repository.commit({"app/c.yaml": config_map("one", k="v")})
    loop = start()
    loop.heard("is live")
    repository.commit({"app/c.yaml": "kind: [\n"})
    status = status_when(bench, loop, lambda one: "app/c.yaml" in one.source_error)
    assert (status.phase, status.applied_commit) == ("error", good)
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    wait(lambda: (bench.live("configmaps", "one") or {})["data"] == {"k": "v"}, running=loop)


def test_a_broken_commit_does_not_take_a_trial_back(
    bench: Workbench, repository: Repository, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on trial stays so until its verdict, whatever is pushed on top of it."""
    monkeypatch.setattr(reconciler, "APPLY_SECONDS", 1.0)
    good = repository.commit({"app/d.yaml": GOOD})
    loop = start(health_timeout=600.0)
    loop.heard("is live")
    bad = repository.commit({"app/d.yaml": BAD})
    loop.heard(f"revision {bad[:12]}: ")
    repository.commit({"app/x.yaml": "kind: [\n"})
    status = status_when(bench, loop, lambda one: "app/x.yaml" in one.source_error)
    assert f"the revision on trial {bad[:12]}" in status.source_error
    assert image(bench) == GONE
    loop.end()
    less_patient = start(health_timeout=1.0)
    wait(lambda: read_trials(bench.server, bench.app).quarantined(bad), running=less_patient)
    wait(lambda: image(bench) == "registry.example/app:1", running=less_patient)
    status = status_when(bench, less_patient, lambda one: "last good commit" in one.source_error)
    assert (status.phase, status.applied_commit) == ("error", good)


def test_a_return_deletes_what_the_failed_revision_made_and_nothing_else(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """New objects go; data, and what was there before, stay and are named with the reason."""
    repository.commit({"app/d.yaml": GOOD})
    loop = start(health_timeout=2.0)
    loop.heard("is live")
    theirs = f"/api/v1/namespaces/{bench.namespace}/configmaps"
    body = {"metadata": {"name": "theirs"}, "data": {"k": "old"}}
    uid = bench.server.request("POST", theirs, body=body)["metadata"]["uid"]
    more = {f"app/n{i}.yaml": config_map(f"new{i}", k="v") for i in range(3)}
    bad = repository.commit(
        {"app/d.yaml": BAD, "app/p.yaml": CLAIM, "app/t.yaml": config_map("theirs", k="x"), **more}
    )
    status = returned(bench, loop, bad)
    assert [bench.live("configmaps", f"new{i}") for i in range(3)] == [None] * 3
    assert bench.live("persistentvolumeclaims", "data")
    live = bench.live("configmaps", "theirs")
    assert live
    assert live["metadata"]["uid"] == uid
    kept = " | ".join(status.kept)
    assert "theirs: it was there before a revision that failed took it over" in kept
    assert "data: a PersistentVolumeClaim is deleted only when named" in kept
    assert len(status.kept) == 2
    # A later good revision does not make it the app's own either.
    drop: dict[str, str | None] = {
        f"app/{name}.yaml": None for name in ("p", "t", "n0", "n1", "n2")
    }
    mended = repository.commit({"app/d.yaml": GOOD, **drop})
    status_when(bench, loop, lambda one: one.applied_commit == mended)
    polls(bench, loop, 2)
    assert bench.live("configmaps", "theirs")


def test_without_a_good_revision_there_is_nothing_to_return_to(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """A first revision that fails stays, is told, and goes on being tried."""
    bad = repository.commit({"app/d.yaml": BAD})
    loop = start(health_timeout=2.0)
    line = loop.heard("stays")
    assert "there is no earlier good revision to return to" in line
    status = status_when(bench, loop, lambda one: one.phase == "failed")
    assert status.quarantined is None
    assert read_inventory(bench.server, bench.app).commit == ""
    assert status.tried_commit == bad
    mended = repository.commit({"app/d.yaml": GOOD})
    status_when(bench, loop, lambda one: one.applied_commit == mended)


def test_a_person_may_apply_it_and_success_releases_it(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """A plan by hand warns of the quarantine; applied and healthy, the revision is good."""
    repository.commit({"app/c.yaml": config_map("one", k="v")})
    loop = start(health_timeout=2.0)
    loop.heard("is live")
    pods = no_pods(bench)
    bad = repository.commit({"app/d.yaml": GOOD})
    returned(bench, loop, bad)
    loop.end()
    pods()
    one = session_of(bench, repository)
    planned = one.plan(one.fetch())
    assert any(f"revision {bad[:12]} is quarantined" in w for w in planned.prepared.plan.warnings)
    with one.holding() as held:
        assert one.apply(planned, timeout=60, go_on=held).ok
    assert read_trials(bench.server, bench.app).quarantines == ()
    again = start()
    status_when(bench, again, lambda s: (s.phase, s.applied_commit) == ("synced", bad))


def test_what_a_person_tried_is_taken_back_like_what_the_loop_tried(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """An apply by hand that ends unhealthy is on trial, too; what it found is not deleted."""
    repository.commit({"app/d.yaml": GOOD})
    first = start()
    first.heard("is live")
    first.end()
    theirs = f"/api/v1/namespaces/{bench.namespace}/configmaps"
    body = {"metadata": {"name": "theirs"}, "data": {"k": "old"}}
    uid = bench.server.request("POST", theirs, body=body)["metadata"]["uid"]
    more = {"app/t.yaml": config_map("theirs", k="x"), "app/n.yaml": config_map("new", k="v")}
    bad = repository.commit({"app/d.yaml": BAD, **more})
    one = session_of(bench, repository)
    planned = one.plan(one.fetch())
    with one.holding() as held:
        assert not one.apply(planned, timeout=1, go_on=held).ok
    trial = read_trials(bench.server, bench.app).trial
    assert trial
    assert trial.commit == bad
    loop = start(health_timeout=2.0)
    returned(bench, loop, bad)
    assert bench.live("configmaps", "new") is None
    live = bench.live("configmaps", "theirs")
    assert live
    assert live["metadata"]["uid"] == uid
    assert read_trials(bench.server, bench.app).trial is None
    # Once more by hand, although it is in quarantine: it is taken back once more.
    loop.end()
    planned = one.plan(one.fetch())
    with one.holding() as held:
        assert not one.apply(planned, timeout=1, go_on=held).ok
    again = start(health_timeout=2.0)
    again.heard("is taken back")
    assert image(bench) == "registry.example/app:1"
    assert bench.live("configmaps", "new") is None


def test_what_was_ill_before_is_not_a_revisions_fault(
    bench: Workbench, repository: Repository, start: Start
) -> None:
    """An object that was unhealthy before and is not changed fails nobody; it is waited for."""
    repository.commit({"app/d.yaml": GOOD, "app/c.yaml": config_map("one", k="v")})
    loop = start(health_timeout=2.0)
    loop.heard("is live")
    pods = no_pods(bench)
    bench.server.request("DELETE", f"/api/v1/namespaces/{bench.namespace}/pods")
    status_when(bench, loop, lambda one: one.health != "Current")
    innocent = repository.commit({"app/c.yaml": config_map("one", k="w")})
    loop.heard("not healthy yet")
    polls(bench, loop, 2)
    assert read_trials(bench.server, bench.app).quarantines == ()
    assert (bench.live("configmaps", "one") or {})["data"] == {"k": "w"}
    pods()
    status_when(bench, loop, lambda one: one.applied_commit == innocent)
