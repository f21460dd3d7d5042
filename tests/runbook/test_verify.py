"""Tamper evidence: whatever is done to a record's files is found, and named."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from opslib import runbook
from opslib.runbook import verify as module
from opslib.runbook.folder import RecordFolder
from opslib.runbook.verify import NoRecord, Problem, Verdict, headed, linked, verify

from .conftest import LOAD, Make, Runner, code, parameters, text, write

CELLS = (
    text("# Work\n\nWhat it does."),
    parameters("image: str = '1.10'\ncount: int = 3"),
    LOAD,
    text("## Plan — with “quotes” and ümlauts"),
    *(code(f"print('step {n}', image, 'ä' * {n})\n{{'n': {n}}}") for n in range(8)),
    text("## Look"),
    code(
        "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'), display_id='one')"
    ),
    code(
        "from IPython.display import update_display\n"
        "update_display(HTML('later'), display_id='one')"
    ),
    code("print('\\ud800 lone')"),
    code("runbook.report(revision='4f2a', applied=count)"),
    code("1 / 0"),
    code("print('never')"),
)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave one record of a run that failed in its last but one cell."""
    path = write(tmp_path_factory.mktemp("verify") / "notebooks" / "work.ipynb", *CELLS)
    return runbook.run(path, {"image": "2.0"}).folder


@pytest.fixture
def copy(record: Path, tmp_path: Path) -> Path:
    """Return a copy of the record that may be spoilt."""
    return Path(shutil.copytree(record, tmp_path / "elsewhere" / "renamed"))


def named(verdict: Verdict) -> list[str]:
    """Return the problems as text."""
    return [str(one) for one in verdict.problems]


def test_a_record_is_intact_wherever_its_folder_is(record: Path, copy: Path) -> None:
    """A finished record verifies, under another name as well, and says how much that was."""
    for folder in (record, copy):
        found = verify(folder)
        assert (found.state, named(found)) == ("intact", [])
    assert (found.files, found.cells) == (5, len(CELLS) + 1)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    assert found.head == manifest["head"]
    assert found.events == manifest["chain"]["count"]
    assert found.run_id == manifest["run_id"]


def test_a_copy_of_the_module_alone_does_it(copy: Path, tmp_path: Path) -> None:
    """Isolated Python, one file, another folder: exit codes 0, 1 and 2, and what is not proven."""
    alone = shutil.copyfile(module.__file__, tmp_path / "verify.py")
    words = [sys.executable, "-I", "-S", str(alone)]

    def run(*more: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, *map(str, more)], cwd="/", capture_output=True, text=True, check=False
        )

    good = run(copy)
    assert good.returncode == 0, good.stderr
    assert "intact" in good.stdout
    assert "What this does not prove" in good.stdout
    (copy / "record.html").write_text("other")
    bad = run("--json", copy)
    assert bad.returncode == 1
    (verdict,) = json.loads(bad.stdout)
    assert [one["file"] for one in verdict["problems"]] == ["record.html"]
    for wrong in ([], [tmp_path / "nowhere"], [tmp_path], ["--what"], [alone]):
        assert run(*wrong).returncode == 2


# --- 1,000 random ways to spoil a record -------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Where a mutation was made: the verdict must name it."""

    file: str
    cell: int | None = None
    line: int | None = None
    name: str = ""

    def by(self, one: Problem) -> bool:
        near = self.line is None or (one.line is not None and abs(one.line - self.line) <= 1)
        place = near or (one.name != "" and one.name.split(".")[0] == self.name)
        return one.file == self.file and (self.cell is None or one.cell == self.cell) and place


def _cell_lines(lines: list[bytes]) -> dict[int, int]:
    """Return the cell of each line of a notebook file, by number from 0."""
    found, cell = {}, -1
    for number, line in enumerate(lines):
        cell += line == b"  {\n"
        if line.startswith(b" ],"):
            break
        if cell >= 0:
            found[number] = cell
    return found


def _place(name: str, data: bytes, at: int) -> Wanted:
    """Return what a change at this byte has to be named as."""
    lines = data.splitlines(keepends=True)
    line = data[:at].count(b"\n")
    if name == "record.ipynb":
        return Wanted(name, cell=_cell_lines(lines).get(line))
    if name == "events.jsonl":
        return Wanted(name, line=line + 1)
    if name == "manifest.json":
        fields = [one.split(b'"')[1].decode() for one in lines[: line + 1] if one[:3] == b'  "']
        return Wanted(name, line=line + 1, name=fields[-1] if fields else "")
    return Wanted(name)


def _bytes(folder: Path, dice: random.Random) -> Wanted:
    """Change, remove, insert, or swap bytes of one file, or cut it off."""
    name = dice.choice(NAMES)
    data = (folder / name).read_bytes()
    at = dice.randrange(len(data) - 1)
    kind = dice.choice(["change", "remove", "insert", "swap", "cut", "bit"])
    length = dice.choice([1, 1, 2, 9])
    new = {
        "change": data[:at] + bytes(dice.choices(range(256), k=length)) + data[at + length :],
        "bit": data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :],
        "remove": data[:at] + data[at + length :],
        "insert": data[:at] + dice.choice([b" ", b"\n", b'"', b"0", b"{}", b"\0"]) + data[at:],
        "swap": data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :],
        "cut": data[:at],
    }[kind]
    if new == data:
        return _bytes(folder, dice)
    first = next(
        (n for n, (a, b) in enumerate(zip(new, data, strict=False)) if a != b),
        min(len(new), len(data)),
    )
    (folder / name).write_bytes(new)
    return _place(name, data, first)


def _cells(folder: Path, dice: random.Random) -> Wanted:
    """Change, delete, add, repeat or move a cell, as somebody with an editor would."""
    path = folder / "record.ipynb"
    nb = json.loads(path.read_bytes())
    cells, at = nb["cells"], dice.randrange(len(nb["cells"]))
    kind = dice.choice(["source", "output", "outcome", "delete", "add", "move", "id", "time"])
    code_cells = [n for n, one in enumerate(cells) if one.get("outputs")]
    if kind == "source":
        cells[at]["source"] = [*cells[at]["source"], "# more"]
    elif kind == "output":
        at = dice.choice(code_cells)
        cells[at]["outputs"] = cells[at]["outputs"][:-1]
    elif kind in {"outcome", "time"}:
        at = dice.choice(code_cells)
        field = {"outcome": "outcome", "time": "started"}[kind]
        cells[at]["metadata"]["opslib"][field] = "never"
    elif kind == "id":
        cells[at]["id"] = "other"
    elif kind == "delete":
        del cells[at]
    elif kind == "add":
        cells.insert(at, {**cells[dice.randrange(len(cells))], "id": "new"})
    else:
        other = dice.choice([n for n in range(len(cells)) if n != at])
        cells[at], cells[other] = cells[other], cells[at]
    path.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=True) + "\n")
    return Wanted("record.ipynb", cell=at)


def _events(folder: Path, dice: random.Random) -> Wanted:
    """Change, delete, add, repeat or move event lines; the hash of the line is made to fit."""
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = dice.randrange(len(lines))
    kind = dice.choice(["forge", "delete", "repeat", "move", "add", "tail"])
    if kind == "forge":
        event = json.loads(lines[at])
        prev = event.pop("prev")
        del event["hash"]
        lines[at] = linked(json.dumps({**event, "time": "2020-01-01T00:00:00Z"}), prev)[0]
    elif kind == "delete":
        del lines[at]
    elif kind == "repeat":
        lines.insert(at, lines[dice.randrange(len(lines))])
    elif kind == "add":
        lines.insert(at, linked(json.dumps({"seq": at + 1, "event": "x"}), "0" * 64)[0])
    elif kind == "tail":
        at = max(1, at)
        del lines[at:]
    else:
        other = dice.choice([n for n in range(len(lines)) if n != at])
        lines[at], lines[other] = lines[other], lines[at]
    path.write_bytes(b"".join(lines))
    return Wanted("events.jsonl", line=at + 1)


def _files(folder: Path, dice: random.Random) -> Wanted:
    """Delete, add, replace or swap whole files."""
    kind = dice.choice(["delete", "add", "swap", "empty", "below", "link"])
    name = dice.choice(NAMES)
    if kind == "delete":
        (folder / name).unlink()
    elif kind == "empty":
        (folder / name).write_bytes(b"")
    elif kind == "swap":
        other = dice.choice([one for one in NAMES if one != name])
        data = (folder / name).read_bytes()
        (folder / name).write_bytes((folder / other).read_bytes())
        (folder / other).write_bytes(data)
    elif kind == "link":
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder.parent / "target").write_bytes(data)
        (folder / name).symlink_to(folder.parent / "target")
    else:
        new = dice.choice(["x", ".hidden", "record.ipynb~", "anchors.json", "manifest.json.sig"])
        name = f"evidence/{new}" if kind == "below" else new
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(dice.randbytes(9))
    return Wanted(name)


def _fields(folder: Path, dice: random.Random) -> Wanted:
    """Change, delete or add a field of the manifest, and make its head fit."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["head"]
    name = dice.choice(list(manifest))
    kind = dice.choice(["change", "delete", "add", "file", "cell"])
    if kind == "change":
        manifest[name] = "other"
    elif kind == "delete":
        del manifest[name]
    elif kind == "add":
        name = "approved_by"
        manifest[name] = "somebody"
    elif kind == "file":
        name = "files"
        one = dice.choice([one for one in manifest["files"] if one != "events.jsonl"])
        manifest["files"][one] = {"sha256": "0" * 64, "size": 1}
    else:
        name = "cells"
        manifest["cells"][dice.randrange(len(manifest["cells"]))]["sha256"] = "0" * 64
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    path.write_text(headed(text)[0], encoding="utf-8")
    return Wanted("manifest.json", name=name, line=0)


NAMES = ("record.ipynb", "record.html", "result.json", "events.jsonl", "manifest.json")
KINDS: tuple[Callable[[Path, random.Random], Wanted], ...] = (
    *(_bytes, _bytes, _bytes, _cells, _cells, _events, _events, _files, _fields),
)


def _touched(record: Path, folder: Path) -> set[str]:
    """Return the files that are not those of the record any more."""

    def read(place: Path) -> dict[str, object]:
        files = (one for one in place.rglob("*") if not one.is_dir())
        return {
            one.relative_to(place).as_posix(): one.is_symlink() or one.read_bytes() for one in files
        }

    before, after = read(record), read(folder)
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_a_thousand_mutations_are_found_and_named(record: Path, tmp_path: Path) -> None:
    """Every one is found; 95 % at least are named to the file and the cell, line or field."""
    dice = random.Random(5)  # noqa: S311  # the same mutations in each run
    found, right, missed = Counter[str](), Counter[str](), []
    folder, innocent = tmp_path / "work" / "copy", 0
    for number in range(1000):
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(record, folder)
        mutate = KINDS[number % len(KINDS)]
        wanted = mutate(folder, dice)
        verdict = verify(folder)
        found[mutate.__name__] += verdict.state == "changed"
        touched = _touched(record, folder)
        innocent += sum(one.file not in touched for one in verdict.problems)
        good = any(wanted.by(one) for one in verdict.problems)
        right[mutate.__name__] += good
        if not good:
            missed.append(f"{mutate.__name__} {wanted}: {named(verdict)}")
    print("\n".join(missed[:40]))
    print(f"found {found.total()} of 1000: {dict(found)}")
    print(f"named to file and cell, line or field: {right.total()} of 1000: {dict(right)}")
    print(f"files named that were not touched: {innocent}")
    assert innocent == 0
    assert found.total() == 1000
    assert right.total() >= 950


# --- records without an end, and folders of strangers ------------------------------------------

LONG = (
    text("# Long"),
    *(code(f"print({n})") for n in range(4)),
    code("import time\nprint('wait')\ntime.sleep(60)"),
    code("print('after')"),
)


def test_a_killed_run_is_unfinished_and_intact_so_far(
    start: Callable[..., Runner], make: Make, tmp_path: Path
) -> None:
    """While it runs and after kill -9 the record verifies up to its last event; changes show."""
    runner = start(make(*LONG))
    runner.said("wait")
    going_on = verify(runner.folder())
    assert (going_on.state, named(going_on)) == ("unfinished", [])
    runner.process.kill()
    runner.process.communicate()
    folder = runner.folder()
    found = verify(folder)
    assert (found.state, named(found)) == ("unfinished", [])
    assert found.events == len(runner.events())
    assert f"intact up to event {found.events}" in str(found)
    spoilt: dict[str, Callable[[bytes], bytes]] = {
        "record.ipynb": lambda data: data.replace(b"print(2)", b"print(3)"),
        "result.json": lambda data: data.replace(b"running", b"ok"),
        "events.jsonl": lambda data: data.replace(b'"cell": 1', b'"cell": 9', 1),
    }
    for name, spoil in spoilt.items():
        copy = Path(shutil.copytree(folder, tmp_path / "copies" / name))
        (copy / name).write_bytes(spoil((copy / name).read_bytes()))
        assert {one.file for one in verify(copy).problems} == {name}
    copy = Path(shutil.copytree(folder, tmp_path / "copies" / "output"))
    nb = json.loads((copy / "record.ipynb").read_bytes())
    nb["cells"][3]["outputs"] = []
    (copy / "record.ipynb").write_text(json.dumps(nb))
    assert named(verify(copy)) == ["record.ipynb, cell 4: this cell was changed"]
    (copy / "manifest.json").write_text("{}")
    assert "manifest.json" in {one.file for one in verify(copy).problems}


WRITER = """
import json, sys
from pathlib import Path
from opslib.runbook.folder import RecordFolder
folder = RecordFolder(Path(sys.argv[1]))
folder.event("run-start", run_id="r", runbook="w")
folder.write("result.json", "{}")
cell = {"id": "a", "cell_type": "code", "source": ["1"], "outputs": [],
        "metadata": {"opslib": {"outcome": "ok"}}}
sys.stdout.write("go"); sys.stdout.flush()
number = 0
while True:
    number += 1
    cell["outputs"] = [number]
    folder.event("cell-end", cell=0)
    folder.write("record.ipynb", json.dumps({"cells": [cell]}), sync=False)
    folder.write("result.json", json.dumps({"number": number}), sync=False)
"""


def test_kills_at_random_moments_leave_records_that_verify(tmp_path: Path) -> None:
    """A writer that does nothing but write, killed 60 times: no record is called changed."""
    dice = random.Random(1)  # noqa: S311  # any moments do
    states, events = Counter[str](), 0
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        with subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=-1) as writer:
            try:
                assert writer.stdout is not None
                writer.stdout.read(2)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    writer.wait(dice.random() / 20)
            finally:
                writer.kill()
        found = verify(folder)
        assert found.ok, str(found)
        states[found.state] += 1
        events += found.events
    print(f"60 kills, {events} events in all: {dict(states)}")
    assert states == {"unfinished": 60}


def test_a_record_that_is_being_written_is_never_called_changed(tmp_path: Path) -> None:
    """Reading and writing at once: 100 looks at a record that grows all the time."""
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=-1) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.read(2)
            wrong = [str(found) for _ in range(100) if not (found := verify(tmp_path)).ok]
        finally:
            writer.kill()
    assert wrong == []


def test_hostile_folders_are_told_apart_and_crash_nothing(copy: Path, tmp_path: Path) -> None:
    """Links, pipes, odd names, endless nesting and sizes: named or refused, never followed."""
    secret = tmp_path / "secret"
    secret.write_text("not to be read")
    (copy / "link").symlink_to(secret)
    (copy / "loop").symlink_to(copy)
    os.mkfifo(copy / "pipe")
    os.mkfifo(copy / "manifest.json.sig")
    odd = os.fsencode(copy) + b"/\xff\x1b[2J\n.txt"
    Path(os.fsdecode(odd)).write_text("x")
    (copy / "\u202egnp.exe").write_text("x")
    with (copy / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    found = verify(copy)
    assert {one.file for one in found.problems} >= {"link", "loop", "pipe", "huge"}
    assert found.state == "changed"
    printed = str(found)
    assert printed.replace("\n", "").isprintable()
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    printed.encode()

    deep = "[" * 100_000
    bad = {
        "manifest.json": [deep, '{"files": ' + deep, "[]", "null", "1e999", "", "\0", '"\ud800"'],
        "events.jsonl": [deep + "\n", "{}\n" * 1000, "\n", "", "x" * (1 << 20)],
        "record.ipynb": [deep, '{\n "cells": [' + deep, "{}", '{"cells": 3}', ""],
    }
    for name, contents in bad.items():
        for content in contents:
            before = (copy / name).read_bytes()
            (copy / name).write_bytes(content.encode("utf-8", "surrogatepass"))
            assert name in {one.file for one in verify(copy).problems}, content[:20]
            (copy / name).write_bytes(before)
    for depth in range(100, 1200, 50):
        for name in bad:
            before = (copy / name).read_bytes()
            nested = "[" * depth + "]" * depth
            text = {"record.ipynb": f'{{\n "cells": [{nested}]}}', "events.jsonl": nested + "\n"}
            (copy / name).write_text(text.get(name, f'{{"files": {nested}}}'))
            assert verify(copy).state == "changed"
            (copy / name).write_bytes(before)
    lies = {
        "files": [3, [], {"../../secret": {"sha256": 1}}],
        "cells": [3, [[]], {}],
        "chain": [3, {"count": "x"}],
    }
    for name, values in lies.items():
        for value in values:
            spoil_manifest(copy, name, value)
            assert verify(copy).state == "changed"
    for wrong in (tmp_path, tmp_path / "nowhere", secret):
        with pytest.raises(NoRecord):
            verify(wrong)


def spoil_manifest(folder: Path, name: str, value: object) -> None:
    """Set one field of a manifest and make its head fit."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["head"]
    (folder / "manifest.json").write_text(
        headed(json.dumps({**manifest, name: value}, indent=2))[0]
    )


def test_a_full_disk_leaves_no_torn_event(tmp_path: Path) -> None:
    """A line that does not fit is taken back: what was written before still verifies."""
    script = WRITER.replace(
        "number = 0\n",
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\nnumber = 0\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, check=False
    )
    assert b"the record cannot be written" in done.stderr
    found = verify(tmp_path)
    assert (found.state, named(found)) == ("unfinished", [])


def test_what_a_run_drops_may_be_gone(tmp_path: Path) -> None:
    """A file for the time of the run alone is dropped by an event; another one is missed."""
    record = RecordFolder(tmp_path)
    record.event("run-start", run_id="r", runbook="w", sync=True)
    for name in ("parts/one", "parts/two", "kept"):
        record.write(name, name)
    assert verify(tmp_path).ok
    record.drop("parts")
    record.close()
    assert not (tmp_path / "parts").exists()
    assert verify(tmp_path).ok
    (tmp_path / "kept").unlink()
    assert named(verify(tmp_path)) == ["kept: this file was deleted"]
