"""A person at the gate, in JupyterLab: form, plan, approval, progress, result, record."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from runbook.conftest import wait_for

from opslib import runbook
from opslib.kube.client import Cluster
from opslib.runbook import approvals
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .conftest import PROJECT, Lab

pytestmark = pytest.mark.timeout(900)  # several times what it takes at rest

SHOTS = PROJECT / "outputs" / "browser"
OWN = {"run_id", "started", "ended", "seconds", "approval"}
"""What differs between two runs of the same: ids, times, and who approved."""


def _open(chromium: Any, lab: Lab, name: str) -> Any:
    """Open a runbook by its link in the index, and wait until its kernel answers."""
    page = chromium.new_page(viewport={"width": 1500, "height": 1250})
    page.goto(lab.open("notebooks/index.ipynb"))
    page.locator(".jp-RenderedMarkdown a", has_text=name).first.click(timeout=120_000)
    _panel(page).locator(".jp-CodeCell", has_text="forms.parameters").wait_for(timeout=120_000)
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')", timeout=120_000)
    return page


def _panel(page: Any) -> Any:
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def _cell(page: Any, source: str) -> Any:
    cells = _panel(page).locator(".jp-CodeCell")
    return cells.filter(has=page.locator(".jp-InputArea", has_text=source)).first


def _run(page: Any, source: str, *, alone: bool = False) -> None:
    """Select the cell with this source, and run it, with all below it or alone."""
    _cell(page, source).locator(".jp-InputPrompt").first.click()
    if alone:
        page.keyboard.press("Control+Enter")
        return
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run Selected Cell and All Below", exact=True).click()


def _shot(page: Any, name: str, cell: Any = None) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    if cell is not None:
        cell.scroll_into_view_if_needed()
    page.screenshot(path=str(SHOTS / f"{name}.png"))


def _type(page: Any, name: str, value: str) -> None:
    field = _cell(page, "forms.parameters").get_by_label(name, exact=True)
    field.fill(value)
    field.press("Enter")


def _git(repo: Path, *words: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(repo), *who, *words], check=True, capture_output=True)


def _repository(folder: Path, namespace: str) -> Path:
    folder.mkdir()
    for number in range(6):
        (folder / f"c{number}.yaml").write_text(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{number}\n"
            f"  namespace: {namespace}\ndata: {{n: '{number}'}}\n"
        )
    _git(folder, "init", "--quiet")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "-m", "six settings")
    return folder


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in result.items() if name not in OWN}
    applied = {k: v for k, v in kept["report"]["applied"].items() if k not in OWN | {"evidence"}}
    return {**kept, "done": applied, "report": {**kept["report"], "applied": applied}}


@dataclass(frozen=True)
class Desk:
    """A person with JupyterLab, a repository of six settings, and a namespace."""

    page: Any
    lab: Lab
    server: Cluster
    namespace: str
    repo: Path
    app: str

    def made(self) -> set[str]:
        """Return the names of the settings that are in the cluster."""
        items, _ = self.server.list(f"/api/v1/namespaces/{self.namespace}/configmaps")
        return {one["metadata"]["name"] for one in items} - {"kube-root-ca.crt"}

    def forget(self) -> None:
        """Take the cluster back to before the app: its objects, and what opslib keeps of it."""
        for place in (self.namespace, "opslib-system"):
            path = f"/api/v1/namespaces/{place}/configmaps"
            for one in self.server.list(path)[0]:
                name = one["metadata"]["name"]
                if (place == self.namespace and name.startswith("c")) or self.app in name:
                    self.server.request("DELETE", f"{path}/{name}")

    def approved(self) -> None:
        """Press the button, run on, and wait for the record."""
        gate = _cell(self.page, "runbook.gate(")
        gate.get_by_role("button", name="Approve this plan").click()
        gate.get_by_text("Now run the next cell").wait_for(timeout=120_000)
        _run(self.page, "runbook.once")
        last = _cell(self.page, "runbook.record(")
        last.get_by_text("The record of this session").wait_for(timeout=120_000)


@pytest.fixture
def desk(
    chromium: Any, lab: Lab, server: Cluster, namespace: str, tmp_path: Path
) -> Iterator[Desk]:
    """Return the person's desk, with reconcile opened from the index."""
    repo = _repository(tmp_path / "settings", namespace)
    page = _open(chromium, lab, "reconcile")
    yield Desk(page, lab, server, namespace, repo, f"gate-{namespace[2:8]}")
    page.close()


def test_a_person_at_the_gate(desk: Desk, sandbox: Status, tmp_path: Path) -> None:
    """From the index through form, plan and approval to the record; then what deletes."""
    _fill_in(desk)
    _nothing_without_an_approval(desk)
    desk.approved()
    assert desk.made() == {f"c{n}" for n in range(6)}
    _shot(desk.page, "4-applied", _cell(desk.page, "runbook.once"))
    record = _record(desk.lab)
    assert record["outcome"] == "ok", record["error"]
    assert (record["approval"]["status"], record["approval"]["how"]) == ("approved", "form")
    _again_asks_first(desk)
    _headless_is_equal(desk, record, sandboxes.environment(sandbox.name), tmp_path)
    _a_delete_needs_the_name(desk)


def _fill_in(desk: Desk) -> None:
    page = desk.page
    _run(page, "from typing import Literal", alone=True)
    _run(page, "forms.parameters", alone=True)
    form = _cell(page, "forms.parameters")
    form.get_by_label("repo", exact=True).wait_for(timeout=120_000)
    _type(page, "repo", str(desk.repo))
    _type(page, "app", desk.app)
    form.get_by_label("mode", exact=True).select_option("apply")
    form.get_by_label("in_advance", exact=True).check()
    form.get_by_label("in_advance", exact=True).uncheck()
    _shot(page, "1-form", form)


def _nothing_without_an_approval(desk: Desk) -> None:
    page = desk.page
    _run(page, "runbook.load")
    gate = _cell(page, "runbook.gate(")
    gate.get_by_role("button", name="Approve this plan").wait_for(timeout=120_000)
    _cell(page, "runbook.once").get_by_text("not approved").first.wait_for(timeout=120_000)
    assert not desk.made()
    _shot(page, "2-plan", _cell(page, "plan_table(plan)"))
    _shot(page, "3-gate", gate)


def _again_asks_first(desk: Desk) -> None:
    """Running the applied step again asks first, and keeps its result."""
    apply = _cell(desk.page, "runbook.once")
    _run(desk.page, "runbook.once", alone=True)
    question = apply.locator(".jp-Stdin-input")
    question.wait_for(timeout=120_000)
    assert "ran already" in apply.inner_text()
    _shot(desk.page, "5-asks-first", apply)
    question.fill("no")
    question.press("Enter")
    question.wait_for(state="detached", timeout=120_000)


def _headless_is_equal(desk: Desk, record: dict[str, Any], env: dict[str, str], out: Path) -> None:
    """Headless with the same input: the same result, but for times, ids and who approved."""
    desk.forget()
    given = {"repo": str(desk.repo), "app": desk.app, "mode": "apply"}
    env = {**env, **approvals.environment(record["approval"]["hash"])}
    notebook = desk.lab.root / "notebooks" / "reconcile.ipynb"
    headless = runbook.run(notebook, given, out=out / "out", env=env)
    assert headless.outcome == "ok", headless.result["error"]
    assert headless.result["approval"]["hash"] == record["approval"]["hash"]
    assert _comparable(headless.result) == _comparable(record)
    print(f"interactive and headless agree in {len(_comparable(record))} keys of result.json")


def _a_delete_needs_the_name(desk: Desk) -> None:
    _git(desk.repo, "rm", "--quiet", "c5.yaml")
    _git(desk.repo, "commit", "--quiet", "-m", "five settings")
    _run(desk.page, "runbook.load")
    gate = _cell(desk.page, "runbook.gate(")
    typed = gate.get_by_label("Target", exact=True)
    typed.wait_for(timeout=120_000)
    gate.get_by_role("button", name="Approve this plan").click()
    gate.get_by_text("type the target's name").wait_for(timeout=120_000)
    _shot(desk.page, "6-destructive", gate)
    assert "c5" in desk.made()
    typed.fill(desk.app)
    typed.press("Tab")
    # The last cell still shows the record of before: it has to be a new one.
    before = len(list((desk.lab.root / "outputs").glob("*/*/manifest.json")))
    desk.approved()
    wait_for(lambda: "c5" not in desk.made(), "the delete", 60)
    records = desk.lab.root / "outputs"
    wait_for(lambda: len(list(records.glob("*/*/manifest.json"))) > before, "the record", 60)
    assert desk.made() == {f"c{n}" for n in range(5)}


def test_a_wrong_value_is_told_at_its_field(chromium: Any, lab: Lab) -> None:
    """The form says what it expects, and the next cell refuses the value by its name."""
    page = _open(chromium, lab, "rollout")
    _run(page, "target: str", alone=True)
    _run(page, "forms.parameters", alone=True)
    form = _cell(page, "forms.parameters")
    form.get_by_label("tail", exact=True).wait_for(timeout=120_000)
    _type(page, "tail", "many")
    form.get_by_text("it is not a whole number").wait_for(timeout=120_000)
    _run(page, "runbook.load", alone=True)
    load = _cell(page, "runbook.load")
    load.get_by_text("parameter tail cannot be 'many'").first.wait_for(timeout=120_000)
    _shot(page, "7-wrong", form)
    _type(page, "tail", "7")
    _run(page, "runbook.load", alone=True)
    load.locator("td", has_text="7").first.wait_for(timeout=120_000)
    page.close()


def _record(lab: Lab) -> dict[str, Any]:
    """Return result.json of the newest record that this Lab's kernels left."""

    def newest() -> dict[str, Any] | None:
        every = (lab.root / "outputs").glob("*/*/manifest.json")
        found = sorted(every, key=lambda one: one.parent.name.rsplit("-", 2)[-2:])
        return json.loads((found[-1].parent / "result.json").read_text()) if found else None

    return dict(wait_for(newest, "the record"))
