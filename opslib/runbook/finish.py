"""The end of a run: the page, result.json, the manifest, and what vouches for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opslib.runbook.anchor import Anchoring, anchor
from opslib.runbook.current import SCHEMA_VERSION, Run
from opslib.runbook.folder import HTML, RECORD, RESULT, to_json
from opslib.runbook.outcome import Outcome, RunResult
from opslib.runbook.places import project_root
from opslib.runbook.redact import redacted_json

if TYPE_CHECKING:
    from opslib.runbook.html import Page


def finish(this: Run, html_assets: Callable[[], str] | None, anchoring: Anchoring) -> RunResult:
    """Write the rest of the record, the manifest and what vouches for it last."""
    result = json.loads(redacted_json(to_json(this.result())))
    around = this.surroundings
    this.folder.drop_payloads()
    page = _page(this, result, html_assets)
    this.folder.write(HTML, page.text, public=page.scripts)
    this.folder.write(RESULT, to_json(result))
    short = {"outcome": result["outcome"], "exit_code": result["exit_code"]}
    this.folder.event("run-end", **short, error=result["error"], seconds=result["seconds"])
    manifest = {
        "schema_version": SCHEMA_VERSION,
        **{key: result[key] for key in ("run_id", "runbook")},
        **short,
        **{key: result[key] for key in ("started", "ended", "parameters")},
        "revision": result["report"].get("revision"),
        "cluster": result["report"].get("cluster"),
        **around,
        "anchors": anchoring.planned,
    }
    head = this.folder.finish(manifest)
    anchor(this.folder, head, project_root(this.notebook), anchoring)
    where = this.folder.path
    return RunResult(
        run_id=this.run_id,
        runbook=this.notebook.stem,
        outcome=result["outcome"],
        exit_code=result["exit_code"],
        folder=where,
        record=where / RECORD,
        html=where / HTML,
        result=result,
        notebook=this.nb,
    )


def _page(this: Run, result: dict[str, Any], html_assets: Callable[[], str] | None) -> Page:
    from opslib.runbook import html  # noqa: PLC0415  # nbconvert: not before the run

    if result["outcome"] == Outcome.SKIPPED.value:  # within the second that a busy lock takes
        return html.Page(html.short_page(result, f"No cell has run: {result['error']['message']}."))
    from opslib.runbook.engine import clean  # noqa: PLC0415  # papermill: as above

    try:
        return html.to_html(clean(this.nb), result, this.surroundings, html_assets)
    except Exception as error:  # noqa: BLE001  # the record must end whatever a cell put out
        this.folder.event("html-failed", error=f"{type(error).__name__}: {error}")
        return html.Page(html.without_page(result, error))
