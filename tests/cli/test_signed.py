"""--verify and --trust: what they refuse, what they say, and what the record keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from signing import Person, people

from .conftest import Ended, Opslib, git, run


@pytest.fixture(scope="module")
def ada() -> Iterator[Person]:
    """Make Ada's key."""
    with people() as made:
        yield made.person("Ada")


@pytest.fixture
def trust(tmp_path: Path, ada: Person) -> Path:
    """Return the file with Ada's public key."""
    file = tmp_path / "ada.asc"
    file.write_bytes(ada.public())
    return file


@pytest.fixture
def repo(tmp_path: Path, ada: Person) -> Path:
    """Return a repository with one object, in a commit that Ada signed."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "policy.yaml").write_text("apiVersion: opslib.dev/v1alpha1\nkind: Policy\n")
    _write(folder, "1")
    _commit(folder, ada)
    return folder


def _write(repo: Path, value: str) -> None:
    (repo / "app").mkdir(exist_ok=True)
    (repo / "app" / "one.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: one}}\ndata: {{k: '{value}'}}\n"
    )


def _commit(repo: Path, signer: Person | None) -> str:
    git(repo, "add", "--all")
    git(repo, *(signer.git if signer else ()), "commit", "--quiet", "--message=change",
        "--gpg-sign" if signer else "--no-gpg-sign")  # fmt: skip
    return git(repo, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("verb", "words", "told"),
    [
        ("plan", ("--verify", "head"), ("--trust", "expected")),
        ("check", ("--verify", "head"), ("--trust", "expected")),
        ("apply", ("--verify", "all"), ("--verify", "none, head, every")),
        ("watch", ("--trust", "/nonexistent/keys"), ("--trust /nonexistent/keys", "signers")),
    ],
)
def test_options_that_cannot_be_used(verb: str, words: tuple[str, str], told: list[str]) -> None:
    """Each verb refuses them before it connects to anything."""
    ended = run(verb, "--kubeconfig", "/nonexistent", *words)
    assert ended.code == 2
    for word in told:
        assert word in ended.told()


def test_a_trust_file_in_the_repository(opslib: Opslib, repo: Path, trust: Path) -> None:
    """A repository does not say whose signatures count for it."""
    inside = repo / "keys.asc"
    inside.write_bytes(trust.read_bytes())
    ended = opslib("plan", "--repo", repo, "--trust", inside)
    assert ended.code == 2
    assert "vouch" in ended.told()


def test_from_signed_to_applied_and_no_way_back(
    opslib: Opslib, repo: Path, trust: Path, ada: Person, namespace: str
) -> None:
    """Signed commits are applied and named; unsigned and older ones are refused with exit 2."""
    where = ("--repo", repo, "--path", "app", "--namespace", namespace, "--app", namespace)
    signed = (*where, "--trust", trust)

    def refused(ended: Ended, *words: str) -> None:
        assert ended.code == 2, ended
        for word in words:
            assert word in ended.told()

    first = git(repo, "rev-parse", "HEAD")
    shown = opslib("plan", *signed)
    assert "Signed   Ada <ada@example.com> (key " in shown.out
    plan, plain = (opslib("plan", *words, "--json").json for words in (signed, where))
    assert plan["revision"]["signed_by"].startswith("Ada <ada@example.com> (key ")
    assert plain["revision"]["signed_by"] == ""
    assert plan["hash"] == plain["hash"]

    _write(repo, "2")
    second = _commit(repo, ada)
    both = os.pathsep.join([str(trust), str(trust)])
    ended = opslib("apply", *where, "--yes", "--json", OPSLIB_VERIFY="every", OPSLIB_TRUST=both)
    assert ended.code == 0, ended
    assert any("only the head" in text for text in ended.json["plan"]["warnings"])

    _write(repo, "3")
    bad = _commit(repo, None)
    refused(opslib("apply", *signed, "--yes"), bad[:12], "not signed", "Ada")
    error = opslib("check", *signed, "--json").json["error"]
    assert (error["kind"], error["exit_code"], error["commit"]) == ("unverified", 2, bad)
    assert error["problems"] == [{"commit": bad, "why": "it is not signed"}]
    watched = opslib("watch", *signed, "--once", "--json")
    assert (watched.code, watched.json["phase"]) == (1, "error"), watched
    assert watched.json["applied_commit"] == second
    assert "not signed" in watched.json["source_error"]

    git(repo, "reset", "--quiet", "--hard", first)
    fresh = str(trust.parent / "cache")
    refused(opslib("apply", *signed, "--yes", OPSLIB_CACHE=fresh), "the last applied", second[:12])
    assert opslib("plan", *signed, "--accept-rewrite", OPSLIB_CACHE=fresh).code == 0
    assert opslib("watch", *where, "--status", "--json").json["applied_commit"] == second
    back = opslib("watch", *signed, "--accept-rewrite", "--once", "--json", OPSLIB_CACHE=fresh)
    assert (back.code, back.json["applied_commit"]) == (0, first)
    assert back.json["signed_by"].startswith("Ada")


def test_the_record_names_the_signer(
    opslib: Opslib, repo: Path, trust: Path, namespace: str, tmp_path: Path
) -> None:
    """The runbook verifies what the environment asks for, and keeps who signed."""
    words = ("-p", "repo", repo, "-p", "path", "app", "-p", "app", namespace)
    records = tmp_path / "records"
    ended = opslib("run", "reconcile", *words, "--out", records, OPSLIB_TRUST=str(trust))
    assert ended.code == 0, ended
    (result,) = records.rglob("result.json")
    report = json.loads(result.read_text())["report"]
    assert report["signed_by"].startswith("Ada <ada@example.com> (key ")
