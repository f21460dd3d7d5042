"""The real controller beside the tests' control plane, in a namespace of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
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
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox import golang, sealed
from opslib.seal.certificates import parse
from opslib.seal.controller import Controller

MODULE = "github.com/bitnami/sealed-secrets"


@dataclass
class Running:
    """A controller that runs."""

    cluster: Cluster
    kubeconfig: str
    namespace: str
    controller: sealed.Controller

    @property
    def log(self) -> Path:
        """What it says."""
        return self.controller.folder / "log"

    @property
    def words(self) -> tuple[str, ...]:
        """The options by which opslib finds it."""
        return ("--kubeconfig", self.kubeconfig, "--controller-namespace", self.namespace)

    def renew(self) -> None:
        """Let it make a new key, and wait until it serves that."""
        before = self.fingerprint()
        for pid in self.controller.pids:
            os.kill(pid, signal.SIGUSR1)
        until(lambda: self.fingerprint() != before, "a new key")

    def certificate(self) -> bytes:
        return Controller(self.cluster, self.namespace).certificate()

    def fingerprint(self) -> str:
        return parse(self.certificate(), "cert").fingerprint

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
    go = golang.find_go(SILENT, ["sealed-secrets"])
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
    """Define SealedSecrets in the cluster as upstream does; they are gone afterwards."""
    cluster.request("POST", sealed.DEFINITIONS, body=crd())
    try:
        yield
    finally:
        one = f"{sealed.DEFINITIONS}/{sealed.CRD}"
        cluster.request("DELETE", one)
        until(lambda: cluster.find(one) is None, "end of the definition")


@contextlib.contextmanager
def running(
    sandbox: str,
    cluster: Cluster,
    namespace: str,
    folder: Path,
    *options: str,
    program: Path | None = None,
) -> Iterator[Running]:
    """Run the controller, or another program of it, with its keys in a namespace."""
    kubeconfig = sandboxes.environment(sandbox)["KUBECONFIG"]
    port = urlsplit(cluster.server).port or 0
    place = folder / "controller"
    one = sealed.Controller(port, place, namespace, bits=2048, options=options, program=program)
    try:
        with sandboxes.api(sandbox) as api:
            sealed.ensure(api, one, deadline=time.monotonic() + 90)
        yield Running(cluster, kubeconfig, namespace, one)
    finally:
        sealed.end(one)
        binding = f"{sealed.BINDINGS}/{sealed.binding(namespace)}"
        if cluster.find(binding):  # not where it could not start
            cluster.request("DELETE", binding)
