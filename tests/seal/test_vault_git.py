"""References to Vault in Git: their form, the document, the policies that follow from them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError, Problems
from opslib.core.model import Resource, ResourceKey
from opslib.policy import check
from opslib.seal import vaulthcl, vaultpolicy
from opslib.seal.vaultaccess import access
from opslib.seal.vaultcompile import external_secret, static_secret
from opslib.seal.vaultdoc import is_vault_secret, object_key, read
from opslib.seal.vaultref import Reference, parse
from opslib.source.render import parse_file, render_folder

from .conftest import Verb

PLAIN = "hunter2-Zq7-plain"
DOCUMENT = """\
# the database
apiVersion: opslib.dev/v1
kind: VaultSecret
metadata:
  name: db
  namespace: shop
  labels: {app: shop}
type: Opaque
stringData:
  user: ref+vault://kv/team/app#user?version=7
  password: ref+vault://kv/team/app#password?version=7
"""


def document(text: str, path: str = "db.yaml") -> Resource:
    """Return the one document of a text."""
    (one,) = parse_file(text.encode(), path)
    return one


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ref+vault://kv/team/app#password?version=7", ("kv", "team/app", "password", 7)),
        ("ref+vault://kv/team/app?version=7#password", ("kv", "team/app", "password", 7)),
        ("ref+vault://kv/app#/password", ("kv", "app", "password", 0)),
        ("ref+vault://team%2Fkv/a/b/c#x", ("team/kv", "a/b/c", "x", 0)),
        ("ref+vault://kv/app#a%20b%23c%3F", ("kv", "app", "a b#c?", 0)),
        ("ref+vault://kv/app#tls.key?version=1", ("kv", "app", "tls.key", 1)),
        ("ref+vault://kv/%C3%A4pp#k", ("kv", "äpp", "k", 0)),
    ],
)
def test_forms(text: str, wanted: tuple[str, str, str, int]) -> None:
    """The forms of the issue and of vals; what is written back reads as the same."""
    one = parse(text)
    assert (one.mount, one.path, one.key, one.version) == wanted
    assert parse(str(one)) == one


@given(
    st.builds(
        Reference,
        st.from_regex(r"[a-z][a-z0-9_-]{0,9}(/[a-z0-9]{1,5})?", fullmatch=True),
        st.lists(st.from_regex(r"[A-Za-z0-9äß~@:=,!() ._&-]{1,9}", fullmatch=True), min_size=1)
        .map("/".join)
        .filter(lambda p: all(x == x.strip() and x not in {".", ".."} for x in p.split("/"))),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
            lambda k: k.isprintable() and not k.startswith("/")
        ),
        st.integers(0, 99999),
    )
)
def test_every_reference_reads_back(one: Reference) -> None:
    """Whatever mount, path and key are called, the text leads to the same place."""
    assert parse(str(one)) == one
    assert all(word.isprintable() for word in [one.api("data"), str(one)])


@pytest.mark.parametrize(
    "text",
    [
        PLAIN, "", 7, None, ["ref+vault://kv/a#b"], "ref+vault://", "ref+vault://kv#x",
        "ref+vault://kv/#x", "ref+vault://kv/a", "ref+vault://kv/a#", "ref+vault:///a#x",
        "ref+vault://kv/../sys/raw#x", "ref+vault://kv/a/%2e%2e/b#x", "ref+vault://kv/a/*#x",
        "ref+vault://kv/+/b#x", "ref+vault://kv//b#x", "ref+vault://kv/a%2Fb#x",
        "ref+vault://kv/a#b?version=0", "ref+vault://kv/a#b?version=-1",
        "ref+vault://kv/a#b?version=x", "ref+vault://kv/a#b?versoin=1", "ref+vault://kv/a#b c",
        "ref+vault://kv/a\n#b", "ref+vault://kv/a%00b#c", "ref+vault://kv/a#b%0a", "REF+VAULT://a/b#c",
        "ref+vault://kv/a?version=1#b?version=2", "ref+vault://kv/{{identity}}/a#b",
        'ref+vault://kv/a"#b', "ref+vault://kv/" + "a" * 2000 + "#b", "ref+vault://kv/%ff#b",
        " ref+vault://kv/a#b", "ref+file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_no_reference(text: object) -> None:
    """It is refused by a reason that repeats nothing of it: it may be the value itself."""
    with pytest.raises(ValueError, match="it") as caught:
        parse(text)
    assert len(str(caught.value)) < 90
    assert PLAIN not in str(caught.value)


def test_a_document_stands_for_a_secret() -> None:
    """It comes out of a folder as what it is, with the line of each reference."""
    one = document(DOCUMENT)
    assert is_vault_secret(one.manifest)
    assert object_key(one.manifest) == ResourceKey("", "Secret", "shop", "db")
    found = read(one)
    assert found.place_of("password") == "db.yaml:11"
    assert found.references["password"].version == 7


def test_kustomize_passes_it_on(tmp_path: Path) -> None:
    """A kustomization gives it a namespace and labels as any object."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "db.yaml").write_text(DOCUMENT)
    (tmp_path / "kustomization.yaml").write_text("namespace: other\nresources: [db.yaml]\n")
    (one,) = render_folder(tmp_path).resources
    assert object_key(one.manifest).namespace == "other"
    assert read(one).references["user"].key == "user"


WRONG = {
    f"stringData: {{a: {PLAIN}}}": "stringData is no reference at all",
    "stringData: {a: 'ref+vault://kv/a#b?version=x'}": "a version that is none",
    "stringData: {}": "no references",
    "stringData: [a]": "no mapping",
    f"data: {{a: {PLAIN}}}": "data",
    "stringData: {'a/b': 'ref+vault://kv/a#b'}": "a key that no Secret has",
    "stringData: {a: 'ref+vault://kv/a#b'}\ntype: [x]": "a type that is none",
    "stringData: {a: 'ref+vault://kv/a#b'}\nimmutable: 'yes'": "a boolean that is none",
    "stringData: {a: 'ref+vault://kv/a#b'}\nthrough: carrier-pigeon": "nobody resolves it",
    "stringData: {a: 'ref+vault://kv/a#b'}\nstringdata: {}": "a field that is misspelt",
    "stringData: {a: 'ref+vault://kv/a#b'}\nexternalSecrets: {secretStoreRef: x}": "a store",
    "stringData: {a: 'ref+vault://kv/a#b'}\nvaultSecretsOperator: {vaultAuthRef: 'A b'}": "a name",
}


@pytest.mark.parametrize("body", WRONG, ids=list(WRONG.values()))
def test_wrong_documents(body: str) -> None:
    """Each mistake is told with file and line, and no value is repeated."""
    head = "apiVersion: opslib.dev/v1\nkind: VaultSecret\nmetadata: {name: db}\n"
    with pytest.raises(Problems) as caught:
        read(document(head + body, "deep/db.yaml"))
    assert caught.value.exit_code == 2
    for one in caught.value.problems:
        assert one.where
        assert one.where.startswith("deep/db.yaml:")
        assert int(one.where.rpartition(":")[2]) in {1, 4, 5}
    assert PLAIN not in str(caught.value) + json.dumps(caught.value.as_dict())


def test_a_forged_annotation_is_refused() -> None:
    """What a Secret was written from is said by the kit alone."""
    text = DOCUMENT.replace("  labels:", "  annotations: {opslib.dev/vault: x}\n  labels:")
    with pytest.raises(Problems, match="written by opslib"):
        read(document(text))


def test_unpinned_references_are_flagged() -> None:
    """The policy has a rule for it, with the line; pinned ones are no finding."""
    text = DOCUMENT.replace("#user?version=7", "#user")
    (one,) = [f for f in check([document(text)]).findings if f.rule != "namespace-quota"]
    assert (one.rule, one.severity, one.origin.line) == ("pinned-secret", "warning", 10)
    assert {f.rule for f in check([document(DOCUMENT)]).findings} == {"namespace-quota"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VAULT_ADDR": "vault.example.com"}, "no address"),
        ({"VAULT_ADDR": "http://vault.example.com:8200"}, "not encrypted"),
        ({"VAULT_ADDR": "https://u:p@vault.example.com"}, "no address"),
        ({"VAULT_ADDR": "https://v:99999"}, "no address"),
        ({"VAULT_ADDR": "https://v", "OPSLIB_VAULT_ROLE": "../x"}, "no name|not a name"),
        ({"VAULT_ADDR": "https://v", "OPSLIB_VAULT_AUTH": "a/../../sys"}, "not a name"),
        ({"VAULT_ADDR": "https://v", "VAULT_CACERT": "/nowhere"}, "names no file"),
        ({"VAULT_ADDR": "https://v", "VAULT_TOKEN": "a\nb"}, "characters"),
    ],
)
def test_wrong_settings(settings: dict[str, str], words: str) -> None:
    """Each is bad input that names the variable."""
    with pytest.raises(InputError, match=words):
        access({"HOME": "/nonexistent", **settings})


# -- policies


def test_the_least_policy() -> None:
    """Exact paths, each once; CI's has no path with values; it reads back as it was written."""
    references = [parse(f"ref+vault://kv/team/app#{key}?version=7") for key in ("a", "b")]
    references.append(parse("ref+vault://team%2Fkv/x%20y#c"))
    loop = vaultpolicy.needed(references, "loop")
    ci = vaultpolicy.needed(references, "check")
    assert {p for p in loop if "/data/" in p} == {"kv/data/team/app", "team/kv/data/x y"}
    assert set(loop) - set(ci) == {"kv/data/team/app", "team/kv/data/x y"}
    for paths in (loop, ci):
        rules = vaulthcl.read(vaultpolicy.written(paths), "p")
        assert {rule.path: rule.capabilities for rule in rules} == paths
        assert vaultpolicy.compare(paths, rules).same


REAL = """
# comment with "path" { }
path "kv/data/*" { capabilities = ["read", "list"] } // wide
path "kv/metadata/team/app" {
  capabilities = ["read", "delete"] /* more
  */
  allowed_parameters = { "x" = ["a", "b"] }
}
path "kv/+/team/app" { capabilities = ["read"] }
path "kv/subkeys/team/app" { policy = "write" }
path "secret/denied" { capabilities = ["deny"] }
"""


def test_what_a_real_policy_allows_more() -> None:
    """Globs, other paths and other capabilities are named, with what Git uses under a glob."""
    paths = vaultpolicy.needed([parse("ref+vault://kv/team/app#a?version=1")], "loop")
    found = vaultpolicy.compare(paths, vaulthcl.read(REAL, "real"))
    told = {one.path: (set(one.capabilities), set(one.uses)) for one in found.more}
    assert told["kv/data/*"] == ({"read", "list"}, {"kv/data/team/app"})
    assert told["kv/metadata/team/app"][0] == {"delete"}
    assert told["kv/+/team/app"][1] == {p for p in paths if p.startswith("kv/")}
    assert told["kv/subkeys/team/app"][0] == {"create", "update", "delete", "list"}
    assert "secret/denied" not in told
    assert not found.missing


def test_what_a_real_policy_lacks() -> None:
    """The most specific rule decides, and deny is nothing: what the loop would be refused."""
    paths = vaultpolicy.needed([parse("ref+vault://kv/team/app#a?version=1")], "loop")
    text = (
        'path "kv/*" { capabilities = ["read"] }\npath "kv/data/team/*" { capabilities = ["deny"] }'
    )
    found = vaultpolicy.compare(paths, vaulthcl.read(text, "real"))
    assert [one.path for one in found.missing] == ["kv/data/team/app"]
    as_json = json.dumps({"path": {"kv/data/team/app": {"capabilities": ["read"]}}})
    rest = vaultpolicy.compare(paths, vaulthcl.read(as_json, "real"))
    assert not rest.more
    assert len(rest.missing) == 2


@pytest.mark.parametrize(
    "text", ["path", 'path "a" {', "}", 'path "a" { capabilities = [', "\x00", "{", '{"path": 3',
             'path "a" { x = ' + "[" * 5000, '"' * 9]
)  # fmt: skip
def test_what_is_no_policy(text: str) -> None:
    """Bad input, and never a crash."""
    with pytest.raises(InputError):
        vaulthcl.read(text, "real")


def test_the_command_line_writes_and_compares(seal: Verb, tmp_path: Path) -> None:
    """``policy`` prints HCL or JSON; with a file of the real one it exits 4 where that differs."""
    (tmp_path / "db.yaml").write_text(DOCUMENT)
    made = seal("vault", "policy")
    assert made.code == 0
    assert 'path "kv/data/team/app"' in made.out
    (tmp_path / "same.hcl").write_text(made.out)
    assert seal("vault", "policy", "--file", "same.hcl").code == 0
    (tmp_path / "wide.hcl").write_text(REAL)
    wide = seal("vault", "policy", "--file", "wide.hcl", "--json")
    assert wide.code == 4
    assert {one["path"] for one in json.loads(wide.out)["more"]} >= {"kv/data/*"}
    ci = json.loads(seal("vault", "policy", "--for", "check", "--json").out)
    assert not any("/data/" in row["path"] for row in ci["paths"])
    assert seal("vault", "policy", "--for", "nobody").code == 2
    (tmp_path / "db.yaml").unlink()
    assert seal("vault", "policy").code == 2


# -- operators


def static(text: str = DOCUMENT) -> dict[str, Any]:
    """Return the VaultStaticSecret of a document."""
    return static_secret(read(document(text)))


def test_one_path_is_a_vault_static_secret() -> None:
    """Only the keys that Git names, under the names that Git gives them."""
    made = static()
    spec = made["spec"]
    assert (spec["mount"], spec["path"], spec["version"]) == ("kv", "team/app", 7)
    transformation = spec["destination"]["transformation"]
    assert transformation["excludeRaw"]
    assert transformation["excludes"] == [".*"]
    assert set(transformation["templates"]) == {"user", "password"}
    assert spec["destination"]["labels"] == {"app": "shop"}
    assert "refreshAfter" not in spec
    assert "version" not in static(DOCUMENT.replace("?version=7", ""))["spec"]


@pytest.mark.parametrize(
    "change", [("#user?version=7", "#user?version=6"), ("type: Opaque", "immutable: true")]
)
def test_what_the_operator_cannot_do(change: tuple[str, str]) -> None:
    """Two versions in one Secret, an immutable one: told with the line, and what to do."""
    with pytest.raises(InputError, match="VaultStaticSecret") as caught:
        static(DOCUMENT.replace(*change))
    assert str(caught.value.where).startswith("db.yaml:")
    assert "through: opslib" in str(caught.value.hint)


def test_an_external_secret_needs_a_store() -> None:
    """Each reference is one of its rows, dots in names and all."""
    with pytest.raises(InputError, match="store"):
        external_secret(read(document(DOCUMENT)), "external-secrets.io/v1")
    text = DOCUMENT.replace("#user", "#db.user") + (
        "externalSecrets: {secretStoreRef: {kind: ClusterSecretStore, name: vault}}\n"
    )
    made = external_secret(read(document(text)), "external-secrets.io/v1")
    rows = {row["secretKey"]: row["remoteRef"] for row in made["spec"]["data"]}
    assert rows["user"] == {"key": "kv/team/app", "property": "db.user", "version": "7"}


def test_no_heavy_import_for_those_who_have_no_vault() -> None:
    """Planning imports neither hvac nor requests."""
    words = ["-c", "import sys, opslib.reconcile.session; print('hvac' in sys.modules)"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
