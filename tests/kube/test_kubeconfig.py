"""Kubeconfigs: which file, which context, and what is said when one cannot be used."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError
from opslib.kube.client import connect
from opslib.kube.kubeconfig import access
from opslib.sandbox.cluster import Status, environment

from .conftest import Write, config

SERVER = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's own settings out."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def refused(path: Path | str | None, context: str | None = None) -> InputError:
    """Return the error that a kubeconfig gives; it leads to exit code 2."""
    with pytest.raises(InputError) as caught:
        connect(path, context)
    assert caught.value.exit_code == 2
    assert caught.value.where
    assert caught.value.hint or caught.value.expected
    return caught.value


def test_missing_file(tmp_path: Path) -> None:
    """A kubeconfig that does not exist is named, with what to do."""
    error = refused(tmp_path / "nowhere")
    assert "nowhere" in error.what
    assert error.where == "--kubeconfig"
    assert "opslib sandbox up" in str(error.hint)


def test_no_kubeconfig_at_all() -> None:
    """Without any setting the default place is named."""
    assert refused(None).where == "~/.kube/config"


def test_missing_file_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing file that KUBECONFIG names is said to come from there."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert refused(None).where == "KUBECONFIG"


def test_directory(tmp_path: Path) -> None:
    """A directory is called one."""
    assert "is a directory" in refused(tmp_path).what


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("a: [1\nb: }\n", "not YAML"),
        ("just words", "not a mapping"),
        ("- 1\n", "not a mapping"),
        ("contexts: {a: 1}\n", "not a list"),
        ("contexts: [{context: {}}]\n", "no name"),
        ("apiVersion: v1\n", "no current context"),
        ("current-context: gone\n", "no context 'gone'"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, word: str) -> None:
    """A file that is no kubeconfig is refused with what is wrong about it."""
    path = tmp_path / "broken"
    path.write_text(text, encoding="utf-8")
    error = refused(path)
    assert word in error.what
    assert str(path) in str(error.where)


def test_yaml_errors_name_the_line_and_quote_nothing(tmp_path: Path) -> None:
    """The line of a YAML error is named; the text there may be a token, so it is not quoted."""
    path = tmp_path / "broken"
    path.write_text("users:\n- name: u\n  user: {token: s3cr3t-t0ken\n", encoding="utf-8")
    error = refused(path)
    assert f"{path}:" in str(error.where)
    assert "s3cr3t" not in str(error)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A binary file is refused in words."""
    path = tmp_path / "broken"
    path.write_bytes(b"\xff\xfe\x00")
    assert "no text" in refused(path).what


def test_missing_context_lists_those_there_are(write: Write) -> None:
    """A context that does not exist is answered with the ones that do."""
    error = refused(write(config(SERVER)), "prod")
    assert "'prod'" in error.what
    assert error.expected == "one of: it"


def test_context_of_an_undefined_cluster(write: Write) -> None:
    """A context whose cluster is not defined is refused with the cluster's name."""
    content = config(SERVER)
    content["contexts"][0]["context"]["cluster"] = "gone"
    assert "gone" in refused(write(content)).what


def test_context_by_name_needs_no_current_one(write: Write) -> None:
    """A context asked for by name works although the current one does not exist."""
    content = {**config(SERVER), "current-context": "gone"}
    assert access(write(content), "it").context == "it"


def test_namespace_of_the_context(write: Write) -> None:
    """The context's namespace is taken, and "default" where it has none."""
    content = config(SERVER)
    assert access(write(content), None).namespace == "default"
    content["contexts"][0]["context"]["namespace"] = "production"
    assert access(write(content), None).namespace == "production"


def test_several_files_read_as_kubectl_does(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    """With several files the first that names a current context decides, gaps are left out."""
    empty, second = write({}, "empty"), config("http://127.0.0.1:2")
    empty.write_text("", encoding="utf-8")
    for part in ("clusters", "users", "contexts"):
        second[part][0]["name"] += "2"
    second["contexts"][0]["context"] = {"cluster": "c2", "user": "u2"}
    second["current-context"] = "it2"
    files = [empty, tmp_path / "missing", write(config(SERVER), "one"), write(second, "two")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, files)))
    assert access(None, None).context == "it"
    assert access(None, None).configuration.host == SERVER
    assert access(None, "it2").configuration.host == "http://127.0.0.1:2"


def test_first_definition_of_a_name_wins(write: Write) -> None:
    """A name defined in two files is what the first one says."""
    files = [write(config("http://127.0.0.1:3"), "one"), write(config(SERVER), "two")]
    joined = os.pathsep.join(map(str, files))
    assert access(joined, None).configuration.host == "http://127.0.0.1:3"


def test_default_place(write: Write, tmp_path: Path) -> None:
    """Without a setting ~/.kube/config is read."""
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    write(config(SERVER), "home/.kube/config")
    assert access(None, None).configuration.host == SERVER


@pytest.mark.parametrize("server", ["", "127.0.0.1:6443", "ftp://x"])
def test_server_without_a_scheme(write: Write, server: str) -> None:
    """A server address without http:// or https:// is refused as such."""
    assert "server" in refused(write(config(server))).what


@pytest.mark.parametrize(
    "user",
    [
        {"client-certificate-data": "%%%", "client-key-data": "%%%"},
        {
            "client-certificate-data": base64.b64encode(b"no certificate").decode(),
            "client-key-data": base64.b64encode(b"s3cr3t-key").decode(),
        },
        {"client-certificate": "/nowhere/cert", "client-key": "/nowhere/key"},
    ],
)
def test_broken_certificates(write: Write, user: dict[str, Any]) -> None:
    """Certificates that cannot be read are refused, and no key is quoted."""
    error = refused(write(config("https://127.0.0.1:1", user=user)))
    assert "cannot be used" in error.what
    assert "s3cr3t" not in str(error)


def plugin(command: str, **more: str) -> dict[str, Any]:
    """Build a user with a credential plugin."""
    version = "client.authentication.k8s.io/v1"
    return {
        "exec": {
            "apiVersion": version,
            "command": command,
            "interactiveMode": "Never",
            **more,
        }
    }


def test_credential_plugin_that_is_not_installed(write: Write) -> None:
    """A missing credential plugin is named, with its own hint how to install it."""
    user = plugin("no-such-plugin", installHint="get it\nfrom your vendor")
    error = refused(write(config(SERVER, user=user)))
    assert "'no-such-plugin' is not installed" in error.what
    assert error.hint == "get it from your vendor"


def test_credential_plugin_that_fails(write: Write) -> None:
    """A plugin that gives no credentials is an error, not an anonymous connection."""
    assert "gave no credentials" in refused(write(config(SERVER, user=plugin("false")))).what


def test_credential_plugin_that_works(write: Write, tmp_path: Path) -> None:
    """A plugin's token is used."""
    script = tmp_path / "plugin"
    script.write_text(
        "#!/bin/sh\n"
        'echo \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"abc"}}\'\n',
        encoding="utf-8",
    )
    script.chmod(0o700)
    found = access(write(config(SERVER, user=plugin(str(script)))), None)
    assert found.configuration.get_api_key_with_prefix("BearerToken") == "Bearer abc"


def test_in_a_pod_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a pod without a mounted account the account is said to be missing."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    assert "service account" in refused(None).what


def test_environment_is_read_at_the_call(monkeypatch: pytest.MonkeyPatch, sandbox: Status) -> None:
    """KUBECONFIG counts as it is when connect is called, not as it was at import."""
    monkeypatch.setenv("KUBECONFIG", environment(sandbox.name)["KUBECONFIG"])
    cluster = connect()
    assert cluster.version.startswith("v1.")
    assert cluster.uid()
    cluster.close()
