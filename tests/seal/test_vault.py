"""Against a real Vault: proofs without values, short tokens, and each way in which it fails."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opslib.core import secrecy
from opslib.kube.client import Cluster
from opslib.sandbox import binaries
from opslib.seal import vaultaccess, vaulthcl, vaultpolicy
from opslib.seal.vaultaccess import Access
from opslib.seal.vaultclient import Vault
from opslib.seal.vaulterrors import VaultError
from opslib.seal.vaultproof import Prover
from opslib.seal.vaultref import parse

from . import vaults
from .conftest import Ended, Verb
from .vaults import Vault as Real

READS = 'path "kv/data/*" { capabilities = ["read"] }\n'
PROVES = """
path "kv/metadata/*" { capabilities = ["read"] }
path "kv/subkeys/*" { capabilities = ["read"] }
"""
VALUE = "kX9#vault-value-%d-Tq4"


@pytest.fixture(scope="module")
def history(vault: Real) -> int:
    """Write four versions of kv/team/app: 1 destroyed, 2 deleted, 3 and 4 there."""
    for number in (1, 2, 3, 4):
        values: dict[str, object] = {"password": VALUE % number, "port": 5432, "deep": {"a": True}}
        vault.put("team/app", values if number < 4 else {**values, "later": "only-in-4-Zw"})
    vault.api("PUT", "kv/destroy/team/app", {"versions": [1]})
    vault.api("POST", "kv/delete/team/app", {"versions": [2]})
    vault.policy("proves", PROVES)
    vault.policy("reads", READS + PROVES)
    return 4


def by_token(vault: Real, token: str, seconds: float = 10) -> Access:
    """Return an access by a token that somebody has."""
    found = vaultaccess.access({"VAULT_ADDR": vault.address, "VAULT_TOKEN": token})
    assert found is not None
    return Access(found.address, token=found.token, seconds=seconds)


def caused(work: Callable[[], object]) -> VaultError:
    """Return the error that a call ends with."""
    with pytest.raises(VaultError) as caught:
        work()
    return caught.value


@pytest.mark.parametrize(
    ("reference", "cause", "words"),
    [
        ("team/app#password?version=3", "", "3"),
        ("team/app#password", "", "4"),
        ("team/app#deep?version=3", "", "3"),
        ("team/app#password?version=1", "destroyed", "version 1 of kv/team/app is destroyed"),
        ("team/app#password?version=2", "deleted", "version 2 of kv/team/app is deleted"),
        ("team/app#password?version=9", "version", "version 9 of kv/team/app does not exist"),
        ("team/app#pasword?version=3", "key", "has no key pasword"),
        ("team/app#later?version=3", "key", "has no key later"),
        ("team/ap#password?version=3", "absent", "no secret kv/team/ap"),
        ("team#password?version=3", "absent", "no secret kv/team"),
    ],
)
def test_proofs_without_values(
    vault: Real, history: int, reference: str, cause: str, words: str
) -> None:
    """A token that may read no value proves path, key and version, or says which is wrong."""
    del history
    one = parse(f"ref+vault://kv/{reference}")
    with Vault(by_token(vault, vault.token("proves"))) as client:
        if not cause:
            assert Prover(client).prove(one).reference.version == int(words)
            # … and the same token is refused the value.
            assert caused(lambda: client.values(one.at(3))).cause == "denied"
            return
        error = caused(lambda: Prover(client).prove(one))
    assert (error.cause, words in error.what) == (cause, True)
    assert not re.search("vault-value", str(error))


def test_values_are_secret_bytes(vault: Real, history: int) -> None:
    """Texts as they are, other JSON as JSON; noted for the masks before they are handed out."""
    del history
    with Vault(by_token(vault, vault.token("reads"))) as client:
        found = client.values(parse("ref+vault://kv/team/app#password?version=3"))
    assert found["password"].used_by(bytes) == (VALUE % 3).encode()
    assert found["port"].used_by(bytes) == b"5432"
    assert found["deep"].used_by(bytes) == b'{"a":true}'
    assert VALUE % 3 in {one.value for one in secrecy.REGISTRY.known()}
    with pytest.raises(TypeError):
        repr(found)


@pytest.mark.parametrize("ttl", ["11m", "root"])
def test_a_long_token_reads_no_value(vault: Real, history: int, ttl: str) -> None:
    """More than ten minutes, or a root token that never ends: refused before a value is read."""
    del history
    token = vault.root if ttl == "root" else vault.token("reads", ttl)
    one = parse("ref+vault://kv/team/app#password?version=3")
    with Vault(by_token(vault, token)) as client:
        error = caused(lambda: client.values(one))
        assert error.cause == "token"
        assert Prover(client).prove(one).newest == 4  # proofs are free to it
    assert token not in str(error)


def test_an_expired_token(vault: Real, history: int) -> None:
    """A token that was given and ended is a refusal, whose cause is said."""
    del history
    token = vault.token("proves", "1s")
    one = parse("ref+vault://kv/team/app#password?version=3")
    end = time.monotonic() + 20
    error: VaultError | None = None
    while error is None and time.monotonic() < end:
        with Vault(by_token(vault, token)) as client:
            try:
                Prover(client).prove(one)
            except VaultError as caught:
                error = caught
        time.sleep(0.2)
    assert error is not None
    assert error.cause == "denied"


def test_a_login_outlives_its_tokens(vault: Real, history: int, tmp_path: Path) -> None:
    """With three uses a token, or ended behind our back: another one is got; then given back."""
    del history
    jwt = vaults.jwt_login(vault, "few", "reads", token_num_uses=3)
    access = by_jwt(vault, tmp_path, jwt, "few")
    one = parse("ref+vault://kv/team/app#password?version=3")
    with Vault(access) as client:
        for _ in range(5):
            assert client.values(one)["password"].used_by(bytes) == (VALUE % 3).encode()
        token = client._adapter.token
    with pytest.raises(vaults.RefusedByVault):
        vault.api("GET", "auth/token/lookup-self", token=token)


@pytest.mark.parametrize(
    ("role", "options", "told"),
    [
        ("long", {"token_ttl": "768h"}, "600 s at most"),
        ("eleven", {"token_ttl": "11m"}, "lives 660 s"),
        ("other", {"bound_audiences": ["somebody-else"]}, "does not let us in"),
        ("nobody", {"bound_subject": "somebody-else"}, "does not let us in"),
    ],
)
def test_logins_that_are_refused(
    vault: Real, tmp_path: Path, role: str, options: dict[str, object], told: str
) -> None:
    """By Vault, or by us because the token would live too long; no token is in the words."""
    jwt = vaults.jwt_login(vault, role, "reads", **options)
    with Vault(by_jwt(vault, tmp_path, jwt, role)) as client:
        error = caused(lambda: client.metadata(parse("ref+vault://kv/team/app#a")))
    assert error.cause == ("token" if "lives" in str(error) else "login")
    assert told in str(error)
    assert jwt not in str(error)


def by_jwt(vault: Real, tmp_path: Path, jwt: str, role: str) -> Access:
    path = tmp_path / "jwt"
    path.write_text(jwt + "\n")
    env = {
        "VAULT_ADDR": vault.address,
        "OPSLIB_VAULT_ROLE": role,
        "OPSLIB_VAULT_AUTH": "jwt",
        "OPSLIB_VAULT_JWT": str(path),
    }
    found = vaultaccess.access(env)
    assert found is not None
    return found


def test_kubernetes_login(
    vault: Real, history: int, server: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Vault asks the real API server whose token it is: the bound account gets in, no other."""
    del history
    path = tmp_path / "token"
    env = {
        "VAULT_ADDR": vault.address,
        "OPSLIB_VAULT_ROLE": "loop",
        "OPSLIB_VAULT_JWT": str(path),
    }
    access = vaultaccess.access(env)
    assert access is not None
    one = parse("ref+vault://kv/team/app#password?version=4")
    with vaults.kubernetes_login(vault, server, namespace, "loop", "reads") as token:
        path.write_text(token)
        with Vault(access) as client:
            assert client.values(one)["password"].used_by(bytes) == (VALUE % 4).encode()
        for wrong in (
            vaults.account(server, namespace, "stranger", "vault"),
            vaults.account(server, namespace, "loop"),  # of another audience
            "no.token.at-all",
        ):
            path.write_text(wrong)
            with Vault(access) as client:
                error = caused(lambda: client.values(one))
            assert error.cause == "login"
            assert wrong not in str(error)


# -- Vault does not work


def test_sealed_and_restarted(vault: Real, history: int) -> None:
    """Sealed is said; after it is unsealed, or killed and started anew, all goes on."""
    del history
    one = parse("ref+vault://kv/team/app#password?version=3")
    token = vault.token("proves")
    with Vault(by_token(vault, token)) as client:
        vault.seal()
        try:
            error = caused(lambda: Prover(client).prove(one))
        finally:
            vault.unseal()
        assert (error.cause, error.what) == ("sealed", "Vault is sealed")
        assert Prover(client).prove(one).newest == 4
        vault.stop()
        error = caused(lambda: Prover(client).prove(one))
        assert error.cause == "gone"
        assert vault.address in str(error)
        vault.start()
        assert caused(lambda: Prover(client).prove(one)).cause == "sealed"
        vault.unseal()
        assert Prover(client).prove(one).newest == 4


Answer = Callable[[socket.socket], None]


def silent(line: socket.socket) -> None:
    """Take the request and say nothing."""
    line.recv(65536)
    time.sleep(1.5)


def dripping(line: socket.socket) -> None:
    """Answer a letter at a time, so that no single wait is long."""
    line.recv(65536)
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(30):
        line.sendall(b"x")
        time.sleep(0.05)


def _fixed(data: bytes) -> Answer:
    def answer(line: socket.socket) -> None:
        line.recv(65536)
        line.sendall(data)

    return answer


REDIRECT = (
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1/x\r\n"
    b"Content-Length: 0\r\n\r\n"
)
HTML = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
ENDS = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{"
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b" " * 9_000_000
BROKEN = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (silent, "slow"),
        (dripping, "slow"),
        (_fixed(REDIRECT), "standby"),
        (_fixed(HTML), "answer"),
        (_fixed(ENDS), "gone"),
        (_fixed(HUGE), "answer"),
        (_fixed(BROKEN), "answer"),
        (_fixed(BUSY), "slow"),
        (_fixed(b""), "gone"),
    ],
    ids=["silent", "dripping", "redirect", "html", "ends", "huge", "502", "429", "closed"],
)
def test_what_is_no_working_vault(answer: Answer, cause: str) -> None:
    """Each is told within the time of one request, with the address, and the token stays here."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                try:
                    answer(line)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found = vaultaccess.access({"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.a-token-of-a-test"})
        assert found is not None
        assert found.token is not None
        seconds = 0.7 if answer in {silent, dripping} else 20
        before = time.monotonic()
        with Vault(Access(address, token=found.token, seconds=seconds)) as client:
            error = caused(lambda: client.metadata(parse("ref+vault://kv/a#b")))
        assert time.monotonic() - before < 30
        thread.join(10)
    assert error.cause == cause
    assert error.away
    assert address in str(error)
    assert "hvs." not in str(error)


# -- the command line


@pytest.fixture
def repository(tmp_path: Path, seal: Verb) -> Callable[[str], None]:
    """Return what writes a VaultSecret of these lines into the folder that the verb works in."""
    del seal

    def write(rows: str) -> None:
        head = "apiVersion: opslib.dev/v1\nkind: VaultSecret\nmetadata: {name: db}\nstringData:\n"
        (tmp_path / "db.yaml").write_text(head + rows)

    return write


def test_check(
    vault: Real,
    history: int,
    seal: Verb,
    repository: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For CI: each reference that leads nowhere is an error with its line; no value is read."""
    del history
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    monkeypatch.setenv("VAULT_TOKEN", vault.token("proves"))
    repository("  a: ref+vault://kv/team/app#password?version=4\n")
    assert seal("vault", "check", "--strict").code == 0
    repository(
        "  a: ref+vault://kv/team/app#password?version=4\n"
        "  b: ref+vault://kv/team/app#password?version=2\n"
        "  c: ref+vault://kv/team/app#nothing?version=4\n"
        "  d: ref+vault://kv/team/app#password\n"
    )
    told = seal("vault", "check", "--json")
    document = json.loads(told.out)
    assert told.code == 1
    assert [(one["where"].rpartition(":")[2], one["cause"]) for one in document["findings"]] == [
        ("6", "deleted"),
        ("7", "key"),
        ("8", "unpinned"),
    ]
    assert (document["errors"], document["warnings"], document["references"]) == (2, 1, 4)
    assert "?version=4" in document["findings"][2]["hint"]
    repository("  d: ref+vault://kv/team/app#password\n")
    assert seal("vault", "check").code == 0
    assert seal("vault", "check", "--strict").code == 1
    repository("  d: plain-text-in-git\n")
    wrong = seal("vault", "check")
    assert wrong.code == 1
    assert "plain-text-in-git" not in wrong.out + wrong.err


def test_check_where_vault_does_not_help(
    vault: Real,
    history: int,
    seal: Verb,
    repository: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No address, no token, no rights, nobody there: one cause each, and its exit code."""
    del history
    repository("  a: ref+vault://kv/team/app#password?version=4\n")
    for name in ("VAULT_ADDR", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def told(**settings: str) -> Ended:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return seal("vault", "check", "--json")

    assert told().code == 2
    assert told(VAULT_ADDR=vault.address).code == 2
    refused = told(VAULT_TOKEN=vault.token("default"))
    assert refused.code == 1
    (one,) = json.loads(refused.out)["findings"]
    assert (one["cause"], one["where"]) == ("denied", "db.yaml:5")
    gone = told(VAULT_ADDR="http://127.0.0.1:9")
    assert gone.code == 1
    assert json.loads(gone.out)["error"]["cause"] == "gone"


def test_the_generated_policies_suffice_and_no_more(
    vault: Real,
    history: int,
    seal: Verb,
    repository: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Vault itself takes them; the loop's reads this path alone, CI's no value at all."""
    del history
    vault.put("team/neighbour", {"password": VALUE % 99})
    repository("  a: ref+vault://kv/team/app#password?version=4\n")
    for who in ("loop", "check"):
        vault.policy(who, seal("vault", "policy", "--for", who).out)
    one, other = (
        parse(f"ref+vault://kv/team/{name}#password?version=1") for name in ("app", "neighbour")
    )
    with Vault(by_token(vault, vault.token("loop", no_default_policy=True))) as client:
        assert client.values(one.at(4))["password"]
        for call in (client.values, client.metadata, client.subkeys):
            assert caused(lambda call=call: call(other)).cause == "denied"  # type: ignore[misc]
    with Vault(by_token(vault, vault.token("check", no_default_policy=True))) as client:
        assert Prover(client).prove(one.at(4)).newest == 4
        assert caused(lambda: client.values(one.at(4))).cause == "denied"
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    monkeypatch.setenv("VAULT_TOKEN", vault.root)
    assert seal("vault", "policy", "--policy", "loop").code == 0
    wide = seal("vault", "policy", "--policy", "reads", "--json")
    assert wide.code == 4
    assert "kv/data/*" in {row["path"] for row in json.loads(wide.out)["more"]}
    narrow = seal("vault", "policy", "--policy", "check", "--json")
    assert [row["path"] for row in json.loads(narrow.out)["missing"]] == ["kv/data/team/app"]
    monkeypatch.setenv("VAULT_TOKEN", vault.token("check"))
    assert seal("vault", "policy", "--policy", "loop").code == 1


def test_priorities_are_those_of_vault(vault: Real) -> None:
    """What we say is allowed is what Vault says, on every path of a set of overlapping rules."""
    paths = [
        "kv/data/team/app",
        "kv/data/team/b",
        "kv/data/x/app",
        "kv/data/x/y/z",
        "kv/metadata/a",
    ]
    rules = {
        "kv/*": "read", "kv/data/*": "list", "kv/data/+/app": "update", "kv/data/team/*": "read",
        "kv/data/te*": "delete", "kv/+/team/app": "create", "kv/data/x/+/z": "deny",
    }  # fmt: skip
    names = list(rules)
    for left_out in range(len(names) + 1):
        chosen = [name for number, name in enumerate(names) if number != left_out]
        text = "".join(f'path "{p}" {{ capabilities = ["{rules[p]}"] }}\n' for p in chosen)
        vault.policy("overlap", text)
        token = vault.token("overlap", no_default_policy=True)
        said = vault.api("POST", "sys/capabilities", {"token": token, "paths": paths})["data"]
        known = {rule.path: rule.capabilities for rule in vaulthcl.read(text, "overlap")}
        for path in paths:
            ours = vaultpolicy.allowed(known, path) or {"deny"}
            assert set(said[path]) == set(ours), (path, chosen)


def test_the_commands_of_the_documentation(
    vault: Real, seal: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of docs/vault.md does what stands behind it, on the document above it."""
    text = (Path(__file__).parents[2] / "docs" / "vault.md").read_text()
    (document, *_) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "db.yaml").write_text(document)
    for number in range(1, 8):
        vault.put("team/app", {"password": VALUE % number})
    newest = int(vault.api("GET", "kv/metadata/team/app")["data"]["current_version"])
    changed = document.replace("?version=7", f"?version={newest}")
    (tmp_path / "db.yaml").write_text(changed)
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    monkeypatch.setenv("VAULT_TOKEN", vault.root)
    vault.policy("opslib-shop", seal("vault", "policy").out)
    with contextlib.suppress(vaults.RefusedByVault):
        vault.api("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    (tmp_path / "vault").symlink_to(binaries.vault())
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.partition(" #")[0].split() for block in blocks for line in block.splitlines()]
    for program, *words in lines:
        if program == "vault":
            subprocess.run([tmp_path / "vault", *words], check=True, timeout=60)
            continue
        assert (program, words[:2]) == ("opslib", ["seal", "vault"])
        ended = seal(*words[1:])
        assert ended.code == 0, ended.err
    role = vault.api("GET", "auth/kubernetes/role/shop")["data"]
    assert role["token_ttl"] == vaultaccess.MOST_SECONDS
    assert len(lines) == 5
