"""papermill --engine opslib: where the output goes, what is refused, what its callers get."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import papermill_io

from opslib.runbook import engine
from opslib.runbook.papermill_run import Ended, Failed, Refused

from .conftest import LOAD, Make, code, outcomes, parameters, read_json, wait_for

CELLS = (
    parameters("image: str = '1.9'\napply: bool = False"),
    LOAD,
    code("print('image', p.image, 'apply', p.apply)\nrunbook.report(applied=1)"),
)
Run = Callable[..., Any]


def command(*options: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run papermill's command line with our engine."""
    words = [sys.executable, "-m", "papermill", "--engine", "opslib", *map(str, options)]
    return subprocess.run(words, capture_output=True, check=False, timeout=120, cwd=cwd)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return papermill's function with our engine, called from the project's folder."""
    monkeypatch.chdir(tmp_path)
    engine.register()

    def execute(path: Any, out: Any, given: Any = None, **options: Any) -> Any:
        before = list(papermill_io._handlers)
        try:
            return papermill.execute_notebook(
                path, out, given, engine_name="opslib", progress_bar=False, **options
            )
        finally:
            assert papermill_io._handlers == before, "an entry was left in papermill's table"

    return execute


def test_a_plain_path_gets_a_copy_of_the_record(make: Make, tmp_path: Path) -> None:
    """The record is kept under outputs/, and OUT is the same bytes, with exact values."""
    done = command(make(*CELLS), "out.ipynb", "-r", "image", "1.10", "-p", "apply", "false",
                   cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (folder,) = (tmp_path / "outputs").glob("*/work-*")
    out = tmp_path / "out.ipynb"
    assert not out.is_symlink()
    assert out.read_bytes() == (folder / "record.ipynb").read_bytes()
    assert {one.name for one in folder.iterdir()} == {
        *("record.ipynb", "record.html", "result.json", "manifest.json", "events.jsonl")
    }
    result = read_json(folder / "result.json")
    assert result["parameters"] == {"image": "1.10", "apply": False}
    assert result["report"] == {"applied": 1}
    assert "image 1.10 apply False" in out.read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_path_leads_to_the_partial_record(make: Make, tmp_path: Path) -> None:
    """While the run goes on, and after kill -9, OUT is what the record is."""
    path = make(code("print('asleep', flush=True)\nimport time\ntime.sleep(60)"))
    out = tmp_path / "out.ipynb"
    words = [sys.executable, "-m", "papermill", "--engine", "opslib", str(path), str(out)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: out.exists() and "asleep\\n" in out.read_text(), "the output")
        process.send_signal(signal.SIGKILL)
    assert outcomes(out) == ["running"]
    assert out.resolve().parent.parent.parent == (tmp_path / "outputs").resolve()


def test_the_scheme_names_a_folder(make: Make, tmp_path: Path) -> None:
    """opslib://FOLDER/record.ipynb: records go below FOLDER; papermill can read one by it."""
    done = command(make(*CELLS), "opslib://kept/record.ipynb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    (folder,) = (tmp_path / "kept").glob("*/work-*")
    assert os.listdir(tmp_path / "kept" / folder.parent.name) == [folder.name]
    again = command(f"opslib://{folder}/record.ipynb", "opslib://again/record.ipynb", cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    (second,) = (tmp_path / "again").glob("*/*/result.json")
    assert read_json(second)["outcome"] == "ok"


def test_papermills_own_engine_keeps_no_record(make: Make, tmp_path: Path) -> None:
    """The scheme without the engine is refused, as what it would write is not true."""
    words = [sys.executable, "-m", "papermill", str(make(*CELLS)), "opslib://kept/record.ipynb"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 2
    assert b"add  --engine opslib" in done.stderr
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-p", "image", "1.10"), "parameter image cannot be 1.1"),
        (("-p", "apply", "maybe"), "parameter apply cannot be 'maybe'"),
        (("-p", "imag", "x"), "did you mean image?"),
        (("--log-output",), "log_output is not possible"),
    ],
)
def test_bad_input_is_refused_before_a_kernel(
    options: tuple[str, ...], words: str, make: Make, tmp_path: Path
) -> None:
    """Exit code 2 and one message; neither a record nor the output is begun."""
    done = command(make(*CELLS), "out.ipynb", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["notebooks"]


def test_standard_output_gets_the_record(make: Make, tmp_path: Path) -> None:
    """The path - is one notebook on standard output: the record's own text."""
    done = command(make(*CELLS), "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    (record,) = (tmp_path / "outputs").glob("*/*/record.ipynb")
    assert json.loads(done.stdout) == read_json(record)


def test_a_folder_that_is_not_there_is_told_first(run: Run, make: Make, tmp_path: Path) -> None:
    """An output that cannot be written is known before the run, not after it."""
    with pytest.raises(Refused, match="folder of the output") as found:
        run(make(*CELLS), tmp_path / "nowhere" / "out.ipynb")
    assert found.value.exit_code == 2
    with pytest.raises(Refused, match="the output is a folder"):
        run(make(*CELLS), tmp_path)


def test_callers_get_the_errors_that_they_know(run: Run, make: Make, tmp_path: Path) -> None:
    """Each end is an error of papermill or nbclient too, with the run's result and exit code."""
    ends: list[tuple[str, dict[str, Any], type[Exception], int]] = [
        ("1 / 0", {}, PapermillExecutionError, 1),
        ("import os\nos._exit(3)", {}, DeadKernelError, 138),
        ("import time\ntime.sleep(60)", {"execution_timeout": 1}, CellTimeoutError, 124),
        ("import time\ntime.sleep(60)", {"deadline": 4.0}, CellTimeoutError, 124),
    ]
    for source, options, kind, exit_code in ends:
        out = tmp_path / "out.ipynb"
        with pytest.raises(kind) as found:
            run(make(code(source), code("2")), out, **options)
        assert isinstance(found.value, Ended)
        assert found.value.exit_code == exit_code
        assert found.value.result is not None
        assert out.read_bytes() == found.value.result.record.read_bytes()
        assert outcomes(out)[1] == "never-run"
        if isinstance(found.value, Failed):
            assert (found.value.ename, found.value.cell_index) == ("ZeroDivisionError", 0)


def test_an_expected_error_is_no_failure(run: Run, make: Make, tmp_path: Path) -> None:
    """A cell tagged raises-exception: papermill goes on, and the file has the error as it was."""
    path = make(code("1 / 0", "raises-exception"), code("print('on')"))
    nb = run(path, tmp_path / "out.ipynb")
    assert [one.output_type for one in nb.cells[0].outputs] == ["stream"]
    cells = read_json(tmp_path / "out.ipynb")["cells"]
    assert [one["output_type"] for one in cells[0]["outputs"]] == ["error"]
    assert cells[1]["outputs"][0]["text"] == ["on\n"]


def test_a_notebook_from_elsewhere(run: Run, make: Make, tmp_path: Path) -> None:
    """A notebook in memory has no file: it runs where the caller is, its records go there too."""
    import nbformat

    nb = nbformat.read(make(*CELLS), as_version=4)
    done = run(nb, None, {"image": "2.0"})
    assert "image 2.0" in str(done.cells[-1].outputs)
    (result,) = (tmp_path / "outputs").glob("*/notebook-*/result.json")
    assert read_json(result)["outcome"] == "ok"
