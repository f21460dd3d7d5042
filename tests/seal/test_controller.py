"""The real controller: it unseals what opslib sealed, renews its key, seals anew."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from opslib.seal.controller import Controller
from opslib.seal.sealed import read_sealed
from opslib.seal.wire import Scope

from .conftest import Verb
from .parts import dumped, secret
from .running import Running, until

BIG = os.urandom(1 << 20)
CONTENTS: dict[str, dict[str, Any]] = {
    "data": {"data": {"a": "dmFsdWU=", "b": "c2Vjb25k"}},
    "stringdata": {"stringData": {"a": "wins", "zeile": "eins\nzwei ä"}, "data": {"a": "bG9zZXM="}},
    "empty": {"data": {"a": ""}, "stringData": {"b": ""}},
    "binary": {},
    "megabyte": {},
}
WANTED = {
    "data": {"a": b"value", "b": b"second"},
    "stringdata": {"a": b"wins", "zeile": "eins\nzwei ä".encode()},
    "empty": {"a": b"", "b": b""},
    "binary": {"a": bytes(range(256))},
    "megabyte": {"a": BIG},
}


def _document(kind: str, scope: Scope, namespace: str) -> dict[str, Any]:
    values = WANTED[kind] if not CONTENTS[kind] else {}
    more = json.loads(json.dumps(CONTENTS[kind]))
    made = secret(values, f"{kind}-{scope}", namespace)
    if scope.annotation:
        made["metadata"]["annotations"] = {scope.annotation: "true"}
    return {**made, **more}


@pytest.mark.timeout(600)
def test_it_unseals_all_scopes_and_contents(
    seal: Verb, controller: Running, namespace: str, tmp_path: Path
) -> None:
    """Three scopes by data, stringData, empty, binary, 1 MiB: each Secret is what was sealed."""
    documents = [_document(kind, scope, namespace) for scope in Scope for kind in CONTENTS]
    done = seal(*controller.words, "-w", tmp_path / "all.json", stdin=dumped(*documents))
    assert done.code == 0, done.err
    sealed = read_sealed((tmp_path / "all.json").read_bytes(), "all.json")
    assert len(sealed) == 15
    for one in sealed:
        controller.apply(one.manifest, namespace)
    for one in sealed:
        kind = one.name.partition("-")[0]
        until(functools.partial(controller.secret, namespace, one.name), one.name)
        assert controller.secret(namespace, one.name) == WANTED[kind], one.name
    print(f"{len(sealed)} Secrets unsealed by the controller")


def test_it_refuses_what_check_refuses(
    seal: Verb, controller: Running, namespace: str, tmp_path: Path
) -> None:
    """Renamed, rescoped and edited: the controller says no, and check says why."""
    path = tmp_path / "good.yaml"
    done = seal(*controller.words, "-w", path, stdin=dumped(secret({"a": "x"}, "good", namespace)))
    assert done.code == 0, done.err
    text = path.read_text()
    (one,) = read_sealed(path.read_bytes(), "good")
    cipher = one.data["a"]
    other = "A" if cipher[-9] != "A" else "B"
    cases = {
        "name": text.replace("  name: good\n", "  name: renamed\n"),
        "scope": text.replace(
            "  annotations:\n", f'  annotations:\n    {Scope.CLUSTER.annotation}: "true"\n', 1
        ),
        "edited": text.replace(cipher, cipher[:-9] + other + cipher[-8:]),
    }
    assert seal(*controller.words, "--validate", "-f", path).code == 0
    for cause, bad in cases.items():
        path.write_text(bad)
        refused = seal(*controller.words, "--validate", "-f", path)
        assert refused.code == 1
        assert "the controller cannot unseal" in refused.err
        told = json.loads(seal("check", path, "--json").out)["findings"]
        assert {row["cause"] for row in told if row["severity"] == "error"} == {cause}
    (bad_one,) = read_sealed(cases["name"].encode(), "bad")
    controller.apply(bad_one.manifest, namespace)
    until(lambda: controller.synced(namespace, "renamed") is False, "a refusal")
    assert controller.secret(namespace, "renamed") is None


def test_equal_values_are_known_from_the_live_secret(
    seal: Verb, controller: Running, namespace: str, tmp_path: Path
) -> None:
    """Ten keys merged, one changed: nine are proven by the cluster, and keep their ciphertext."""
    values = {f"key-{number}": f"value-{number}" for number in range(10)}
    path = tmp_path / "live.yaml"
    document = secret(values, "live", namespace)
    assert seal(*controller.words, "-w", path, stdin=dumped(document)).code == 0
    before = path.read_text()
    (one,) = read_sealed(path.read_bytes(), "live")
    controller.apply(one.manifest, namespace)
    until(lambda: controller.synced(namespace, "live"), "sync")
    changed = dumped(secret({**values, "key-4": "another"}, "live", namespace))
    done = seal(*controller.words, "--merge-into", path, stdin=changed)
    assert done.code == 0, done.err
    pairs = zip(before.splitlines(), path.read_text().splitlines(), strict=True)
    assert sum(old != new for old, new in pairs) == 1
    assert "sealed anew: key-4; unchanged: key-0" in done.err
    path.write_text(before)  # somebody else writes the Secret: what it holds proves nothing now
    secrets = f"/api/v1/namespaces/{namespace}/secrets/live"
    body = {"stringData": {"key-1": "by hand"}}
    controller.cluster.request(
        "PATCH", secrets, body=body, content_type="application/merge-patch+json"
    )
    done = seal(*controller.words, "--merge-into", path, stdin=changed)
    assert "sealed anew: key-1, key-4; unchanged: key-0" in done.err


def test_re_encrypt_one_file(
    seal: Verb, controller: Running, namespace: str, tmp_path: Path
) -> None:
    """In place, as kubeseal has it, but templates, comments and notes stay; it still unseals."""
    path = tmp_path / "alone.yaml"
    document = secret({"a": "x", "b": "y"}, "alone", namespace)
    assert seal(*controller.words, "-w", path, stdin=dumped(document)).code == 0
    kept = "  template: # kept\n    data: {none: null}\n"
    path.write_text("# mine\n" + path.read_text().replace("  template:\n", kept))
    (before,) = read_sealed(path.read_bytes(), "before")
    done = seal(*controller.words, "--re-encrypt", "-f", path)
    assert done.code == 0, done.err
    (after,) = read_sealed(path.read_bytes(), "after")
    assert path.read_text().startswith("# mine\n")
    assert kept in path.read_text()
    assert after.read_notes() == before.read_notes()
    assert all(after.data[key] != before.data[key] for key in ("a", "b"))
    assert Controller(controller.cluster, controller.namespace).verify(after.manifest)
    assert seal("check", path).code == 0


@pytest.mark.timeout(600)
def test_a_renewed_key(seal: Verb, controller: Running, namespace: str, tmp_path: Path) -> None:
    """Blocked until pinned; the repository is renewed at the controller's rate, as one commit.

    The backup then lacks a key until it is made again.
    """
    repo = tmp_path / "repo"
    repo.mkdir()
    _git(repo, "init", "-q")
    count = 6
    documents = [secret({"a": f"v{n}", "b": "w"}, f"renewed-{n}", namespace) for n in range(count)]
    words = (*controller.words, "--out", str(repo / "{name}.yaml"))
    assert seal("pin", "here", *controller.words, "--folder", repo).code == 0
    assert seal(*words, stdin=dumped(*documents)).code == 0
    for path in repo.glob("renewed-*.yaml"):
        path.write_text(
            path.read_text().replace(
                "  template:\n", "  template: # kept\n    data: {none: null}\n"
            )
        )
    _git(repo, "add", "-A")
    _git(repo, "commit", "-qm", "sealed")
    _save(controller, tmp_path / "backup.json")
    proof = ("backup", tmp_path / "backup.json", "--in", repo, "--live", *controller.words)
    assert seal(*proof).code == 0
    controller.renew()
    target = repo / "other.yaml"
    blocked = seal(*controller.words, "-w", target, stdin=dumped(documents[0]))
    assert blocked.code == 2
    assert "the certificate of here has changed" in blocked.err
    assert not target.exists()
    assert seal("pin", "here", *controller.words, "--folder", repo).code == 0
    _git(repo, "commit", "-qam", "pinned")
    fresh = secret({"c": "new", "d": "new"}, "fresh", namespace)
    assert seal(*words, stdin=dumped(fresh)).code == 0
    stale = json.loads(seal("status", repo, "--stale", "--json").out)["values"]
    truth = {(f"renewed-{number}", key) for number in range(count) for key in ("a", "b")}
    assert {(row["name"], row["key"]) for row in stale} == truth
    started = time.monotonic()
    done = seal("reencrypt", repo, *controller.words, "--commit", "--json")
    took = time.monotonic() - started
    assert done.code == 0, done.err
    assert json.loads(done.out)["values"] == 2 * count
    assert took >= (count - 1) / 2
    assert json.loads(seal("status", repo, "--stale", "--json").out)["values"] == []
    assert _git(repo, "show", "--stat", "--format=", "HEAD").count(".yaml") == count
    newest = controller.fingerprint()
    for path in repo.glob("renewed-*.yaml"):
        (one,) = read_sealed(path.read_bytes(), path.name)
        assert one.template["data"] == {"none": None}
        assert "  template: # kept\n" in path.read_text()
        assert {note.key for note in one.read_notes()[0].values()} == {newest}
    found = Controller(controller.cluster, controller.namespace)
    assert found.verify(one.manifest)
    lacking = seal(*proof)
    assert lacking.code == 1
    assert f"{newest}  is a key of the cluster and not in the backup" in lacking.out
    _save(controller, tmp_path / "backup.json")
    assert seal(*proof).code == 0
    print(f"{2 * count} values in {count} files sealed anew in {took:.1f} s at 2 requests a second")


def test_a_controller_under_another_name_is_pointed_at(seal: Verb, controller: Running) -> None:
    """Not where it is looked for: the message says where there is one."""
    words = ("--kubeconfig", controller.kubeconfig, "--controller-namespace", "default")
    done = seal(*words, "--fetch-cert")
    assert done.code == 2
    assert "there is no Sealed Secrets controller" in done.err
    assert f"--controller-namespace {controller.namespace}" in done.err
    told = seal(*controller.words, "--fetch-cert")
    assert told.out.startswith("-----BEGIN CERTIFICATE-----\n")


def _save(controller: Running, path: Path) -> None:
    """Back up the controller's keys, as kubectl would."""
    query = {"labelSelector": "sealedsecrets.bitnami.com/sealed-secrets-key"}
    items, _ = controller.cluster.list(f"/api/v1/namespaces/{controller.namespace}/secrets", query)
    whole = [{"apiVersion": "v1", "kind": "Secret", **item} for item in items]
    path.write_bytes(dumped({"apiVersion": "v1", "kind": "List", "items": whole}))


def _git(repo: Path, *words: str) -> str:
    """Run git as Ada, also for the commit that opslib makes."""
    if words[0] == "init":
        subprocess.run(["git", "init", "-q", str(repo)], check=True)
        for setting, value in (("user.name", "Ada"), ("user.email", "ada@example.com")):
            subprocess.run(["git", "-C", str(repo), "config", setting, value], check=True)
        return ""
    done = subprocess.run(
        ["git", "-C", str(repo), *words], check=True, capture_output=True, text=True
    )
    return done.stdout
