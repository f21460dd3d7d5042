"""What is on disk while a run goes on: whole at any moment, and written little more than once."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest

from opslib.core.errors import InputError
from opslib.runbook import streams
from opslib.runbook.folder import RecordFolder
from opslib.runbook.payloads import CROWD, LARGE, Payloads, restore

from .conftest import Make, code, read_json

pytestmark = pytest.mark.timeout(600)  # several times what it takes at rest

KILLS = 1000
BIG = (
    "from IPython.display import HTML, display\nfrom plotly.offline import get_plotlyjs\n"
    "display(HTML('<script>' + get_plotlyjs() + '</script>'))"
)
COUNTED = (
    "import atexit, runpy, sys\n"
    "def tell():\n"
    "    with open('/proc/self/io') as lines:\n"
    "        print('wchar', dict(line.split(': ') for line in lines)['wchar'].strip())\n"
    "atexit.register(tell)\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def test_a_thousand_kills_leave_a_thousand_notebooks(tmp_path: Path) -> None:
    """After kill -9 at any moment the notebook is valid, whole, and not one save behind."""
    words = [sys.executable, "-m", "tests.runbook.writer", str(tmp_path), str(KILLS), "7"]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, check=False, timeout=560, cwd=root)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    print(found)
    assert found["valid"] == KILLS
    assert found["with_payloads"] > KILLS // 4
    assert found["half_written"] > 0, "no kill fell into a save: the moments are not random"


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="bytes are counted by Linux alone")
@pytest.mark.parametrize("door", ["opslib", "papermill"])
def test_five_megabytes_are_written_little_more_than_once(
    door: str, make: Make, tmp_path: Path
) -> None:
    """61 cells, one of them with plotly.js: the whole process writes at most 3 times the result.

    The system counts every byte of every file: the page and payloads too.
    """
    cells = [code(f"import time\ntime.sleep(0.1)\nprint({number})") for number in range(60)]
    path, out = make(code(BIG), *cells), tmp_path / "out.ipynb"
    words = {
        "opslib": ["opslib", "run", str(path)],
        "papermill": ["papermill", "--engine", "opslib", str(path), str(out)],
    }[door]
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *words], capture_output=True, check=True, timeout=120
    )
    written = int(done.stdout.decode().split("wchar ")[1])
    (record,) = (tmp_path / "outputs").glob("*/*/record.ipynb")
    size = record.stat().st_size
    asked = size + (out.stat().st_size if out.exists() else 0)
    print(f"{door}: {written / 1e6:.1f} MB written, notebooks of {asked / 1e6:.1f} MB")
    assert size > 4_500_000
    assert written <= 3 * asked
    assert not (record.parent / "payloads").exists()
    assert "payloads/" not in record.read_text(encoding="utf-8")
    if door == "papermill":
        assert not out.is_symlink()
        assert out.read_bytes() == record.read_bytes()


class Written:
    """Payloads in memory, with the bytes that were written."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def __call__(self, name: str, data: str) -> None:
        assert name not in self.files
        self.files[name] = data


def _cell(*outputs: Any) -> Any:
    return nbformat.v4.new_code_cell("1", outputs=list(outputs))


def _line(words: str) -> Any:
    return nbformat.v4.new_output("stream", name="stdout", text=words + "\n")


def test_a_growing_stream_is_written_apart_once(tmp_path: Path) -> None:
    """What a chatty cell prints goes into payloads piece by piece, also after it was joined."""
    apart = Written()
    payloads = Payloads(apart)
    nb = nbformat.v4.new_notebook(cells=[_cell()])
    everything = ""
    for number in range(400):
        nb.cells[0].outputs.append(_line(f"{number} {'x' * 1000}"))
        everything += nb.cells[0].outputs[-1]["text"]
        shown = payloads.shown(nb)
        assert len(str(shown)) < 2 * LARGE
    cell = nb.cells[0]
    cell.outputs = payloads.settle(0, cell.outputs, lambda: streams.join(cell.outputs))
    cell.outputs.append(nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[]))
    shown = payloads.shown(nb)
    nbformat.validate(shown)
    assert shown.cells[0].outputs[-1].ename == "E"
    size = sum(map(len, apart.files.values()))
    print(f"{len(everything)} characters printed, {size} written apart in {len(apart.files)} files")
    assert size < 1.2 * len(everything)
    _put(tmp_path, shown, apart)
    outputs = restore(tmp_path)["cells"][0]["outputs"]
    assert "".join("".join(one.get("text", "")) for one in outputs) == everything


def test_many_middling_outputs_are_written_apart_too() -> None:
    """Outputs below the limit do not add up to a large notebook that is saved again and again."""
    apart = Written()
    payloads = Payloads(apart)
    nb = nbformat.v4.new_notebook(cells=[_cell() for _ in range(60)])
    for index, cell in enumerate(nb.cells):
        cell.outputs = [_line("y" * (LARGE // 2))]
        cell.outputs = payloads.settle(index, cell.outputs, partial(streams.join, cell.outputs))
        payloads.shown(nb)
    assert len(str(payloads.shown(nb))) < 2 * CROWD
    assert sum(map(len, apart.files.values())) < 1.2 * 60 * LARGE // 2


def test_payloads_of_a_strange_record_are_refused(tmp_path: Path) -> None:
    """A record is hostile input: no path out of its folder, no broken file, is followed."""
    for name in ("../../etc/passwd", "payloads/../x.json.gz", "payloads/0001.json.gz"):
        about = {"opslib": {"payload": name}}
        note = nbformat.v4.new_output("display_data", data={"text/plain": ""}, metadata=about)
        _put(tmp_path, nbformat.v4.new_notebook(cells=[_cell(note)]), Written())
        with pytest.raises(InputError, match=r"payload|cannot be read"):
            restore(tmp_path)


def test_a_payload_is_compressed_and_counted(tmp_path: Path) -> None:
    """The folder writes payloads packed, counts bytes, and removes them at the end."""
    folder = RecordFolder(tmp_path)
    folder.write("payloads/0001.json.gz", json.dumps(["x" * 100_000]))
    path = tmp_path / "payloads" / "0001.json.gz"
    assert json.loads(gzip.decompress(path.read_bytes())) == ["x" * 100_000]
    assert folder.written == path.stat().st_size < 2000
    folder.drop_payloads()
    folder.close()
    assert os.listdir(tmp_path) == ["events.jsonl"]


def _put(folder: Path, nb: Any, apart: Written) -> None:
    (folder / "record.ipynb").write_text(nbformat.writes(nb), encoding="utf-8")
    (folder / "payloads").mkdir(exist_ok=True)
    for name, words in apart.files.items():
        (folder / name).write_bytes(gzip.compress(words.encode()))
    assert read_json(folder / "record.ipynb")["cells"]
