"""A value as an edit of Git: where it goes, what else changes, what is refused; no cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.core.errors import InputError, OpslibError
from opslib.seal.desk import Desk, open_desk
from opslib.seal.diagnose import check
from opslib.seal.proposal import Change
from opslib.seal.recovery import values
from opslib.seal.sealed import read_sealed
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.uses import uses
from opslib.source.mirror import Source

from .parts import Pair

AUTHOR = "Ada <ada@example.com>"
READER = """\
# the reader
apiVersion: apps/v1
kind: Deployment
metadata:
  name: reader
  namespace: shop
spec:
  template:
    metadata:
      labels: {app: reader}  # kept
    spec:
      containers:
      - name: reader
        env:
        - name: DSN
          valueFrom: {secretKeyRef: {name: db, key: dsn}}
"""


def _git(repo: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", repo, *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def _commit(repo: Path, **files: str) -> None:
    for name, text in files.items():
        path = repo / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    _git(repo, "add", "-A")
    _git(repo, "commit", "-qm", "more")


@pytest.fixture
def repo(one: Pair, two: Pair, tmp_path: Path) -> Path:
    """Return a repository of two clusters, each with a pinned certificate and a reader."""
    repo = tmp_path / "repo"
    repo.mkdir()
    _git(repo, "init", "-q")
    pins = {"apiVersion": "opslib.dev/v1", "kind": "Sealing", "clusters": []}
    for name, pair in (("one", one), ("two", two)):
        (repo / name).mkdir()
        (repo / f"{name}.pem").write_bytes(pair.cert)
        (repo / name / "reader.yaml").write_text(READER)
        (repo / name / "kustomization.yaml").write_text("resources:\n- reader.yaml  # first\n")
        row = {"name": name, "keys": [pair.fingerprint], "path": name, "certificate": f"{name}.pem"}
        pins["clusters"].append(row)  # type: ignore[attr-defined]  # a list, see above
    (repo / "seal.yaml").write_text(yaml.safe_dump(pins))
    _commit(repo)
    return repo


def _desk(repo: Path, clusters: str = "one", path: str = "") -> Desk:
    return open_desk(Source(str(repo), "", path), clusters)


def _change(desk: Desk, place: str = "shop/db", **more: Any) -> Change:
    given = more.pop("values", {"dsn": "a value"})
    held = {key: SecretBytes(text, key) for key, text in given.items()}
    return desk.propose(desk.wish(place, held, **{"author": AUTHOR, **more}))


def test_two_clusters_get_a_file_each(repo: Path, one: Pair, two: Pair) -> None:
    """One call, two files for two keys, listed, their readers restarted, in one commit."""
    desk = _desk(repo, "one, two")
    change = _change(desk, rotate_after="90d")
    names = [f"{c}/{f}.yaml" for c in ("one", "two") for f in ("db", "kustomization", "reader")]
    assert sorted(change.files) == names
    for name, pair in (("one", one), ("two", two)):
        (sealed,) = read_sealed(change.files[f"{name}/db.yaml"] or b"", "db.yaml")
        assert values(sealed, pair.private)["dsn"].reveal() == b"a value"
        assert (change.files[f"{name}/kustomization.yaml"] or b"").endswith(
            b"- reader.yaml  # first\n- db.yaml\n"
        )
        reader = (change.files[f"{name}/reader.yaml"] or b"").decode()
        assert f"opslib.dev/sealed-db: {change.mark}" in reader
        assert reader.startswith("# the reader\n")
        assert "{app: reader}  # kept" in reader
    done = desk.commit(change)
    message = _git(repo, "log", "-1", "--format=%an %B", done["branch"])
    assert message.startswith("Ada Seal dsn of Secret shop/db\n")
    assert "Rotate by" in message
    assert _git(repo, "show", "--stat", "--format=", done["branch"]).count("|") == 6
    assert desk.find(change) == done
    assert _git(repo, "status", "--porcelain") == ""


def test_an_existing_file_gets_one_line(repo: Path) -> None:
    """A key sealed again on the same day changes its line; comments and other keys stay."""
    desk = _desk(repo)
    first = _change(desk, values={"dsn": "x", "user": "y"}, restart=False)
    text = (first.files["one/db.yaml"] or b"").decode().replace("spec:\n", "spec: # mine\n")
    _commit(repo, **{"one__db.yaml": text})
    again = _change(_desk(repo), values={"dsn": "z"}, restart=False)
    assert list(again.files) == ["one/db.yaml"]
    changed = [line for line in again.diff.splitlines()[2:] if line[:1] in "+-"]
    assert [line[:10] for line in changed] == ["-    dsn: ", "+    dsn: "]
    assert "spec: # mine" in (again.files["one/db.yaml"] or b"").decode()
    (sealed,) = again.placed
    assert (sealed.sealed, sealed.created) == (("dsn",), False)
    path = repo / "one" / "db.yaml"
    path.write_bytes(again.files["one/db.yaml"] or b"")
    assert check(read_sealed(path.read_bytes(), str(path))) is not None


def test_the_hash_is_of_what_is_approved(repo: Path) -> None:
    """The same plan has one hash, whatever the value; another commit, key or file another."""
    plans = {
        "same": _change(_desk(repo)),
        "value": _change(_desk(repo), values={"dsn": "another"}),
        "key": _change(_desk(repo), values={"password": "a value"}),
        "cluster": _change(_desk(repo, "two")),
        "both": _change(_desk(repo, "one two")),
        "scope": _change(_desk(repo), scope="namespace-wide"),
        "restart": _change(_desk(repo), restart=False),
        "rotate": _change(_desk(repo), rotate_after="1d"),
        "type": _change(_desk(repo), kind="kubernetes.io/basic-auth"),
        "secret": _change(_desk(repo), "shop/other"),
    }
    _commit(repo, note="x")
    plans["commit"] = _change(_desk(repo))
    hashes = {name: plan.hash for name, plan in plans.items()}
    assert hashes.pop("value") == hashes["same"]
    assert len(set(hashes.values())) == len(hashes)
    whole = json.dumps([plan.as_dict() for plan in plans.values()])
    assert "a value" not in whole
    assert "a value" not in "".join(plan.diff for plan in plans.values())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"place": "db"}, "names no Secret"),
        ({"place": "shop/DB"}, "names no Secret"),
        ({"values": {"no key": "x"}}, "cannot be a key"),
        ({"values": {"a": "x" * (1 << 20), "b": "y"}}, "bytes together"),
        ({"author": "nobody"}, "names no author"),
        ({"rotate_after": "soon"}, "is not a duration"),
    ],
)
def test_bad_input(repo: Path, given: dict[str, Any], words: str) -> None:
    """What cannot be sealed is told before anything is made."""
    with pytest.raises(InputError, match=words):
        _change(_desk(repo), **given)


def test_clusters_that_cannot_be_sealed_for(repo: Path, one: Pair, two: Pair) -> None:
    """Unknown, several without a choice, another key, a certificate that is not in Git."""
    for clusters, words in {"three": "no cluster three", "": "pins several clusters"}.items():
        with pytest.raises(InputError, match=words):
            _desk(repo, clusters)
    (repo / "one.pem").write_bytes(two.cert)
    _commit(repo)
    with pytest.raises(InputError, match="has changed"):
        _desk(repo)
    (repo / "one.pem").unlink()
    _commit(repo)
    with pytest.raises(InputError, match="not in Git"):
        _desk(repo)
    text = (repo / "seal.yaml").read_text()
    _commit(repo, **{"seal.yaml": text.replace("one.pem", "../../etc/one.pem")})
    with pytest.raises(InputError, match="not in the repository"):
        _desk(repo)
    _commit(repo, **{"seal.yaml": text.replace("path: two", "path: one")})
    (repo / "one.pem").write_bytes(one.cert)
    _commit(repo)
    with pytest.raises(InputError, match="would share one file"):
        _change(_desk(repo, "one two"))


def test_files_that_cannot_be_edited(repo: Path) -> None:
    """The Secret twice, one without a namespace, and a file that is no YAML are told."""
    made = (_change(_desk(repo), restart=False).files["one/db.yaml"] or b"").decode()
    _commit(repo, **{"one__a.yaml": made, "one__b.yaml": made})
    with pytest.raises(InputError, match="is in Git twice"):
        _change(_desk(repo))
    _commit(repo, **{"one__a.yaml": made.replace("  namespace: shop\n", ""), "one__b.yaml": "a: 1"})
    with pytest.raises(InputError, match="names no namespace"):
        _change(_desk(repo))
    _commit(repo, **{"one__a.yaml": "kind: SealedSecret\n{{ if }}\n"})
    assert any("passed over" in text for text in _change(_desk(repo)).told)
    with pytest.raises(InputError, match="has no SealedSecret"):
        _desk(repo).standing("shop/none")


def test_a_branch_is_not_overwritten(repo: Path) -> None:
    """A second commit of the same plan gets a branch of its own; nothing is written twice."""
    desk = _desk(repo)
    change = _change(desk)
    assert desk.find(change) is None
    first, second = desk.commit(change), desk.commit(change)
    assert second["branch"] == f"{first['branch']}-2"
    with pytest.raises(OpslibError):
        desk.commit(_change(desk, values={}))


def test_how_a_pod_reads_a_secret() -> None:
    """Variables, files, subPath, projected volumes, init containers, image pulls; hostile specs."""

    def spec(container: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return {"containers": [{"name": "a", **(container or {})}], **more}

    volume = [{"name": "v", "secret": {"secretName": "db"}}]
    projected = [{"name": "v", "projected": {"sources": [{"secret": {"name": "db"}}]}}]
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/x"}]}
    sub = {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "y"}]}
    env = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]}
    init: dict[str, Any] = {
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "db"}}]}]
    }
    for given, wanted in (
        (spec(), ()),
        (spec(env), ("environment",)),
        (spec(**init), ("environment",)),
        (spec(mount, volumes=volume), ("files",)),
        (spec(mount, volumes=projected), ("files",)),
        (spec(sub, volumes=volume), ("files by subPath",)),
        (spec({**mount, **env}, volumes=volume), ("files", "environment")),
        (spec(volumes=volume), ()),
        (spec(imagePullSecrets=[{"name": "db"}]), ("image pull",)),
        ({"containers": "x", "volumes": 3}, ()),
        ({"containers": [None, {"env": [None, {"valueFrom": 1}]}]}, ()),
        (None, ()),
    ):
        assert uses(given, "db") == wanted
        assert uses(given, "other") == ()
