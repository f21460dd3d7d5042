"""A Git remote that hangs, lies or vanishes, a full disk: the last good revision stays."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from signing import People, people

from opslib.core.errors import InputError
from opslib.kube.client import Cluster
from opslib.reconcile.app import App
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.session import open_session
from opslib.reconcile.status import LoopStatus, read_status
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.source.mirror import Source
from opslib.source.trust import UNVERIFIED, Verification

from .remote import FETCH_SECONDS, Server, Watching, Work, until

COUNTS: dict[str, int] = {}


def config(name: str, value: str) -> str:
    """Return the YAML of a ConfigMap."""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: '{value}'}}\n"


HANGS = """apiVersion: apps/v1
kind: Deployment
metadata: {name: hangs}
spec:
  selector: {matchLabels: {app: hangs}}
  template:
    metadata: {labels: {app: hangs}}
    spec: {containers: [{name: app, image: "registry.example/a:does-not-exist"}]}
"""


@dataclass
class Scene:
    """An app that a loop pulls from a remote; a bystander belongs to nobody's app."""

    cluster: Cluster
    namespace: str
    work: Work
    server: Server
    app: App = field(default_factory=lambda: App(f"g{uuid.uuid4().hex[:8]}"))
    number: int = 0

    def watching(self, verify: Verification = UNVERIFIED) -> Watching:
        """Return a loop that is not started yet."""
        session = open_session(
            self.cluster,
            Source(self.server.url, "main", "app"),
            app=self.app.name,
            namespace=self.namespace,
            verify=verify,
        )
        session.fetch_seconds = FETCH_SECONDS
        return Watching(session)

    def objects(self) -> dict[str, tuple[str, Any]]:
        """Return the ConfigMaps that lie here: uid and data by name."""
        items, _ = self.cluster.list(f"/api/v1/namespaces/{self.namespace}/configmaps")
        return {
            item["metadata"]["name"]: (item["metadata"]["uid"], item.get("data"))
            for item in items
            if item["metadata"]["name"] != "kube-root-ca.crt"
        }

    def edit(self, name: str, value: str) -> None:
        """Change an object as somebody else would."""
        self.cluster.request(
            "PATCH",
            f"/api/v1/namespaces/{self.namespace}/configmaps/{name}",
            query={"fieldManager": "kubectl-edit"},
            body={"data": {"k": value}},
            content_type="application/merge-patch+json",
        )

    def status(self) -> LoopStatus:
        """Return what the loop last said, once it has."""

        def read() -> LoopStatus | None:
            with contextlib.suppress(InputError):  # no loop has reported yet
                return read_status(self.cluster, self.app)
            return None

        status: LoopStatus = until(read, lambda: "a loop reports")
        return status

    def good(self, loop: Watching, *sign: str) -> str:
        """Push a commit that is good, wait until it is live, and return it."""
        self.number += 1
        commit = self.work.commit({"app/one.yaml": config("one", str(self.number))}, *sign)
        self.work.push()
        self.live(commit, loop)
        return commit

    def live(self, commit: str, loop: Watching) -> None:
        """Wait until a commit is applied."""
        until(
            lambda: (s := self.status()).applied_commit == commit and s.phase == "synced",
            lambda: f"{commit[:12]} is live in {self.status()}; said: {loop.said[-5:]}",
        )

    def begins(self, value: str, *sign: str) -> str:
        """Push a commit with a workload that hangs, wait until it is begun, and return it."""
        files = {"app/one.yaml": config("one", value), "app/pod.yaml": HANGS}
        commit = self.work.commit({**files}, *sign)
        self.work.push()
        until(
            lambda: self.objects()["one"][1] == {"k": value},
            lambda: f"{value} is begun: {self.status()}",
        )
        return commit

    def undone(self, before: dict[str, tuple[str, Any]]) -> None:
        """Wait until the objects are as they were, and the workload that hung is pruned."""

        def done() -> bool:
            kinds = {key.kind for key in read_inventory(self.cluster, self.app).objects}
            return self.objects() == before and kinds == {"ConfigMap"}

        until(done, lambda: f"it is undone: {self.status()}")

    def tells(self, commit: str, word: str) -> None:
        """Wait until the status says why a commit cannot be used."""

        def told() -> bool:
            status = self.status()
            return status.tried_commit == commit and word in status.message + status.source_error

        until(told, lambda: f"{commit[:12]}: {word} in {self.status()}")

    def holds(self, name: str, *words: str) -> None:
        """Hold that a fault is told, that drift is corrected, and that nothing else changes."""
        before, inventory = self.objects(), read_inventory(self.cluster, self.app)
        told = (*words, f"last good commit {inventory.commit[:12]}")
        until(
            lambda: all(word in self.status().source_error for word in told),
            lambda: f"{name}: {told} in {self.status()}",
        )
        self.edit("one", f"edited under {name}")
        until(lambda: self.objects() == before, lambda: f"{name}: drift is corrected")
        assert read_inventory(self.cluster, self.app) == inventory
        assert self.status().applied_commit == inventory.commit
        COUNTS[name] = COUNTS.get(name, 0) + 1


@pytest.fixture
def scene(
    server: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """Return a remote with two objects in a folder, and a bystander in the cluster."""
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))
    for name in ("OPSLIB_VERIFY", "OPSLIB_TRUST"):
        monkeypatch.delenv(name, raising=False)
    work = Work(tmp_path)
    work.commit({"app/two.yaml": config("two", "2"), "app/README": "read me\n"})
    one = Scene(server, namespace, work, Server(tmp_path / "served"))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.request("POST", path, body={"metadata": {"name": "bystander"}, "data": {"k": "mine"}})
    yield one
    one.server.end()


def test_a_remote_that_hangs(scene: Scene) -> None:
    """Silent, stalled, failing or talking nonsense: the deadline holds, and the loop goes on."""
    with scene.watching().running() as loop:
        scene.good(loop)
        for name, mode, word in (
            ("the remote never answers", "silent", f"no answer within {FETCH_SECONDS:g} s"),
            ("the remote stops half-way", "stalls", f"no answer within {FETCH_SECONDS:g} s"),
            ("the remote fails", "error", "503"),
            ("a login page answers", "garbage", "no branches any more"),
            ("the answer is cut off", "cut", "cannot fetch"),
        ):
            scene.server.mode = mode
            scene.holds(name, word, scene.server.url)
            scene.server.mode = "ok"
            scene.good(loop)


def test_a_remote_that_vanishes(scene: Scene, tmp_path: Path) -> None:
    """Without the repository, the branch or any commit there is no empty desired state."""
    aside = tmp_path / "aside"

    def away() -> None:
        scene.work.bare.rename(aside)

    def back() -> None:
        shutil.rmtree(scene.work.bare, ignore_errors=True)
        aside.rename(scene.work.bare)

    def emptied() -> None:
        away()
        words = ["git", "init", "--quiet", "--bare", "--initial-branch=main"]
        subprocess.run([*words, str(scene.work.bare)], check=True)
        subprocess.run(["git", "-C", str(scene.work.bare), "update-server-info"], check=True)

    def branch() -> None:
        shutil.copytree(scene.work.bare, aside)
        scene.work.git("push", "--quiet", str(scene.work.bare), "HEAD:refs/heads/other")
        scene.work.drop("main")

    def branches() -> None:
        shutil.copytree(scene.work.bare, aside)
        scene.work.drop("main")

    faults: dict[str, tuple[Callable[[], None], str]] = {
        "the repository is deleted": (away, "not found"),
        "the repository is empty": (emptied, "no branches any more"),
        "the branch is deleted": (branch, "no branch or tag main any more"),
        "all branches are deleted": (branches, "no branches any more"),
    }
    with scene.watching().running() as loop:
        scene.good(loop)
        for name, (happens, word) in faults.items():
            happens()
            scene.holds(name, word)
            back()
            scene.good(loop)


def test_a_folder_that_vanishes(scene: Scene) -> None:
    """A commit without the folder, or without anything in it, deletes nothing."""
    with scene.watching().running() as loop:
        for name, files, word in (
            ("the folder is deleted", ("one.yaml", "two.yaml", "README"), "no such folder"),
            ("the folder has no manifests", ("one.yaml", "two.yaml"), "app"),
        ):
            last = scene.good(loop)
            before = scene.objects()
            gone = scene.work.commit({f"app/{file}": None for file in files})
            scene.work.push()
            scene.tells(gone, word)
            assert scene.objects() == before
            assert read_inventory(scene.cluster, scene.app).commit == last
            COUNTS[name] = 1
            scene.work.git("checkout", "--quiet", last, "--", "app")


def test_a_remote_that_lies(scene: Scene) -> None:
    """A rewritten branch, an older head and another repository in its place are not followed."""
    with scene.watching().running() as loop:
        first = scene.good(loop)
        for name in ("the branch is rewritten", "the head is an older one", "another repository"):
            last = scene.good(loop)
            if name == "the branch is rewritten":
                scene.work.git("reset", "--quiet", "--hard", first)
                scene.work.commit({"app/one.yaml": None, "app/three.yaml": config("three", "3")})
            elif name == "another repository":
                scene.work.git("checkout", "--quiet", "--orphan", f"o{scene.number}")
                scene.work.commit({"app/one.yaml": config("one", "of another")})
            else:
                scene.work.git("reset", "--quiet", "--hard", first)
            scene.work.push()
            scene.holds(name, "rewritten", last[:12])
            scene.work.git("checkout", "--quiet", "--force", "-B", "main", last)


@pytest.fixture(scope="module")
def signers() -> Iterator[People]:
    """Make Ada's key, which is trusted, and Eve's, which is not."""
    with people() as made:
        made.person("Ada")
        made.person("Eve")
        yield made


def test_commits_that_nobody_trusted_signed(scene: Scene, signers: People, tmp_path: Path) -> None:
    """Unsigned, by a stranger, unsigned below a signed one: none is applied, drift is corrected.

    When the bad commits are taken back, the loop goes on without being told.
    """
    ada, eve = signers.made
    sign = [*ada.git, "-c", "commit.gpgsign=true"]
    trust = tmp_path / "ada.asc"
    trust.write_bytes(ada.public())
    bad: dict[str, str | None] = {
        "app/one.yaml": config("one", "evil"),
        "app/evil.yaml": config("evil", "6"),
    }
    with scene.watching(Verification("every", (trust,))).running() as loop:
        last = scene.good(loop, *sign)
        assert scene.status().signed_by.startswith("Ada <ada@example.com>")
        for name, words in (
            ("an unsigned commit", ()),
            ("a commit signed by a stranger", (*eve.git, "-c", "commit.gpgsign=true")),
        ):
            evil = scene.work.commit(bad, *words)
            scene.work.push()
            scene.holds(name, evil[:12])
            assert scene.status().tried_commit == evil
            assert scene.status().signed_by.startswith("Ada")
            above = scene.work.commit({}, *sign)
            scene.work.push()
            scene.holds(f"{name} below a signed one", above[:12], evil[:12])
            scene.work.git("reset", "--quiet", "--hard", last)
            last = scene.good(loop, *sign)
    assert not any("evil" in name for name in scene.objects())


def test_trust_that_is_not_there(scene: Scene, signers: People, tmp_path: Path) -> None:
    """Nothing is applied before the first good signature, nor once the key is gone."""
    ada, eve = signers.made
    sign = [*ada.git, "-c", "commit.gpgsign=true"]
    trust = tmp_path / "keys"
    trust.write_bytes(ada.public())
    unsigned = scene.work.commit({"app/one.yaml": config("one", "0")})
    scene.work.push()
    with scene.watching(Verification("head", (trust,))).running() as loop:
        scene.tells(unsigned, "not signed")
        assert set(scene.objects()) == {"bystander"}
        assert not read_inventory(scene.cluster, scene.app).objects
        COUNTS["an unsigned first commit"] = 1
        scene.good(loop, *sign)
        for name, happens, word in (
            ("the trust file is gone", trust.unlink, "--trust"),
            ("the trust file is empty", lambda: trust.write_bytes(b""), "--trust"),
            ("the key is trusted no more", lambda: trust.write_bytes(eve.public()), "not among"),
        ):
            happens()
            scene.holds(name, word)
        trust.write_bytes(ada.public())
        scene.good(loop, *sign)


def test_what_is_on_trial_while_git_is_away(scene: Scene, signers: People, tmp_path: Path) -> None:
    """A revision that is not healthy yet is gone on with only while its signatures count.

    An unsigned one, begun by a loop that verified nothing, is taken back. A signed one is
    verified again from the mirror, and taken back once its key is trusted no more.
    """
    ada, eve = signers.made
    sign = [*ada.git, "-c", "commit.gpgsign=true"]
    trust = tmp_path / "keys"
    trust.write_bytes(ada.public())
    verify = Verification("head", (trust,))
    with scene.watching().running() as loop:
        scene.good(loop, *sign)
        before = scene.objects()
        evil = scene.begins("evil")
    with scene.watching(verify).running():
        scene.undone(before)
        scene.holds("an unsigned commit that was begun", evil[:12], "not signed")
        scene.begins("better", *sign)
    scene.server.mode = "silent"
    with scene.watching(verify).running():
        until(
            lambda: "the revision on trial" in scene.status().source_error,
            lambda: f"it is gone on with: {scene.status()}",
        )
        assert scene.objects()["one"][1] == {"k": "better"}
        COUNTS["the remote never answers while a revision is on trial"] = 1
        trust.write_bytes(eve.public())
        scene.undone(before)
        scene.holds("the key of what was begun is trusted no more", "no answer within")


def test_an_old_signed_head_is_a_replay(scene: Scene, signers: People, tmp_path: Path) -> None:
    """Signed once is not signed for ever: the cluster's commit counts, not a mirror's memory."""
    ada = signers.made[0]
    sign = [*ada.git, "-c", "commit.gpgsign=true"]
    trust = tmp_path / "ada.asc"
    trust.write_bytes(ada.public())
    verify = Verification("head", (trust,))
    with scene.watching(verify).running() as loop:
        old = scene.good(loop, *sign)
        last = scene.good(loop, *sign)
    for memory in (tmp_path / "cache" / "mirrors").glob("*.json"):
        memory.unlink()
    scene.work.push(old)
    with scene.watching(verify).running() as loop:
        scene.holds("an older signed head", old[:12], "older", last[:12])
        scene.work.push(last)
        scene.live(last, loop)


def test_a_full_disk(scene: Scene, sandbox: Status, tmp_path: Path) -> None:
    """No space left in the mirror, for real: it is told, drift is corrected, and room mends it.

    The disk is a small tmpfs in a namespace of the test's own.
    """
    ways = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
    unshare = next((words for words in ways if _works(*words, "true")), None)
    assert unshare, "a small disk needs a mount namespace, as root or by user namespaces"
    cache = tmp_path / "small"
    cache.mkdir()
    job = {
        "kubeconfig": sandboxes.environment(sandbox.name)["KUBECONFIG"],
        "cache": str(cache),
        "folder": str(tmp_path / "full"),
        "namespace": scene.namespace,
        "app": scene.app.name,
    }
    words = [*unshare, sys.executable, "-m", "faults.fulldisk", json.dumps(job)]
    done = subprocess.run(
        words, cwd=Path(__file__).parents[1], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, passes in found.items():
        before, full, after = passes
        assert before["phase"] == after["phase"] == "synced", name
        assert "No space left on device" in full["trouble"], name
        assert str(cache) in full["trouble"], name
        assert full["data"] == before["data"], f"{name}: drift was corrected"
        assert full["commit"] == before["commit"], name
        assert full["objects"] == after["objects"] == before["objects"], name
        assert after["commit"] != before["commit"], name
        COUNTS[name] = 1


def _works(*words: str) -> bool:
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def test_how_many_faults_there_were() -> None:
    """Every fault was had, and the counts are told."""
    for name, number in COUNTS.items():
        print(f"{number} x {name}")
    print(f"{sum(COUNTS.values())} faults of Git, 0 empty desired states, 0 deletes")
    assert sum(COUNTS.values()) >= 28
