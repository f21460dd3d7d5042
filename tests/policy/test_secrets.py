"""Secrets in Git: found wherever they are, and never repeated."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.model import Resource
from opslib.policy import RULES, Finding, Policy, Severity, check

from .conftest import Load, resource


def _run(*resources: Resource) -> list[Finding]:
    severities: dict[str, Severity] = dict.fromkeys(RULES, "off")
    return list(check(resources, Policy(severities | {"plain-secret": "error"})).findings)


def _object(kind: str, **fields: Any) -> Resource:
    metadata = {"name": "a", "namespace": "n"}
    return resource({"apiVersion": "v1", "kind": kind, "metadata": metadata} | fields)


def test_values_of_a_secret_are_found_coded_or_not(load: Load) -> None:
    """Data and stringData are an error each, naming the keys and the line."""
    found = _run(
        *load(
            """\
            apiVersion: v1
            kind: Secret
            metadata: {name: a}
            data:
              user: cGF5
              password: aHVudGVyMg==
            stringData:
              token: hunter2
            """
        )
    )
    assert [(f.severity, f.origin.line, f.field) for f in found] == [
        ("error", 4, "/data"),
        ("error", 7, "/stringData"),
    ]
    assert "password, user" in found[0].message
    assert "base64" in found[0].message
    assert "hunter2" not in repr(found)
    assert "aHVudGVyMg" not in repr(found)


def test_a_secret_without_values_is_fine() -> None:
    """An empty Secret, a token to be filled by the cluster, and a sealed one are no findings."""
    sealed = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "a"},
        "spec": {"encryptedData": {"password": "AgBy3i4OJSWK+PiTySYZZA9rO43cGDEq"}},
    }
    assert _run(_object("Secret"), _object("Secret", data={}, stringData={"a": ""})) == []
    assert _run(resource(sealed)) == []


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("DB_PASSWORD", "hunter2hunter2", True),
        ("dbPassword", "hunter2hunter2", True),
        ("api-key", "hunter2hunter2", True),
        ("smtp.passwd", "hunter2hunter2", True),
        ("STRIPE_SECRET", "hunter2hunter2", True),
        ("connectionString", "hunter2hunter2", True),
        ("PASSWORD_FILE", "hunter2hunter2", False),
        ("TOKEN_TTL", "hunter2hunter2", False),
        ("COMPASS", "hunter2hunter2", False),
        ("KEYBOARD", "hunter2hunter2", False),
        ("PASSWORD", "/run/secrets/password", False),
        ("PASSWORD", "", False),
        ("REQUIRE_PASSWORD", "true", False),
        ("PASSWORD", "$(OTHER)", False),
        ("PASSWORD", "${OTHER}", False),
        ("PASSWORD", "ref+vault://kv/app#password", False),
        ("DATABASE", "postgres://pay:hunter2@db/pay", True),
        ("DATABASE", "postgres://pay:$(PASSWORD)@db/pay", False),
        ("DATABASE", "postgres://db:5432/pay", False),
        ("AWS_ID", "AKIA" + "ABCDEFGH12345678", True),
        ("cert.pem", "-----BEGIN RSA " + "PRIVATE KEY-----\nMII", True),
        ("cert.pem", "-----BEGIN CERTIFICATE-----\nMII", False),
        ("AUTH", "eyJhbGciOiJIUzI1" + ".eyJzdWIiOiIxMjM0NTY3.c2lnbmF0dXJl", True),
    ],
)
def test_likely_secrets_elsewhere_are_warnings(key: str, value: str, found: bool) -> None:
    """A ConfigMap entry, a variable and an option are judged by their name and their form."""
    container = {"name": "a", "env": [{"name": key, "value": value}]}
    pod = {"containers": [], "initContainers": [container]}
    for item in (_object("ConfigMap", data={key: value}), _object("Pod", spec=pod)):
        severities = [finding.severity for finding in _run(item)]
        assert severities == (["warning"] if found else [])


def test_hostile_texts_are_read_in_linear_time() -> None:
    """Megabytes that are made to upset a pattern take well under a second each."""
    texts = ("a.", "eyJ-", "://", "://a:", "-----BEGIN ", "AKIA", "ghp_", "_secret", "a: ")
    data = {f"k{number}": text * (1_000_000 // len(text)) for number, text in enumerate(texts)}
    start = time.process_time()
    _run(_object("ConfigMap", data=data))
    assert time.process_time() - start < 5


def test_options_of_a_command_are_looked_at() -> None:
    """A password on the command line is found, its place named, its value not."""
    container = {"name": "a", "args": ["--user=pay", "--db-password=hunter2hunter2"]}
    (finding,) = _run(_object("Pod", spec={"containers": [container]}))
    assert finding.field == "/spec/containers/0/args/1"
    assert "--db-password" in finding.message
    assert "hunter2" not in repr(finding)


def test_values_from_a_secret_are_fine() -> None:
    """A reference to a Secret is what a variable should be."""
    source = {"secretKeyRef": {"name": "a", "key": "password"}}
    container = {"name": "a", "env": [{"name": "PASSWORD", "valueFrom": source}]}
    assert _run(_object("Pod", spec={"containers": [container]})) == []


_value = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=20).map(
    lambda text: f"PLANTED{text}"
)
_place = st.sampled_from(
    [
        ("data", "password"),
        ("stringData", "token"),
        ("data", "x"),
        ("spec", "replicas"),
        ("spec", "unknown"),
        ("spec", "template", "spec", "containers", 0, "env", 0, "value"),
        ("spec", "template", "spec", "containers", 0, "args", 0),
        ("spec", "template", "spec", "containers", 0, "imagePullPolicy"),
        ("spec", "template", "spec", "containers", 0, "ports"),
        ("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"),
        ("spec", "template", "spec", "containers", 0, "resources", "limits", "cpu"),
        ("spec", "template", "spec", "containers", 0, "image"),
        ("spec", "template", "spec", "restartPolicy"),
        ("metadata", "labels"),
        ("metadata", "annotations", "note"),
        ("metadata", "annotations"),
    ]
)
_form = st.sampled_from(
    ["{}", "postgres://a:{}@db/x", "-----BEGIN " + "PRIVATE KEY-----{}", "--password={}"]
)


def _plant(steps: tuple[str | int, ...], value: Any) -> Any:
    """Build the JSON that has a value at a place."""
    if not steps:
        return value
    inner = _plant(steps[1:], value)
    return [inner] if isinstance(steps[0], int) else {steps[0]: inner}


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["Secret", "ConfigMap", "Deployment", "Thing"]), _place, _value, _form)
def test_no_planted_value_is_ever_repeated(
    kind: str, place: tuple[str | int, ...], secret: str, form: str
) -> None:
    """Wherever a value stands, in whatever form, no text of any finding holds it."""
    version = "apps/v1" if kind == "Deployment" else "v1"
    for value in (form.format(secret), base64.b64encode(secret.encode()).decode()):
        manifest = {"apiVersion": version, "kind": kind, **_plant(place, value)}
        manifest["metadata"] = {"name": "a", **manifest.get("metadata", {})}
        told = json.dumps(check([resource(manifest)]).as_dict())
        assert secret not in told
        assert value not in told


def test_the_scan_is_part_of_the_policy() -> None:
    """A SealedSecret with base64 of a value is an error; a ConfigMap's nested one a warning."""
    plain = base64.b64encode(b"hunter2-hunter2").decode()
    sealed = _object("SealedSecret", spec={"encryptedData": {"password": plain}})
    nested = "auth:\n  rootPassword: hunter2-hunter2\n"
    found = _run(sealed, _object("ConfigMap", data={"values.yaml": nested, "mode": "fast"}))
    assert [(f.severity, f.field) for f in found] == [
        ("error", "/spec/encryptedData/password"),
        ("warning", "/data/values.yaml/auth/rootPassword"),
    ]
    assert "hunter2" not in repr(found)
