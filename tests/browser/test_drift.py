"""A person at a drift review in JupyterLab: find, understand, decide by keys, apply, verify."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from runbook.conftest import wait_for

from opslib.core.clock import now
from opslib.core.model import ResourceKey
from opslib.drift.model import Difference, Drift, Plane
from opslib.kube.client import Cluster
from opslib.runbook.verify import verify
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.binaries import own_kubectl
from opslib.sandbox.cluster import Status

from .conftest import Lab
from .test_gate import _cell, _git, _open, _run, _shot, _type

pytestmark = pytest.mark.timeout(900)  # several times what it takes at rest

DAY = str(now().date() + timedelta(days=30))
FORM, NEXT, LAST = "desk.form(answers)", "carry.prepare(", "runbook.record("


@dataclass(frozen=True)
class Night:
    """A repository of six settings that was applied, and what bob did to four of them."""

    page: Any
    lab: Lab
    server: Cluster
    namespace: str
    repo: Path
    app: str

    def value(self, name: str) -> dict[str, Any] | None:
        """Return a setting as it is in the cluster."""
        return self.server.find(f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")

    def id(self, name: str, path: str, difference: Difference = Difference.CHANGED) -> str:
        """Return the id of a difference as the page shows it."""
        key = ResourceKey("", "ConfigMap", self.namespace, name)
        return Drift(Plane.OBJECTS, difference, key, path).id[:8]

    def git(self, *words: str) -> str:
        """Return what git says of the repository."""
        words = ("git", "-C", str(self.repo), *words)
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _bob(kubeconfig: str, namespace: str) -> None:
    """Change four settings as a person does who has a terminal."""
    who = ["--as=bob@example.com", "--as-group=system:masters", "-n", namespace]
    kubectl = [str(own_kubectl()), "--kubeconfig", kubeconfig, *who]
    for words in (
        ["patch", "configmap", "c0", "--type=merge", "-p", '{"data":{"level":"hot"}}'],
        ["patch", "configmap", "c1", "--type=merge", "-p", '{"data":{"level":"right"}}'],
        ["label", "configmap", "c2", "team=night"],
        ["delete", "configmap", "c3"],
    ):
        subprocess.run([*kubectl, *words], check=True, capture_output=True, timeout=60)


@pytest.fixture
def settings(namespace: str, tmp_path: Path) -> Path:
    """Return a repository of six settings in a namespace; its folder has the namespace's name."""
    repo = tmp_path / namespace
    repo.mkdir()
    for number in range(6):
        (repo / f"c{number}.yaml").write_text(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{number}\n"
            f"  namespace: {namespace}\ndata:\n  # as agreed\n  level: low-{number}\n"
        )
    for words in (
        ("init", "--quiet"),
        ("add", "."),
        ("commit", "--quiet", "-m", "six settings"),
        ("config", "user.name", "Ada"),
        ("config", "user.email", "ada@example.com"),
    ):
        _git(repo, *words)
    return repo


@pytest.fixture
def night(
    chromium: Any, lab: Lab, sandbox: Status, server: Cluster, settings: Path
) -> Iterator[Night]:
    """Apply the settings, let bob change four of them, and open the review from the index."""
    repo, namespace = settings, settings.name
    app, env = f"night-{namespace[2:8]}", sandboxes.environment(sandbox.name)
    words = [sys.executable, "-m", "opslib", "apply", "--yes", "--repo", str(repo), "--app", app]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, **env}, timeout=120)
    _bob(env["KUBECONFIG"], namespace)
    page = _open(chromium, lab, "drift-review")
    yield Night(page, lab, server, namespace, repo, app)
    page.close()


def test_a_review_at_night(night: Night, chromium: Any) -> None:
    """Three differences get three answers by keys alone; all is done, verified and recorded."""
    _find(night)
    _decide(night)
    _apply(night)
    _recorded(night, chromium)


def _find(night: Night) -> None:
    page = night.page
    _run(page, "from typing import Literal", alone=True)
    _run(page, "forms.parameters", alone=True)
    form = _cell(page, "forms.parameters")
    form.get_by_label("repo", exact=True).wait_for(timeout=120_000)
    _type(page, "repo", str(night.repo))
    _type(page, "app", night.app)
    form.get_by_label("mode", exact=True).select_option("apply")
    _run(page, "runbook.load")
    first = _cell(page, "drift.summary(")
    first.get_by_text("4 differences in 4 objects, 4 by people").wait_for(timeout=120_000)
    table = _cell(page, "drift.table(")
    table.get_by_text("bob@example.com").first.wait_for(timeout=120_000)
    assert _cell(page, "driftplots.timeline(").locator("svg circle").count() == 5
    diff = _cell(page, "drift.diffs(").locator("table.yaml")
    assert "level: hot" in " ".join(diff.all_inner_texts())
    _shot(page, "8-drift-found", first)
    _shot(page, "9-drift-diff", _cell(page, "drift.diffs("))


def _decide(night: Night) -> None:
    """Answer by keys: a letter chooses in a list, Tab goes to the day and the reason."""
    page = night.page
    form = _cell(page, FORM)
    keys = page.keyboard
    cells = page.locator(".jp-Cell").count()
    for name, path, letter in (("c0", "data.level", "r"), ("c1", "data.level", "a")):
        form.get_by_label(f"Answer {night.id(name, path)}").focus(timeout=120_000)
        keys.press(letter)
    form.get_by_text("1 to revert, 1 to adopt, 2 open").wait_for(timeout=120_000)
    form.get_by_label(f"Answer {night.id('c2', 'metadata.labels.team', Difference.ADDED)}").focus()
    keys.press("i")
    form.get_by_text("Not yet: an ignore needs a reason").wait_for(timeout=120_000)
    for text in (DAY, "the night team's own"):
        keys.press("Tab")
        keys.type(text)
    keys.press("Enter")
    form.get_by_text("1 to revert, 1 to adopt, 1 to ignore, 1 open").wait_for(timeout=120_000)
    assert page.locator(".jp-Cell").count() == cells, "a key was a command to the notebook"
    _shot(page, "10-drift-answers", form)


def _apply(night: Night) -> None:
    page = night.page
    _run(page, NEXT)
    gate = _cell(page, "runbook.gate(")
    button = gate.get_by_role("button", name="Approve this plan")
    button.wait_for(timeout=120_000)
    _cell(page, "carry.effects(").get_by_text("not approved").first.wait_for(timeout=120_000)
    value = night.value("c0")
    assert value
    assert value["data"] == {"level": "hot"}
    _shot(page, "11-drift-gate", gate)
    button.focus()
    page.keyboard.press("Space")
    gate.get_by_text("Now run the next cell").wait_for(timeout=120_000)
    _run(page, "carry.effects(")
    _cell(page, LAST).get_by_text("The record of this session").wait_for(timeout=120_000)
    again = _cell(page, "carry.verify(")
    again.get_by_text("1 of 1 reverted differences are gone").wait_for(timeout=120_000)
    _shot(page, "12-drift-done", _cell(page, "carry.effects("))


def _recorded(night: Night, chromium: Any) -> None:
    """The cluster, Git and the record agree; the page has it all without scripts, in the dark."""
    reverted, adopted = night.value("c0"), night.value("c1")
    assert reverted
    assert adopted
    assert (reverted["data"], adopted["data"]) == ({"level": "low-0"}, {"level": "right"})
    assert night.value("c3") is None
    branches = night.git("branch", "--format", "%(refname:short)").split()
    adopt, ignore = (next(b for b in branches if f"/{w}-" in b) for w in ("adopt", "ignore"))
    assert "+  level: right" in night.git("show", adopt)
    assert f"{DAY}" in night.git("show", f"{ignore}:opslib.yaml")
    folder = wait_for(lambda: _folder(night.lab), "the record")
    result = json.loads((folder / "result.json").read_text())
    report = result["report"]
    assert result["outcome"] == "ok", result["error"]
    assert sorted(one["disposition"] for one in report["decisions"]) == [
        "adopt",
        "ignore",
        "revert",
    ]
    assert report["verified"]["ok"]
    assert result["approval"]["how"] == "form"
    assert verify(folder).ok
    kept = json.loads((folder / "review.json").read_text())
    assert len(kept["drifts"]) == 4
    context = chromium.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.goto((folder / "record.html").as_uri())
    text = page.locator("main").inner_text()
    for words in ("bob@example.com", "the night team's own", "reverted differences are gone"):
        assert words in text
    page.screenshot(path=str(night.lab.root / "drift-record.png"), full_page=True)
    context.close()
    for one in folder.parent.glob("drift-review-*"):
        shutil.rmtree(one)  # other tests look for the newest record, which is to be theirs
    print(
        f"{len(kept['drifts'])} found, {len(report['decisions'])} decided; {len(text)} characters"
    )


def _folder(lab: Lab) -> Path | None:
    """Return the folder of the record with answers: the first run through left one without."""
    for manifest in (lab.root / "outputs").glob("*/drift-review-*/manifest.json"):
        if json.loads((manifest.parent / "result.json").read_text())["report"]["decisions"]:
            return manifest.parent
    return None
