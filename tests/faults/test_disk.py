"""The disk is full: where evidence cannot be kept, nothing is written to the cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from reconcile.loops import Repository

from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .parts import audited

OUTCOMES: Counter[str] = Counter()

_INSIDE = """
set -e
mount -t tmpfs -o size=16m,mode=700 none "$1"
[ -z "$3" ] || cp -R "$3"/. "$1"
# Fill it to the last block, then give some of it back.
dd if=/dev/zero of="$1/.rest" bs=1024 count="$2" 2>/dev/null
cat /dev/zero > "$1/.fill" 2>/dev/null || true
rm "$1/.rest"
shift 3
exec "$@"
"""


def _unshare() -> list[str]:
    """Return the words that start a program with mounts of its own; the test fails without."""
    reasons = []
    for words in (["unshare", "-m"], ["unshare", "-rm"]):
        done = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return words
        reasons.append(f"{' '.join(words)}: {done.stderr.strip()}")
    pytest.fail(
        "a full disk needs a mount namespace, as root or by user namespaces; "
        f"neither is allowed here: {'; '.join(reasons)}"
    )


@dataclass(frozen=True)
class Ended:
    """The program on a full disk, ended."""

    code: int
    out: str
    err: str

    def told(self) -> str:
        """Return its last word, which is a message and no stack."""
        said = self.err[self.err.rindex("opslib: ") :]
        assert "Traceback" not in said, said
        assert "make room" in said
        return said


@dataclass
class Desk:
    """A repository whose commit corrects what somebody edited in the cluster."""

    server: Cluster
    sandbox: Status
    namespace: str
    repository: Repository
    folder: Path
    app: str

    def opslib(self, *words: str, full: str, left: int, seed: Path | None = None) -> Ended:
        """Run the program with its folder ``full`` (OPSLIB_STATE, ...) on a disk that is full.

        ``left`` is what is free in KiB, ``seed`` a folder whose files are there already.
        """
        place = self.folder / f"full-{uuid.uuid4().hex[:6]}"
        place.mkdir()
        program = [sys.executable, "-m", "opslib", *words]
        program = [str(place) if word == "FULL" else word for word in program]
        done = subprocess.run(
            [
                *_unshare(), "sh", "-c", _INSIDE, "sh",
                str(place), str(left), str(seed or ""), *program,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "KUBECONFIG": sandboxes.environment(self.sandbox.name)["KUBECONFIG"],
                **({full: str(place)} if full else {}),
            },
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    def apply(self, **options: Any) -> Ended:
        """Apply as a person does."""
        return self.opslib("apply", "--yes", *self.words, **options)

    @property
    def words(self) -> list[str]:
        where = ["--repo", str(self.repository.folder), "--path", "app"]
        return [*where, "--app", self.app, "--namespace", self.namespace]

    def data(self, plural: str = "configmaps", name: str = "edited") -> Any:
        return self.server.get(f"/api/v1/namespaces/{self.namespace}/{plural}/{name}")["data"]["k"]

    def writes(self) -> list[str]:
        """Return what the kit's own client has written into the namespace so far."""
        entries = audited(self.sandbox, self.namespace)
        return [f"{e.verb} {e.name}" for e in entries if e.agent == "opslib" and e.done]


@pytest.fixture
def desk(server: Cluster, sandbox: Status, namespace: str, tmp_path: Path) -> Desk:
    """Return an app that was applied, with an object that was then edited by hand."""
    repository, app = Repository(tmp_path / "repo"), f"disk-{uuid.uuid4().hex[:8]}"
    one = Desk(server, sandbox, namespace, repository, tmp_path, app)
    head = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: edited, namespace: {namespace}}}\n"
    # Long enough that its evidence does not fit into what a few free blocks hold.
    ballast = f"data: {{k: git, ballast: {'x' * 30_000}}}\n"
    repository.commit({"app/one.yaml": f"{head}{ballast}"})
    done = subprocess.run(
        [sys.executable, "-m", "opslib", "apply", "--yes", *one.words],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "KUBECONFIG": sandboxes.environment(sandbox.name)["KUBECONFIG"]},
    )
    assert done.returncode == 0, done.stderr
    server.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/configmaps/edited",
        query={"fieldManager": "kubectl-edit"},
        body={"data": {"k": "by hand"}},
        content_type="application/merge-patch+json",
    )
    return one


@pytest.mark.parametrize("left", [0, 4, 8])
def test_no_evidence_no_write(desk: Desk, left: int) -> None:
    """Without room for the evidence the edit stays as it is, and the reason is told."""
    before = desk.writes()
    ended = desk.apply(full="OPSLIB_STATE", left=left)
    assert ended.code == 1, ended
    assert "evidence" in ended.told()
    assert desk.data() == "by hand"
    assert desk.writes() == before
    OUTCOMES["evidence: refused, nothing written"] += 1


def test_with_room_it_goes_on(desk: Desk) -> None:
    """The same disk with room for the evidence is no obstacle."""
    assert desk.apply(full="OPSLIB_STATE", left=200).code == 0
    assert desk.data() == "git"


def test_no_key_for_masking_no_plan(desk: Desk) -> None:
    """Without room for the key that masks Secrets nothing is planned, shown or written."""
    head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    desk.repository.commit({"app/two.yaml": f"{head}stringData: {{p: open-sesame}}\n"})
    before = desk.writes()
    ended = desk.apply(full="OPSLIB_STATE", left=0)
    assert ended.code != 0
    ended.told()
    assert "open-sesame" not in ended.out + ended.err
    assert desk.writes() == before
    OUTCOMES["key for masking: refused, nothing written"] += 1


@pytest.mark.parametrize("left", [0, 16])
def test_no_room_for_the_mirror(desk: Desk, left: int) -> None:
    """A source that cannot be fetched whole changes nothing, and says why."""
    before = desk.writes()
    ended = desk.apply(full="OPSLIB_CACHE", left=left)
    assert ended.code != 0
    ended.told()
    assert desk.writes() == before
    OUTCOMES["mirror: refused, nothing written"] += 1


def test_a_mirror_that_fills_up_keeps_what_it_had(desk: Desk, tmp_path: Path) -> None:
    """A fetch that finds no room leaves the old mirror whole; with room it goes on."""
    cache = tmp_path / "cache"
    env = {"OPSLIB_CACHE": str(cache)}
    kubeconfig = {"KUBECONFIG": sandboxes.environment(desk.sandbox.name)["KUBECONFIG"]}
    words = [sys.executable, "-m", "opslib", "plan", "--json", *desk.words]

    def plan() -> Any:
        done = subprocess.run(
            words, capture_output=True, check=True, env={**os.environ, **env, **kubeconfig}
        )
        return json.loads(done.stdout)

    assert plan()["counts"]["update"] == 1
    noise = os.urandom(200_000).hex()
    desk.repository.commit({"app/noise.txt": noise})
    ended = desk.opslib("plan", *desk.words, full="OPSLIB_CACHE", left=64, seed=cache)
    assert ended.code != 0
    ended.told()
    assert plan()["counts"]["update"] == 1
    OUTCOMES["fetch into a full mirror: refused"] += 1


@pytest.mark.parametrize("full", ["OPSLIB_STATE", "OPSLIB_CACHE"])
def test_a_loop_outlives_a_full_disk(desk: Desk, full: str) -> None:
    """A pass that finds no room is an error that the loop reports; it writes no object."""
    before = desk.writes()
    ended = desk.opslib("watch", "--once", *desk.words, full=full, left=0)
    assert ended.code == 1, ended
    assert "Traceback" not in ended.err
    assert "o space left" in ended.err
    assert desk.writes() == before
    status = desk.server.get(f"/api/v1/namespaces/opslib-system/configmaps/status-{desk.app}")
    assert "o space left" in json.dumps(status["data"])
    OUTCOMES["loop: reported, nothing written"] += 1


@pytest.mark.parametrize("left", [0, 24, 120])
def test_no_room_for_the_record(desk: Desk, left: int) -> None:
    """A run that cannot begin its record does nothing; one that cannot end it is no success."""
    before = desk.writes()
    given = {
        "repo": str(desk.repository.folder),
        "path": "app",
        "app": desk.app,
        "mode": "apply",
        "in_advance": "true",
    }
    words = [word for name, value in given.items() for word in ("-p", name, value)]
    ended = desk.opslib("run", "reconcile", *words, "--out", "FULL", full="", left=left)
    assert ended.code != 0, ended
    assert "the record cannot be written" in ended.told()
    assert "ok" not in ended.out.split()
    if left < 100:
        assert desk.writes() == before
    OUTCOMES["outputs: ended, not as a success"] += 1


def test_the_full_disks_are_counted() -> None:
    """Every full disk ended in a refusal that was told."""
    print(f"{OUTCOMES.total()} full disks: {dict(OUTCOMES)}")
    assert OUTCOMES.total() >= 12
