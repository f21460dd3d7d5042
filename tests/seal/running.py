"""The real controller beside the tests' control plane, in a namespace of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox import sealed
from opslib.seal.certificates import parse
from opslib.seal.controller import Controller


@dataclass
class Running:
    """A controller that runs."""

    cluster: Cluster
    kubeconfig: str
    namespace: str
    controller: sealed.Controller

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
        """Create or replace a SealedSecret."""
        name = manifest["metadata"]["name"]
        path = f"/apis/bitnami.com/v1alpha1/namespaces/{namespace}/sealedsecrets"
        old = self.cluster.find(f"{path}/{name}")
        if old is None:
            made = self.cluster.request("POST", path, body=manifest)
        else:
            body = json.loads(json.dumps(manifest))
            body["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            made = self.cluster.request("PUT", f"{path}/{name}", body=body)
        return dict(made)

    def secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """Return the values of a Secret as the cluster has them."""
        found = self.cluster.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if found is None:
            return None
        return {k: base64.b64decode(v) for k, v in (found.get("data") or {}).items()}

    def synced(self, namespace: str, name: str) -> bool | None:
        """Return what the controller says of a SealedSecret; None while it says nothing."""
        path = f"/apis/bitnami.com/v1alpha1/namespaces/{namespace}/sealedsecrets/{name}"
        found = self.cluster.get(path)
        status = found.get("status") or {}
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return None
        return next((c["status"] == "True" for c in status.get("conditions") or []), None)


def until(work: Callable[[], Any], what: str, seconds: float = 12) -> Any:
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


@contextlib.contextmanager
def running(sandbox: str, cluster: Cluster, namespace: str, folder: Path) -> Iterator[Running]:
    """Run the controller for a namespace; cluster-wide objects are gone afterwards."""
    kubeconfig = sandboxes.environment(sandbox)["KUBECONFIG"]
    port = urlsplit(cluster.server).port or 0
    one = sealed.Controller(port, folder / "controller", namespace, bits=2048)
    try:
        with sandboxes.api(sandbox) as api:
            sealed.ensure(api, one, deadline=time.monotonic() + 60)
        yield Running(cluster, kubeconfig, namespace, one)
    finally:
        sealed.end(one)
        cluster.request("DELETE", f"{sealed.BINDINGS}/{sealed.binding(namespace)}")
        cluster.request("DELETE", f"{sealed.DEFINITIONS}/{sealed.CRD}")
