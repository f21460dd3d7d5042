"""Bad input: the cause, the place, and nothing half written."""

from __future__ import annotations

import gzip
import json
import os
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.seal import pins, privatekeys
from opslib.seal.reading import read_documents
from opslib.seal.sealed import read_sealed
from opslib.seal.sealing import Options
from opslib.seal.sealing import seal as seal_all
from opslib.seal.secret import read_secrets

from .conftest import Verb
from .parts import Pair, dumped, secret

VALUE = "tr0ub4dor-and-three"
GOOD = secret({"password": VALUE})


def _yaml(**changes: Any) -> bytes:
    return yaml.safe_dump({**json.loads(json.dumps(GOOD)), **changes}).encode()


BAD: list[tuple[str, bytes, str]] = [
    ("empty", b"", "there is no Secret in the input"),
    ("only a comment", b"# nothing\n---\n", "there is no Secret in the input"),
    ("not YAML", b"a: [", "this is not YAML"),
    ("cut off JSON", dumped(GOOD)[:-3], "this is not YAML"),
    ("a text", b"hello", "this is no Kubernetes object"),
    ("a list", b"- 1\n- 2\n", "this is no Kubernetes object"),
    ("a ConfigMap", _yaml(kind="ConfigMap"), "this is no Secret: kind 'ConfigMap'"),
    ("without a kind", _yaml(kind=None), "this is no Secret: kind None"),
    ("another version", _yaml(apiVersion="v2"), "apiVersion 'v2'"),
    ("sealed already", _yaml(kind="SealedSecret"), "this is sealed already"),
    ("a wrong field", _yaml(stringdata={"a": "b"}), "a Secret has no field stringdata"),
    ("no base64", _yaml(data={"a": VALUE + "!"}), "the value of a is not base64"),
    ("a number", _yaml(stringData={"a": 5}), "the value of a is a number or switch, not text"),
    ("a switch", _yaml(stringData={"a": True}), "the value of a is a number or switch"),
    ("a mapping", _yaml(data={"a": {"b": "c"}}), "the value of a is a mapping or list"),
    ("data is a list", _yaml(data=["a"]), "data is no mapping"),
    ("metadata is a text", _yaml(metadata="db"), "metadata is no mapping"),
    ("no name", _yaml(metadata={"namespace": "shop"}), "metadata.name is missing"),
    ("a bad key", _yaml(data={"a/b": "eA=="}), "'a/b' cannot be a key of a Secret"),
    ("no data", _yaml(data={}), "the Secret has no data"),
    ("immutable", _yaml(immutable="yes"), "immutable is neither true nor false"),
    ("a label", _yaml(metadata={"name": "a", "labels": {"b": 1}}), "the value of b is a number"),
    ("a key twice", b"apiVersion: v1\nkind: Secret\nkind: Secret\n", "is written twice"),
    ("Latin-1", _yaml(stringData={"a": "x"}) + b"# \xe4\n", "this is not text in UTF-8: byte"),
    ("UTF-16", json.dumps(GOOD).encode("utf-16"), "it is UTF-16"),
    ("too large", _yaml(data={"a": b64encode(bytes(1 << 20 | 1)).decode()}), "1048577 bytes"),
    (
        "too many",
        dumped(secret({f"k{n}": os.urandom(400) for n in range(2000)})),
        "the SealedSecret would be",
    ),
    ("the second is bad", dumped(GOOD, {**GOOD, "kind": "Pod"}), "this is no Secret: kind 'Pod'"),
]


@pytest.mark.parametrize(("data", "why"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_no_secret_is_said_with_its_place(
    seal: Verb, cert: Path, tmp_path: Path, data: bytes, why: str
) -> None:
    """Exit 2, cause, file and line; the output is not touched; no value is repeated."""
    source, target = tmp_path / "in.yaml", tmp_path / "out.yaml"
    source.write_bytes(data)
    target.write_text("before")
    done = seal("--cert", cert, "-f", source, "-w", target)
    assert done.code == 2, done
    assert why in done.err
    assert f"where: {source}" in done.err
    assert target.read_text() == "before"
    assert VALUE not in done.err
    assert not done.out


def test_the_line_is_that_of_the_field(seal: Verb, cert: Path) -> None:
    """A mistake in the third document of a stream is found at its own line."""
    text = (_yaml() + b"---\n" + _yaml() + b"---\n").decode()
    text += "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\ndata:\n  ok: eA==\n  bad: '*'\n"
    done = seal("--cert", cert, stdin=text.encode())
    assert f"where: standard input:{text.count(chr(10))}" in done.err


def test_an_empty_secret_can_be_sealed_when_asked(seal: Verb, cert: Path) -> None:
    """--allow-empty-data, as kubeseal has it."""
    done = seal("--cert", cert, "--allow-empty-data", stdin=_yaml(data={}))
    assert done.code == 0
    assert json.loads(done.out)["spec"]["encryptedData"] == {}


def _packed(value: bytes) -> str:
    inner = json.dumps(secret({"password": value}))
    return b64encode(gzip.compress(inner.encode())).decode()


LEAKS = {
    "kapp.k14s.io/original": json.dumps(GOOD),
    "objectset.rio.cattle.io/applied": _packed(VALUE.encode()),
    "example.com/comment": f"the password is {VALUE}.",
    "example.com/base64": b64encode(VALUE.encode()).decode(),
    "example.com/hex": VALUE.encode().hex().upper(),
    "example.com/quoted": json.dumps({"x": VALUE}),
}


@pytest.mark.parametrize("annotation", LEAKS)
def test_annotations_with_the_plaintext_are_refused(
    seal: Verb, cert: Path, annotation: str
) -> None:
    """Whatever tool kept a copy of the object: it is found, named, and never written."""
    document = secret(
        {"password": VALUE}, metadata={"annotations": {annotation: LEAKS[annotation]}}
    )
    done = seal("--cert", cert, stdin=dumped(document))
    assert done.code == 2
    assert f"the annotation {annotation} holds the value of password" in done.err
    assert not done.out
    assert VALUE not in done.err


def test_short_values_in_a_copy_are_found_by_its_form(seal: Verb, cert: Path) -> None:
    """A value that no search could tell from a word: the copy's form gives it away."""
    inner = json.dumps(secret({"user": "db"}))
    document = secret({"user": "db"}, metadata={"annotations": {"kapp.k14s.io/original": inner}})
    assert seal("--cert", cert, stdin=dumped(document)).code == 2


def test_ordinary_labels_are_no_leak(seal: Verb, cert: Path) -> None:
    """Words that Secrets and labels share by nature are let through."""
    document = secret(
        {"username": "postgres", "host": "db", "empty": "", "port": "5432"},
        metadata={"labels": {"app": "postgres", "db": "db"}, "annotations": {"port": "5432"}},
    )
    assert seal("--cert", cert, stdin=dumped(document)).code == 0


def _elliptic() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _certificates(one: Pair) -> dict[str, tuple[bytes, str]]:
    public = one.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = x509.load_pem_x509_certificate(one.cert).public_bytes(Encoding.DER)
    damaged = one.cert.replace(b"CERTIFICATE-----\nMII", b"CERTIFICATE-----\nAAA")
    past = datetime.now(UTC) - timedelta(hours=1)
    return {
        "private": (one.pem, "this is a private key"),
        "public": (pem, "this is a bare public key"),
        "elliptic": (_elliptic(), "this is a bare public key"),
        "ssh": (b"ssh-rsa AAAA", "this is an ssh public key"),
        "der": (der, "this is a binary file (DER)"),
        "html": (b"<html>login</html>", "this is a web page"),
        "empty": (b" \n", "the certificate is empty"),
        "cut": (one.cert[:-40], "the certificate is cut off"),
        "manifest": (dumped(one.secret()), "this is a manifest"),
        "text": (b"hello", "this is no certificate"),
        "damaged": (damaged, "the certificate is damaged"),
        "expired": (one.certificate_pem(end=past), "the certificate expired on"),
    }  # fmt: skip


CERTIFICATES = [
    "private", "public", "elliptic", "ssh", "der", "html", "empty", "cut", "manifest", "text",
    "damaged", "expired",
]  # fmt: skip


@pytest.mark.parametrize("name", CERTIFICATES)
def test_what_is_no_certificate_is_said(seal: Verb, one: Pair, tmp_path: Path, name: str) -> None:
    """Each wrong file is called what it is, and nothing is sealed."""
    data, why = _certificates(one)[name]
    (tmp_path / "cert.pem").write_bytes(data)
    done = seal("--cert", "cert.pem", stdin=dumped(GOOD))
    assert done.code == 2
    assert why in done.err
    assert "where: cert.pem" in done.err
    assert not done.out
    assert "PRIVATE KEY-----" not in done.err


def test_a_certificate_that_expires_soon_is_told(seal: Verb, one: Pair, tmp_path: Path) -> None:
    """A warning in the last 30 days, on standard error; the output is whole."""
    soon = datetime.now(UTC) + timedelta(days=10, hours=1)
    (tmp_path / "cert.pem").write_bytes(one.certificate_pem(end=soon))
    done = seal("--cert", "cert.pem", stdin=dumped(GOOD))
    assert done.code == 0
    assert "warning: the certificate cert.pem expires on" in done.err
    assert "in 10 days" in done.err
    assert read_sealed(done.out.encode(), "out")


def test_a_changed_certificate_is_blocked_until_git_says_so(
    seal: Verb, one: Pair, two: Pair, tmp_path: Path
) -> None:
    """Pinned one key: another is refused until seal.yaml names it; the old one then is too."""
    (tmp_path / "one.pem").write_bytes(one.cert)
    (tmp_path / "two.pem").write_bytes(two.cert)
    assert seal("pin", "production", "--cert", "one.pem").code == 0
    assert seal("--cert", "one.pem", stdin=dumped(GOOD)).code == 0
    done = seal("--cert", "two.pem", "-w", "out.yaml", stdin=dumped(GOOD))
    assert done.code == 2
    assert "the certificate of production has changed" in done.err
    assert one.fingerprint in done.err
    assert two.fingerprint in done.err
    assert not (tmp_path / "out.yaml").exists()
    wrong = seal("pin", "production", "--cert", "two.pem", "--fingerprint", one.fingerprint)
    assert wrong.code == 2
    told = seal("pin", "production", "--cert", "two.pem", "--fingerprint", two.fingerprint)
    assert told.code == 0
    assert seal("--cert", "two.pem", stdin=dumped(GOOD)).code == 0
    older = seal("--cert", "one.pem", stdin=dumped(GOOD))
    assert older.code == 2
    assert "is of an older key of production" in older.err
    found = pins.load(tmp_path / "seal.yaml").cluster("production")
    assert found.keys == (two.fingerprint, one.fingerprint)


def test_pins_keep_the_comments_of_the_file(one: Pair, two: Pair, tmp_path: Path) -> None:
    """A pin is one line more; a key that was there as an older one moves to the front."""
    path = tmp_path / "seal.yaml"
    path.write_text(
        "apiVersion: opslib.dev/v1\nkind: Sealing\nclusters:\n  # ours\n  - name: a\n    keys:\n"
        f"      - {one.fingerprint}  # of 2025\n  - name: b\n    keys: [{one.fingerprint}]\n"
    )
    assert pins.pin(pins.load(path), "a", two.fingerprint)
    assert pins.pin(pins.load(path), "b", two.fingerprint)
    assert not pins.pin(pins.load(path), "b", two.fingerprint)
    both = (two.fingerprint, one.fingerprint)
    assert [one_.keys for one_ in pins.load(path).clusters] == [both, both]
    assert "  # ours\n" in path.read_text()
    assert "  # of 2025\n" in path.read_text()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: b", "this is no file of pins"),
        ("kind: Sealing\nclusters: x", "clusters is no list"),
        ("kind: Sealing\nclusters: [{keys: [a]}]", "a cluster has no name"),
        ("kind: Sealing\nclusters: [{name: a}]", "a has no keys"),
        ("kind: Sealing\nclusters: [{name: a, keys: [abc]}]", "a key is no fingerprint"),
        ("kind: Sealing\nclusters: [{name: a, kyes: []}]", "kyes is not known"),
    ],
)
def test_bad_pins_are_said(seal: Verb, cert: Path, tmp_path: Path, text: str, why: str) -> None:
    """A file of pins that cannot be read stops everything: it is not as if there were none."""
    (tmp_path / "seal.yaml").write_text(text)
    done = seal("--cert", cert, stdin=dumped(GOOD))
    assert done.code == 2
    assert why in done.err
    assert "seal.yaml:" in done.err


def test_several_clusters_in_one_call(seal: Verb, one: Pair, two: Pair, tmp_path: Path) -> None:
    """Many Secrets for many clusters: a file for each, each for its own key; or none at all."""
    for name, pair in (("one", one), ("two", two)):
        (tmp_path / f"{name}.pem").write_bytes(pair.cert)
        assert seal("pin", name, "--cert", f"{name}.pem").code == 0
    text = (tmp_path / "seal.yaml").read_text()
    for name in ("one", "two"):
        text = text.replace(f"name: {name}\n", f"name: {name}\n    certificate: {name}.pem\n")
    (tmp_path / "seal.yaml").write_text(text)
    many = dumped(GOOD, secret({"a": "b"}, "web", "front"))
    assert "pins several clusters" in seal(stdin=many).err
    words = ("--cluster", "one", "--cluster", "two", "--out")
    assert "a pattern with {cluster}" in seal(*words, "{name}.yaml", stdin=many).err
    assert seal(*words, "{cluster}/{namespace}/{name}.yaml", stdin=many).code == 0
    for name, pair in (("one", one), ("two", two)):
        for place in ("shop/db", "front/web"):
            (found,) = read_sealed((tmp_path / name / f"{place}.yaml").read_bytes(), place)
            assert {n.key for n in found.read_notes()[0].values()} == {pair.fingerprint}
    assert "no cluster three is pinned" in seal("--cluster", "three", stdin=many).err


def test_private_keys_of_a_wrong_form(one: Pair, tmp_path: Path) -> None:
    """A certificate, another kind, a key with a password, nothing: each is said."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        PrivateFormat,
    )

    locked = one.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    rows = [
        (one.cert, "this is a certificate"),
        (locked, "is encrypted with a password"),
        (one.pem[:-200], "the private key is damaged"),
        (b"kind: ConfigMap\n", "this is no Secret but ConfigMap"),
        (b"kind: Secret\ndata: {}\n", "the Secret holds no tls.key"),
        (b"", "there is no private key in it"),
    ]
    for data, why in rows:
        with pytest.raises(InputError, match=why):
            privatekeys.parse(data, "backup")


def test_modes_and_flags_that_do_not_go_together(seal: Verb, cert: Path) -> None:
    """Two modes at once, --from-file without --raw, an unknown format: said, nothing is done."""
    assert "are different things" in seal("--raw", "--validate").err
    assert "--from-file requires --raw" in seal("--from-file", "x").err
    assert "is no output format" in seal("--cert", cert, "-o", "xml", stdin=dumped(GOOD)).err
    strict = secret({"a": "b"}, metadata={"annotations": {
        "sealedsecrets.bitnami.com/cluster-wide": "true"}})  # fmt: skip
    done = seal("--cert", cert, "--scope", "strict", stdin=dumped(strict))
    assert "--scope says strict" in done.err


def test_no_controller_is_said(seal: Verb, tmp_path: Path) -> None:
    """Without --cert and without a cluster that answers: the cause and the way out."""
    (tmp_path / "kubeconfig").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- name: a\n  cluster:\n"
        "    server: http://127.0.0.1:9\ncontexts:\n- name: a\n  context: {cluster: a, user: a}\n"
        "users:\n- name: a\n  user: {token: not-a-real-token}\n"
    )
    done = seal("--kubeconfig", "kubeconfig", "-w", "out.yaml", stdin=dumped(GOOD))
    assert done.code == 2
    assert "no API server answers" in done.err
    assert not (tmp_path / "out.yaml").exists()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever comes in ends as documents or as one of the kit's own errors."""
    for work in (read_documents, read_secrets, read_sealed):
        try:
            work(data, "in")
        except InputError:
            continue


def test_a_megabyte_is_sealed(one: Pair) -> None:
    """The largest Secret that Kubernetes takes fits into a SealedSecret."""
    (found,) = read_secrets(dumped(secret({"big": bytes(1 << 20)})), "in")
    (made,) = seal_all([found], one.certificate, Options())
    assert len(made.manifest["spec"]["encryptedData"]["big"]) < 1_400_000
