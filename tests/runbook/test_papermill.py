"""The same notebooks under papermill itself: its command line, and our engine in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import LOAD, Make, code, outcomes, parameters, read_json

CELLS = (
    parameters("image: str = '1.9'\napply: bool = False"),
    LOAD,
    code("print('image', p.image, 'apply', p.apply)\nrunbook.report(applied=1)"),
)


def papermill(notebook: Path, *options: str) -> tuple[int, str, Path]:
    """Run papermill's command line; return its exit code, its output and the executed notebook."""
    executed = notebook.with_name("executed.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", notebook, executed, "--kernel", "python3", *options],
        capture_output=True,
        check=False,
        timeout=60,
        env=dict(os.environ),
    )
    return done.returncode, (done.stdout + done.stderr).decode(), executed


def test_a_plain_run_works(make: Make) -> None:
    """Without opslib's runner the notebook runs and shows its report."""
    code_, _, executed = papermill(make(*CELLS), "-r", "image", "1.10", "-p", "apply", "false")
    assert code_ == 0
    printed = executed.read_text(encoding="utf-8")
    assert "image 1.10 apply False" in printed
    assert "applied: 1" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-p", "image", "1.10"), "parameter image cannot be 1.1"),
        (("-p", "apply", "maybe"), "parameter apply cannot be 'maybe'"),
        (("-p", "imag", "x"), "did you mean image?"),
    ],
)
def test_a_plain_run_is_checked_in_the_kernel(
    make: Make, options: tuple[str, ...], words: str
) -> None:
    """A bad parameter ends a bare papermill run in its first cell, without a stack trace."""
    exit_code, printed, executed = papermill(make(*CELLS), *options)
    assert exit_code == 1
    assert words in printed
    cells = read_json(executed)["cells"]
    assert "image " not in str(cells[-1]["outputs"])
    assert "site-packages" not in str([cell.get("outputs") for cell in cells])


def test_our_engine_under_papermills_own_function(make: Make, tmp_path: Path) -> None:
    """papermill.execute_notebook(engine_name="opslib") gets true outcomes and its exit code."""
    path = make(*CELLS, code("import os\nos._exit(3)"), code("1"))
    program = (
        "import sys, papermill; from opslib.runbook import engine; engine.register();"
        "from nbclient.exceptions import DeadKernelError\n"
        "try: papermill.execute_notebook(sys.argv[1], sys.argv[2], engine_name='opslib')\n"
        "except DeadKernelError as error: print(error); sys.exit(138)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "x.ipynb"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 138, done.stderr.decode()
    assert b"exit code 3" in done.stdout
    assert outcomes(tmp_path / "x.ipynb") == ["ok", "ok", "ok", "kernel-dead", "never-run"]
