"""The index of records in JupyterLab: colours, links that open, fields that filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook.many import multiply, one_real

from .conftest import Lab
from .test_lab import _errors, _run_all


def test_records_are_found_and_opened(chromium: Any, lab: Lab, tmp_path: Path) -> None:
    """A person filters the newest records by an outcome and opens one by its name."""
    multiply(one_real(tmp_path), lab.root / "outputs", 12)
    count = len([*(lab.root / "outputs").glob("*/*/record.html")])  # other tests leave some, too
    page = chromium.new_page(viewport={"width": 1400, "height": 2400})
    notebook = _run_all(page, lab, "index")
    assert _errors(notebook) == []
    bundle = notebook["cells"][-1]["outputs"][-1]["data"]
    # A reader without widgets has the table beside them.
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)
    assert "".join(bundle["text/html"]).count("record.html") == count >= 12
    table = page.locator(".widget-vbox table.dataframe")
    table.wait_for(timeout=120_000)
    assert table.locator("tbody tr").count() == count
    page.get_by_label("outcome").fill("failed")
    page.get_by_label("outcome").press("Enter")
    table.locator("tbody tr:nth-child(2)").wait_for(state="detached", timeout=120_000)
    assert "registry refused" in table.inner_text()
    page.screenshot(path=str(lab.root / "index.png"))
    table.locator("a").first.click()
    page.locator(".jp-HTMLViewer iframe, .jp-HTMLViewer").first.wait_for(timeout=120_000)
    assert page.url.endswith("/record.html")
    page.close()
    print(f"{count} records, 1 found; picture: {lab.root / 'index.png'}")
