"""The gate: which approvals count, which are refused, and that a refusal writes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from signing import People, people

from opslib import runbook
from opslib.core.clock import now, stamp
from opslib.core.errors import ApprovalError, InputError
from opslib.core.hashes import digest
from opslib.core.imports import absent
from opslib.runbook import approvals, gates
from opslib.runbook.approvals import Grant, to_file
from opslib.runbook.gates import Plan
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .audited import requests, writes
from .conftest import read_json

with absent("rfc3987_syntax"):
    import jsonschema

SCHEMA = Path(runbook.__file__).parent / "schemas" / "result.json"
HASH, OTHER = "a" * 64, "b" * 64
PLAN = Plan(HASH, "one thing to change", "payments", cluster="uid-1")
DELETES = dataclasses.replace(PLAN, destructive=True)
COUNTS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the kernel of a runbook named reconcile, with nothing approved."""
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/reconcile.ipynb")
    for name in ("OPSLIB_APPROVE", "OPSLIB_APPROVE_FROM", approvals.APPROVERS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def keys() -> Iterator[People]:
    """Return a place for keys."""
    with people() as made:
        yield made


def _grant(**changes: str) -> Grant:
    later = stamp(now().replace(year=now().year + 1))
    one = Grant(
        HASH, "file", "ada@laptop", stamp(), later, "reconcile", "uid-1", "payments", "20260101T0Z"
    )
    return dataclasses.replace(one, **changes)


def _file(folder: Path, sign: str = "", **changes: str) -> str:
    path = folder / "approval.json"
    path.write_text(to_file(_grant(**changes), sign))
    return str(path)


def _refused(plan: Plan, approve: str, word: str, **options: Any) -> None:
    with pytest.raises(ApprovalError, match=word) as caught:
        runbook.gate(plan, apply=True, approve=approve, **options)
    assert caught.value.exit_code == 3
    COUNTS["refused"] += 1


def _taken(plan: Plan, approve: str, how: str | None, **options: Any) -> gates.Approval:
    one = runbook.gate(plan, apply=True, approve=approve, **options)
    one.require()
    assert (one.grant.how if one.grant else None) == how
    COUNTS["taken"] += 1
    return one


def test_plain_approvals(tmp_path: Path) -> None:
    """A hash, twelve digits of it, a file, in advance for what deletes nothing; else nothing."""
    for approve, how in ((HASH, "hash"), (HASH[:12], "hash"), (_file(tmp_path), "file")):
        _taken(PLAN, approve, how)
        _taken(DELETES, approve, how)
    _taken(PLAN, "", "in-advance", in_advance=True)
    assert _taken(dataclasses.replace(PLAN, empty=True), "", None).status == "needless"
    _refused(PLAN, "", "not approved")
    _refused(DELETES, "", "approved by its hash only", in_advance=True)
    _refused(PLAN, OTHER, "another plan")
    _refused(PLAN, HASH[:11], "cannot be read")
    _refused(dataclasses.replace(PLAN, empty=True), OTHER, "another plan")
    _refused(PLAN, OTHER, "another plan", in_advance=True)
    only = runbook.gate(PLAN, apply=False, approve=HASH)
    assert only.status == "planned"
    with pytest.raises(ApprovalError, match="only plans"):
        only.require()


def test_the_command_line_reaches_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `opslib run` was given counts as the parameter does, and a wrong one still refuses."""
    for name, value in approvals.environment(HASH).items():
        monkeypatch.setenv(name, value)
    _taken(PLAN, "", "hash")
    monkeypatch.setenv("OPSLIB_APPROVE", OTHER)
    _refused(PLAN, "", "another plan")
    monkeypatch.chdir(tmp_path)
    _file(tmp_path)
    for name, value in approvals.environment(source="approval.json").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    assert _taken(PLAN, "", "file").as_dict()["by"] == "ada@laptop"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"plan": OTHER}, "another plan"),
        ({"plan": "x"}, "no plan"),
        ({"runbook": "rollout"}, "for runbook rollout"),
        ({"runbook": ""}, "for runbook"),
        ({"cluster": "uid-2"}, "for cluster uid-2"),
        ({"target": "billing"}, "for billing"),
        ({"expires": "2026-01-01T00:00:00.000000Z"}, "expired"),
        ({"expires": ""}, "times"),
        ({"at": "2999-01-01T00:00:00.000000Z"}, "future"),
    ],
)
def test_files_of_something_else(tmp_path: Path, changes: dict[str, str], word: str) -> None:
    """An approval of another plan, runbook, cluster, target or time is refused with its reason."""
    _refused(PLAN, _file(tmp_path, **changes), word)


def _edited(text: str, **fields: Any) -> str:
    return json.dumps({**json.loads(text), **fields})


def _redone(text: str, **fields: str) -> str:
    """Edit as somebody who knows the format: the digest is made anew."""
    found = {**json.loads(text), **fields}
    body = {name: found[name] for name in found if name not in {"digest", "signature"}}
    return json.dumps({**found, "digest": digest(body)})


def test_files_that_were_tampered_with(tmp_path: Path) -> None:
    """Every edited, cut or foreign file is refused; none ends in a stack."""
    path = Path(_file(tmp_path))
    text = path.read_text()
    hostile = [
        _edited(text, plan=OTHER),
        _edited(text, expires="2999-01-01T00:00:00.000000Z"),
        _edited(text, more="x"),
        _redone(text, more="x"),
        _redone(text, format="opslib.dev/approval/v2"),
        _edited(text, by=["a"]),
        text[: len(text) // 2],
        "",
        "[]",
        "null",
        "[" * 50_000,
        '{"plan": 1' + " " * 200_000 + "}",
        "\x00\xff",
    ]
    for content in hostile:
        path.write_text(content)
        _refused(PLAN, str(path), "refused")
    _refused(PLAN, str(tmp_path / "nowhere"), "cannot be read")
    _refused(PLAN, str(tmp_path), "cannot be read")
    print(f"{len(hostile) + 2} hostile approval files: all refused")


def test_signatures_where_they_are_required(
    tmp_path: Path, keys: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With approvers named, a signature by one of them counts, over this text, and only that."""
    ada, eve = keys.key("ada"), keys.key("eve", "eve@example.com")
    carl = keys.person("Carl")
    monkeypatch.setenv("GNUPGHOME", str(carl.home))
    trusted = tmp_path / "approvers"
    trusted.write_text(ada.line('namespaces="opslib-approval"'))
    ring = tmp_path / "carl.asc"
    ring.write_bytes(carl.public())
    signed = _file(tmp_path, str(ada.path))
    assert _taken(PLAN, signed, "file").as_dict()["signed_by"] is None
    monkeypatch.setenv(approvals.APPROVERS, f"{trusted}{os.pathsep}{ring}")
    assert _taken(PLAN, signed, "file").as_dict()["signed_by"] == "ada@example.com"
    text = Path(signed).read_text()
    later = _redone(text, expires=stamp(now().replace(year=now().year + 9)))
    Path(signed).write_text(later)
    _refused(PLAN, signed, "not over this text")
    by_carl = _file(tmp_path, carl.fingerprint)
    who = _taken(PLAN, by_carl, "file").as_dict()["signed_by"]
    assert who.startswith("Carl <carl@example.com>")
    ring.write_bytes(keys.person("Dora").public())
    _refused(PLAN, by_carl, "not over this text")
    _refused(PLAN, _file(tmp_path, str(eve.path)), "not over this text")
    _refused(PLAN, _file(tmp_path), "not signed")
    _refused(PLAN, HASH, "only signed")
    _refused(PLAN, "", "only signed", in_advance=True)
    trusted.write_text(ada.line('namespaces="git"'))
    _refused(PLAN, _file(tmp_path, str(ada.path)), "not over this text")
    trusted.unlink()
    _refused(PLAN, _file(tmp_path, str(ada.path)), "cannot be read")
    assert "signed" in gates.Approval(PLAN, "reconcile", wanted=True, interactive=True).approve()


def _commit(repo: Path, signer: list[str], message: str, when: str = "") -> str:
    git = ["git", "-C", str(repo), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    env = {**os.environ, **({"GIT_COMMITTER_DATE": when} if when else {})}
    sign = ["-S"] if signer else ["--no-gpg-sign"]
    words = [*git, *signer, "commit", "--quiet", "--allow-empty", *sign, "-m", message]
    subprocess.run(words, check=True, env=env, capture_output=True)
    out = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return out.stdout.strip()


def test_commits_that_approve(
    tmp_path: Path, keys: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit with the trailer counts when an approver signed it, for a day."""
    ada, eve = keys.key("ada-git"), keys.key("eve-git", "eve@example.com")
    trusted = tmp_path / "approvers"
    trusted.write_text(ada.line())
    repo = tmp_path / "approvals"
    subprocess.run(["git", "init", "--quiet", str(repo)], check=True)
    good = f"Yes\n\nOpslib-Approve: {HASH}\n"
    source = f"commit:{repo}@"
    first = _commit(repo, ada.git, good)
    _refused(PLAN, f"{source}{first}", "whose signed commits")
    monkeypatch.setenv(approvals.APPROVERS, str(trusted))
    one = _taken(PLAN, f"{source}{first}", "commit").as_dict()
    assert one["signed_by"].startswith("ada@example.com")
    assert one["source"] == f"commit {first}"
    for signer, message, when, word in (
        ([], good, "", "not signed"),
        (eve.git, good, "", "not among the trusted"),
        (ada.git, f"Yes\n\nOpslib-Approve: {OTHER}\n", "", "another plan"),
        (ada.git, f"{good}Opslib-Runbook: rollout\n", "", "for runbook rollout"),
        (ada.git, f"{good}Opslib-Approve: {OTHER}\n", "", "not one trailer"),
        (ada.git, f"I saw {HASH}", "", "not one trailer"),
        (ada.git, good, "2020-01-01T00:00:00Z", "expired"),
    ):
        _refused(PLAN, source + _commit(repo, signer, message, when), word)
    _refused(PLAN, f"{source}nowhere", "no commit")
    _refused(PLAN, f"{source}--all", "no commit")
    _refused(PLAN, f"commit:{tmp_path}@HEAD", "refused")
    _taken(PLAN, source + _commit(repo, ada.git, f"{good}Opslib-Runbook: reconcile\n"), "commit")


def test_the_form_takes_an_approval() -> None:
    """The button approves; what deletes asks for the target's name; before, require refuses."""
    one = gates.Approval(DELETES, "reconcile", wanted=True, interactive=True)
    with pytest.raises(ApprovalError, match="not approved yet"):
        one.require()
    assert "payments" in one.approve("")
    assert "payments" in one.approve("payment")
    assert not one.given
    assert one.approve("payments") == ""
    one.require()
    assert one.as_dict()["how"] == "form"
    assert gates.Approval(PLAN, "reconcile", wanted=True, interactive=True).approve() == ""


def test_a_record_without_a_plan_is_not_approved() -> None:
    """`opslib approve` needs a record that reached its gate."""
    with pytest.raises(InputError, match="no plan"):
        approvals.from_record({"run_id": "x", "runbook": "rollout"}, "ada", 60)


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def reconcile(sandbox: Status, platform: Path, place: str, tmp_path: Path) -> Run:
    """Return `opslib run reconcile` on the example, in a process and a namespace of its own."""
    del place
    env = {**os.environ, **sandboxes.environment(sandbox.name)}

    def run(*words: str | Path, verb: str = "run") -> tuple[int, dict[str, Any]]:
        given = ("-p", "repo", platform, "-p", "path", "production") if verb == "run" else ()
        name = ("reconcile",) if verb == "run" else ()
        command = [sys.executable, "-m", "opslib", verb, *name, *given, *words, "--json"]
        done = subprocess.run(
            [*map(str, command), "--out", str(tmp_path / "out")],
            env=env,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def test_another_plan_writes_nothing(
    reconcile: Run, sandbox: Status, platform: Path, tmp_path: Path
) -> None:
    """Planned, approved, changed in Git: exit 3, no write at the server, the new plan recorded."""
    code, planned = reconcile()
    assert (code, planned["approval"]["status"]) == (0, "planned")
    old = planned["approval"]["hash"]
    assert old == planned["report"]["planned"]["hash"]
    file = tmp_path / "approval.json"
    code, made = reconcile(planned["folder"], "--file", file, verb="approve")
    assert (code, made["plan"], made["runbook"]) == (0, old, "reconcile")

    deployment = platform / "production" / "deployment.yaml"
    deployment.write_text(deployment.read_text().replace("replicas: 3", "replicas: 2"))
    git = ["git", "-C", str(platform), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "commit", "-qam", "two", "--no-gpg-sign"], check=True)
    denied: list[tuple[int, dict[str, Any]]] = []

    def deny() -> None:
        ways: list[tuple[str | Path, ...]] = [("--approve", old), ("--approve-from", file), ()]
        denied.extend(reconcile("-p", "mode", "apply", *words) for words in ways)

    found = requests(sandbox.audit_log, deny)
    print(f"3 runs of a plan nobody approved: {writes(found)} writes of {found}")
    assert found
    assert writes(found) == {}
    for code, result in denied:
        assert (code, result["outcome"], result["exit_code"]) == (3, "denied", 3)
        shown = result["approval"]
        assert shown["status"] == "denied"
        assert shown["hash"] not in {old, None}
        assert shown["hash"] in Path(result["folder"], "record.ipynb").read_text()
        jsonschema.validate(read_json(Path(result["folder"], "result.json")), read_json(SCHEMA))
    new = denied[0][1]["approval"]["hash"]

    begun = time.monotonic()
    applied: list[Any] = []
    found = requests(
        sandbox.audit_log,
        lambda: applied.extend(reconcile("-p", "mode", "apply", "--approve", new)),
    )
    assert applied[0] == 0, applied[1]["error"]
    assert (applied[1]["approval"]["status"], applied[1]["approval"]["how"]) == ("approved", "hash")
    assert applied[1]["approval"]["by"]
    assert writes(found)
    print(f"the approved plan: {sum(writes(found).values())} writes")
    assert time.monotonic() - begun < 100


def test_the_approvals_are_counted() -> None:
    """The matrix was not empty."""
    print(f"approvals: {dict(COUNTS)}")
    assert COUNTS["refused"] >= 40
    assert COUNTS["taken"] >= 14
