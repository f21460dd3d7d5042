"""Decisions from end to end: real Git, a real API server, and the review after them."""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from reconcile.conftest import config_map

from opslib.core.clock import now
from opslib.core.errors import ConflictError, InputError
from opslib.core.model import ResourceKey, Revision
from opslib.drift.adopt import adopt
from opslib.drift.commits import Adopted
from opslib.drift.escalate import escalate
from opslib.drift.ignore import ignore
from opslib.drift.ledger import Ledger, standing
from opslib.drift.model import (
    Actor,
    Attribution,
    Confidence,
    Decision,
    Difference,
    Disposition,
    Drift,
    Plane,
    Review,
    Unread,
)
from opslib.reconcile.session import open_session
from opslib.source.mirror import Source

from .scene import Scene, told

ADA = "Ada <ada@example.com>"
LATER = (now().date() + timedelta(days=30)).isoformat()
TEXT = """# settings of the shop
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
data:
  x: "1"  # the number
  w: "2"
"""


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def _merge(scene: Scene, made: Adopted) -> None:
    assert made.committed
    scene.repository.git("merge", "--quiet", "--ff-only", made.committed.branch)


def _by_alice(drift: Drift) -> Drift:
    actor = Actor("alice", client="kubectl\x1b[31m", time="2026-11-30T02:00:00.000000Z")
    return replace(drift, attribution=Attribution(Confidence.CERTAIN, actor))


def test_adopt_is_a_commit_after_which_nothing_differs(scene: Scene) -> None:
    """One line of one file on a branch; merged and applied, the next review is empty.

    The message names the drift, who did it, who decided and why. Work tree, index and the
    branch that is checked out stay as they were.
    """
    scene.apply(one=TEXT, two=config_map("two", a="1"), gone=config_map("gone", a="1"))
    scene.edit("configmaps", "one", {"data": {"x": "9"}, "metadata": {"labels": {"a.b/c": "yes"}}})
    scene.server.request("DELETE", scene.path("configmaps", "gone"))
    extra = {"metadata": {"name": "extra"}, "data": {"k": "v"}}
    scene.make("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", **extra})
    folder = scene.repository.folder
    (folder / "app" / "one.yaml").write_text(TEXT + "# not committed\n")
    head = _git(folder, "rev-parse", "HEAD")
    drifts = [_by_alice(drift) for drift in scene.review().drifts]
    assert len(drifts) == 4
    ids = [drift.id for drift in drifts]
    made = adopt(scene.session, drifts, ids, author=ADA, reason="the new peak (CHG-7)")
    assert made.committed
    assert not made.refused
    branch = made.committed.branch
    assert branch.startswith("opslib/adopt-")
    assert _git(folder, "rev-parse", "HEAD") == head
    assert _git(folder, "status", "--porcelain") == " M app/one.yaml\n"
    message = _git(folder, "log", "-1", "--format=%an <%ae>%n%B", branch)
    for words in (ADA, "alice by kubectl", "the new peak (CHG-7)", "data.x", *ids):
        assert words in message
    assert "\x1b" not in message
    changed = _git(folder, "diff", "--no-renames", "--numstat", "HEAD", branch).split("\n")[:-1]
    counts = {line.split("\t")[2]: line.split("\t")[:2] for line in changed}
    assert counts["app/gone.yaml"][0] == "0"
    assert counts["app/one.yaml"] == ["3", "1"]
    (folder / "app" / "one.yaml").write_text(TEXT)
    _merge(scene, made)
    assert '  x: "9"  # the number\n' in (folder / "app" / "one.yaml").read_text()
    scene.apply()
    assert told(scene.review().drifts) == []


def test_adopt_writes_what_the_review_saw_or_nothing(scene: Scene) -> None:
    """A value that moved since is a conflict; an unknown id or author is bad input."""
    scene.apply(one=TEXT)
    scene.edit("configmaps", "one", {"data": {"x": "9"}})
    drifts = scene.review().drifts
    ids = [drifts[0].id]
    with pytest.raises(InputError, match="names no author"):
        adopt(scene.session, drifts, ids, author="Ada")
    with pytest.raises(InputError):
        adopt(scene.session, drifts, ["f" * 12], author=ADA)
    with pytest.raises(InputError):
        adopt(scene.session, drifts, ids, author=ADA, branch="main")
    scene.edit("configmaps", "one", {"data": {"x": "10"}})
    with pytest.raises(ConflictError, match="changed"):
        adopt(scene.session, drifts, ids, author=ADA)
    assert _git(scene.repository.folder, "branch", "--format=%(refname:short)") == "main\n"


def test_a_source_behind_an_address_gets_a_patch_and_a_branch(scene: Scene, tmp_path: Path) -> None:
    """A URL's commit is a file for ``git am``; pushed, it is a branch there, never over one."""
    scene.apply(one=TEXT)
    scene.edit("configmaps", "one", {"data": {"x": "9"}})
    bare = tmp_path / "bare.git"
    subprocess.run(
        ["git", "clone", "-q", "--bare", str(scene.repository.folder), str(bare)],
        check=True,
        timeout=60,
    )
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nshift $(($# - 1))\nexec sh -c "$1"\n')
    ssh.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_SSH", str(ssh))
        patch.setenv("GIT_SSH_VARIANT", "simple")
        source = Source(f"ssh://host.invalid{bare}", "main", "app")
        session = open_session(scene.server, source, app=scene.app, namespace=scene.namespace)
        session.fetch()
        drifts = scene.review().drifts
        ids = [drift.id for drift in drifts]
        made = adopt(session, drifts, ids, author=ADA, folder=tmp_path / "patches", push=True)
        assert made.committed
        assert made.committed.pushed
        assert made.committed.patch
        branch = made.committed.branch
        assert _git(bare, "rev-parse", branch).strip() == made.committed.commit
        with pytest.raises(ConflictError):
            adopt(session, drifts, ids, author=ADA, branch="main", push=True)
        session.fetch()
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(bare), str(clone)], check=True, timeout=60)
    names = ("-c", "user.name=Bob", "-c", "user.email=bob@example.com")
    _git(clone, *names, "am", "--quiet", str(made.committed.patch))
    assert _git(clone, "diff", f"origin/{branch}", "HEAD") == ""


def test_ignore_is_a_rule_that_ends(scene: Scene) -> None:
    """Merged, the differences are explained with the reason; a rule that ended alarms again."""
    scene.apply(one=TEXT)
    scene.edit("configmaps", "one", {"data": {"x": "9", "z": "1"}})
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}
    scene.make("configmaps", extra)
    drifts = scene.review().drifts
    ids = [drift.id for drift in drifts]
    for bad in ({"reason": " \n"}, {"until": "soon"}, {"until": "2020-01-01"}):
        options: dict[str, Any] = {"reason": "r", "until": LATER, **bad}
        with pytest.raises(InputError):
            ignore(scene.session, drifts, ids, **options)
    made = ignore(scene.session, drifts, ids, reason="a trial (CHG-8)", until=LATER, author=ADA)
    assert made.files == ("app/opslib.yaml",)
    assert f"Decision: ignore until {LATER}, by Ada" in made.message
    _merge(scene, made)
    review = scene.review()
    assert not review.drifts
    assert any("a trial (CHG-8)" in text for text in review.explained)
    path = scene.repository.folder / "app" / "opslib.yaml"
    text = path.read_text()
    assert text.count("- target:") == 2
    path.write_text("# kept\n" + text.replace(LATER, "2026-01-01"))
    scene.repository.git("commit", "-qam", "ended")
    review = scene.review()
    assert len(review.drifts) == 3
    assert all("that day is past" in drift.note for drift in review.drifts)
    again = ignore(scene.session, review.drifts, ids, reason="more", until=LATER, author=ADA)
    _merge(scene, again)
    assert path.read_text().startswith("# kept\n")
    assert path.read_text().count("- target:") == 2
    assert not scene.review().drifts


# -- the ledger and the bundle: no cluster is needed


KEY = ResourceKey("", "ConfigMap", "production", "one")


def _drift(path: str = "data.x", kind: Difference = Difference.CHANGED, **more: Any) -> Drift:
    args = (Plane.OBJECTS, kind, KEY, path, "1", "9")
    return Drift(*args, place=tuple(path.split(".")) if path else (), **more)


def _review(at: str, *drifts: Drift, **more: Any) -> Review:
    revision = Revision("file:///repo", "main", "a" * 40, "Ada", subject="`shop` <b>")
    stamp = f"2026-03-{at}:00:00.000000Z"
    return Review("shop", revision, "https://server", "uid", stamp, drifts, **more)


def test_the_ledger_knows_since_when_and_how_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First seen, since, resolved, and what comes back; mean times of all of it."""
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path))
    ledger = Ledger.open("shop", "uid")
    since = "2026-03-01T08:00:00.000000Z"
    review, compared = ledger.take(_review("01T10", _drift(since=since), _drift("data.w")))
    assert compared.last_taken_at == ""
    assert len(compared.new) == 2
    assert review.drifts[0].first_seen == review.taken_at
    review, compared = Ledger.open("shop", "uid").take(_review("01T12", _drift()))
    assert (len(compared.new), len(compared.still), len(compared.gone)) == (0, 1, 1)
    assert review.drifts[0].since == since
    figures = Ledger.open("shop", "uid").figures()
    assert (figures.detect_seconds, figures.detected) == (7200, 1)
    assert (figures.resolve_seconds, figures.resolved, figures.open) == (7200, 1, 1)
    review, compared = Ledger.open("shop", "uid").take(_review("02T00", _drift("data.w")))
    assert len(compared.new) == 1
    again = Ledger.open("shop", "uid")
    assert len(again.entries[review.drifts[0].id].before) == 1
    assert Ledger.open("shop", "another cluster").entries == {}
    assert oct(again.path.stat().st_mode & 0o777) == "0o600"


def test_a_decision_that_stays_open_is_told_with_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adopt that nobody merged is listed again; an ignore is not resolved before its day."""
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path))
    ledger = Ledger.open("shop")
    review, _ = ledger.take(_review("01T10", _drift(), _drift("data.w")))
    moment = "2026-03-01T11:00:00.000000Z"
    ledger.decide(review.drifts[:1], Decision(Disposition.ADOPT, "Ada", moment, "peak"))
    other = Decision(Disposition.IGNORE, "Ada", moment, "trial", "2026-03-05")
    ledger.decide(review.drifts[1:], other)
    review, compared = Ledger.open("shop").take(_review("03T10", _drift()))
    assert "adopt was decided" in review.drifts[0].note
    assert "by Ada: still open" in review.drifts[0].note
    assert not compared.gone
    assert standing(Decision(Disposition.REVERT, "", moment), now()).startswith("revert was")
    review, compared = Ledger.open("shop").take(_review("04T10", _drift("data.w")))
    assert len(compared.gone) == 1
    assert review.drifts[0].decision == other
    _, compared = Ledger.open("shop").take(_review("06T10"))
    assert len(compared.gone) == 1
    assert not Ledger.open("shop").open_entries


def test_what_was_not_looked_at_is_not_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that could not be read, and another plane, stay open; a torn file is put aside."""
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path))
    ledger = Ledger.open("shop")
    node = replace(_drift(), plane=Plane.NODES)
    ledger.take(_review("01T10", _drift(), node, _drift("", Difference.EXTRA)))
    _, compared = ledger.take(_review("02T10", unread=(Unread(str(KEY), "forbidden"),)))
    assert not compared.gone
    _, compared = ledger.take(_review("03T10"))
    assert len(compared.gone) == 2
    _, compared = ledger.take(_review("03T11", planes={"nodes": "2 machines"}))
    assert compared.gone == (node.id,)
    ledger.path.write_text("{ torn")
    fresh = Ledger.open("shop")
    assert not fresh.entries
    assert "put aside" in fresh.warnings[0]
    assert ledger.path.with_suffix(".broken").exists()


def test_a_bundle_has_what_a_ticket_needs_and_no_secret(tmp_path: Path) -> None:
    """One zip: for people, for programs, objects, owners, requests; the same twice."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "one", "managedFields": [{"manager": "kubectl"}]},
        "data": {"k": "cGxhbnRlZC12YWx1ZQ=="},
    }
    key = ResourceKey("", "Secret", "production", "one")
    value = "# not a title\n<script>"
    drift = replace(_by_alice(_drift()), key=key, live=value, since="2026-03-01T08:00:00.000000Z")
    review = _review("01T10", drift, _drift("data.w"))
    entry = {
        "auditID": "1",
        "objectRef": {"resource": "secrets"},
        "requestObject": {"data": {"k": "cGxhbnRlZC12YWx1ZQ=="}},
    }
    options: dict[str, Any] = {"live": {key: secret}, "audit": [entry], "by": "Ada", "reason": "?"}
    path = escalate(review, [drift.id], tmp_path / "out", **options)
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {name.partition("/")[0] for name in texts} == {
        "README.md", "review.json", "objects", "managed-fields", "audit.jsonl",
    }  # fmt: skip
    assert not any("cGxhbnRlZ" in text or "planted" in text for text in texts.values())
    assert [row["id"] for row in json.loads(texts["review.json"])["drifts"]] == [drift.id]
    readme = texts["README.md"]
    assert "alice by kubectl" in readme
    assert "\n# not a title" not in readme
    assert "<script>" not in readme
    assert "\x1b" not in readme
    assert path.read_bytes() == escalate(review, [drift.id], tmp_path / "2", **options).read_bytes()
    with pytest.raises(InputError):
        escalate(review, ["f" * 12], tmp_path)
