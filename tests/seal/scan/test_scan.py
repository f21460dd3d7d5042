"""The verb: working tree, index and history of real Git; exceptions; SARIF; exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from opslib.cli.main import run
from opslib.seal.scan import collect

from . import pasts
from .values import Values

_HEAD = "apiVersion: opslib.dev/v1\nkind: ScanExceptions\nexceptions:\n"


def _git(folder: Path, *words: str) -> str:
    env = {**os.environ, "GIT_AUTHOR_NAME": "Ada", "GIT_COMMITTER_NAME": "Ada"}
    env |= {"GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_EMAIL": "a@example.com"}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, env=env
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    _git(folder, "init", "-q", "-b", "main")
    (folder / "a.yaml").write_text("mode: fast\n")
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "first")
    return folder


def _secret(folder: Path, name: str = "secret.yaml", seed: int = 1) -> str:
    value = Values(seed).letters()
    text = (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\nstringData:\n  password: {value}\n"
    )
    (folder / name).write_text(text)
    return value


def _scan(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    code = run(["scan", *words, "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out), out.out + out.err


def test_a_working_tree_exits_0_clean_1_leaking_2_bad(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """New files count, ignored ones are told of; the value is in no output; a wrong path is 2."""
    assert _scan(capsys, str(repository))[0] == 0
    value = _secret(repository)
    (repository / ".gitignore").write_text("local/\n")
    (repository / "local").mkdir()
    _secret(repository / "local", seed=2)
    code, report, shown = _scan(capsys, str(repository))
    assert code == 1
    (one,) = report["findings"]
    assert (one["line"], one["key"], one["kind"]) == (5, "/stringData/password", "secret-value")
    assert one["path"].endswith("secret.yaml")
    assert value not in shown
    assert "ignores" in report["notes"][0]
    assert len(_scan(capsys, str(repository), "--ignored")[1]["findings"]) == 2
    assert run(["scan", str(repository / "nothing")]) == 2
    assert run(["scan", "--staged", "--history"]) == 2


def test_staged_is_what_is_in_the_index(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A leak that is staged counts though the file is mended; one that is not staged does not."""
    _secret(repository)
    assert _scan(capsys, str(repository), "--staged")[0] == 0
    _git(repository, "add", ".")
    (repository / "secret.yaml").write_text("mode: fast\n")
    code, report, _ = _scan(capsys, str(repository), "--staged")
    assert (code, [one["path"] for one in report["findings"]]) == (1, ["secret.yaml"])


def test_history_names_the_first_commit_and_whether_head_still_has_it(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Removed, kept, on another branch, in a stash, in a message, in a merge: each is told once."""
    values = [_secret(repository, "gone.yaml", 1), _secret(repository, "kept.yaml", 2)]
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-m", "both")
    first = _git(repository, "rev-parse", "HEAD")
    (repository / "kept.yaml").write_text((repository / "kept.yaml").read_text() + "# more\n")
    _git(repository, "rm", "-q", "gone.yaml")
    _git(repository, "commit", "-q", "-am", "one is gone")
    _git(repository, "checkout", "-q", "-b", "side")
    values.append(_secret(repository, "side.yaml", 3))
    _git(repository, "add", ".")
    token = Values(4).token_of("github")
    _git(repository, "commit", "-q", "-m", f"side with {token}")
    _git(repository, "checkout", "-q", "main")
    _secret(repository, "a.yaml", 5)
    _git(repository, "stash", "-q")
    code, report, shown = _scan(capsys, str(repository), "--history")
    found = {one["path"]: one for one in report["findings"]}
    assert code == 1
    assert set(found) == {"gone.yaml", "kept.yaml", "side.yaml", "a.yaml", collect.MESSAGE}
    assert (found["gone.yaml"]["commit"], found["gone.yaml"]["in_head"]) == (first, False)
    assert found["gone.yaml"]["author"] == "Ada"
    assert (found["kept.yaml"]["commit"], found["kept.yaml"]["head"]) == (first, "kept.yaml:5")
    assert found["kept.yaml"]["versions"] == 2
    assert not [value for value in (*values, token) if value in shown]


def test_exceptions_excuse_until_their_day_and_are_told_when_they_are_of_no_use(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that holds, one that ended, one that matches nothing; mistakes are named with lines."""
    _secret(repository, "one.yaml")
    _secret(repository, "two.yaml")
    rows = [
        ("one.yaml", "password", "2999-01-01"),
        ("two.yaml", "*", "2020-01-01"),
        ("three/**", "*", "2999-01-01"),
    ]
    text = "".join(
        f"- path: {path}\n  key: '{key}'\n  reason: a test\n  expires: {day}\n"
        for path, key, day in rows
    )
    (repository / "scan.yaml").write_text(_HEAD + text)
    code, report, _ = _scan(capsys, str(repository))
    assert code == 1
    assert [Path(one["path"]).name for one in report["findings"]] == ["two.yaml"]
    assert [Path(one["path"]).name for one in report["excused"]] == ["one.yaml"]
    notes = " ".join(report["notes"])
    assert "expired on 2020-01-01: 1 findings count again" in notes
    assert "three/** * matches nothing" in notes
    (repository / "scan.yaml").write_text(_HEAD + "- path: a\n  value: x\n- path: b\n")
    code, report, _ = _scan(capsys, str(repository))
    assert code == 2
    assert [p["where"].rpartition(":")[2] for p in report["error"]["problems"]] == ["4", "6"]


def test_what_cannot_be_read_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is too large is named and a finding; a picture is named and none."""
    with open(tmp_path / "large.txt", "wb") as stream:
        stream.truncate(40 * 1024 * 1024)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    code, report, _ = _scan(capsys, str(tmp_path))
    assert code == 1
    assert [(one["kind"], Path(one["path"]).name) for one in report["findings"]] == [
        ("unread", "large.txt")
    ]
    assert {Path(one["path"]).name for one in report["unread"]} == {"a.png", "large.txt"}


def test_sarif_fits_its_schema(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is that of OASIS, without its descriptions; suppressions and history are in."""
    value = _secret(repository)
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-m", "leak")
    schema = json.loads(Path(__file__).with_name("sarif-2.1.0.json").read_text())
    for words in ([str(repository)], [str(repository), "--history"]):
        assert run(["scan", *words, "--sarif"]) == 1
        shown = capsys.readouterr().out
        document = json.loads(shown)
        jsonschema.Draft4Validator(schema).validate(document)
        assert len(document["runs"][0]["results"]) == 1
        assert value not in shown


def test_a_long_history_is_read_in_time(tmp_path: Path) -> None:
    """800 commits: every planted value is found, with its file and whether HEAD has it."""
    past = pasts.make(tmp_path / "past", 800, 12)
    started = time.process_time()
    report = collect.history(past.folder)
    took = time.process_time() - started
    found = {one.path: one for one in report.findings}
    print(f"\n{report.commits} commits, {report.files} contents: {took:.1f} s of processor time")
    assert {path for path, _, _ in past.planted.values()} == set(found)
    for path, _, kept in past.planted.values():
        origin = found[path].origin
        assert origin is not None
        assert bool(origin.head) == kept
    assert took < 20
