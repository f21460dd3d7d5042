"""Upstream's own tests, row by row, against this implementation.

https://github.com/bitnami-labs/sealed-secrets/tree/v0.40.0 : pkg/kubeseal/kubeseal_test.go,
cmd/kubeseal/main_test.go, pkg/apis/sealedsecrets/v1alpha1/sealedsecret_test.go, and what of
pkg/controller's tests is not about the controller's own process.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from opslib.core import clock
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.seal import (
    certificates,
    diagnose,
    fetching,
    privatekeys,
    recovery,
    reencrypt,
    wire,
)
from opslib.seal.reading import read_documents
from opslib.seal.sealed import Declared, read_sealed
from opslib.seal.sealing import Options, place_of, seal
from opslib.seal.secret import read_secrets
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope

from . import parts
from .conftest import Verb
from .parts import Pair, dumped, secret

TRUE = "true"


def _one(
    pair: Pair, document: dict[str, Any], options: Options | None = None
) -> tuple[dict[str, Any], Declared]:
    """Seal one Secret; return the SealedSecret as manifest and as read back."""
    made = seal(read_secrets(dumped(document), "in"), pair.certificate, options or Options())
    (declared,) = read_sealed(dumped(made[0].manifest), "out")
    return made[0].manifest, declared


def _edited(declared: Declared, **metadata: Any) -> Declared:
    """Return a SealedSecret with other metadata."""
    whole = json.loads(json.dumps(declared.manifest))
    whole["metadata"].update(metadata)
    return read_sealed(dumped(whole), "edited")[0]


# pkg/kubeseal/kubeseal_test.go


def test_parse_key() -> None:
    """TestParseKey: a certificate as the controller makes it, which strict readers refuse."""
    made = parts.of_controller()
    found = certificates.parse(made, "cert")
    (key,) = privatekeys.parse(made, "key")
    assert found.key.public_numbers() == key.key.public_key().public_numbers()
    assert found.fingerprint == key.fingerprint
    assert timedelta(minutes=50) < found.not_after - clock.now() <= timedelta(hours=1)


@pytest.fixture
def web(one: Pair, tmp_path: Path) -> Iterator[str]:
    """Serve a folder with the certificate; return its URL."""
    (tmp_path / "served.pem").write_bytes(one.cert)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_open_cert_file(one: Pair, web: str, tmp_path: Path) -> None:
    """TestOpenCertFile: a path, a URL and a file URL give the same bytes."""
    path = tmp_path / "served.pem"
    for place in (str(path), f"{web}/served.pem", f"file://{path}"):
        assert fetching.fetch(place) == one.cert
    for place in (f"{web}/missing.pem", "ftp://127.0.0.1/x", str(tmp_path / "missing.pem")):
        with pytest.raises(InputError):
            fetching.fetch(place)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_seal_with_multi_doc_secrets(seal: Verb, cert: Path, form: str) -> None:
    """TestSealWithMultiDocSecrets: two in, two out, in both formats, no document left empty."""
    documents = [secret({"foo": "value-1"}, "s1"), secret({"bar": "value-2"}, "s2")]
    text = (
        "\n".join(map(json.dumps, documents)) if form == "json" else yaml.safe_dump_all(documents)
    )
    done = seal("--cert", cert, "--format", form, "--scope", "namespace-wide", stdin=text.encode())
    assert done.code == 0, done.err
    found = read_sealed(done.out.encode(), "out")
    assert [(one.namespace, one.name) for one in found] == [("shop", "s1"), ("shop", "s2")]
    assert all(one.scope is Scope.NAMESPACE for one in found)
    if form == "yaml":
        assert done.out.startswith("---\n")
        assert not done.out.endswith("---\n")


NS, CLUSTER = Scope.NAMESPACE.annotation, Scope.CLUSTER.annotation
SEAL_ROWS: list[tuple[dict[str, Any], Scope | None, str, str, dict[str, str]]] = [
    ({"stringData": {"foos": "stringsekret"}}, None, "myns", "myns", {}),
    ({}, None, "", "default", {}),
    ({"metadata": {"annotations": {NS: TRUE}}}, None, "", "default", {NS: TRUE}),
    ({"metadata": {"annotations": {CLUSTER: TRUE}}}, None, "", "", {CLUSTER: TRUE}),
    ({"metadata": {"annotations": {CLUSTER: TRUE}}}, None, "myns", "myns", {CLUSTER: TRUE}),
    ({}, Scope.NAMESPACE, "", "default", {NS: TRUE}),
    ({}, Scope.CLUSTER, "", "", {CLUSTER: TRUE}),
]


@pytest.mark.parametrize(("more", "scope", "namespace", "wanted", "annotations"), SEAL_ROWS)
def test_seal(
    one: Pair,
    more: dict[str, Any],
    *,
    scope: Scope | None,
    namespace: str,
    wanted: str,
    annotations: dict[str, str],
) -> None:
    """TestSeal, its seven rows of namespace and scope."""
    document = secret({"foo": "sekret"}, "mysecret", namespace, **json.loads(json.dumps(more)))
    _, made = _one(one, document, Options(scope=scope))
    assert (made.name, made.namespace) == ("mysecret", wanted)
    assert made.annotations == annotations
    assert all(len(text) > 100 for text in made.data.values())
    assert set(made.data) == {"foo", *more.get("stringData", {})}


def test_unseal(seal: Verb, cert: Path, key: Path) -> None:
    """TestUnseal: recovery by a PEM key gives the value back."""
    sealed = seal("--cert", cert, stdin=dumped(secret({"foo": "secret1"}))).out
    words = ("--recovery-unseal", "--recovery-private-key", key)
    told = json.loads(seal(*words, stdin=sealed.encode()).out)
    assert base64.b64decode(told["data"]["foo"]) == b"secret1"


def test_unseal_without_a_key(seal: Verb) -> None:
    """Kubeseal --recovery-unseal without --recovery-private-key: said, and nothing is read."""
    done = seal("--recovery-unseal", stdin=b"x")
    assert done.code == 2
    assert "no private key is named" in done.err


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_unseal_list(
    seal: Verb, cert: Path, one: Pair, two: Pair, *, tmp_path: Path, form: str
) -> None:
    """TestUnsealList: the backup may be a List of Secrets, in JSON and YAML."""
    whole = {"apiVersion": "v1", "kind": "List", "items": [two.secret("a"), one.secret("b")]}
    backup = tmp_path / "backup"
    backup.write_text(json.dumps(whole) if form == "json" else yaml.safe_dump(whole))
    sealed = seal("--cert", cert, stdin=dumped(secret({"foo": "secret1"}))).out
    words = ("--recovery-unseal", "--recovery-private-key", backup)
    told = json.loads(seal(*words, stdin=sealed.encode()).out)
    assert base64.b64decode(told["data"]["foo"]) == b"secret1"


def _merged(
    seal: Verb, cert: Path, one: Pair, new: dict[str, Any], old: dict[str, Any], *words: str
) -> tuple[Declared, Declared]:
    """Merge a Secret into the file of another; return the file before and after, unsealed once."""
    path = cert.parent / "sealed.json"
    path.write_text(seal("--cert", cert, stdin=dumped(old)).out)
    before = read_sealed(path.read_bytes(), "before")[0]
    done = seal("--cert", cert, "--merge-into", path, *words, stdin=dumped(new))
    assert done.code == 0, done.err
    after = read_sealed(path.read_bytes(), "after")[0]
    recovery.unseal(after, one.private)
    return before, after


def _marked(key: str, value: str, mark: str, *place: str) -> dict[str, Any]:
    metadata = {"annotations": {key: mark}, "labels": {key: mark}}
    return secret({key: value}, *place, metadata=metadata)


def test_merge_into_added(seal: Verb, cert: Path, one: Pair) -> None:
    """TestMergeInto/added: keys, labels and annotations are there beside the old ones."""
    _, after = _merged(seal, cert, one, _marked("foo", "s1", "m1"), _marked("bar", "s2", "m2"))
    assert set(after.data) == {"foo", "bar"}
    metadata = after.template["metadata"]
    assert set(metadata["annotations"]) == set(metadata["labels"]) == {"foo", "bar"}


def test_merge_into_updated(seal: Verb, cert: Path, one: Pair) -> None:
    """TestMergeInto/updated: the same key gets another ciphertext, label and annotation."""
    before, after = _merged(seal, cert, one, _marked("foo", "s1", "m1"), _marked("foo", "s2", "m2"))
    assert set(after.data) == {"foo"}
    assert after.data["foo"] != before.data["foo"]
    assert after.template["metadata"]["labels"] == {"foo": "m1"}
    assert after.template["metadata"]["annotations"] == {"foo": "m1"}


def test_merge_into_bad_name(seal: Verb, cert: Path, one: Pair) -> None:
    """TestMergeInto/bad name: name and namespace of the file win."""
    new = _marked("foo", "s1", "m1", "badname", "badns")
    _, after = _merged(seal, cert, one, new, _marked("bar", "s2", "m2"))
    assert (after.namespace, after.name) == ("shop", "db")
    assert set(recovery.values(after, one.private)) == {"foo", "bar"}


@pytest.mark.parametrize("annotation", [NS, CLUSTER])
def test_merge_into_scope_mismatch(seal: Verb, cert: Path, one: Pair, annotation: str) -> None:
    """The row that upstream's test leaves to do: the file's scope wins, so that it unseals."""
    old = secret({"bar": "s2"}, metadata={"annotations": {annotation: TRUE}})
    _, after = _merged(seal, cert, one, secret({"foo": "s1"}), old)
    assert recovery.values(after, one.private)["foo"].reveal() == b"s1"
    path = cert.parent / "sealed.json"
    text = path.read_bytes()
    refused = seal(
        "--cert", cert, "--merge-into", path, "--scope", "strict", stdin=dumped(secret({"a": "b"}))
    )
    assert refused.code == 2
    assert "--scope says strict" in refused.err
    assert path.read_bytes() == text


def test_merge_into_a_file_without_labels(seal: Verb, cert: Path, one: Pair) -> None:
    """Upstream panics on this one: labels and annotations into a template that has none."""
    _, after = _merged(seal, cert, one, _marked("foo", "s1", "m1"), secret({"bar": "s2"}))
    assert after.template["metadata"]["labels"] == {"foo": "m1"}
    assert after.template["metadata"]["annotations"] == {"foo": "m1"}


RAW_ROWS = [
    (Scope.STRICT, "myns", "mysecret", True),
    (Scope.STRICT, "youGiveRest", "mysecret", False),
    (Scope.STRICT, "myns", "aBadName", False),
    (Scope.NAMESPACE, "myns", "mysecret", True),
    (Scope.NAMESPACE, "youGiveRest", "", False),
    (Scope.NAMESPACE, "youGiveRest", "aBadName", False),
    (Scope.NAMESPACE, "myns", "", True),
    (Scope.NAMESPACE, "myns", "aBadName", True),
    (Scope.CLUSTER, "myns", "mysecret", True),
    (Scope.CLUSTER, "youGiveRest", "mysecret", True),
    (Scope.CLUSTER, "myns", "", True),
    (Scope.CLUSTER, "myns", "aBadName", True),
    (Scope.CLUSTER, "", "", True),
    (Scope.CLUSTER, "", "aBadName", True),
]


@pytest.mark.parametrize(("scope", "namespace", "name", "opens"), RAW_ROWS)
def test_raw(
    seal: Verb, cert: Path, one: Pair, *, scope: Scope, namespace: str, name: str, opens: bool
) -> None:
    """TestRaw: the whole matrix of scope, namespace and name."""
    words = ["--raw", "--cert", str(cert), "--scope", scope]
    words += ["--namespace", namespace] if namespace else []
    words += ["--name", name] if name else []
    done = seal(*words, stdin=b"supersecret")
    assert done.code == 0, done.err
    assert not done.out.endswith("\n")
    label = wire.label_of(scope, "myns", "mysecret")
    if opens:
        found = wire.decrypt([one.key], wire.decode(done.out), label)
        assert found.reveal() == b"supersecret"
    else:
        with pytest.raises(wire.CannotUnseal):
            wire.decrypt([one.key], wire.decode(done.out), label)


def test_read_private_keys(one: Pair, tmp_path: Path) -> None:
    """TestReadPrivKeySecret, TestReadPrivKeyPEM: PKCS1, PKCS8, a Secret; by fingerprint."""
    pkcs8 = one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    nameless = {"data": {"tls.key": base64.b64encode(one.pem).decode()}}
    for number, data in enumerate((one.pem, pkcs8, dumped(one.secret()), dumped(nameless))):
        path = tmp_path / str(number)
        path.write_bytes(data)
        (found,) = privatekeys.read([path]).items()
        assert found[0] == one.fingerprint
        assert found[1].key.private_numbers().d == one.key.private_numbers().d


@pytest.mark.parametrize(
    ("own", "flag", "fails"),
    [("secretns", "flagns", True), ("samens", "samens", False), ("secretns", "", False),
     ("", "flagns", False)],
)  # fmt: skip
def test_namespace_mismatch_validation(own: str, flag: str, fails: bool) -> None:
    """TestNamespaceMismatchValidation, its four rows."""
    (found,) = read_secrets(dumped(secret({"foo": "sekret"}, "mysecret", own)), "in")
    options = Options(namespace=flag, default_namespace="flagns")
    if fails:
        with pytest.raises(InputError, match="is of namespace secretns, and --namespace says"):
            place_of(found, options)
    else:
        assert place_of(found, options).namespace == (own or "flagns")


# pkg/multidocyaml, pkg/pflagenv


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("foo", 1),
        ("foo\nbar\n", 1),
        ("---\nfoo", 1),
        ("foo\n---\n", 1),
        ("foo\n ---\n", 1),
        ("---\nfoo\n---\n", 1),
        ("foo\n---\nbar\n", 2),
    ],
)
def test_documents_are_told_apart(text: str, count: int) -> None:
    """TestIsMultiDocumentYAML: an indented --- is text; here an empty document is none."""
    assert len(read_documents(text.encode(), "in")) == count


def test_flags_by_environment(seal: Verb, cert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TestFlagenv, TestPflagenv: SEALED_SECRETS_ and the flag's name; the flag itself wins."""
    for name, value in (("CERT", str(cert)), ("FORMAT", "yaml"), ("SCOPE", "cluster-wide")):
        monkeypatch.setenv(f"SEALED_SECRETS_{name}", value)
    done = seal(stdin=dumped(secret({"a": "b"})))
    assert done.code == 0, done.err
    assert done.out.startswith("---\n")
    assert read_sealed(done.out.encode(), "out")[0].scope is Scope.CLUSTER
    own = seal("--format", "json", "--scope", "namespace-wide", stdin=dumped(secret({"a": "b"})))
    assert json.loads(own.out)["metadata"]["annotations"][NS] == TRUE


# cmd/kubeseal/main_test.go


def test_main_error(seal: Verb) -> None:
    """TestMainError: a certificate that is not there is named, and exit code 2."""
    done = seal("--cert", "this-file-cannot-possibly-exist", stdin=dumped(secret({"a": "b"})))
    assert done.code == 2
    assert "this-file-cannot-possibly-exist" in done.err
    assert not done.out


def test_write_to_file(seal: Verb, cert: Path, tmp_path: Path) -> None:
    """TestWriteToFile: nothing on standard output, YAML by the file's ending."""
    (tmp_path / "in.yaml").write_bytes(dumped(secret({"super": "secret"})))
    done = seal("--cert", cert, "-f", tmp_path / "in.yaml", "-w", tmp_path / "out.yaml")
    assert (done.code, done.out) == (0, "")
    assert "\nkind: SealedSecret\n" in (tmp_path / "out.yaml").read_text()


def test_fail_to_write_to_file(seal: Verb, cert: Path, tmp_path: Path) -> None:
    """TestFailToWriteToFile: an error leaves what was there, and no other file."""
    (tmp_path / "out.yaml").write_text("previous content")
    before = sorted(tmp_path.iterdir())
    bad = b"apiVersion: v1\nkind: BadInput\nmetadata:\n  name: foo\n  namespace: bar\n"
    done = seal("--cert", cert, "-w", tmp_path / "out.yaml", stdin=bad)
    assert (done.code, done.out) == (2, "")
    assert (tmp_path / "out.yaml").read_text() == "previous content"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "strict needs --namespace"),
        (("--namespace", "myns"), "strict needs --name"),
        (("--scope", "namespace-wide", "--name", "x"), "namespace-wide needs --namespace"),
        (("--namespace", "myns", "--name", "x", "--from-file", "a", "--from-file", "b"), "one"),
        (("--scope", "everywhere"), "is no scope"),
    ],
)
def test_raw_seal_errors(seal: Verb, cert: Path, words: tuple[str, ...], why: str) -> None:
    """TestRawSealErrors: what is missing is named."""
    done = seal("--raw", "--cert", cert, *words, stdin=b"supersecret")
    assert done.code == 2
    assert why in done.err
    assert "supersecret" not in done.err


# pkg/apis/sealedsecrets/v1alpha1/sealedsecret_test.go


def test_sealing_scope() -> None:
    """TestSealingScope: the names of the scopes, and no others."""
    assert [str(scope) for scope in Scope] == ["strict", "namespace-wide", "cluster-wide"]
    with pytest.raises(ValueError, match="foo"):
        Scope("foo")


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ({}, b"myns/myname"),
        ({NS: TRUE}, b"myns"),
        ({CLUSTER: TRUE}, b""),
        ({CLUSTER: TRUE, NS: TRUE}, b""),
    ],
)
def test_label(annotations: dict[str, str], label: bytes) -> None:
    """TestEncryptionLabel, Label, ClusterWide, NamespaceWide, ClusterAndNamespaceWide."""
    document = secret({"a": "b"}, "myname", "myns", metadata={"annotations": annotations})
    (found,) = read_secrets(dumped(document), "in")
    assert place_of(found, Options()).label == label


def test_serialize(one: Pair) -> None:
    """TestSerialize: no value is in what is written."""
    made, _ = _one(one, secret({"foo": "sekret-value", "bar": b"\x01\x02\x03\x04"}))
    text = json.dumps(made)
    for shape in ("sekret-value", base64.b64encode(b"sekret-value").decode(), "AQIDBA=="):
        assert shape not in text


@pytest.mark.parametrize("annotations", [{}, {NS: TRUE}, {CLUSTER: TRUE}])
def test_round_trip(one: Pair, annotations: dict[str, str]) -> None:
    """TestSealRoundTrip, -StringDataConversion, -WithClusterWide, -WithNamespaceWide."""
    document = secret(
        {"foo": b"\0bar"}, metadata={"annotations": annotations}, stringData={"fss": "brr"}
    )
    _, sealed = _one(one, document)
    told = recovery.unseal(sealed, one.private)
    assert told["data"] == {"foo": base64.b64encode(b"\0bar").decode(), "fss": "YnJy"}


@pytest.mark.parametrize("annotation", [NS, CLUSTER])
def test_round_trip_mismatch(one: Pair, annotation: str) -> None:
    """TestSealRoundTripWithMisMatch*: a scope that was taken away or added does not unseal."""
    _, wide = _one(one, secret({"a": "b"}, metadata={"annotations": {annotation: TRUE}}))
    _, strict = _one(one, secret({"a": "b"}))
    for sealed in (_edited(wide, annotations={}), _edited(strict, annotations={annotation: TRUE})):
        with pytest.raises(InputError, match="cannot be unsealed"):
            recovery.unseal(sealed, one.private)


def _templated(one: Pair, values: dict[str, str], data: dict[str, str | None]) -> dict[str, str]:
    """Unseal with template.data, and return the values as texts."""
    made, _ = _one(one, secret(values), Options(allow_empty=True))
    made["spec"]["template"]["data"] = data
    told = recovery.unseal(read_sealed(dumped(made), "in")[0], one.private)
    found = told.get("data", {})
    return {key: base64.b64decode(text).decode() for key, text in found.items()}


def test_template_data(one: Pair) -> None:
    """TestSealRoundTripTemplateData: a template that uses sealed values, piped too."""
    found = _templated(
        one,
        {"foo": "bar", "password": "hunter2"},
        {"url": "postgres://u:{{ .password }}@db/{{- .foo -}} x", "b": "{{ .foo | b64enc }}"},
    )
    assert found["url"] == "postgres://u:hunter2@db/barx"
    assert found["b"] == "YmFy"
    assert found["foo"] == "bar"


def test_template_data_plaintext_reference(one: Pair) -> None:
    """TestTemplateDataPlaintextReference, -MixedEncryptedAndPlaintext."""
    found = _templated(
        one,
        {"password": "pw"},
        {"username": "ada", "both": '{{ .username }}:{{ index . "password" }}'},
    )
    assert found == {"password": "pw", "username": "ada", "both": "ada:pw"}


def test_template_data_encrypted_takes_precedence(one: Pair) -> None:
    """TestTemplateDataEncryptedTakesPrecedenceOverPlaintext: also inside of templates."""
    found = _templated(one, {"user": "sealed"}, {"user": "plain", "line": "{{ .user }}"})
    assert found == {"user": "sealed", "line": "sealed"}


def test_template_without_encrypted_data(one: Pair) -> None:
    """TestTemplateWithoutEncryptedData: texts alone make a Secret."""
    assert _templated(one, {}, {"only": "text"}) == {"only": "text"}


def test_template_omits_encrypted_data(one: Pair) -> None:
    """TestTemplateOmitEncryptedData: null takes a sealed key out, after templates used it."""
    found = _templated(one, {"foo": "bar"}, {"foo": None, "made": "{{ .foo }}"})
    assert found == {"made": "bar"}


def test_judging_and_renewing_ignore_the_template(one: Pair) -> None:
    """TestValidateEncryptedDataIgnoresTemplate, -UnsealWithoutTemplate-: it is not rendered."""
    made, _ = _one(one, secret({"foo": "bar"}))
    made["spec"]["template"]["data"] = {"probe": '{{ fail "x" }}', "a": "{{ range . }}"}
    (sealed,) = read_sealed(dumped(made), "in")
    found = diagnose.check([sealed], diagnose.Knowledge(keys=one.private))
    assert [f for f in found if f.severity == "error"] == []
    assert recovery.values(sealed, one.private)["foo"].reveal() == b"bar"
    anew = reencrypt.by_keys(one.private, one.certificate)(sealed)
    assert anew.keys() == {"foo"}
    with pytest.raises(InputError):
        recovery.unseal(sealed, one.private)


def test_a_template_beyond_reach_is_an_error(one: Pair) -> None:
    """What only the controller can render is said, not left out."""
    with pytest.raises(InputError, match="cannot be rendered here: range"):
        _templated(one, {"a": "b"}, {"c": "{{ range . }}x{{ end }}"})


@pytest.mark.parametrize(("value", "owned"), [("true", False), ("false", True), (None, True)])
def test_skip_set_owner_reference(one: Pair, value: str | None, owned: bool) -> None:
    """TestSkipSetOwnerReference: the annotation of the template decides."""
    annotations = {recovery.SKIP_OWNER: value} if value else {}
    _, sealed = _one(one, secret({"a": "b"}, metadata={"annotations": annotations}))
    told = recovery.unseal(sealed, one.private)
    assert ("ownerReferences" in told["metadata"]) is owned


def test_seal_metadata_preservation(one: Pair) -> None:
    """TestSealMetadataPreservation: kept are others' annotations, stripped kubectl's copies."""
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": "yWJj",
        "kubecfg.ksonnet.io/last-applied-configuration": "yWJj",
        "foo": "bar",
        "kubectl.kubernetes.io/custom": "keep",
    }
    document = secret(
        {"a": "b"}, metadata={"annotations": annotations, "ownerReferences": [{"name": "x"}]}
    )
    made, _ = _one(one, document)
    metadata = made["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"foo": "bar", "kubectl.kubernetes.io/custom": "keep"}
    assert "ownerReferences" not in metadata
    assert made["metadata"] == {"name": "db", "namespace": "shop"}


def _old(one: Pair, **more: Any) -> Declared:
    plain = json.dumps(secret({"foo": "bar"}, "other", "else")).encode()
    blob = wire.encrypt(one.key.public_key(), SecretBytes(plain, "old"), b"shop/db")
    manifest = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"data": wire.encode(blob), **more},
    }
    return read_sealed(dumped(manifest), "in")[0]


def test_unsealing_v1_format(one: Pair) -> None:
    """TestUnsealingV1Format: the whole Secret in one blob, under the object's own name."""
    told = recovery.unseal(_old(one), one.private)
    assert base64.b64decode(told["data"]["foo"]) == b"bar"
    assert (told["metadata"]["name"], told["metadata"]["namespace"]) == ("db", "shop")


def test_reject_both_encrypted_data_and_deprecated_v1_data(one: Pair) -> None:
    """TestRejectBothEncryptedDataAndDeprecatedV1Data."""
    with pytest.raises(InputError, match="stand together"):
        recovery.unseal(_old(one, encryptedData={"foo": "AgB"}), one.private)


def test_invalid_base64(one: Pair) -> None:
    """TestInvalidBase64: an error that names the key, for each of them."""
    made, _ = _one(one, secret({"foo": "bar", "baz": "quux"}))
    for key in made["spec"]["encryptedData"]:
        made["spec"]["encryptedData"][key] = "NOTVALIDBASE64!!!"
    with pytest.raises(Problems) as caught:
        recovery.unseal(read_sealed(dumped(made), "in")[0], one.private)
    assert len(caught.value.problems) == 2
    assert "foo" in str(caught.value)


# pkg/controller: what concerns keys and formats, not the controller's process


def test_key_registry_and_cutoff(one: Pair, two: Pair) -> None:
    """TestPrivateKeys, KeyCutoff, RenewStaleKey: old keys still unseal, the newest seals."""
    _, old = _one(one, secret({"a": "old"}))
    _, new = _one(two, secret({"a": "new"}))
    both = {**one.private, **two.private}
    assert recovery.values(old, both)["a"].reveal() == b"old"
    assert recovery.values(new, both)["a"].reveal() == b"new"
    with pytest.raises(OpslibError):
        recovery.values(old, two.private)


def test_legacy_secret(one: Pair, tmp_path: Path) -> None:
    """TestLegacySecret: a key Secret without the label is a key too."""
    legacy = one.secret("sealed-secrets-key")
    del legacy["metadata"]["labels"]
    (tmp_path / "legacy.json").write_bytes(dumped(legacy))
    assert set(privatekeys.read([tmp_path / "legacy.json"])) == {one.fingerprint}


def test_sign_key(one: Pair) -> None:
    """TestSignKey and ParseKey of an expired certificate: valid to the second, then refused."""
    end = datetime(2026, 1, 1, tzinfo=UTC)
    found = certificates.parse(one.certificate_pem(end=end), "cert.pem")
    assert certificates.check_dates(found, end - timedelta(days=400)) == []
    (warning,) = certificates.check_dates(found, end - timedelta(days=3))
    assert "in 3 days" in warning
    with pytest.raises(InputError, match="expired on 2026-01-01"):
        certificates.check_dates(found, end + timedelta(seconds=1))
