"""Twelve ways a run can end, through both doors: what is true of every cell and of the run.

``opslib run`` and ``papermill --engine opslib`` as whole processes, as people start them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opslib.runbook import lock

from .conftest import LOAD, Cell, Make, code, outcomes, parameters, read_json, text, wait_for

SLEEP = (
    "try:\n    print('asleep', flush=True)\n    import time\n    time.sleep(60)\n"
    "finally:\n    print('cleaned up')"
)
DENIED = (
    "from opslib.core.errors import ApprovalError\n"
    "raise ApprovalError('nobody approved plan 4f2a', hint='ask somebody')"
)
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
NEVER = "never-run"


@dataclass(frozen=True)
class Fault:
    """A cell, what is done to it, and what has to be told of it. ``limits`` are in seconds."""

    source: str
    outcome: str
    exit_code: int
    cells: tuple[str, ...]
    tags: tuple[str, ...] = ()
    said: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    signal: signal.Signals | None = None


def _ends(cell: str, after: str = NEVER) -> tuple[str, ...]:
    return "ok", "ok", cell, after


FAULTS = {
    "ok": Fault("1 + 1", "ok", 0, _ends("ok", "ok")),
    "error": Fault("1 / 0", "failed", 1, _ends("failed")),
    "kill -9 of the kernel": Fault(KILLED, "kernel-dead", 138, _ends("kernel-dead")),
    "cell time-out": Fault(SLEEP, "timeout", 124, _ends("timeout"), limits={"cell_timeout": 2}),
    "run deadline": Fault(SLEEP, "timeout", 124, _ends("timeout"), limits={"deadline": 8}),
    "SIGINT": Fault(SLEEP, "interrupted", 130, _ends("interrupted"), signal=signal.SIGINT),
    "SIGTERM": Fault(SLEEP, "interrupted", 143, _ends("interrupted"), signal=signal.SIGTERM),
    "sys.exit(0)": Fault("import sys\nsys.exit(0)", "ok", 0, _ends("ok")),
    "raises-exception": Fault("1 / 0", "ok", 0, _ends("ok", "ok"), ("raises-exception",)),
    "skip tag": Fault("1 / 0", "ok", 0, _ends("skipped", "ok"), ("skip-execution",)),
    "gate denied": Fault(DENIED, "denied", 3, _ends("denied")),
    "lock busy": Fault("1", "skipped", 75, (NEVER,) * 4, said={"lock": "one/{a}"}),
}
DOORS = ("opslib run", "papermill")
PAPERMILL = {"ok": "completed", "skipped": "pending", NEVER: "pending"}
"""What papermill's own status may be: never "completed" for a cell that did not run."""

matrix: list[tuple[str, str, str, int, str, list[str | None]]] = []


@pytest.fixture(scope="module", autouse=True)
def print_matrix() -> Iterator[None]:
    """Print the matrix, when all has been tried."""
    yield
    print(f"\n{'fault':22} {'door':11} {'run':12} exit  cells")
    for fault, door, outcome, exit_code, _, cells in matrix:
        print(f"{fault:22} {door:11} {outcome:12} {exit_code:>4}  {', '.join(map(str, cells))}")
    for door in DOORS:
        true = sum(one[4] == "true" for one in matrix if one[1] == door)
        print(f"{door}: {true} of {len(FAULTS)} faults told truthfully")


def command(door: str, path: Path, place: Path) -> list[str]:
    """Return the command line of a door; its records go below ``place``."""
    here = Path(sys.executable).parent
    if door == "opslib run":
        return [str(here / "opslib"), "run", str(path), "--out", str(place)]
    out = f"opslib://{place}/record.ipynb"
    return [str(here / "papermill"), "--engine", "opslib", "--no-progress-bar", str(path), out]


def started(place: Path, word: str) -> None:
    """Wait until the partial record on disk holds what a cell printed."""

    def said() -> bool:
        records = list(place.glob("*/*/record.ipynb"))
        return bool(records) and f'"{word}\\n"' in records[0].read_text(encoding="utf-8")

    wait_for(said, f"the word {word}")


def with_fault(make: Make, fault: Fault, longer: int) -> Path:
    """Write a notebook of parameters, load, the fault, and one cell after it."""
    cell: Cell = code(fault.source, *fault.tags)
    path = make(parameters("a: int = 1"), LOAD, cell, text("## After"), code("print('after')"))
    notebook = read_json(path)
    limits = {name: f"{seconds * longer}s" for name, seconds in fault.limits.items()}
    notebook["metadata"]["opslib"] = fault.said | limits
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FAULTS)
def test_the_truth_is_told(name: str, door: str, make: Make, tmp_path: Path) -> None:
    """Record, result and exit code say what happened, whichever way the run was started."""
    fault = FAULTS[name]
    owner = lock.Owner("20260101T000000000Z-abcdef", "other", "somebody", "somewhere")
    for longer in (1, 4, 16):  # on a busy machine a limit may be over before the fault begins
        place = tmp_path / f"records-{longer}"
        start = command(door, with_fault(make, fault, longer), place)
        with lock.hold("one/1" if name == "lock busy" else "two/1", owner, {}):
            code_, err = _ended(start, fault, place)
        (folder,) = place.glob("*/*")
        cells = outcomes(folder / "record.ipynb")
        if not fault.limits or cells[:2] == ["ok", "ok"]:
            break
    result = read_json(folder / "result.json")
    matrix.append((name, door, result["outcome"], code_, "false", cells))
    assert code_ == fault.exit_code, err.decode()
    _compare(fault, folder, result, cells)
    matrix[-1] = (name, door, result["outcome"], code_, "true", cells)
    assert b"Traceback" not in err or name == "kill -9 of the kernel", err.decode()
    if name == "lock busy":
        words = "one/1 is locked by run 20260101T000000000Z-abcdef of other (somebody@somewhere"
        assert words in err.decode() + result["error"]["message"]


def _ended(start: list[str], fault: Fault, place: Path) -> tuple[int, bytes]:
    """Run it to its end; return its exit code and what it said on stderr."""
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        try:
            if fault.signal is not None:
                started(place, "asleep")
                process.send_signal(fault.signal)
            _, err = process.communicate(timeout=200)
        finally:
            process.kill()
    return process.returncode, err


def _compare(fault: Fault, folder: Path, result: Any, cells: list[str | None]) -> None:
    """Compare every file that tells with what is true."""
    notebook = read_json(folder / "record.ipynb")
    manifest = read_json(folder / "manifest.json")
    assert (result["outcome"], result["exit_code"]) == (fault.outcome, fault.exit_code)
    assert (manifest["outcome"], manifest["exit_code"]) == (fault.outcome, fault.exit_code)
    assert notebook["metadata"]["opslib"]["outcome"] == fault.outcome
    assert tuple(cells) == fault.cells
    for cell in notebook["cells"]:
        assert "papermill-error-cell-tag" not in cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code":
            mine, theirs = cell["metadata"]["opslib"], cell["metadata"]["papermill"]
            assert theirs["status"] == PAPERMILL.get(mine["outcome"], "failed")
            assert ("started" in mine) == (mine["outcome"] not in {NEVER, "skipped"})
            assert bool(cell["outputs"]) <= ("started" in mine)
    assert (result["error"] is None) == (fault.outcome == "ok")
    printed = str(notebook["cells"])
    assert ("cleaned up" in printed) == (fault.source == SLEEP and fault.exit_code != 75)
    assert fault.outcome in (folder / "record.html").read_text(encoding="utf-8")
    if "raises-exception" in fault.tags:
        (error,) = notebook["cells"][2]["outputs"]
        assert (error["output_type"], error["ename"]) == ("error", "ZeroDivisionError")


def test_a_busy_lock_and_a_bad_parameter_take_less_than_a_second(
    make: Make, tmp_path: Path
) -> None:
    """Before a kernel starts: 75 with the holder and since when, and 2 with the name.

    By processor time: nothing here waits, and the tests may share the machine.
    """
    path = make(parameters("a: int = 1"), LOAD, code("1"))
    words = command("opslib run", path, tmp_path / "records")
    owner = lock.Owner("20260101T000000000Z-abcdef", "other", "somebody", "somewhere")
    tries = {"busy": (["--lock", "app/{a}"], 75), "wrong": (["-p", "a", "x"], 2)}
    with lock.hold("app/1", owner, {}):
        for name, (more, expected) in tries.items():
            took, wall = [], []
            for _ in range(3):
                before, begun = os.times(), time.monotonic()
                done = subprocess.run([*words, *more], capture_output=True, check=False)
                wall.append(time.monotonic() - begun)
                after = os.times()
                took.append(after[2] + after[3] - before[2] - before[3])
                assert done.returncode == expected, done.stderr.decode()
            print(f"{name}: exit {expected} after {min(took):.2f} s of CPU, {min(wall):.2f} s")
            assert min(took) < 1.0
    records = list((tmp_path / "records").glob("*/*/result.json"))
    assert [read_json(one)["outcome"] for one in records] == ["skipped"] * 3
    assert "since 20" in read_json(records[0])["error"]["message"]
