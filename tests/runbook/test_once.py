"""Effects that happen once, in one run: what the record says of them, and what asks first."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.core.errors import ApprovalError, InputError, OpslibError
from opslib.runbook import channel
from opslib.runbook.channel import Line

from .conftest import LOAD, Make, code, parameters, read_json


def events(folder: Path, word: str) -> list[dict[str, Any]]:
    """Return the events of a record whose name has a word."""
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [one for line in lines if word in (one := json.loads(line))["event"]]


def test_an_effect_is_an_event_before_and_after(make: Make) -> None:
    """The result is in the record before the notebook goes on; the second call is not run."""
    path = make(
        LOAD,
        code("done = []\none = runbook.once('a', lambda: done.append(1) or {'n': (1, 2)})"),
        code("two = runbook.once('a', lambda: done.append(2))\nprint(one, two, done)"),
        code("runbook.once('b', lambda: None)"),
    )
    run = runbook.run(path, {})
    assert run.outcome == "ok", run.result["error"]
    assert "{'n': [1, 2]} {'n': [1, 2]} [1]" in run.record.read_text()
    names = [(one["event"], one["name"]) for one in events(run.folder, "effect")]
    assert names == [
        ("effect-begin", "a"),
        ("effect-end", "a"),
        ("effect-reused", "a"),
        ("effect-begin", "b"),
        ("effect-end", "b"),
    ]


def test_an_effect_that_failed_is_not_simply_run_again(make: Make) -> None:
    """A resumed run stops at it, goes on by decision, and its cells before are re-read."""
    path = make(
        parameters("n: int = 1"),
        LOAD,
        code("import os\nruns = runbook.once('first', lambda: 5)"),
        code(
            "def burn():\n"
            "    if not os.path.exists('ok'):\n        raise OSError('no')\n    return 7"
        ),
        code("print('got', runs, runbook.once('burn', burn))"),
    )
    first = runbook.run(path, {"n": "2"})
    assert first.exit_code == 1
    second = runbook.resumed(first.folder)
    assert (second.outcome, second.exit_code) == ("denied", 3)
    assert "it failed: OSError: no" in second.result["error"]["message"]
    assert "--redo burn" in second.result["error"]["message"]
    assert second.result["parent"]["run_id"] == first.run_id
    with pytest.raises(InputError, match=second.run_id):
        runbook.resumed(first.folder)
    with pytest.raises(InputError, match="no effect that began"):
        runbook.resumed(second.folder, redo=["first"])
    (path.parent.parent / "ok").write_text("")
    third = runbook.resumed(second.folder, redo=["burn"])
    assert third.outcome == "ok", third.result["error"]
    assert "got 5 7" in third.record.read_text()
    assert [one["name"] for one in events(third.folder, "effect-begin")] == ["burn"]
    tags = [cell["metadata"].get("tags", []) for cell in read_json(third.record)["cells"]]
    assert ["re-read" in one for one in tags] == [True, True, True, True, True, False]
    with pytest.raises(InputError, match="nothing to resume"):
        runbook.resumed(third.folder)


def test_a_resumed_run_is_the_same_run(make: Make) -> None:
    """Another notebook, other parameters, damaged events: refused before a kernel starts."""
    cells = [parameters("n: int = 1"), LOAD, code("raise OSError")]
    path = make(*cells)
    first = runbook.run(path, {})
    with pytest.raises(InputError, match="parameters"):
        runbook.resumed(first.folder, {"n": "3"})
    make(*cells, code("1"))
    with pytest.raises(InputError, match="notebook changed"):
        runbook.resumed(first.folder)
    make(*cells)
    log = first.folder / "events.jsonl"
    good = log.read_text()
    lines = good.splitlines(keepends=True)
    hostile = ["".join(lines[:1] + lines[2:]), "", "[]\n", good.replace('"seq": 2', '"seq": 9')]
    hostile += ["{}\n", good.replace('"sources"', '"x"'), "[" * 9999 + "\n", "\x00\n"]
    for text in hostile:
        log.write_text(text)
        with pytest.raises(InputError, match=r"events\.jsonl|how its run began"):
            runbook.resumed(first.folder)
    log.write_text(good + '{"seq": 99, "ev')  # the last line of a killed run
    assert runbook.resumed(first.folder).exit_code == 1
    print(f"{len(hostile)} damaged records: all refused")


GATE = """
plan = runbook.Plan(p.plan * 64, 'a plan', 'demo')
import os, pathlib
if pathlib.Path('changed').exists():
    plan = runbook.Plan('c' * 64, 'a plan', 'demo')
approval = runbook.gate(plan, apply=True, in_advance=True)
"""


@pytest.mark.parametrize("ended", [True, False])
def test_a_plan_that_changed(make: Make, ended: bool) -> None:
    """What ended stays done; what began without an end, or did not begin, is refused: exit 2."""
    path = make(
        parameters("plan: str = 'a'"),
        LOAD,
        code(GATE),
        code(
            "def work():\n    os.kill(os.getpid(), 9)\n"
            f"runbook.once('work', {'lambda: 1' if ended else 'work'}, under=approval)"
        ),
        code("if not os.path.exists('changed'):\n    raise OSError"),
        code("print('went on')"),
        code("runbook.once('more', lambda: 2, under=approval)"),
    )
    first = runbook.run(path, {})
    (path.parent.parent / "changed").write_text("")
    second = runbook.resumed(first.folder)
    assert second.exit_code == 2
    assert "the plan changed" in second.result["error"]["message"]
    assert ('"went on\\n"' in second.record.read_text()) == ended
    if ended:
        assert second.result["approval"]["status"] == "stale"


def test_an_approval_is_carried_while_the_plan_is_the_same(make: Make) -> None:
    """The resumed run needs no second approval; the record says from which run it is."""
    gate = GATE.replace("in_advance=True", "approve=os.environ.get('GIVEN', '')")
    path = make(
        parameters("plan: str = 'a'"),
        LOAD,
        code(gate),
        code("if not os.path.exists('ok'):\n    raise OSError"),
        code("runbook.once('work', lambda: 1, under=approval)"),
    )
    assert runbook.run(path, {}).exit_code == 3
    first = runbook.run(path, {}, env={"GIVEN": "a" * 64})
    assert first.exit_code == 1
    (path.parent.parent / "ok").write_text("")
    second = runbook.resumed(first.folder)
    assert second.outcome == "ok", second.result["error"]
    approval = second.result["approval"]
    assert (approval["how"], approval["carried_from"]) == ("hash", first.run_id)


def test_the_line_between_kernel_and_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies and errors come over as they are; noise and a runner that is gone are told."""

    def handle(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        if kind == "no":
            raise ApprovalError("denied", hint="ask")
        return {"kind": kind, **fields}

    line = Line(tmp_path / "s", handle)
    monkeypatch.setenv(channel.CHANNEL, str(line.path))
    assert channel.call("x", a=[1, "ä"]) == {"kind": "x", "a": [1, "ä"]}
    with pytest.raises(ApprovalError, match="ask"):
        channel.call("no")
    with pytest.raises(InputError, match="too many"):
        channel.call("x", a="a" * 5_000_000)
    for noise in (b"", b"\n", b"{}\n", b"[" * 5000 + b"\n", b"x" * 100):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(line.path))
            raw.sendall(noise)
    assert channel.call("still")["kind"] == "still"
    line.close()
    with pytest.raises(OpslibError, match="does not answer"):
        channel.call("x")
