"""A run that goes well, and what its record holds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.core.errors import InputError, Problems
from opslib.core.imports import absent

from .conftest import HERE, LOAD, Make, code, parameters, read_json, text

with absent("rfc3987_syntax"):
    import jsonschema

SCHEMA = Path(runbook.__file__).parent / "schemas" / "result.json"


class Watcher:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, float | None]] = []

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        self.seen.append((label, done, total))


def test_the_record_of_a_good_run(make: Make, tmp_path: Path) -> None:
    """All five files are there, agree with each other, and say what happened."""
    path = make(
        text("# Deploy\n\nwords"),
        parameters("image: str = '1.9'\napply: bool = False\nfolder: str = 'ä'"),
        LOAD,
        text("## Look around"),
        code(
            "import os, pathlib, sys\n"
            "print(p.image, p.apply, pathlib.Path.cwd().name, sys.executable)\n"
            "print(os.environ['EXTRA'], runbook.context().run_id == os.environ['OPSLIB_RUN_ID'],"
            " runbook.context().interactive)"
        ),
        code("runbook.report(revision='4f2a', cluster={'uid': 'x'}, ms=float('nan'))"),
        code("runbook.report(applied=3)"),
    )
    watcher = Watcher()
    done = runbook.run(
        path, {"image": "1.10", "apply": "true"}, progress=watcher, env={"EXTRA": "given"}
    )
    assert (done.outcome, done.exit_code) == ("ok", 0), done.result
    names = {one.name for one in done.folder.iterdir()}
    assert names == {
        "record.ipynb",
        "record.html",
        "result.json",
        "manifest.json",
        "events.jsonl",
    }
    root = tmp_path.resolve()
    assert done.folder.parent.parent == root / "outputs"
    assert done.folder.name == f"work-{done.run_id}"

    result = read_json(done.folder / "result.json")
    jsonschema.validate(result, read_json(SCHEMA))
    assert result == done.result
    assert result["parameters"] == {"image": "1.10", "apply": True, "folder": "ä"}
    assert result["cells"] == {"ok": 6}
    assert (result["planned"], result["done"], result["verified"]) == (None, 3, None)
    assert result["cluster"] == {"uid": "x"}
    assert result["notebook"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert result["report"] == {
        "revision": "4f2a",
        "cluster": {"uid": "x"},
        "ms": None,
        "applied": 3,
    }

    manifest = read_json(done.folder / "manifest.json")
    assert set(manifest["files"]) == names - {"manifest.json"}
    for name, facts in manifest["files"].items():
        data = (done.folder / name).read_bytes()
        assert facts == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert manifest["notebook"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (manifest["revision"], manifest["cluster"]) == ("4f2a", {"uid": "x"})
    assert manifest["versions"]["papermill"]
    assert manifest["outcome"] == "ok"

    printed = str(read_json(done.record)["cells"])
    assert f"1.10 True {root.name} {sys.executable}" in printed
    assert "given True False" in printed
    tags = [cell["metadata"].get("tags") for cell in read_json(done.record)["cells"]]
    assert tags[1:3] == [["parameters"], ["injected-parameters"]]

    lines = (done.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert [events[0]["event"], events[-1]["event"]] == ["run-start", "record-close"]
    assert sum(one["event"] == "cell-end" for one in events) == 6
    assert ("step 4/6 Look around", 3, 6) in watcher.seen
    assert watcher.seen[-1][1:] == (6, 6)


def test_a_bad_name_is_refused_before_anything_starts(make: Make, tmp_path: Path) -> None:
    """An unknown parameter ends a whole process in under a second, without a trace.

    By processor time, the best of three: nothing here waits, and the machine may be busy.
    """
    path = make(parameters("image: str = 'a'"), LOAD)
    options = json.dumps({"parameters": {"imag": "b"}})
    times = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(
            [sys.executable, HERE / "runner.py", path, tmp_path / "out", options],
            capture_output=True,
            check=False,
        )
        after = os.times()
        times.append(after[2] + after[3] - before[2] - before[3])
    took = min(times)
    print(f"refused in {took:.2f} s")  # the figure belongs in the log
    assert done.returncode == 2
    assert b"did you mean image?" in done.stderr
    assert b"Traceback" not in done.stderr
    assert took < 1.0
    assert not (tmp_path / "out").exists()


def test_wrong_limits_and_folders_are_refused(make: Make, tmp_path: Path) -> None:
    """A deadline of nothing and a working folder that is not there are bad input."""
    path = make(code("1"))
    with pytest.raises(InputError, match="deadline"):
        runbook.run(path, {}, deadline=0)
    with pytest.raises(InputError, match="working folder"):
        runbook.run(path, {}, cwd=tmp_path / "nowhere")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot be created"):
        runbook.run(path, {}, out=blocked)
    with pytest.raises(Problems):
        runbook.run(path, {"x": "1"})


def test_a_given_path_is_the_callers(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means the caller's folder, though the kernel works in the project."""
    path = make(parameters("from pathlib import Path\nwhere: Path = Path('d')"), LOAD, code("p"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = runbook.run(path, {"where": "sub"}, out=tmp_path / "out")
    assert done.result["parameters"] == {"where": str(Path.cwd() / "sub")}
    assert done.outcome == "ok"


def test_bytes_that_are_no_text_do_not_break_the_record(make: Make) -> None:
    """An error text with undecodable bytes leaves every file readable as UTF-8."""
    done = runbook.run(make(code("raise ValueError('x\\udcffy')")), {})
    assert done.outcome == "failed"
    for name in ("record.ipynb", "result.json", "manifest.json"):
        assert read_json(done.folder / name)
    assert done.html.read_bytes().decode()


def test_a_full_disk_is_one_clear_error(make: Make, tmp_path: Path) -> None:
    """When the record cannot be written the run stops and says so; the partial record is whole."""
    noise = "import random, time\nprint(random.randbytes(200_000).hex(), flush=True)\n"
    path = make(code(noise + "time.sleep(60)"))
    program = (
        "import resource, runpy, sys; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000)); "
        "sys.argv = sys.argv[1:]; "
        f"runpy.run_path({str(HERE / 'runner.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "runner", path, tmp_path / "out", "{}"],
        capture_output=True,
        check=False,
        timeout=120,
        env=dict(os.environ),
    )
    assert done.returncode == 1
    assert b"the record cannot be written: File too large" in done.stderr
    assert b"Traceback" not in done.stderr
    (record,) = (tmp_path / "out").glob("*/*/record.ipynb")
    assert read_json(record)["cells"]
    (summary,) = runbook.list_records(tmp_path / "out")
    assert summary.outcome == "interrupted"


def test_the_words_of_the_kernels_process_are_in_the_record(make: Make, capfd: Any) -> None:
    """What the kernel writes past its cells, as a crash does, is an event and not our stderr."""
    # ipykernel takes over descriptor 2, but for kernels that it finds below a test runner.
    way = "getattr(sys.stderr, '_original_stdstream_copy', None) or 2"
    aside = f"os.write({way}, b'the words of a crash')"
    path = make(code(f"import os, sys\n{aside}\nos.kill(os.getpid(), 9)"))
    done = runbook.run(path, {})
    assert done.outcome == "kernel-dead"
    events = [json.loads(one) for one in (done.folder / "events.jsonl").read_text().splitlines()]
    said = [one["text"] for one in events if one["event"] == "kernel-output"]
    assert said == ["the words of a crash"]
    assert "crash" not in "".join(capfd.readouterr())
