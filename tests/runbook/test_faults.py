"""Every way a run can end: the outcome of each cell, of the run, and the exit code."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from witness import Witness

from opslib import runbook
from opslib.core.clock import parse_stamp
from opslib.runbook.verify import verify

from .conftest import (
    LOAD,
    Cell,
    Fork,
    Make,
    Runner,
    Zygote,
    code,
    outcomes,
    parameters,
    read_json,
    text,
    wait_for,
)

SCHEMAS = Path(runbook.__file__).parent / "schemas"
Start = Callable[..., Runner]
SLEEP = "print('asleep', flush=True)\nimport time\ntime.sleep(60)"
STUBBORN = (
    "import time\nprint('asleep', flush=True)\nwhile True:\n    try:\n        time.sleep(60)\n"
    "    except KeyboardInterrupt:\n        print('refused', flush=True)"
)
DENIED = (
    "from opslib.core.errors import ApprovalError\n"
    "raise ApprovalError('nobody approved plan 4f2a', hint='ask somebody')"
)
AFTER = "never-run"

# name: (source, tags, options, outcome of the run, exit code, of the cell, of the cell after)
FAULTS: dict[str, tuple[str, list[str], dict[str, float], str, int, str, str]] = {
    "ok": ("1 + 1", [], {}, "ok", 0, "ok", "ok"),
    "error": ("1 / 0", [], {}, "failed", 1, "failed", AFTER),
    "kernel kill -9": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        *([], {}, "kernel-dead", 138, "kernel-dead", AFTER),
    ),
    "os._exit(0)": ("import os\nos._exit(0)", [], {}, "kernel-dead", 138, "kernel-dead", AFTER),
    "cell time-out": (SLEEP, [], {"cell_timeout": 2}, "timeout", 124, "timeout", AFTER),
    "deadline": (SLEEP, [], {"deadline": 6}, "timeout", 124, "timeout", AFTER),
    "deaf to interrupts": (
        STUBBORN,
        *([], {"cell_timeout": 2, "grace": 0.5}, "timeout", 124, "timeout", AFTER),
    ),
    "sys.exit(0)": ("import sys\nsys.exit(0)", [], {}, "ok", 0, "ok", AFTER),
    "exit()": ("exit()", [], {}, "ok", 0, "ok", AFTER),
    "sys.exit(3)": ("import sys\nsys.exit(3)", [], {}, "failed", 1, "failed", AFTER),
    "raises-exception": ("1 / 0", ["raises-exception"], {}, "ok", 0, "ok", "ok"),
    "skip-execution": ("1 / 0", ["skip-execution"], {}, "ok", 0, "skipped", "ok"),
    "denied": (DENIED, [], {}, "denied", 3, "denied", AFTER),
}
SIGNALS = {"SIGINT": 130, "SIGTERM": 143}

PAPERMILL = {"ok": "completed", "skipped": "pending", "never-run": "pending"}
"""What papermill's own status may be: never "completed" for a cell that did not run."""

table: list[tuple[str, str, int, list[str | None]]] = []


@pytest.fixture(scope="module", autouse=True)
def print_table() -> Iterator[None]:
    """Print what each fault gave, when all have been tried."""
    yield
    print(f"\n{'fault':22} {'run':12} {'exit':>4}  cells")  # the matrix is the proof
    for name, outcome, exit_code, cells in table:
        print(f"{name:22} {outcome:12} {exit_code:>4}  {', '.join(map(str, cells))}")
    print(f"{len(table)} faults")


def check(name: str, folder: Path, outcome: str, exit_code: int, cells: list[str]) -> None:
    """Compare a record with what is true, in every file that tells."""
    result = read_json(folder / "result.json")
    notebook = read_json(folder / "record.ipynb")
    manifest = read_json(folder / "manifest.json")
    for document, kind in ((result, "result"), (manifest, "manifest")):
        jsonschema.validate(document, read_json(SCHEMAS / f"{kind}.json"))
    verdict = verify(folder)
    assert verdict.state == "intact", str(verdict)
    found = outcomes(folder / "record.ipynb")
    table.append((name, result["outcome"], result["exit_code"], found))
    assert (result["outcome"], result["exit_code"]) == (outcome, exit_code), result["error"]
    assert (manifest["outcome"], manifest["exit_code"]) == (outcome, exit_code)
    assert notebook["metadata"]["opslib"]["outcome"] == outcome
    assert found == cells
    assert sum(result["cells"].values()) == len(cells)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            mine, theirs = cell["metadata"]["opslib"], cell["metadata"]["papermill"]
            assert theirs["status"] == PAPERMILL.get(mine["outcome"], "failed")
            assert ("started" in mine) == (mine["outcome"] not in {"never-run", "skipped"})
    assert (notebook["metadata"]["papermill"]["exception"] is True) == (outcome != "ok")
    assert (result["error"] is None) == (outcome == "ok")
    if outcome != "ok":
        assert result["error"]["cell"] == 2
    assert outcome in (folder / "record.html").read_text(encoding="utf-8")


def notebook_with(make: Make, cell: Cell) -> Path:
    """Write a notebook of four cells: parameters, load, the fault, one after it."""
    return make(parameters("a: int = 1"), LOAD, cell, text("## After"), code("print('after')"))


@pytest.mark.parametrize("name", FAULTS)
def test_the_record_is_true(name: str, make: Make) -> None:
    """Whatever ends the run, each cell and the run say what happened."""
    source, tags, options, outcome, exit_code, cell, after = FAULTS[name]
    path = notebook_with(make, code(source, *tags))
    for longer in (1, 4, 16):  # on a busy machine a limit may be over before the fault begins
        limits: Any = {key: value * longer for key, value in options.items()}
        done = runbook.run(path, {}, **limits)
        if outcomes(done.record)[:2] == ["ok", "ok"]:
            break
    assert (done.outcome, done.exit_code) == (outcome, exit_code)
    check(name, done.folder, outcome, exit_code, ["ok", "ok", cell, after])


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_the_run_truthfully(name: str, make: Make, start: Start) -> None:
    """A signal interrupts the cell, lets it clean up, and the record is finished."""
    careful = "try:\n    print('asleep', flush=True)\n    import time\n    time.sleep(60)\n"
    cell = code(careful + "finally:\n    print('cleaned up')")
    runner = start(notebook_with(make, cell))
    runner.said("asleep")
    runner.process.send_signal(signal.Signals[name])
    exit_code, out, err = runner.end()
    assert (exit_code, err) == (SIGNALS[name], "")
    folder = Path(out.strip())
    check(name, folder, "interrupted", SIGNALS[name], ["ok", "ok", "interrupted", AFTER])
    assert "cleaned up" in (folder / "record.ipynb").read_text(encoding="utf-8")
    assert "Traceback" in (folder / "record.html").read_text(encoding="utf-8")


def test_a_second_signal_needs_no_grace(make: Make, start: Start) -> None:
    """A cell that ignores the first Ctrl-C is ended by the second, at once."""
    runner = start(notebook_with(make, code(STUBBORN)), grace=60)
    runner.said("asleep")
    runner.process.send_signal(signal.SIGINT)
    runner.said("refused")  # two signals at once would count as one
    begun = time.monotonic()
    runner.process.send_signal(signal.SIGINT)
    assert runner.end()[0] == 130
    assert time.monotonic() - begun < 30


def test_a_deadline_between_two_cells_starts_no_other(make: Make) -> None:
    """A cell that outlives its interrupt is the last one, and a long list of cells ends in time."""
    path = make(*[code("import time\ntime.sleep(0.4)") for _ in range(90)])
    done = runbook.run(path, {}, deadline=3)
    assert done.exit_code == 124
    assert done.result["cells"]["never-run"] > 75
    assert done.result["seconds"] < 30


CLEANS_UP = """
import json, os, time
from datetime import datetime
from pathlib import Path

result = json.loads(Path(os.environ["OPSLIB_RUN_DIR"], "result.json").read_text())
late = datetime.fromisoformat(result["started"]).timestamp() + DEADLINE + 0.2
try:
    print("asleep", flush=True)
    time.sleep(60)
finally:
    while time.time() < late:
        time.sleep(0.05)
    print("cleaned up")
"""
FAILS_AND_CLEANS_UP = """
import time

try:
    1 / 0
finally:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("cleaned up")
"""


def test_a_deadline_that_passes_inside_a_clean_up(
    make: Make, zygote: Zygote, tmp_path: Path
) -> None:
    """What stopped the cell first is its outcome, and the record says that both limits passed.

    A failure whose clean-up outlives the deadline is a timeout; a signal stays a signal.
    """

    def started(name: str, source: str, deadline: int) -> Fork:
        cell = code(source.replace("DEADLINE", str(deadline)))
        if name == "limit":
            cell["metadata"]["opslib"] = {"step": {"timeout": "1s"}}
        name = f"{name}-{deadline}"
        path = make(parameters("a: int = 1"), LOAD, cell, code("1"), name=name)
        return zygote.start(path, tmp_path / name, {"deadline": deadline, "grace": 30})

    def tried(deadline: int) -> dict[str, Path]:
        sources = {"limit": CLEANS_UP, "signal": CLEANS_UP, "failure": FAILS_AND_CLEANS_UP}
        forks = {name: started(name, text, deadline) for name, text in sources.items()}
        stopped = forks["signal"]
        wait_for(lambda: stopped.printed("asleep") or stopped.poll() is not None, "its sleep", 60)
        if stopped.poll() is None:
            os.kill(stopped.pid, signal.SIGTERM)
        codes = {name: fork.wait() for name, fork in forks.items()}
        folders = {name: fork.folder() for name, fork in forks.items()}
        begun = all(outcomes(one / "record.ipynb")[1] == "ok" for one in folders.values())
        # On a busy machine the deadline may be over before the cell begins, or is interrupted.
        as_meant = begun and codes == {"limit": 124, "signal": 143, "failure": 124}
        return folders if as_meant else {}

    deadline, folders = next((n, found) for n in (5, 10, 20, 40) if (found := tried(n)))
    passed = f"; the run's deadline of {deadline} s passed in its clean-up"
    for name, outcome, exit_code, error, words in (
        ("limit", "timeout", 124, "CellTimeout", f"did not end within 1 s{passed}"),
        ("signal", "interrupted", 143, "Interrupted", f"was stopped by SIGTERM{passed}"),
        ("failure", "timeout", 124, "DeadlineExceeded", f"within its deadline of {deadline} s"),
    ):
        folder = folders[name]
        check(f"clean-up: {name}", folder, outcome, exit_code, ["ok", "ok", outcome, AFTER])
        result = read_json(folder / "result.json")
        assert result["error"]["name"] == error
        assert words in result["error"]["message"]
        assert deadline < result["seconds"] < deadline + 30
        assert "cleaned up" in (folder / "record.ipynb").read_text(encoding="utf-8")


def test_a_kernel_that_does_not_start_is_told(make: Make, tmp_path: Path) -> None:
    """When the kernel ends at its start, no cell has run and the record says why."""
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit(7)")
    done = runbook.run(notebook_with(make, code("1")), {}, env={"PYTHONPATH": str(tmp_path)})
    assert (done.outcome, done.exit_code) == ("kernel-dead", 138)
    assert done.result["cells"] == {"never-run": 4}
    assert "did not start" in done.result["error"]["message"]


def test_opslib_errors_are_shown_without_a_stack(make: Make) -> None:
    """An error of ours is shown by what it says; its exit code becomes the run's."""
    source = (
        "from opslib.core.errors import InputError\n"
        "raise InputError('no such context', where='kubeconfig', hint='name another')"
    )
    done = runbook.run(notebook_with(make, code(source)), {})
    assert (done.outcome, done.exit_code) == ("failed", 2)
    assert done.result["error"]["detail"]["hint"] == "name another"
    record = done.record.read_text(encoding="utf-8")
    assert "Traceback" not in record
    assert "no such context" in record
    assert "name another" in done.html.read_text(encoding="utf-8")


KILLS, AT_ONCE = 20, 4
CHATTY = (
    "import time\n"
    "for n in range(200):\n    print('line', n, 'x' * 200, flush=True)\n    time.sleep(0.005)"
)


def test_kill_9_of_the_runner_leaves_a_valid_record(
    make: Make, zygote: Zygote, tmp_path: Path
) -> None:
    """At random moments the record on disk is whole, true and at most 2 s behind.

    On a busy machine it may be behind by as much more as everything takes longer there.
    """
    path = make(*[code(CHATTY) for _ in range(3)])
    dice = random.Random(5)  # noqa: S311  # moments, not secrets
    finished = 0
    slowest = 1.0
    with Witness() as witness:
        for turn in range(KILLS // AT_ONCE):
            outs = [tmp_path / f"out-{turn}-{number}" for number in range(AT_ONCE)]
            runners = [zygote.start(path, out, {}) for out in outs]
            kernels = [runner.kernel() for runner in runners]
            for runner in runners:
                time.sleep(dice.uniform(0, 0.8))  # the random moment is the point
                finished += _kill(runner, witness)
                slowest = max(slowest, witness.slowness(10))
            for pid in kernels:
                wait_for(partial(_gone, pid), "the end of an orphaned kernel")
    print(f"{KILLS} kills -9: {KILLS} valid records, {finished} of them finished;", end=" ")
    print(f"the machine was up to {slowest:.1f} times as slow as at rest")


def _kill(runner: Fork, witness: Witness) -> bool:
    """Kill a runner, check what it left, and tell whether it had finished before."""
    runner.kill()
    killed = time.time()
    allowed = 2.0 * witness.slowness(5)
    runner.wait()
    record = runner.folder() / "record.ipynb"
    notebook, result = read_json(record), read_json(runner.folder() / "result.json")
    fresh = killed - record.stat().st_mtime < allowed
    assert fresh or _complete(notebook) or not _began(runner, killed - allowed)
    assert set(outcomes(record)) <= {"ok", "running", "never-run"}
    assert result["outcome"] in {"running", "ok"}
    jsonschema.validate(result, read_json(SCHEMAS / "result.json"))
    found = verify(runner.folder())
    # Killed between the closing event and the manifest, it looks as if that had been deleted.
    assert found.ok or {one.file for one in found.problems} == {"manifest.json"}, str(found)
    (summary,) = runbook.list_records(runner.out)
    assert summary.outcome == ("ok" if result["outcome"] == "ok" else "interrupted")
    return bool(result["outcome"] == "ok")


def _began(runner: Fork, moment: float) -> bool:
    """Tell whether a cell had begun by then: from there on there is always something new."""
    began = [one["time"] for one in runner.events() if one["event"] == "cell-start"]
    return bool(began) and parse_stamp(began[0]).timestamp() < moment


def _complete(notebook: dict[str, Any]) -> bool:
    return all(cell["metadata"]["opslib"]["outcome"] == "ok" for cell in notebook["cells"])


def _gone(pid: int) -> bool:
    """Tell whether a process is gone; one that nobody waits for (a zombie) has ended too."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text(encoding="utf-8").rsplit(") ", 1)[1][0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_events_tell_the_same_as_the_notebook(make: Make) -> None:
    """Events carry each cell's end in order, so that a machine can follow without the notebook."""
    done = runbook.run(notebook_with(make, code("1 / 0")), {})
    lines = (done.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ends = [json.loads(line) for line in lines if '"cell-end"' in line]
    assert [(one["cell"], one["outcome"]) for one in ends] == [(0, "ok"), (1, "ok"), (2, "failed")]
