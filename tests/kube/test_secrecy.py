"""Whatever a connection hands out that is secret is noted before it is returned."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from opslib.core import secrecy
from opslib.kube.client import Cluster
from opslib.kube.kubeconfig import access
from opslib.source.address import parse_address


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> secrecy.Registry:
    """Return an empty registry in the place of the process's own."""
    fresh = secrecy.Registry()
    monkeypatch.setattr(secrecy, "REGISTRY", fresh)
    return fresh


def values(registry: secrecy.Registry) -> set[str]:
    """Return what is known."""
    return {one.value for one in registry.known()}


def test_secrets_of_the_api_server_are_noted(
    cluster: Cluster, namespace: str, registry: secrecy.Registry
) -> None:
    """Applied, read, listed and watched; also the token of a service account."""
    made, plain = f"kR7-{uuid.uuid4()}", f"wE4-{uuid.uuid4()}"
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"password": base64.b64encode(made.encode()).decode()},
        "stringData": {"other": plain},
    }
    place = f"/api/v1/namespaces/{namespace}/secrets"
    cluster.request("POST", place, body=secret)
    assert {made, plain} <= values(registry)
    for read in (
        lambda: cluster.get(f"{place}/db"),
        lambda: cluster.list(place),
        lambda: next(cluster.stream(place, query={"watch": True, "timeoutSeconds": 2})),
    ):
        registry._known.clear()
        read()
        assert {made, plain} <= values(registry)
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    cluster.request("POST", account, body={"metadata": {"name": "robot"}})
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = cluster.request("POST", f"{account}/robot/token", body=asked)
    assert answer["status"]["token"] in values(registry)


def test_credentials_of_a_kubeconfig_are_noted(tmp_path: Path, registry: secrecy.Registry) -> None:
    """Its token, and what its plugin gives."""
    plugin = tmp_path / "plugin"
    given = {"token": "exec-kR7pQ2xvN9zT4m"}
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": given,
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o700)
    command = {
        "apiVersion": answer["apiVersion"],
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    for user, value in (
        ({"token": "plain-kR7pQ2xvN9zT4m"}, "plain-kR7pQ2xvN9zT4m"),
        ({"exec": command}, given["token"]),
    ):
        config = {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(json.dumps(config))
        access(tmp_path / "config", None)
        assert value in values(registry)


def test_credentials_in_an_address_of_git_are_noted(registry: secrecy.Registry) -> None:
    """The password, as it is and as it is written in the URL; a name alone is a token."""
    parse_address("https://ops:kR7%23pQ2x%21vN9@git.example.net/a.git")
    parse_address("https://glt-kR7pQ2xvN9zT4m@git.example.net/a.git")
    assert {"kR7#pQ2x!vN9", "kR7%23pQ2x%21vN9", "glt-kR7pQ2xvN9zT4m"} <= values(registry)


KILLED = """
import os, signal, sys
if sys.argv[2] == "no":
    del os.memfd_create
from opslib.kube.client import connect
server = connect(sys.argv[1])
print(server.uid())
print(sum("memfd" in os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
          if os.path.islink(f"/proc/self/fd/{n}")), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("memory", ["yes", "no"])
def test_a_killed_process_leaves_no_key(
    cluster: Cluster, kubeconfig: Path, tmp_path: Path, memory: str
) -> None:
    """The kubeconfig's own certificates and private key are in no file after kill -9.

    With memory that has a path, and on systems that have no such thing.
    """
    assert "client-key-data" in kubeconfig.read_text(encoding="utf-8")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(kubeconfig), memory],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split() == [cluster.uid(), "0"]
    assert [one for one in temporary.rglob("*") if one.is_file()] == []
