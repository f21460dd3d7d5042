"""The runbooks in JupyterLab: opened, run from top to bottom, read with a person's eyes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from .conftest import Lab


def _run_all(page: Any, lab: Lab, name: str) -> dict[str, Any]:
    """Open a notebook, run all its cells, save it, and return it as it is on disk."""
    page.goto(lab.open(f"notebooks/{name}.ipynb"))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    # Before the kernel is there, "run" asks which one to take.
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')", timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    path = lab.root / "notebooks" / f"{name}.ipynb"
    until = time.monotonic() + 120
    while time.monotonic() < until:
        # Lab draws only the cells in view, so the file says how far the run is.
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        notebook = dict(json.loads(path.read_text()))
        if _errors(notebook) or all(_done(cell) for cell in notebook["cells"]):
            return notebook
    page.screenshot(path=str(lab.root / f"{name}.png"))
    raise AssertionError(f"{name} did not end; see {lab.root / name}.png")


def _done(cell: dict[str, Any]) -> bool:
    return cell["cell_type"] != "code" or bool(cell["execution_count"])


def _errors(notebook: dict[str, Any]) -> list[Any]:
    return [
        output
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if output["output_type"] == "error"
    ]


def _set(lab: Lab, name: str, **values: str) -> None:
    """Edit the parameters cell as a person would before running."""
    path = lab.root / "notebooks" / f"{name}.ipynb"
    document = json.loads(path.read_text())
    (cell,) = [c for c in document["cells"] if "parameters" in c["metadata"].get("tags", ())]
    lines = []
    for line in cell["source"]:
        found = line.split(":")[0].split(" =")[0]
        lines.append(f"{found} = {values[found]!r}\n" if found in values else line)
    cell["source"] = lines
    path.write_text(json.dumps(document))


def test_reconcile_in_jupyterlab(chromium: Any, lab: Lab, platform: Path) -> None:
    """The plan of the example, run by a person: every cell ends, the plot is drawn."""
    _set(lab, "reconcile", repo=str(platform), path="production")
    page = chromium.new_page(viewport={"width": 1400, "height": 3000})
    notebook = _run_all(page, lab, "reconcile")
    assert _errors(notebook) == []
    page.wait_for_selector(".js-plotly-plot .barlayer", timeout=120_000)
    assert "Only planned, nothing is written" in page.content()
    page.close()


def test_the_index_lists_the_runbooks(chromium: Any, lab: Lab) -> None:
    """The first page shows what there is and with which parameters."""
    page = chromium.new_page(viewport={"width": 1400, "height": 3000})
    notebook = _run_all(page, lab, "index")
    assert _errors(notebook) == []
    text = json.dumps(notebook)
    for word in ("reconcile", "rollout", "kubeconfig"):
        assert word in text
    page.close()
