"""The real controller as a process of this machine, told that it runs in the sandbox's cluster.

It reads its account from a fixed folder only, so that it gets a mount namespace of its own with
that folder in it. The API server reaches it by a Service without a selector, whose endpoint is
this machine's own address (a loopback address is not allowed there).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from opslib.core.errors import OpslibError
from opslib.core.progress import SILENT
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.sandbox import golang
from opslib.seal.certificates import parse
from opslib.seal.controller import Controller

from . import parts

MODULE = "github.com/bitnami/sealed-secrets"
CRD = "sealedsecrets.bitnami.com"
NAME = "sealed-secrets-controller"
_SCRIPT = (
    'place=$(readlink -f /var/run) && mount -t tmpfs none "$place" && shift_from="$1" && shift'
    ' && mkdir -p "$place/secrets/kubernetes.io/serviceaccount"'
    ' && cp "$shift_from"/* "$place/secrets/kubernetes.io/serviceaccount/" && exec "$@"'
)


@dataclass
class Running:
    """A controller that runs: its namespace, process and log."""

    cluster: Cluster
    kubeconfig: str
    namespace: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def words(self) -> tuple[str, ...]:
        """The options by which opslib finds it."""
        return ("--kubeconfig", self.kubeconfig, "--controller-namespace", self.namespace)

    def renew(self) -> None:
        """Let it make a new key, and wait until it serves that."""
        before = self.fingerprint()
        self.process.send_signal(signal.SIGUSR1)
        until(lambda: self.fingerprint() != before, "a new key")

    def fingerprint(self) -> str:
        return parse(Controller(self.cluster, self.namespace).certificate(), "cert").fingerprint

    def apply(self, manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
        """Create or replace a SealedSecret; again where the controller wrote in between."""
        name = manifest["metadata"]["name"]
        path = f"/apis/bitnami.com/v1alpha1/namespaces/{namespace}/sealedsecrets"

        def write() -> Any:
            old = self.cluster.find(f"{path}/{name}")
            if old is None:
                return self.cluster.request("POST", path, body=manifest)
            body = json.loads(json.dumps(manifest))
            body["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            try:
                return self.cluster.request("PUT", f"{path}/{name}", body=body)
            except ApiError as error:
                if error.code != 409:
                    raise
                return None

        return dict(until(write, "write without a conflict"))

    def secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """Return the values of a Secret as the cluster has them."""
        found = self.cluster.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if found is None:
            return None
        return {k: base64.b64decode(v) for k, v in (found.get("data") or {}).items()}

    def events(self, namespace: str, name: str) -> dict[str, str]:
        """Return the last message of each reason that the controller gave for a SealedSecret."""
        items, _ = self.cluster.list(f"/api/v1/namespaces/{namespace}/events")
        mine = [one for one in items if one["involvedObject"]["name"] == name]
        return {one["reason"]: one["message"] for one in mine}

    def synced(self, namespace: str, name: str) -> bool | None:
        """Return what the controller says of a SealedSecret; None while it says nothing."""
        path = f"/apis/bitnami.com/v1alpha1/namespaces/{namespace}/sealedsecrets/{name}"
        found = self.cluster.get(path)
        status = found.get("status") or {}
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return None
        return next((c["status"] == "True" for c in status.get("conditions") or []), None)


def until(work: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Wait until a condition holds, with a deadline."""
    end = time.monotonic() + seconds
    last = ""
    while time.monotonic() < end:
        try:
            if found := work():
                return found
        except OpslibError as error:
            last = str(error)
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {seconds} s: {last}")


def module() -> Path:
    """Return the folder of the module that the newest controller is built from."""
    pinned = Path(str(files("opslib.sandbox"))) / "gobuild" / "sealed-secrets"
    go = golang.find_go(SILENT)
    with tempfile.TemporaryDirectory() as work:
        for name in ("go.mod", "go.sum"):
            Path(work, name).write_bytes((pinned / name).read_bytes())
        words = [str(go), "mod", "download", "-json", MODULE]
        env = golang.build_environment(go)
        done = subprocess.run(words, cwd=work, env=env, check=True, capture_output=True)
    return Path(json.loads(done.stdout)["Dir"])


def crd() -> dict[str, Any]:
    """Return the definition of SealedSecrets from that module."""
    folder = module() / "helm" / "sealed-secrets" / "crds"
    found: dict[str, Any] = yaml.safe_load((folder / "bitnami.com_sealedsecrets.yaml").read_text())
    return found


@contextlib.contextmanager
def defined(cluster: Cluster) -> Iterator[None]:
    """Define SealedSecrets in the cluster; they are gone afterwards."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    cluster.request("POST", path, body=crd())
    try:
        yield
    finally:
        cluster.request("DELETE", f"{path}/{CRD}")


@contextlib.contextmanager
def running(
    cluster: Cluster,
    kubeconfig: str,
    namespace: str,
    folder: Path,
    *options: str,
    program: Path | None = None,
) -> Iterator[Running]:
    """Run the controller, or another program of it, with its keys in a namespace."""
    binding = f"opslib-test-{namespace}"
    rights = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    cluster.request("POST", rights, body=_binding(binding, namespace))
    try:
        port, metrics = _free_port(), _free_port()
        _pod(cluster, namespace, NAME)
        _serve(cluster, namespace, NAME, 8080, port)
        _serve(cluster, namespace, f"{NAME}-metrics", 8081, metrics)
        words = [str(program or parts.controller()), f"--listen-addr={_address()}:{port}"]
        words += [f"--listen-metrics-addr={_address()}:{metrics}", "--key-size=2048", *options]
        with _process(cluster, namespace, folder, words) as process:
            one = Running(cluster, kubeconfig, namespace, process, folder / "log")
            until(one.fingerprint, "certificate of the controller")
            yield one
    finally:
        cluster.request("DELETE", f"{rights}/{binding}")


def _binding(name: str, namespace: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_address(), 0))
        return int(free.getsockname()[1])


def _serve(cluster: Cluster, namespace: str, name: str, number: int, port: int) -> None:
    """Make a Service and its endpoint on this machine."""
    base = f"/api/v1/namespaces/{namespace}"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": number, "targetPort": port}]},
    }
    cluster.request("POST", f"{base}/services", body=service)
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [_address()],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": NAME, "namespace": namespace},
            }
        ],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    cluster.request("POST", slices, body=slice_)


def _pod(cluster: Cluster, namespace: str, name: str) -> None:
    """Make the pod that the endpoint is of: the proxy goes to addresses of pods only.

    No scheduler takes it, so that nothing simulates it; its address is written here.
    """
    pods = f"/api/v1/namespaces/{namespace}/pods"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "controller", "image": "sealed-secrets"}],
        },
    }
    cluster.request("POST", pods, body=pod)
    status = {"status": {"podIP": _address(), "podIPs": [{"ip": _address()}]}}
    merge = "application/merge-patch+json"
    cluster.request("PATCH", f"{pods}/{name}/status", body=status, content_type=merge)


@contextlib.contextmanager
def _process(
    cluster: Cluster, namespace: str, folder: Path, program: list[str]
) -> Iterator[subprocess.Popen[bytes]]:
    account = _account(cluster, namespace, folder)
    server = urlsplit(cluster.server)
    env = {
        **os.environ,
        "KUBERNETES_SERVICE_HOST": server.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    words = [*own, "sh", "-c", _SCRIPT, "sh", str(account), *program]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=90)


def _account(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """Write the files that a pod of the namespace's default account would have."""
    base = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    until(lambda: cluster.find(base), "default account")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = cluster.request("POST", f"{base}/token", body=body)["status"]["token"]
    place = folder / "account"
    place.mkdir(mode=0o700)
    root = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
    (place / "ca.crt").write_text(root["data"]["ca.crt"])
    (place / "token").write_text(token)
    (place / "namespace").write_text(namespace)
    return place


def _address() -> str:
    """Return an address of this machine that is no loopback one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        return str(probe.getsockname()[0])
