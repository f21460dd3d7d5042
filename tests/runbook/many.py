"""A real record multiplied: other ids, times, parameters, people, objects, texts and outcomes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.core.clock import stamp
from opslib.runbook.places import new_run_id

from .conftest import LOAD, code, parameters, text, write

PEOPLE = ("ada", "grace", "linus", "margaret", "cron")
ERRORS = (
    "the image registry refused the pull of payments:2.3.1",
    "deadline exceeded while the rollout waited",
    "etcdserver: leader changed",
    "admission webhook denied the request: no owner label",
)
FIGURE = """
import numpy as np
import plotly.graph_objects as go

values = np.arange(2000) % 97 / 10
fig = go.Figure(go.Scatter(y=values, name="p99"), layout={"title": "Latency of a write"})
fig"""
OBJECTS = """
import pandas as pd

rows = [("Deployment", "payments", f"api-{n}", "update", "spec.replicas") for n in range(60)]
pd.DataFrame(rows, columns=["kind", "namespace", "name", "action", "field"])"""
REPORT = """
runbook.report(
    revision="4f2a9c1d" * 5,
    planned={"changes": [{"action": "update", "kind": "Deployment", "namespace": "payments",
                          "name": "api", "fields": [{"path": "spec.replicas", "before": 2,
                                                     "after": p.replicas}]}]},
    verified={"Deployment.apps payments/api": "Current"},
)"""


def one_real(place: Path) -> Path:
    """Run a small runbook with a figure, a table, prints and a report; return its record."""
    notebook = write(
        place / "notebooks" / "rollout.ipynb",
        text("# Roll out the payment platform"),
        parameters('replicas: int = 3\nnamespace: str = "payments"'),
        LOAD,
        text("## Measure"),
        code(FIGURE),
        text("## Plan"),
        code(OBJECTS),
        code("for n in range(200):\n    print(f'pod api-{n} is ready after {n / 7:.1f} s')"),
        code(REPORT),
    )
    done = runbook.run(notebook, {}, out=place / "outputs", html_assets=lambda: "/* plotly */")
    assert done.outcome == "ok"
    return done.folder


def multiply(record: Path, out: Path, count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Write ``count`` records made from a real one, an hour apart; return each one's result."""
    chance = random.Random(seed)  # noqa: S311  # values of test data
    files = {name: (record / name).read_text() for name in ("record.ipynb", "manifest.json")}
    result = json.loads((record / "result.json").read_text())
    events, page = (record / "events.jsonl").read_text(), (record / "record.html").read_text()
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = []
    for number in range(count):
        moment = begin + timedelta(hours=number)
        one = _changed(result, chance, number, moment)
        folder = out / f"{moment:%Y-%m-%d}" / f"{one['runbook']}-{one['run_id']}"
        folder.mkdir(parents=True)
        manifest = {**json.loads(files["manifest.json"]), "user": PEOPLE[number % len(PEOPLE)]}
        notebook = files["record.ipynb"].replace("pod api-", f"pod api-{number}-")
        for name, content in {
            "result.json": json.dumps(one, indent=2),
            "manifest.json": json.dumps(manifest, indent=2),
            "record.ipynb": notebook.replace(result["run_id"], one["run_id"]),
            "events.jsonl": events,
            "record.html": page[:2000],
        }.items():
            (folder / name).write_text(content)
        made.append(one)
    return made


def _changed(
    result: dict[str, Any], chance: random.Random, number: int, moment: datetime
) -> dict[str, Any]:
    failed = number % 10 == 3
    name = f"service-{number % 50}"
    error = {"name": "OpslibError", "message": ERRORS[number // 10 % len(ERRORS)], "cell": 4}
    change = {**result["report"]["planned"]["changes"][0], "name": name}
    return {
        **result,
        "run_id": new_run_id(moment),
        "runbook": ("rollout", "reconcile", "drift-review", "io-benchmark")[number % 4],
        "outcome": "failed" if failed else "ok",
        "exit_code": 1 if failed else 0,
        "started": stamp(moment),
        "ended": stamp(moment + timedelta(minutes=3)),
        "seconds": round(chance.uniform(5, 300), 3),
        "parameters": {"replicas": number % 9 + 1, "namespace": f"team-{number % 20}"},
        "error": error if failed else None,
        "report": {**result["report"], "planned": {"changes": [change]}},
    }
