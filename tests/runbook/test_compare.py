"""Two records are compared by what they found: nothing for equal runs, one line per change."""

from __future__ import annotations

import base64
import copy
import json
import random
import shutil
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib import runbook
from opslib.cli.main import run as cli
from opslib.core.clock import stamp
from opslib.runbook.compare import compare
from opslib.runbook.folder import RECORD, RESULT
from opslib.runbook.places import new_run_id
from opslib.runbook.reading import read_object
from opslib.runbook.series import quantile, values_of

from .conftest import LOAD, Make, code, parameters, text

SERIES = """
import numpy as np
import plotly.graph_objects as go

values = 1 + np.arange(500) % 50 / 10 * p.scale
fig = go.Figure(go.Scatter(y=values, name="write"), layout={"title": "Latency"})
fig.add_bar(x=["update", "create"], y=[p.replicas, 1], name="objects")
fig"""
TABLE = """
import pandas as pd

pd.DataFrame([("api", p.replicas, "12.5 s"), ("db", 1, "3m20s")],
             columns=["name", "replicas", "took"])"""
NOISE = """
import os, time, uuid, datetime
print("run", os.environ["OPSLIB_RUN_ID"], "in", os.environ["OPSLIB_RUN_DIR"], "by", object())
print(datetime.datetime.now().isoformat(), uuid.uuid4(), f"took {time.perf_counter() % 60:.3f} s")
"""
REPORT = """
runbook.report(
    revision="4f2a9c1d" * 5, seconds=__import__("time").time(), latencies=[*map(float, values)],
    planned={"hash": "a", "changes": [{"action": "update", "kind": "Deployment", "group": "apps",
        "namespace": "pay", "name": "api", "uid": os.environ["OPSLIB_RUN_ID"],
        "fields": [{"path": "spec.replicas", "before": 2, "after": p.replicas}]}]},
    verified={"ready": p.replicas},
)"""


def _notebook(make: Make, name: str = "work") -> Path:
    return make(
        text("# Work"),
        parameters("replicas: int = 3\nscale: float = 1.0\nfails: bool = False"),
        LOAD,
        text("## Measure"),
        code(SERIES),
        text("## Count"),
        code(TABLE),
        code(NOISE),
        code(REPORT),
        code("if p.fails:\n    raise ValueError('no quorum')"),
        name=name,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run one notebook four times: twice alike, with other parameters, and to a failure."""
    from .conftest import write

    place = tmp_path_factory.mktemp("runs")
    path = _notebook(lambda *cells, name: write(place / "notebooks" / f"{name}.ipynb", *cells))
    given: dict[str, dict[str, str]] = {"one": {}, "two": {}}
    given["other"] = {"replicas": "5", "scale": "2.0"}
    given["failed"] = {"fails": "true"}
    return {
        name: runbook.run(path, values, out=place / name).folder for name, values in given.items()
    }


def test_two_equal_runs_give_no_line(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two real runs of one notebook, with other ids, times and folders: no line, exit 0."""
    assert compare(runs["one"], runs["two"]) == []
    assert cli(["records", "diff", str(runs["one"]), str(runs["two"])]) == 0
    assert capsys.readouterr().out == ""
    assert cli(["records", "diff", str(runs["one"]), str(runs["two"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_what_changed_is_named(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Each change is named once; a series says its change in per cent."""
    assert cli(["records", "diff", str(runs["one"]), str(runs["other"])]) == 1
    lines = capsys.readouterr().out.splitlines()
    with capsys.disabled():
        print("\n".join(lines))
    median = (1 + 2.45 * 2) / (1 + 2.45) * 100 - 100
    p99 = (1 + 4.9 * 2) / (1 + 4.9) * 100 - 100
    change = f"median 3.45 → 5.9 ({median:+.1f} %), p99 5.9 → 10.8 ({p99:+.1f} %)"
    place = "step “Measure”, cell 6"
    count = "step “Count”, cell 8"
    assert lines == [
        "parameter: replicas: 3 → 5",
        "parameter: scale: 1.0 → 2.0",
        "plan: Deployment.apps pay/api, spec.replicas: 2 to 3 → 2 to 5",
        f"report: report.latencies: {change}",
        "report: report.verified.ready: 3 → 5",
        f"series: {place}, figure “Latency”, trace “write”, y: {change}",
        f"series: {place}, figure “Latency”, trace “objects”, update: 3 → 5",
        f"table: {count}, table 1, row api, column replicas: 3 → 5",
    ]
    assert cli(["records", "diff", str(runs["one"]), str(runs["other"]), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (series,) = [one for one in found if "write" in one["where"]]
    assert series["changes"]["median"]["percent"] == pytest.approx(median)
    assert len(found) == len(lines)


def test_another_end_is_named(runs: dict[str, Path]) -> None:
    """Another outcome is told of the run, with its error, and of the cell."""
    found = {
        (one.part, one.where): (one.before, one.after)
        for one in compare(runs["one"], runs["failed"])
    }
    assert found["outcome", "run"] == ("ok", "failed")
    assert found["error", "run"] == (None, "no quorum")
    assert found["outcome", "step “Count”, cell 11"] == ("ok", "failed")
    assert found["parameter", "fails"] == (False, True)


def test_a_changed_a_new_and_a_lost_cell_are_named(make: Make, tmp_path: Path) -> None:
    """Cells are paired by what they say: an inserted one does not make all others differ."""
    one = runbook.run(make(code("1"), code("a = 2"), code("3")), {}, out=tmp_path / "a")
    cells = [code("0"), code("1"), code("a = 5"), code("3")]
    two = runbook.run(make(*cells), {}, out=tmp_path / "b")
    assert [str(one) for one in compare(one.folder, two.folder)] == [
        "source: cell 1: (nothing) → 0",
        "source: cell 3: a = 2 → a = 5",
    ]
    back = [(one.before, one.after) for one in compare(two.folder, one.folder)]
    assert back == [("0", None), ("a = 5", "a = 2")]


def _again(record: Path, place: Path, seed: int) -> Path:
    """Copy a record as if it had been run at another time, with other ids, here."""
    chance = random.Random(seed)  # noqa: S311  # values of test data
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**8))
    result = read_object(record / RESULT)
    run_id = new_run_id(moment)
    folder = place / f"{seed}" / f"{moment:%Y-%m-%d}" / f"{result['runbook']}-{run_id}"
    folder.parent.mkdir(parents=True)
    shutil.copytree(record, folder)
    for name in (RESULT, RECORD):
        content = (record / name).read_text().replace(str(record), str(folder))
        (folder / name).write_text(content.replace(result["run_id"], run_id))
    result = read_object(folder / RESULT)
    result |= {"started": stamp(moment), "ended": stamp(moment + timedelta(seconds=9))}
    result |= {"seconds": chance.uniform(0.1, 1e4)}
    result["report"]["seconds"] = chance.uniform(0.1, 1e4)
    (folder / RESULT).write_text(json.dumps(result))
    notebook = read_object(folder / RECORD)
    for cell in notebook["cells"]:
        cell["id"] = f"{chance.getrandbits(32):08x}"
        cell["metadata"].setdefault("opslib", {})["seconds"] = chance.uniform(0, 100)
    (folder / RECORD).write_text(json.dumps(notebook))
    return folder


def test_a_record_against_itself_at_another_time(runs: dict[str, Path], tmp_path: Path) -> None:
    """60 copies with other ids, times, durations and folders: no line, either way round."""
    count = 60
    for seed in range(count):
        name = list(runs)[seed % len(runs)]
        other = _again(runs[name], tmp_path, seed)
        pair = (other, runs[name]) if seed % 2 else (runs[name], other)
        assert [str(one) for one in compare(*pair)] == []
    print(f"{count} copies, no line")


def _arrays(place: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in place if isinstance(place, list) else place.values():
        if isinstance(one, dict) and "bdata" in one:
            found.append(one)
        elif isinstance(one, dict | list):
            found += _arrays(one)
    return found


def test_every_changed_number_is_found(runs: dict[str, Path], tmp_path: Path) -> None:
    """One number changed at random in a base64 array, in a report or in a plan: found, 60 of 60."""
    base = runs["one"]
    chance = random.Random(3)  # noqa: S311  # values of test data
    count, found = 60, 0
    for number in range(count):
        folder = _again(base, tmp_path, 1000 + number)
        notebook, result = read_object(folder / RECORD), read_object(folder / RESULT)
        before = copy.deepcopy((notebook, result))
        if number % 3 == 0:
            figures = [
                o["data"]
                for c in notebook["cells"]
                for o in c.get("outputs", [])
                if "application/vnd.plotly.v1+json" in o.get("data", {})
            ]
            (array, *_) = _arrays(figures[0]["application/vnd.plotly.v1+json"]["data"])
            raw = bytearray(base64.b64decode(array["bdata"]))
            struct.pack_into("<d", raw, 8 * chance.randrange(500), chance.uniform(7, 1e6))
            array["bdata"] = base64.b64encode(raw).decode()
        elif number % 3 == 1:
            place = chance.randrange(500)
            result["report"]["latencies"][place] += chance.uniform(0.1, 9)
        else:
            (change,) = result["report"]["planned"]["changes"]
            change["fields"][0]["after"] = chance.randrange(10, 99)
        assert (notebook, result) != before
        (folder / RECORD).write_text(json.dumps(notebook))
        (folder / RESULT).write_text(json.dumps(result))
        lines = compare(base, folder)
        expected = ("series", "report", "plan")[number % 3]
        assert [one.part for one in lines] == [expected], lines
        found += 1
    print(f"{found} of {count} changed numbers found")
    assert found == count


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from([0.5, 0.99]))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    """Median and p99 are what numpy says."""
    expected = float(np.quantile(values, share))
    assert quantile(values, share) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_arrays_of_every_type_are_read(kind: str) -> None:
    """The base64 arrays of plotly are read as numpy wrote them; a damaged one is no array."""
    array = np.arange(100).astype(f"<{kind}")
    packed = {"dtype": kind, "bdata": base64.b64encode(array.tobytes()).decode()}
    assert values_of(packed) == array.tolist()
    for wrong in ({"dtype": kind, "bdata": "%%"}, {"dtype": "O8", "bdata": ""}, {"dtype": kind}):
        assert values_of(wrong) is None


HOSTILE: list[Any] = [
    {"cells": 5},
    {
        "cells": [
            5,
            {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [5, {"data": 3}]},
        ]
    },
    {"cells": [{"cell_type": "code", "source": 7, "metadata": []}]},
    {
        "cells": [
            {
                "cell_type": "code",
                "source": "1",
                "metadata": {},
                "outputs": [
                    {
                        "data": {
                            "application/vnd.plotly.v1+json": {
                                "data": [
                                    {"y": {"dtype": "f8", "bdata": "AAA"}},
                                    5,
                                    {"y": [1, "a", None, [2]]},
                                    {"y": [10**400] * 9},
                                ]
                            }
                        }
                    },
                    {"data": {"text/html": "<table><tr><td>1<table></tr><td>" * 50}},
                ],
            }
        ]
    },
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_notebook_is_compared_or_refused(
    runs: dict[str, Path], tmp_path: Path, number: int
) -> None:
    """Whatever record.ipynb holds: a comparison or one clear error of bad input, nothing else."""
    folder = _again(runs["one"], tmp_path, number)
    (folder / RECORD).write_text(json.dumps(HOSTILE[number]))
    assert cli(["records", "diff", str(runs["one"]), str(folder)]) in {1, 2}
    assert cli(["records", "diff", str(folder), str(folder)]) in {0, 2}
