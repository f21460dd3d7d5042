"""A record that leaves the house: one file, the same bytes each time, verified without opslib."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opslib import runbook
from opslib.cli.main import run as cli
from opslib.core.errors import InputError
from opslib.runbook.bundle import bundle

from .conftest import code, text, write


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave one record."""
    path = write(tmp_path_factory.mktemp("bundle") / "notebooks" / "work.ipynb", text("# Work"),
                 code("print('ä')"))  # fmt: skip
    return runbook.run(path, {}).folder


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bundle_verifies_itself_anywhere(kind: str, record: Path, tmp_path: Path) -> None:
    """All files are in it, with a program that needs Python alone, and words on how to use it."""
    one = bundle(record, tmp_path / f"one.{kind}")
    two = bundle(Path(shutil.copytree(record, tmp_path / "copy" / record.name)),
                 tmp_path / f"two.{kind}")  # fmt: skip
    digest = hashlib.sha256(one.read_bytes()).hexdigest()
    assert digest == hashlib.sha256(two.read_bytes()).hexdigest()
    place = tmp_path / "elsewhere"
    shutil.unpack_archive(one, place)
    assert {file.name for file in place.iterdir()} == {"README.txt", "verify.py", record.name}
    for file in record.iterdir():
        assert (place / record.name / file.name).read_bytes() == file.read_bytes()
    said = (place / "README.txt").read_text()
    assert json.loads((record / "manifest.json").read_bytes())["head"] in said
    (line,) = [one.strip() for one in said.splitlines() if "python -I verify.py" in one]
    words = [sys.executable, *line.split()[1:]]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (place / record.name / "result.json").write_text("{}")
    assert subprocess.run(words, cwd=place, capture_output=True, check=False).returncode == 1


def test_what_cannot_be_taken_along_is_refused(record: Path, tmp_path: Path) -> None:
    """Links are named, no file is overwritten, another kind of bundle is none."""
    copy = Path(shutil.copytree(record, tmp_path / record.name))
    (copy / "link").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="cannot be taken along") as caught:
        bundle(copy, tmp_path / "x.zip")
    assert "link" in str(caught.value)
    (tmp_path / "there.zip").write_text("mine")
    for name in ("there.zip", "x.rar", "no/where.zip"):
        with pytest.raises(InputError):
            bundle(record, tmp_path / name)
    assert (tmp_path / "there.zip").read_text() == "mine"


def test_the_verbs(
    record: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`records verify` and `records export`: exit codes, JSON, a run id or a folder of records."""
    monkeypatch.chdir(tmp_path)
    out = str(record.parents[1])
    assert cli(["records", "verify", record.name[-6:], "--out", out]) == 0
    text = capsys.readouterr().out
    assert "intact" in text
    assert "What this does not prove" in text
    for words in ([out], ["--out", out], [str(record)]):
        assert cli(["records", "verify", *words, "--json"]) == 0
        (verdict,) = json.loads(capsys.readouterr().out)
        assert (verdict["state"], verdict["problems"]) == ("intact", [])
    copy = Path(shutil.copytree(record, tmp_path / "copy"))
    (copy / "record.html").unlink()
    assert cli(["records", "verify", str(copy), str(record)]) == 1
    assert "record.html: this file was deleted" in capsys.readouterr().out
    for wrong in (["nothing"], [str(tmp_path / "empty")], ["--trust", "no-file", str(record)]):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert cli(["records", "verify", *wrong, *(["--out", out] * (wrong == ["nothing"]))]) == 2
    assert cli(["records", "export", str(record), "--to", "a.tar.gz"]) == 0
    assert (tmp_path / "a.tar.gz").is_file()
    assert cli(["records", "export", "latest", "--out", out]) == 0
    assert (tmp_path / f"{record.name}.zip").is_file()
    assert cli(["records", "export", "latest", "--out", out]) == 2
    print("records verify and export: exit codes 0, 1, 2")
