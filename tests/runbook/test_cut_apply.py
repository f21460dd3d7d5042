"""The shipped runbook reconcile, killed inside its apply: what remains is done under the approval.

A real API server, a real kernel, kill -9 at requests of an apply with updates, additions, a
replacement and deletes. Each resumed run finds a smaller plan than the approved one.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from reconcile.loops import Repository

from opslib import runbook
from opslib.kube.client import Cluster
from opslib.reconcile.app import App
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.session import Session, open_session
from opslib.reconcile.trials import read_trials
from opslib.runbook.verify import verify
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.source.mirror import Source

from .audited import entries
from .conftest import HERE, Zygote, read_json

pytestmark = pytest.mark.timeout(600)  # several times what it takes at rest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "reconcile.ipynb"
SCHEMA = Path(runbook.__file__).parent / "schemas" / "result.json"


def config(name: str, value: str, wave: int = 0, *, fixed: bool = False) -> str:
    """Return a ConfigMap as YAML; a fixed one can only be deleted and made anew."""
    notes = f'opslib.dev/wave: "{wave}"' + (", opslib.dev/replace: enabled" if fixed else "")
    head = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{notes}}}}}\n"
    )
    return f"{head}data: {{k: '{value}'}}\n" + ("immutable: true\n" if fixed else "")


OLD = {
    **{f"a{n}": config(f"a{n}", "1") for n in range(6)},
    **{f"b{n}": config(f"b{n}", "1", 1) for n in range(6)},
    **{f"same{n}": config(f"same{n}", "1") for n in range(4)},
    **{f"old{n}": config(f"old{n}", "1") for n in range(3)},
    "fixed": config("fixed", "1", 3, fixed=True),
}
NEW = {
    **{f"a{n}": config(f"a{n}", "2") for n in range(6)},
    **{f"b{n}": config(f"b{n}", "2", 1) for n in range(6)},
    **{f"same{n}": config(f"same{n}", "1") for n in range(4)},
    **{f"new{n}": config(f"new{n}", "1", 2) for n in range(5)},
    "fixed": config("fixed", "2", 3, fixed=True),
}
WRITES = {
    **{f"{letter}{n}": ["patch"] for letter in "ab" for n in range(6)},
    **{f"new{n}": ["patch"] for n in range(5)},
    **{f"old{n}": ["delete"] for n in range(3)},
    "fixed": ["delete", "patch"],
}
"""What reaches the server of each object, once."""


def cut(moment: str, number: int, what: str, whom: str = "both") -> dict[str, Any]:
    """Return where to kill, see cut/sitecustomize.py."""
    return {"moment": moment, "number": number, "what": what, "whom": whom}


CUTS = (
    cut("after", 3, "PATCH .*/a[0-9]$"),
    cut("before", 2, "PATCH .*/(b|new)[0-9]$"),
    cut("after", 1, "DELETE .*/fixed$"),
    cut("after", 2, "DELETE .*/old[0-9]$"),
    cut("after", 1, "PUT .*/inventory-", "runner"),
)
"""Inside the updates, between them, inside the replacement, inside the prune, at the very end."""


@dataclass
class Stage:
    """A repository with two commits, the first applied; runs of the second."""

    server: Cluster
    sandbox: Status
    namespace: str
    repository: Repository
    zygote: Zygote
    out: Path
    app: App = field(default_factory=lambda: App(f"r{uuid.uuid4().hex[:8]}"))

    def __post_init__(self) -> None:
        self.kubeconfig = sandboxes.environment(self.sandbox.name)["KUBECONFIG"]
        self.commit(OLD)
        session = self.session()
        planned = session.plan(session.fetch())
        with session.holding() as held:
            assert session.apply(planned, go_on=held).ok
        self.head = self.commit(NEW)
        self.planned = self.session().plan(session.fetch()).prepared.plan
        self.since = datetime.now(UTC)

    def commit(self, objects: dict[str, str]) -> str:
        text = "---\n".join(
            one.replace("metadata: {", f"metadata: {{namespace: {self.namespace}, ")
            for one in objects.values()
        )
        return self.repository.commit({"app/all.yaml": text})

    def session(self) -> Session:
        source = Source(f"file://{self.repository.folder}", "main", "app")
        return open_session(self.server, source, app=self.app.name)

    def run(self, where: dict[str, Any] | None, resume: Path | None = None) -> int:
        """Run the shipped notebook in a process of its own, killed where it is said."""
        given = {
            "repo": f"file://{self.repository.folder}",
            "path": "app",
            "app": self.app.name,
            "mode": "apply",
            "approve": self.planned.hash,
            "kubeconfig": self.kubeconfig,
        }
        env = {"PYTHONPATH": str(HERE / "cut"), "CUT": json.dumps(where)} if where else {}
        told = {"env": env, **({"resume": str(resume)} if resume else {"parameters": given})}
        fork = self.zygote.start(NOTEBOOK, self.out, told)
        code = fork.wait()
        self.said = fork.output()
        return code

    def edit(self, name: str, value: str) -> None:
        """Change an object as somebody else."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{name}"
        with sandboxes.api(self.sandbox.name) as api:
            body = {"data": {"k": value}}
            api.json("PATCH", path, body, content_type="application/merge-patch+json")

    def newest(self) -> Path:
        return max(one.parent for one in self.out.glob("*/*/events.jsonl"))

    def written(self) -> dict[str, list[str]]:
        """Return what changed each object since the first kill, as the server heard it."""
        found: dict[str, list[str]] = {}
        for entry in entries(self.sandbox.audit_log, self.since):
            about = entry.get("objectRef") or {}
            dry = "dryRun" in entry["requestURI"]
            body = entry.get("requestObject")
            dry = dry or (isinstance(body, dict) and "dryRun" in body)
            changes = entry["verb"] in {"create", "update", "patch", "delete"}
            done = changes and entry["responseStatus"]["code"] < 300
            if about.get("namespace") == self.namespace and done and not dry:
                found.setdefault(about["name"], []).append(entry["verb"])
        return found


@pytest.fixture
def stage(  # noqa: PLR0917  # fixtures, given by name
    server: Cluster,
    sandbox: Status,
    namespace: str,
    zygote: Zygote,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    """Return a stage; afterwards the app's bookkeeping is cleared away."""
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPSLIB_APPROVERS", raising=False)
    one = Stage(server, sandbox, namespace, Repository(tmp_path / "repo"), zygote, tmp_path / "out")
    yield one
    root = "/api/v1/namespaces/opslib-system/configmaps"
    for name in (one.app.inventory, one.app.trials):
        server.request("DELETE", f"{root}/{name}")


def test_what_remains_of_an_approved_apply_is_done_once(stage: Stage) -> None:
    """Killed again and again, each write of the plan happens once, and the last run ends ok.

    What somebody changed between kill and resumption was not approved: exit 2, and no write.
    """
    begun = time.monotonic()
    assert stage.run(CUTS[0]) == -9, stage.said
    _addition_is_refused(stage)
    for where in (*CUTS[1:], None):
        parent = stage.newest()
        code = stage.run(where, parent)
        assert code == (-9 if where else 0), stage.said
        newest = stage.newest()
        shown = map(json.loads, (newest / "events.jsonl").read_text().splitlines())
        (approval,) = [one["approval"] for one in shown if one["event"] == "gate"]
        assert approval["remains_of"] == stage.planned.hash != approval["hash"]
        assert approval["carried_from"] == read_json(parent / "result.json")["run_id"]
    made = {name: sorted(verbs) for name, verbs in stage.written().items()}
    print(
        f"{len(CUTS)} kills of one apply, {sum(map(len, made.values()))} writes of"
        f" {len(made)} objects, none twice, in {time.monotonic() - begun:.0f} s"
    )
    assert made == WRITES
    _bookkeeping_is_right(stage)
    _record_says_so(stage.newest(), parent)


def _addition_is_refused(stage: Stage) -> None:
    stage.edit("b5", "by hand")
    before = stage.written()
    assert stage.run(None, stage.newest()) == 2, stage.said
    error = read_json(stage.newest() / "result.json")["error"]
    assert "the plan changed" in error["message"]
    assert stage.planned.hash in error["message"]
    assert stage.written() == before
    assert read_inventory(stage.server, stage.app).commit != stage.head
    stage.edit("b5", "1")


def _bookkeeping_is_right(stage: Stage) -> None:
    inventory = read_inventory(stage.server, stage.app)
    assert {key.name for key in inventory.objects} == set(NEW)
    assert inventory.commit == stage.head
    trials = read_trials(stage.server, stage.app)
    assert (trials.trial, trials.quarantines, trials.created) == (None, (), frozenset())
    session = stage.session()
    assert session.plan(session.fetch()).prepared.plan.empty


def _record_says_so(folder: Path, parent: Path) -> None:
    verdict = verify(folder)
    assert verdict.state == "intact", str(verdict)
    result = read_json(folder / "result.json")
    jsonschema.validate(result, read_json(SCHEMA))
    assert result["outcome"] == "ok"
    assert result["parent"]["folder"] == parent.name
    approval = result["approval"]
    text = f"is what remains of plan {approval['remains_of'][:12]}, approved by {approval['by']}"
    for name in ("record.ipynb", "record.html"):
        assert text in (folder / name).read_text()
    assert result["done"]["ok"]
