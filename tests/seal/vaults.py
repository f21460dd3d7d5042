"""A real Vault as a process of this machine: on files, initialised, sealed and unsealed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from opslib.kube.client import Cluster
from opslib.sandbox import binaries

from .running import until

SECONDS = 60.0
HTTP = urllib3.PoolManager(timeout=20)


class RefusedByVault(Exception):
    """An answer that is not 2xx."""


@dataclass
class Vault:
    """One Vault: where it listens, its keys, and its process while it runs."""

    folder: Path
    port: int
    root: str = ""
    key: str = ""
    process: subprocess.Popen[bytes] | None = None
    secrets: list[str] = field(default_factory=list)
    """Values that were put into it: to be sought where none may be."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process; it is sealed, or not initialised yet."""
        config = self.folder / "config.json"
        listener = {"tcp": {"address": f"127.0.0.1:{self.port}", "tls_disable": True}}
        text = {
            "storage": {"file": {"path": str(self.folder / "data")}},
            "listener": listener,
            "api_addr": self.address,
            "disable_mlock": True,
        }
        config.write_text(json.dumps(text))
        env = {**os.environ, "HOME": str(self.folder), "GODEBUG": "x509negativeserial=1"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(binaries.vault()), "server", f"-config={config}"],
                env=env, stdout=log, stderr=log,
            )  # fmt: skip
        until(self._listens, "answer of Vault", SECONDS)

    def _listens(self) -> bool:
        return self._status("seal-status") == 200

    def stop(self) -> None:
        """End the process, as a machine that goes down does."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=20)
        self.process = None

    def initialise(self) -> None:
        """Initialise and unseal."""
        made = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root, self.key = made["root_token"], made["keys_base64"][0]
        self.unseal()

    def unseal(self) -> None:
        """Unseal, and wait until it serves."""
        self.api("PUT", "sys/unseal", {"key": self.key})
        until(lambda: self._status() == 200, "active Vault", SECONDS)

    def seal(self) -> None:
        self.api("PUT", "sys/seal")

    def _status(self, path: str = "health") -> int:
        """Return the status of an answer; 0 where there is none."""
        try:
            return HTTP.request("GET", f"{self.address}/v1/sys/{path}", retries=False).status
        except urllib3.exceptions.HTTPError:
            return 0

    def api(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Ask Vault as its administrator, or by a token. Raises RefusedByVault."""
        headers = {"X-Vault-Token": token or self.root}
        url = f"{self.address}/v1/{path}"
        answer = HTTP.request(method, url, json=body, headers=headers, retries=False)
        if answer.status >= 300:
            raise RefusedByVault(answer.status, answer.data.decode())
        return answer.json() if answer.data else {}

    def put(self, path: str, values: Mapping[str, Any], mount: str = "kv") -> int:
        """Write a version of a secret; return its number."""
        self.secrets += [str(value) for value in values.values() if len(str(value)) > 7]
        made = self.api("POST", f"{mount}/data/{path}", {"data": values})
        return int(made["data"]["version"])

    def policy(self, name: str, text: str) -> None:
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": text})

    def token(self, policy: str, ttl: str = "5m", **more: Any) -> str:
        """Make a token that has a policy."""
        body = {"policies": [policy], "ttl": ttl, **more}
        return str(self.api("POST", "auth/token/create", body)["auth"]["client_token"])


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Vault]:
    """Run an unsealed Vault with a mount ``kv`` of version 2."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    one = Vault(folder, port)
    try:
        one.start()
        one.initialise()
        mount(one, "kv")
        yield one
    finally:
        one.stop()


def mount(vault: Vault, name: str) -> None:
    """Mount KV version 2, and wait until it takes a write."""
    vault.api("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "2"}})

    def ready() -> bool:
        with contextlib.suppress(RefusedByVault):
            vault.put("ready", {"is": "it"}, name)
            return True
        return False

    until(ready, "mount", SECONDS)


def jwt_login(vault: Vault, role: str, policy: str, **more: Any) -> str:
    """Let tokens of an own key log in by the JWT method; return one such token."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with contextlib.suppress(RefusedByVault):
        vault.api("POST", "sys/auth/jwt", {"type": "jwt"})
    vault.api("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public.decode()]})
    body = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": [policy],
        "token_ttl": "5m",
        **more,
    }
    vault.api("POST", f"auth/jwt/role/{role}", body)
    return signed(key, {"sub": "ci", "aud": "vault", "exp": int(time.time()) + 600})


def signed(key: rsa.RSAPrivateKey, claims: Mapping[str, Any]) -> str:
    """Sign a JWT (RFC 7519) by RS256."""

    def part(value: Any) -> str:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    text = f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(dict(claims))}"
    return f"{text}.{part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def account(cluster: Cluster, namespace: str, name: str, audience: str = "") -> str:
    """Make a service account, if it is not there, and return a token of it."""
    base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    if cluster.find(f"{base}/{name}") is None:
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        cluster.request("POST", base, body=body)
    asked: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600, **({"audiences": [audience]} if audience else {})},
    }
    return str(cluster.request("POST", f"{base}/{name}/token", body=asked)["status"]["token"])


@contextlib.contextmanager
def kubernetes_login(
    vault: Vault, cluster: Cluster, namespace: str, role: str, policy: str, **more: Any
) -> Iterator[str]:
    """Let the account ``loop`` of a namespace log in by TokenReview; give a token of it."""
    group = "rbac.authorization.k8s.io"
    rights = f"/apis/{group}/v1/clusterrolebindings"
    name = f"opslib-test-{namespace}"
    reviewer = account(cluster, namespace, "vault")
    root = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "vault", "namespace": namespace}],
    }
    cluster.request("POST", rights, body=body)
    with contextlib.suppress(RefusedByVault):
        vault.api("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    config = {
        "kubernetes_host": cluster.server,
        "kubernetes_ca_cert": root["data"]["ca.crt"],
        "token_reviewer_jwt": reviewer,
        "disable_local_ca_jwt": True,
    }
    vault.api("POST", "auth/kubernetes/config", config)
    bound = {
        "bound_service_account_names": ["loop"],
        "bound_service_account_namespaces": [namespace],
        "audience": "vault",
        "token_policies": [policy],
        "token_ttl": "5m",
        **more,
    }
    vault.api("POST", f"auth/kubernetes/role/{role}", bound)
    try:
        yield account(cluster, namespace, "loop", "vault")
    finally:
        cluster.request("DELETE", f"{rights}/{name}")
