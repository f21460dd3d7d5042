"""Secrets from Vault through the whole loop: real Git, a real Vault, a real API server."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from seal import vaults
from seal.vaults import Vault

from opslib.cli.main import run
from opslib.core.errors import OpslibError, Problems
from opslib.core.settings import cache_dir, state_dir
from opslib.kube.client import APPLY, MERGE, Cluster
from opslib.reconcile.loop import LoopOptions
from opslib.reconcile.planned import Planned
from opslib.reconcile.session import Session, open_session
from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status
from opslib.seal.vaulterrors import VaultError
from opslib.source.mirror import Source
from opslib.view.plans import plan_text

from .conftest import config_map
from .loops import Repository, Running, wait
from .operators import EXTERNAL_SECRETS, OPERATOR, installed

VALUE = "zQ4!loop-secret-%s-wV8"
NOTE = "opslib.dev/vault"


@dataclass
class Shop:
    """One app with a VaultSecret, its repository, and who its loop is to Vault."""

    server: Cluster
    vault: Vault
    repository: Repository
    namespace: str
    environment: dict[str, str]
    name: str = field(default_factory=lambda: f"v{uuid.uuid4().hex[:8]}")

    def put(self, word: str, **more: str) -> int:
        """Write a version of the app's own path in Vault."""
        return self.vault.put(self.path, {"password": VALUE % word, **more})

    @property
    def path(self) -> str:
        return f"apps/{self.name}"

    def commit(self, *rows: str, more: str = "", beside: str = "one") -> str:
        """Commit the VaultSecret with these keys, and a ConfigMap beside it."""
        keys = "".join(f"  {row}\n" for row in rows)
        head = "apiVersion: opslib.dev/v1\nkind: VaultSecret\nmetadata: {name: db}\n"
        text = f"{head}{more}stringData:\n{keys}"
        files: dict[str, str | None] = {
            "app/db.yaml": text,
            "app/beside.yaml": config_map("beside", a=beside),
        }
        return self.repository.commit(files)

    def ref(self, version: int | str = "", key: str = "password") -> str:
        tail = f"?version={version}" if version else ""
        return f"{key}: ref+vault://kv/{self.path}#{key}{tail}"

    def session(self, **environment: str) -> Session:
        """Open a session as the loop, or with another environment."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (environment or self.environment).items():
                patch.setenv(name, value)
            return open_session(
                self.server,
                Source(str(self.repository.folder), "", "app"),
                app=self.name,
                namespace=self.namespace,
            )

    def as_ci(self) -> Session:
        """Open a session as CI: its token may read no value."""
        return self.session(VAULT_ADDR=self.vault.address, VAULT_TOKEN=self.vault.token("apps-ci"))

    def plan(self, session: Session | None = None) -> Planned:
        one = session or self.session()
        return one.plan(one.fetch())

    def once(self) -> Running:
        """Let the loop poll once, and return what it said."""
        running = Running(self.session(), LoopOptions(interval=1.0, once=True))
        running.thread.join(timeout=90)
        assert not running.thread.is_alive()
        return running

    def secret(self) -> dict[str, Any] | None:
        found = self.server.find(f"/api/v1/namespaces/{self.namespace}/secrets/db")
        return dict(found) if found else None

    def values(self) -> dict[str, str]:
        found = self.secret() or {}
        return {k: base64.b64decode(v).decode() for k, v in (found.get("data") or {}).items()}

    def edit(self, change: dict[str, Any]) -> None:
        """Change the Secret as somebody else would."""
        self.server.request(
            "PATCH",
            f"/api/v1/namespaces/{self.namespace}/secrets/db",
            query={"fieldManager": "kubectl-edit"},
            body=change,
            content_type=MERGE,
        )

    def beside(self) -> str:
        found = self.server.find(f"/api/v1/namespaces/{self.namespace}/configmaps/beside")
        return str(found["data"]["a"]) if found else ""


@pytest.fixture(scope="module")
def policies(real_vault: Vault) -> None:
    """Let the loop read values of apps, and CI prove them."""
    proves = "".join(
        f'path "kv/{part}/apps/*" {{ capabilities = ["read"] }}\n'
        for part in ("metadata", "subkeys")
    )
    real_vault.policy("apps-ci", proves)
    real_vault.policy("apps-loop", proves + 'path "kv/data/apps/*" { capabilities = ["read"] }\n')


@pytest.fixture
def shop(
    policies: None, real_vault: Vault, server: Cluster, namespace: str, tmp_path: Path
) -> Iterator[Shop]:
    """Return an app whose loop logs in by the Kubernetes method, as a pod does."""
    role = f"loop-{namespace}"
    token = tmp_path / "token"
    environment = {
        "VAULT_ADDR": real_vault.address,
        "OPSLIB_VAULT_ROLE": role,
        "OPSLIB_VAULT_JWT": str(token),
    }
    repository = Repository(tmp_path / "repo")
    with vaults.kubernetes_login(real_vault, server, namespace, role, "apps-loop") as text:
        token.write_text(text)
        yield Shop(server, real_vault, repository, namespace, environment)


def test_a_version_is_a_diff_and_a_revert_is_a_rollback(
    shop: Shop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Git names a version, the Secret has its value; and nothing else anywhere has."""
    first, second = shop.put("one"), shop.put("two")
    shop.commit(shop.ref(first))
    told = [shop.once()]
    assert shop.values() == {"password": VALUE % "one"}
    shop.commit(shop.ref(second), beside="two")
    plan = shop.plan()
    rows = {f.path: (f.before, f.after) for c in plan.prepared.plan.writes for f in c.fields}
    assert rows["data.password"] == tuple(
        f"<ref+vault://kv/{shop.path}#password?version={number}>" for number in (first, second)
    )
    told.append(shop.once())
    assert shop.values() == {"password": VALUE % "two"}
    shop.repository.git("revert", "--no-edit", "HEAD")
    told.append(shop.once())
    assert shop.values() == {"password": VALUE % "one"}
    assert all(one.loop._reporter.status.phase == "synced" for one in told)

    live = shop.secret() or {}
    metadata = live["metadata"]
    managers = {(e["manager"], e["operation"]) for e in metadata["managedFields"]}
    assert managers == {(f"opslib-{shop.name}", "Apply")}
    assert "kubectl.kubernetes.io/last-applied-configuration" not in metadata["annotations"]
    assert metadata["annotations"][NOTE] == f"{shop.ref(first).replace(': ', '=', 1)}\n"

    texts = [json.dumps(metadata), *(line for one in told for line in one.said)]
    texts += [json.dumps(plan.as_dict()), plan_text(plan, unchanged=True), repr(plan)]
    texts += ["".join(capfd.readouterr())]
    for kind in ("configmaps", "events"):
        items = shop.server.get(f"/api/v1/{kind}")["items"]
        texts.append(json.dumps(items))
    roots = (shop.repository.folder, state_dir(), cache_dir() / "git", tmp_path)
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    needles = forms(VALUE % "one") | forms(VALUE % "two")
    found = [text[:80] for text in texts if any(one in text.encode() for one in needles)]
    for path in files:
        data = path.read_bytes()
        found += [str(path) for one in needles if one in data]
    # The store of the cluster itself is where a Secret is: the search finds it there.
    stored = {path for path in found if "etcd" in path}
    print(f"{len(needles)} forms sought in {len(texts)} texts and {len(files)} files")
    assert stored
    assert set(found) == stored
    assert len(files) > 20


def forms(value: str) -> set[bytes]:
    """Return a value as it might be written: plain, base64 at three alignments, hex."""
    data = value.encode()
    found = {data, data.hex().encode(), base64.b64encode(data)}
    for shift in (1, 2):
        found.add(base64.b64encode(b"x" * shift + data)[4:-4])
    return found


def test_a_plan_needs_no_value_and_has_one_hash(shop: Shop) -> None:
    """CI, which may read no value, and the loop make the same plan, again and again."""
    first, second = shop.put("one"), shop.put("two", user="shop")
    shop.commit(shop.ref(first))
    assert len({shop.plan(one).prepared.plan.hash for one in (shop.as_ci(), shop.session())}) == 1
    shop.once()
    for rows in ([shop.ref(second)], [shop.ref(second), shop.ref(second, "user")], [shop.ref()]):
        shop.commit(*rows)
        plans = [shop.plan(one) for one in (shop.as_ci(), shop.session(), shop.as_ci())]
        assert len({one.prepared.plan.hash for one in plans}) == 1
        assert all("<ref+vault://" in json.dumps(one.as_dict()) for one in plans)
        assert not any(one.blocking for one in plans)
    one = shop.as_ci()
    with pytest.raises(VaultError) as caught:
        one.apply(shop.plan(one))
    assert caught.value.cause == "denied"
    assert str(caught.value.where).startswith("app/db.yaml:5: ")
    assert shop.values() == {"password": VALUE % "one"}


def test_what_leads_nowhere_stops_the_revision(shop: Shop) -> None:
    """A version, a key, a path that is not there: file, line and cause, and nothing is written."""
    first = shop.put("one")
    shop.commit(shop.ref(first))
    shop.once()
    for row, words in (
        (shop.ref(first + 7), f"version {first + 7} of kv/{shop.path} does not exist"),
        (shop.ref(first, "nothing"), "has no key nothing"),
        (f"password: ref+vault://kv/apps/none-{shop.name}#a?version=1", "there is no secret"),
    ):
        shop.commit(row, beside=words)
        (problem,) = shop.plan(shop.as_ci()).prepared.plan.problems
        assert words in problem.message
        assert str(problem.origin) == "app/db.yaml:5"
        running = shop.once()
        assert any("cannot be applied" in line for line in running.said), running.said
        assert (shop.values(), shop.beside()) == ({"password": VALUE % "one"}, "one")
    shop.commit("password: a-value-in-git", beside="x")
    with pytest.raises(Problems) as caught:
        shop.plan()
    assert caught.value.problems[0].where == "app/db.yaml:5"
    assert "a-value-in-git" not in str(caught.value)


def test_hand_edits_are_undone_and_what_is_lost_comes_back(shop: Shop) -> None:
    """A key that somebody wrote, an annotation that lies, a Secret that is gone."""
    first = shop.put("one")
    shop.commit(shop.ref(first))
    shop.once()
    coded = base64.b64encode(b"typed-by-hand").decode()
    lie = {NOTE: f"password=ref+vault://kv/{shop.path}#password?version={first}\nx=y\n"}
    for change in (
        {"data": {"password": coded}, "metadata": {"annotations": lie}},
        {"data": {"password": None}},
        {"metadata": {"annotations": {NOTE: None}}},
    ):
        shop.edit(change)
        (write,) = shop.plan(shop.as_ci()).prepared.plan.writes
        assert "typed-by-hand" not in json.dumps(write.as_dict())
        shop.once()
        assert shop.values() == {"password": VALUE % "one"}
        assert shop.plan().prepared.plan.empty
    shop.server.request("DELETE", f"/api/v1/namespaces/{shop.namespace}/secrets/db")
    shop.once()
    assert shop.values() == {"password": VALUE % "one"}


def test_who_writes_as_the_app_itself_is_found_by_the_value(shop: Shop) -> None:
    """A plan that asks about everything compares values, where its token may read them."""
    first = shop.put("one")
    shop.commit(shop.ref(first))
    shop.once()
    live = shop.secret() or {}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "annotations": live["metadata"]["annotations"]},
        "type": "Opaque",
        "data": {"password": base64.b64encode(b"forged-by-hand").decode()},
    }
    path = f"/api/v1/namespaces/{shop.namespace}/secrets/db"
    query: dict[str, str | bool] = {"fieldManager": f"opslib-{shop.name}", "force": True}
    shop.server.request("PATCH", path, query=query, body=body, content_type=APPLY)
    one = shop.as_ci()
    assert one.plan(one.fetch(), full=True).prepared.plan.empty  # CI cannot know
    one = shop.session()
    (write,) = one.plan(one.fetch(), full=True).prepared.plan.writes
    (field,) = write.fields
    assert str(field.before).startswith("<masked ")
    assert str(field.after).startswith("<ref+vault://")
    shop.once()
    assert shop.values() == {"password": VALUE % "one"}


def test_a_review_reverts_to_the_value_in_vault(
    shop: Shop,
    sandbox: Status,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The person sees the reference; what is written is the value, for all keys or for none."""
    for name, value in shop.environment.items():
        monkeypatch.setenv(name, value)
    first = shop.put("one", user="shop-user")
    shop.commit(shop.ref(first), shop.ref(first, "user"))
    shop.once()
    common = ["--repo", str(shop.repository.folder), "--path", "app", "--app", shop.name]
    common += ["--namespace", shop.namespace, "--kubeconfig", str(kubeconfig(sandbox))]

    def told(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run([*words, *common])
        out, err = capfd.readouterr()
        assert VALUE % "one" not in out + err
        return code, out

    shop.edit({"data": dict.fromkeys(("password", "user"), base64.b64encode(b"by-hand").decode())})
    code, out = told("plan", "--json")
    assert code == 0
    assert f"<ref+vault://kv/{shop.path}#password?version={first}>" in out
    _, out = told("drift", "list", "--json")
    ids = {one["path"]: one["id"] for one in json.loads(out)["drifts"] if one["path"]}
    assert told("drift", "revert", "--yes", ids["data.password"])[0] == 2
    assert shop.values() == {"password": "by-hand", "user": "by-hand"}
    assert told("drift", "revert", "--yes", *ids.values())[0] == 0
    assert shop.values() == {"password": VALUE % "one", "user": "shop-user"}
    assert shop.plan().prepared.plan.empty


def kubeconfig(sandbox: Status) -> str:
    """Return the kubeconfig of the session's control plane."""
    return cluster.environment(sandbox.name)["KUBECONFIG"]


def test_a_sealed_vault_stops_only_what_needs_it(shop: Shop) -> None:
    """What the cluster has stays; a revision that needs a value waits, and nothing is written."""
    first, second = shop.put("one"), shop.put("two")
    shop.commit(shop.ref(first))
    shop.once()
    shop.vault.seal()
    try:
        shop.commit(shop.ref(first), beside="while sealed")
        planned = shop.plan()
        assert any("Vault is sealed" in one for one in planned.prepared.plan.warnings)
        assert not planned.blocking
        shop.once()
        assert shop.beside() == "while sealed"
        shop.commit(shop.ref(second), beside="needs a value")
        (problem,) = shop.plan().prepared.plan.problems
        assert problem.message.startswith("password: Vault is sealed")
        running = shop.once()
        assert any("Vault is sealed" in line for line in running.said), running.said
        assert (shop.values()["password"], shop.beside()) == (VALUE % "one", "while sealed")
    finally:
        shop.vault.unseal()
    shop.once()
    assert (shop.values()["password"], shop.beside()) == (VALUE % "two", "needs a value")


def test_a_value_that_may_not_be_read_stops_before_the_first_write(shop: Shop) -> None:
    """403 on the value alone: the revision before goes on, and no trial is begun."""
    first, second = shop.put("one"), shop.put("two")
    shop.commit(shop.ref(first))
    shop.once()
    role = shop.environment["OPSLIB_VAULT_ROLE"]
    place = f"auth/kubernetes/role/{role}"
    bound = shop.vault.api("GET", place)["data"]
    shop.vault.api("POST", place, {**bound, "token_policies": ["apps-ci"]})
    shop.commit(shop.ref(second), beside="two")
    assert not shop.plan().blocking
    running = shop.once()
    assert any("permission denied" in line for line in running.said), running.said
    assert (shop.values()["password"], shop.beside()) == (VALUE % "one", "one")
    session = shop.session()
    planned = shop.plan(session)
    with pytest.raises(OpslibError, match="permission denied"):
        session.apply(planned)
    assert shop.beside() == "one"
    shop.vault.api("POST", place, {**bound, "token_policies": ["apps-loop"]})
    shop.once()
    assert (shop.values()["password"], shop.beside()) == (VALUE % "two", "two")


def test_the_newest_version_is_followed_and_flagged(shop: Shop) -> None:
    """Without a version a change in Vault reaches the cluster at the next poll, unreviewed."""
    first = shop.put("one")
    shop.commit(shop.ref())
    running = Running(shop.session(), LoopOptions(interval=1.0))
    try:
        wait(lambda: shop.values().get("password") == VALUE % "one", running=running)
        note = (shop.secret() or {})["metadata"]["annotations"][NOTE]
        assert note.endswith(f"?version={first}\n")
        wait(lambda: shop.plan().prepared.plan.empty, running=running)
        shop.put("two")
        wait(lambda: shop.values().get("password") == VALUE % "two", running=running)
    finally:
        running.end()


def test_what_was_deleted_later_is_a_warning(shop: Shop) -> None:
    """A version that the cluster has and Vault no more: told, and left as it is."""
    first = shop.put("one")
    shop.commit(shop.ref(first))
    shop.once()
    shop.vault.api("PUT", f"kv/destroy/{shop.path}", {"versions": [first]})
    planned = shop.plan(shop.as_ci())
    assert planned.prepared.plan.empty
    (warning,) = [w for w in planned.prepared.plan.warnings if "destroyed" in w]
    assert warning.startswith("app/db.yaml:5: ")


def test_types_and_odd_keys(shop: Shop) -> None:
    """A registry's login is checked as JSON by the API server, also while it is planned."""
    login = json.dumps({"auths": {"r.example": {"auth": "dTpwYXNzd29yZC0xMjM="}}})
    number = shop.put("one", **{"docker login": login, "ünï": "täxt-value"})
    base = f"ref+vault://kv/{shop.path}"
    shop.commit(
        f"'.dockerconfigjson': {base}#docker%20login?version={number}",
        f"uni: {base}#%C3%BCn%C3%AF?version={number}",
        more="type: kubernetes.io/dockerconfigjson\n",
    )
    assert not shop.plan(shop.as_ci()).blocking
    shop.once()
    assert shop.values() == {".dockerconfigjson": login, "uni": "täxt-value"}
    # What the API server refuses of a value, its words do not repeat.
    bad = shop.put("two", **{"docker login": "no-json-but-a-secret"})
    shop.commit(
        f"'.dockerconfigjson': {base}#docker%20login?version={bad}",
        more="type: kubernetes.io/dockerconfigjson\n",
    )
    session = shop.session()
    applied = session.apply(session.plan(session.fetch()))
    assert not applied.ok
    assert "no-json-but-a-secret" not in json.dumps(applied.as_dict())


def test_an_operator_that_is_installed_gets_its_own_object(shop: Shop) -> None:
    """With its definitions served, Git's references become its objects; the document may choose."""
    first = shop.put("one", user="shop-user")
    store = "externalSecrets: {secretStoreRef: {kind: ClusterSecretStore, name: vault}}\n"
    place = f"/namespaces/{shop.namespace}"
    with installed(shop.server, EXTERNAL_SECRETS):
        shop.commit(shop.ref(first), shop.ref(first, "user"), more=store)
        session = shop.session()
        session.apply(session.plan(session.fetch()), wait=False)
        made = shop.server.get(f"/apis/external-secrets.io/v1{place}/externalsecrets/db")
        assert made["spec"]["data"][0]["remoteRef"] == {
            "key": f"kv/{shop.path}", "property": "password", "version": str(first)
        }  # fmt: skip
        assert shop.secret() is None
        with installed(shop.server, OPERATOR):
            shop.commit(shop.ref(first), shop.ref(first, "user"))
            session = shop.session()
            session.apply(session.plan(session.fetch()), wait=False)
            api = "/apis/secrets.hashicorp.com/v1beta1"
            made = shop.server.get(f"{api}{place}/vaultstaticsecrets/db")
            assert (made["spec"]["path"], made["spec"]["version"]) == (shop.path, first)
            shop.commit(shop.ref(first + 5))
            (problem,) = shop.plan(shop.as_ci()).prepared.plan.problems
            assert "does not exist" in problem.message
        shop.commit(shop.ref(first), more="through: opslib\n")
        session = shop.session()
        session.apply(session.plan(session.fetch()), wait=False)
        assert shop.values() == {"password": VALUE % "one"}
    assert os.environ.get("VAULT_ADDR") is None
