"""Twenty planted secrets in every sink of a record: none is on a disk at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .canaries import CANARIES, found_below, found_in
from .conftest import LOAD, Make, code, parameters, read_json, text, wait_for

PROJECT = Path(__file__).parents[2]
HANDED = """
import base64, json, os, sys
from pathlib import Path
from opslib.core import secrecy
from opslib.kube.kubeconfig import access
from opslib.source.address import parse_address
C = json.loads(Path(os.environ["CANARIES"]).read_text())
b64 = lambda value: base64.b64encode(value.encode()).decode()
secrecy.note_object({"kind": "SecretList", "apiVersion": "v1", "items": [
    {"metadata": {"name": f"s{n}"}, "data": {"password": b64(C[n])}} for n in (1, *range(5, 20))]})
access(os.environ["CANARY_CONFIG"], None)
parse_address(f"https://ops:{C[3]}@git.example.net/a.git")
"""
SINKS = {
    "stdout": "for c in C: print('value', c, json.dumps({'a': c}), b64(c))\n"
    "for c in C: sys.stdout.write(c[:5]); sys.stdout.flush(); sys.stdout.write(c[5:] + '\\n')",
    "stderr": "for c in C: print(c, repr(c), file=sys.stderr)",
    "html table": "import pandas as pd\nfrom IPython.display import HTML, display\n"
    "display(pd.DataFrame({'c': C, 'j': [json.dumps(c) for c in C]}))\n"
    "display(HTML(''.join(f'<b title=\"{c}\">{c}</b>' for c in C)))",
    "plotly": "import numpy as np, plotly.graph_objects as go\n"
    "raw = np.frombuffer('|'.join(C).encode() * 3, dtype='u1')\n"
    "go.Figure(go.Scatter(x=np.arange(len(raw)), y=raw, customdata=C, text=C, name=C[5],"
    " meta={C[6]: C[7]}), layout={'title': {'text': C[8]}}).show()",
    "widget": "import ipywidgets as w\nfrom IPython.display import display\n"
    "for c in C[:8]: display(w.HBox([w.Text(value=c, description=c), w.HTML(c)]))",
    "result": "runbook.report(revision=C[9], applied={c: [c] for c in C}, n=int(C[18]))",
    "process": "os.write(2, ('kernel says ' + ' '.join(C) + '\\n').encode())",
    "mime": "from IPython.display import display\n"
    "display({'application/json': {'deep': [{'k': c} for c in C]}, 'text/plain': C[4]}, raw=True)",
}
TRACE = "def connect(dsn):\n    raise ValueError('no login with ' + dsn)\nconnect(' '.join(C))"
CRASH = "import signal\nprint(*C, flush=True)\nimport time; time.sleep(1)\nos.kill(os.getpid(), 9)"


def _environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "canaries.json").write_text(json.dumps(CANARIES))
    (home / "pass").write_text(CANARIES[4] + "\n")
    (home / "pass").chmod(0o600)
    user = {"name": "u", "user": {"token": CANARIES[2]}}
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [user],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (home / "config").write_text(json.dumps(config))
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return {
        **os.environ,
        "CANARIES": str(home / "canaries.json"),
        "CANARY_CONFIG": str(home / "config"),
        "CANARY_1": CANARIES[1],
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONPATH": str(PROJECT / "tests"),
    }


def _notebook(make: Make, last: str, *, name: str) -> Path:
    cells = [
        text(f"# Canaries\n\n## Step {CANARIES[0]}"),
        parameters(
            "from opslib.runbook import Secret\n"
            'one: Secret = "env:CANARY_1"\nfour: Secret = "env:NOTHING"\n'
            'dsn: str = ""\nplain: str = ""'
        ),
        LOAD,
        code(HANDED),
        *(code(source) for source in SINKS.values()),
        code(f"print({CANARIES[0]!r})  # {CANARIES[0]}"),
        code(last),
    ]
    return make(*cells, name=name)


def _command(tmp_path: Path, path: Path) -> list[Any]:
    dsn = f"postgres://pay:{CANARIES[5]}@db:5432/pay"
    return [
        *(sys.executable, "-m", "runbook.watched", tmp_path / "seen.tsv", "run", path),
        *("-p", f"four=file:{tmp_path / 'home' / 'pass'}", "-p", f"dsn={dsn}"),
        *("-p", f"plain={CANARIES[0]}", "--out", tmp_path / "out"),
    ]


@pytest.mark.parametrize(
    ("last", "outcome", "exit_code"), [(TRACE, "failed", 1), (CRASH, "kernel-dead", 138)]
)
def test_no_canary_is_on_disk_at_any_save(
    make: Make, tmp_path: Path, last: str, outcome: str, exit_code: int
) -> None:
    """20 canaries in 13 sinks: no write holds one, nor a name, nor what the run prints."""
    path = _notebook(make, last, name=f"book-{CANARIES[0]}")
    done = subprocess.run(
        _command(tmp_path, path),
        env=_environment(tmp_path),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr.decode()
    rows = [line.split("\t") for line in (tmp_path / "seen.tsv").read_text().splitlines()]
    assert [row for row in rows if row[1]] == []
    assert found_below(tmp_path / "out") == []
    assert found_below(tmp_path / "tmp") == []
    assert found_in(done.stdout) == set()
    assert found_in(done.stderr) == set()
    (record,) = (tmp_path / "out").glob("*/*")
    result = read_json(record / "result.json")
    assert result["outcome"] == outcome
    assert result["parameters"]["one"] == "env:CANARY_1"
    masks = _shown(record)
    assert set(masks) >= {
        "record.ipynb",
        "record.html",
        "result.json",
        "events.jsonl",
        "manifest.json",
    }
    print(
        f"{len(rows)} writes, {dict(Counter(row[0] for row in rows))}: 0 canaries; masks: {masks}"
    )


def _shown(record: Path) -> dict[str, int]:
    """Count the masks of each file: the canaries were there, and JSON is still JSON."""
    counts = {}
    for path in record.iterdir():
        data = path.read_text(encoding="utf-8")
        if path.suffix in {".json", ".ipynb"}:
            json.loads(data)
        if number := data.count("\u2039secret:"):
            counts[path.name] = number
    return counts


KILLS, AT_ONCE = 20, 4


def test_no_canary_after_kill_9_of_real_runs(make: Make, tmp_path: Path) -> None:
    """The runner is killed at random moments while cells print canaries: none is on disk."""
    chatty = "import time\nfor n in range(80):\n    print(n, *C, flush=True); time.sleep(0.01)"
    path = _notebook(make, chatty, name="book")
    dice = random.Random(17)  # noqa: S311  # moments, not secrets
    env = _environment(tmp_path)
    masked = 0
    for number in range(KILLS // AT_ONCE):
        out = tmp_path / f"out-{number}"
        command = [*_command(tmp_path, path)[:-1], out]
        running = [
            subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(AT_ONCE)
        ]
        wait_for(partial(_begun, out), "the records")
        if number % 2:  # the others are killed at any time from the start of their kernels on
            wait_for(partial(_masked, out), "a record with masks")
        for process in running:
            time.sleep(dice.uniform(0.1, 1.2))  # the random moment is the point
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert found_below(out) == []
        for record in out.glob("*/*/record.ipynb"):
            masked += _has_mask(record)
    rows = [line.split("\t") for line in (tmp_path / "seen.tsv").read_text().splitlines()]
    assert [row for row in rows if row[1]] == []
    assert masked > 0
    print(
        f"{KILLS} kills of real runs, {len(rows)} writes: 0 canaries, {masked} records with masks"
    )


def _has_mask(record: Path) -> bool:
    return "\u2039secret:" in json.dumps(read_json(record), ensure_ascii=False)


def _masked(out: Path) -> bool:
    return any(_has_mask(one) for one in out.glob("*/*/record.ipynb"))


def _begun(out: Path) -> bool:
    return len(list(out.glob("*/*/record.ipynb"))) == AT_ONCE


def test_no_canary_after_kill_9_of_writers(tmp_path: Path) -> None:
    """80 processes that write records full of canaries are killed in the middle of it."""
    command = [sys.executable, "-m", "runbook.killed_writers", str(tmp_path), "80"]
    done = subprocess.run(
        command, cwd=PROJECT / "tests", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    findings = found_below(tmp_path)
    assert findings == []
    print(done.stdout.strip())
