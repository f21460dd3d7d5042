"""A person at the gate, in JupyterLab: form, plan, approval, progress, result, record."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.kube.client import Cluster
from opslib.runbook import approvals
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .conftest import PROJECT, Lab, wait_for

SHOTS = PROJECT / "outputs" / "browser"
OWN = {"run_id", "started", "ended", "seconds", "approval"}
"""What differs between two runs of the same: ids, times, and who approved."""


def _open(chromium: Any, lab: Lab, name: str) -> Any:
    """Open a runbook by its link in the index, and wait until its kernel answers."""
    page = chromium.new_page(viewport={"width": 1500, "height": 1250})
    page.goto(lab.open("notebooks/index.ipynb"))
    page.locator(".jp-RenderedMarkdown a", has_text=name).first.click(timeout=60_000)
    _panel(page).locator(".jp-CodeCell", has_text="forms.parameters").wait_for(timeout=60_000)
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')", timeout=60_000)
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


def _forget(server: Cluster, namespace: str, app: str) -> None:
    """Take the cluster back to before the app: its objects, and what opslib keeps of it."""
    for place in (namespace, "opslib-system"):
        path = f"/api/v1/namespaces/{place}/configmaps"
        for one in server.list(path)[0]:
            name = one["metadata"]["name"]
            if (place == namespace and name.startswith("c")) or app in name:
                server.request("DELETE", f"{path}/{name}")


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in result.items() if name not in OWN}
    applied = {k: v for k, v in kept["report"]["applied"].items() if k not in OWN | {"evidence"}}
    return {**kept, "report": {**kept["report"], "applied": applied}}


def test_a_person_at_the_gate(
    chromium: Any,
    lab: Lab,
    sandbox: Status,
    server: Cluster,
    namespace: str,
    tmp_path: Path,
) -> None:
    """From the index through form, plan and approval to the record; then what deletes."""
    repo = _repository(tmp_path / "settings", namespace)
    app = f"gate-{namespace[2:8]}"
    page = _open(chromium, lab, "reconcile")
    _run(page, "from typing import Literal", alone=True)
    _run(page, "forms.parameters", alone=True)
    form = _cell(page, "forms.parameters")
    form.get_by_label("repo", exact=True).wait_for(timeout=30_000)

    # What is wrong is told at its field, and refused by the next cell.
    _type(page, "repo", str(repo))
    _type(page, "app", app)
    form.get_by_label("mode", exact=True).select_option("apply")
    form.get_by_label("in_advance", exact=True).check()
    form.get_by_label("in_advance", exact=True).uncheck()
    _shot(page, "1-form", form)

    _run(page, "runbook.load")
    gate = _cell(page, "runbook.gate(")
    button = gate.get_by_role("button", name="Approve this plan")
    button.wait_for(timeout=60_000)
    apply = _cell(page, "runbook.once")
    apply.get_by_text("not approved").first.wait_for(timeout=60_000)
    assert not _made(server, namespace)
    _shot(page, "2-plan", _cell(page, "plan_table(plan)"))
    _shot(page, "3-gate", gate)

    button.click()
    gate.get_by_text("Now run the next cell").wait_for(timeout=30_000)
    _run(page, "runbook.once")
    last = _cell(page, "runbook.record(")
    last.get_by_text("The record of this session").wait_for(timeout=90_000)
    assert _made(server, namespace) == {f"c{n}" for n in range(6)}
    _shot(page, "4-applied", apply)
    record = _record(lab)
    assert record["outcome"] == "ok", record["error"]
    assert (record["approval"]["status"], record["approval"]["how"]) == ("approved", "form")

    # Running the applied step again asks first, and keeps its result.
    _run(page, "runbook.once", alone=True)
    question = apply.locator(".jp-Stdin-input")
    question.wait_for(timeout=30_000)
    assert "ran already" in apply.inner_text()
    _shot(page, "5-asks-first", apply)
    question.fill("no")
    question.press("Enter")
    question.wait_for(state="detached", timeout=30_000)

    # Headless with the same input: the same result, but for times, ids and who approved.
    _forget(server, namespace, app)
    given = {"repo": str(repo), "app": app, "mode": "apply"}
    env = {**sandboxes.environment(sandbox.name)}
    env |= approvals.environment(record["approval"]["hash"])
    headless = runbook.run(
        lab.root / "notebooks" / "reconcile.ipynb", given, out=tmp_path / "out", env=env
    )
    assert headless.outcome == "ok", headless.result["error"]
    assert _comparable(headless.result) == _comparable(record)
    print(f"equal in {len(_comparable(record))} keys of result.json")

    # A plan that deletes: only with the target's name.
    _git(repo, "rm", "--quiet", "c5.yaml")
    _git(repo, "commit", "--quiet", "-m", "five settings")
    _run(page, "runbook.load")
    typed = gate.get_by_label("Target", exact=True)
    typed.wait_for(timeout=60_000)
    button.click()
    gate.get_by_text("type the target's name").wait_for(timeout=30_000)
    _shot(page, "6-destructive", gate)
    assert "c5" in _made(server, namespace)
    typed.fill(app)
    typed.press("Tab")
    button.click()
    gate.get_by_text("Now run the next cell").wait_for(timeout=30_000)
    _run(page, "runbook.once")
    last.get_by_text("The record of this session").wait_for(timeout=90_000)
    assert _made(server, namespace) == {f"c{n}" for n in range(5)}
    page.close()


def test_a_wrong_value_is_told_at_its_field(chromium: Any, lab: Lab) -> None:
    """The form says what it expects, and the next cell refuses the value by its name."""
    page = _open(chromium, lab, "rollout")
    _run(page, "target: str", alone=True)
    _run(page, "forms.parameters", alone=True)
    form = _cell(page, "forms.parameters")
    form.get_by_label("tail", exact=True).wait_for(timeout=30_000)
    _type(page, "tail", "many")
    form.get_by_text("it is not a whole number").wait_for(timeout=30_000)
    _run(page, "runbook.load", alone=True)
    load = _cell(page, "runbook.load")
    load.get_by_text("parameter tail cannot be 'many'").first.wait_for(timeout=30_000)
    _shot(page, "7-wrong", form)
    _type(page, "tail", "7")
    _run(page, "runbook.load", alone=True)
    load.locator("td", has_text="7").first.wait_for(timeout=30_000)
    page.close()


def _made(server: Cluster, namespace: str) -> set[str]:
    items, _ = server.list(f"/api/v1/namespaces/{namespace}/configmaps")
    return {one["metadata"]["name"] for one in items} - {"kube-root-ca.crt"}


def _record(lab: Lab) -> dict[str, Any]:
    """Return result.json of the newest record that this Lab's kernels left."""

    def newest() -> dict[str, Any] | None:
        found = sorted((lab.root / "outputs").glob("*/*/manifest.json"))
        return json.loads((found[-1].parent / "result.json").read_text()) if found else None

    return dict(wait_for(newest, "the record"))
