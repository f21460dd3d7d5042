"""All that is sealed in a repository: who, for which key, what is stale; renewed, backed up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from signing import People, people

from opslib.core.errors import InputError, OpslibError
from opslib.seal import pins, recovery, reencrypt
from opslib.seal.emit import render
from opslib.seal.sealed import read_sealed
from opslib.seal.sealing import Noting, Options, seal
from opslib.seal.secret import read_secrets

from .conftest import Verb
from .parts import Pair, dumped, secret

CONTENTS = """\
# what the shop keeps
%s  # its end
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beside}
"""


def git(repo: Path, *words: str) -> str:
    """Run git as Ada."""
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    done = subprocess.run(
        ["git", "-C", str(repo), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _text(pair: Pair, name: str, values: dict[str, str], *, noted: bool = True) -> str:
    noting = Noting(date(2026, 1, 5), "ada@example.com", date(2026, 4, 5)) if noted else None
    document = secret(values, name, metadata={"labels": {"app": "shop"}})
    made = seal(read_secrets(dumped(document), "in"), pair.certificate, Options(noting=noting))
    made[0].manifest["spec"]["template"]["data"] = {"url": "x://{{ .a }}", "none": None}
    return render([made[0].manifest], "yaml")


@pytest.fixture
def repo(one: Pair, two: Pair, tmp_path: Path) -> Path:
    """Return a repository: two files of the old key, one of the new one, one from kubeseal."""
    folder = tmp_path / "repo"
    (folder / "apps").mkdir(parents=True)
    git(tmp_path, "init", "-q", str(folder))
    for setting, value in (("user.name", "Ada"), ("user.email", "ada@example.com")):
        git(folder, "config", setting, value)
    pins.pin(pins.find(folder), "production", two.fingerprint)
    pins.pin(pins.find(folder), "production", one.fingerprint)
    old = _text(two, "db", {"a": "1", "b": "2"}).removeprefix("---\n").rstrip()
    (folder / "apps" / "db.yaml").write_text(CONTENTS % old)
    (folder / "apps" / "web.yaml").write_text(_text(two, "web", {"a": "3"}))
    (folder / "apps" / "new.yaml").write_text(_text(one, "new", {"a": "4"}))
    (folder / "apps" / "kubeseal.yaml").write_text(_text(two, "old", {"a": "5"}, noted=False))
    (folder / "apps" / "broken.yaml").write_text("{{ helm }}")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "sealed")
    return folder


def test_status_says_key_state_who_and_when(seal: Verb, repo: Path) -> None:
    """Each value with its state; --stale and --due choose; --strict fails when a row is left."""
    rows = json.loads(seal("status", repo, "--json").out)["values"]
    states = {(row["name"], row["key"]): row["state"] for row in rows}
    assert states == {
        ("db", "a"): "stale",
        ("db", "b"): "stale",
        ("web", "a"): "stale",
        ("new", "a"): "current",
        ("old", "a"): "unknown",
    }
    head = git(repo, "rev-parse", "HEAD")
    assert {(row["commit"], row["author"]) for row in rows} == {(head, "Ada")}
    assert all(row["due"] for row in rows if row["name"] != "old")
    assert len(json.loads(seal("status", repo, "--stale", "--json").out)["values"]) == 3
    assert seal("status", repo, "--stale", "--strict").code == 1
    shown = seal("status", repo).out
    assert "shop/db a" in shown
    assert "5 values: 1 current, 3 stale, 1 unknown" in shown


def test_private_keys_tell_the_key_of_what_has_no_note(
    seal: Verb, repo: Path, two: Pair, tmp_path: Path
) -> None:
    """With the backup at hand the key of each value is known, and no value is decrypted."""
    (tmp_path / "two.pem").write_bytes(two.pem)
    words = ("--recovery-private-key", tmp_path / "two.pem", "--json")
    rows = json.loads(seal("status", repo / "apps" / "kubeseal.yaml", *words).out)["values"]
    assert [(row["state"], row["fingerprint"]) for row in rows] == [("stale", two.fingerprint)]


@pytest.fixture(scope="module")
def signers() -> Iterator[People]:
    """Make keyrings for the tests of this file."""
    with people() as made:
        yield made


def test_only_a_good_signature_proves_who_sealed(
    seal: Verb, repo: Path, one: Pair, signers: People, tmp_path: Path
) -> None:
    """The signer of the commit that wrote the line is named; another's signature is not good."""
    ada, eve = signers.key("ada"), signers.key("eve", "eve@example.com")
    (tmp_path / "trusted").write_text(ada.line())
    (tmp_path / "one.pem").write_bytes(one.cert)
    for name, key in (("new.yaml", ada), ("web.yaml", eve)):
        words = (repo / "apps" / name, "a", "--cert", tmp_path / "one.pem")
        assert seal("set", *words, stdin=b"fresh").code == 0
        git(repo, *key.git, "commit", "-qam", "set", "-S")
    rows = json.loads(seal("status", repo, "--trust", tmp_path / "trusted", "--json").out)["values"]
    told = {row["name"]: (row["signed"], row["problem"]) for row in rows}
    assert told["new"][0].startswith("ada@example.com (key SHA256:")
    assert told["web"][0] == ""
    assert "is not among the trusted ones" in told["web"][1]
    assert told["old"] == ("", "it is not signed")


def test_git_remembers_names_of_values_without_notes(seal: Verb, repo: Path) -> None:
    """A value from kubeseal in an object that was renamed later: the commit tells its name."""
    path = repo / "apps" / "kubeseal.yaml"
    path.write_text(path.read_text().replace("  name: old\n", "  name: renamed\n"))
    git(repo, "commit", "-qam", "renamed")
    done = seal("check", path)
    assert done.code == 1
    assert "name: SealedSecret shop/renamed a: it was sealed for the name old (as of commit" in (
        done.out
    )
    assert seal("check", path, "--no-history").code == 0


def test_reencrypt_a_repository_as_one_commit(
    seal: Verb, repo: Path, one: Pair, two: Pair, tmp_path: Path
) -> None:
    """Old values get the new key; comments, templates and labels stay; one commit, and no more."""
    (tmp_path / "two.pem").write_bytes(two.pem)
    (tmp_path / "one.pem").write_bytes(one.cert)
    before = {path.name: path.read_text() for path in (repo / "apps").iterdir()}
    head = git(repo, "rev-parse", "HEAD")
    words = (repo, "--cert", tmp_path / "one.pem", "--recovery-private-key", tmp_path / "two.pem")
    assert seal("reencrypt", *words, "--dry-run").code == 0
    assert git(repo, "status", "--porcelain") == ""
    done = seal("reencrypt", *words, "--commit", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["values"], len(told["files"])) == (4, 3)
    assert git(repo, "rev-parse", "HEAD~1") == head
    assert git(repo, "status", "--porcelain") == ""
    for name, text in before.items():
        after = (repo / "apps" / name).read_text()
        if name in {"new.yaml", "broken.yaml"}:
            assert after == text
            continue
        (declared,) = read_sealed(after.encode(), name, others=True)
        old = read_sealed(text.encode(), name, others=True)[0]
        assert declared.template == old.template
        assert recovery.values(declared, one.private)
        noted = declared.read_notes()[0]
        assert {note.key for note in noted.values()} == {one.fingerprint}
        if name != "kubeseal.yaml":  # who put the value in, and when, is as it was
            assert {note.sealed for note in noted.values()} == {date(2026, 1, 5)}
    assert (repo / "apps" / "db.yaml").read_text().startswith("# what the shop keeps\n")
    assert (
        "  # its end\n---\napiVersion: v1\nkind: ConfigMap"
        in (repo / "apps" / "db.yaml").read_text()
    )
    again = seal("reencrypt", *words, "--commit", "--json")
    assert json.loads(again.out)["values"] == 0
    rows = json.loads(seal("status", repo, "--json").out)["values"]
    assert {row["state"] for row in rows} == {"current"}


def test_reencrypt_writes_all_or_nothing(repo: Path, one: Pair, two: Pair) -> None:
    """A value that cannot be unsealed, and a file that cannot be written: nothing has changed."""
    files = sorted((repo / "apps").glob("*.yaml"))
    before = {path: path.read_bytes() for path in files}
    mine = [path for path in files if path.name != "broken.yaml"]
    anew = reencrypt.by_keys(one.private, one.certificate)
    with pytest.raises(OpslibError, match="cannot be unsealed"):
        reencrypt.renew(mine, anew, one.certificate)
    both = reencrypt.by_keys({**one.private, **two.private}, one.certificate)
    made = reencrypt.renew(mine, both, one.certificate, everything=True)
    assert len(made) == 4
    bad = reencrypt.Renewed(repo / "apps" / "db.yaml" / "no-folder", b"", b"", 0)
    with pytest.raises(InputError, match="it cannot be written"):
        reencrypt.write([*made, bad])
    assert {path: path.read_bytes() for path in files} == before


def test_changes_of_somebody_are_not_committed_along(
    seal: Verb, repo: Path, two: Pair, one: Pair, tmp_path: Path
) -> None:
    """A file with edits of its own is not taken into the commit: nothing is written."""
    (tmp_path / "two.pem").write_bytes(two.pem)
    (tmp_path / "one.pem").write_bytes(one.cert)
    path = repo / "apps" / "web.yaml"
    path.write_text(path.read_text() + "# mine\n")
    text = path.read_text()
    words = (repo, "--cert", tmp_path / "one.pem", "--recovery-private-key", tmp_path / "two.pem")
    done = seal("reencrypt", *words, "--commit")
    assert done.code == 2
    assert "have changes that are not committed" in done.err
    assert path.read_text() == text


def test_the_backup_is_proven_by_opening(
    seal: Verb, repo: Path, one: Pair, two: Pair, tmp_path: Path
) -> None:
    """Both keys open all; one alone does not, and the missing key is named, never shown."""
    (tmp_path / "both.json").write_bytes(
        dumped({"apiVersion": "v1", "kind": "List", "items": [one.secret("a"), two.secret("b")]})
    )
    done = seal("backup", tmp_path / "both.json", "--in", repo)
    assert done.code == 0, done.out
    assert "5 of 5 values are opened by the backup" in done.out
    (tmp_path / "one.pem").write_bytes(one.pem)
    done = seal("backup", tmp_path / "one.pem", "--in", repo, "--json")
    assert done.code == 1
    proof = json.loads(done.out)
    assert not proof["complete"]
    assert len(proof["lost"]) == 4
    whys = {row["why"] for row in proof["lost"]}
    assert f"its key {two.fingerprint} is not in the backup" in whys
    assert "PRIVATE" not in done.out + done.err
    for line in one.pem.decode().splitlines()[1:-1]:
        assert line not in done.out


def test_files_that_cannot_be_read_are_told(seal: Verb, repo: Path) -> None:
    """A chart's template names the kind and is no YAML: told, and the others are checked."""
    (repo / "apps" / "chart.yaml").write_text("kind: SealedSecret\n{{- if .x }}\nmetadata: {\n")
    done = seal("check", repo)
    assert done.code == 0
    assert "chart.yaml:3:1" in done.out
    assert "warning: not checked: this is not YAML" in done.out
    assert "5 values" in done.out
    assert seal("check", repo, "--strict").code == 1
    assert "chart.yaml:3:1 is left out" in seal("status", repo).err
    assert seal("check", repo / "nothing").code == 2


def test_several_clusters_are_not_renewed_by_chance(
    seal: Verb, repo: Path, one: Pair, two: Pair, tmp_path: Path
) -> None:
    """Files of two clusters: one has to be named, and only its files are edited."""
    (repo / "staging").mkdir()
    (repo / "staging" / "s.yaml").write_text(_text(two, "s", {"a": "1"}))
    text = (repo / "seal.yaml").read_text()
    more = f"  - name: staging\n    keys: [{two.fingerprint}]\n    path: staging\n"
    (repo / "seal.yaml").write_text(text + more)
    (tmp_path / "two.pem").write_bytes(two.pem)
    (tmp_path / "one.pem").write_bytes(one.cert)
    words = (repo, "--cert", tmp_path / "one.pem", "--recovery-private-key", tmp_path / "two.pem")
    refused = seal("reencrypt", *words)
    assert refused.code == 2
    assert "of: production, staging" in refused.err
    before = (repo / "staging" / "s.yaml").read_text()
    done = seal("reencrypt", *words, "--cluster", "production", "--json")
    assert json.loads(done.out)["values"] == 4
    assert (repo / "staging" / "s.yaml").read_text() == before
    assert {row["state"] for row in json.loads(seal("status", repo, "--json").out)["values"]} == {
        "current"
    }
