"""Workloads that roll out in a namespace of one's own, well or badly as told."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from opslib.kube.client import Cluster
from opslib.rollout import Description, Target, describe
from opslib.sandbox.binaries import kubectl
from opslib.sandbox.cluster import Status

GOOD = "registry.example.com/shop:v1"
BAD = "registry.example.com/shop:v2-does-not-exist"
Json = dict[str, Any]


@dataclass
class Shop:
    """Makes workloads in one namespace, and asks kubectl about them."""

    server: Cluster
    namespace: str
    kubeconfig: str

    def make(
        self, name: str, kind: str = "Deployment", image: str = GOOD, replicas: int = 2, **more: Any
    ) -> Target:
        """Create a workload; ``more`` are fields of its spec, ``simulate`` an annotation."""
        target = Target(kind, self.namespace, name)
        simulate = more.pop("simulate", "")
        extra = {"serviceName": name} if kind == "StatefulSet" else {}
        container = {
            "name": "main",
            "image": image,
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
        }
        spec = {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"opslib.dev/simulate": simulate} if simulate else {},
                },
                "spec": {"containers": [container]},
            },
            **extra,
            **more,
        }
        if kind != "DaemonSet":
            spec["replicas"] = replicas
        body = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        self.server.request("POST", target.collection, body=body)
        return target

    def patch(self, target: Target, body: Json) -> None:
        """Change a workload by a merge patch."""
        kind = "application/merge-patch+json"
        self.server.request("PATCH", target.path, body=body, content_type=kind)

    def image(self, target: Target, image: str) -> None:
        """Roll out another image, as ``kubectl set image`` does."""
        self.kubectl("set", "image", f"{target.kind.lower()}/{target.name}", f"main={image}")

    def kubectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask kubectl; its answer may be an error."""
        base = [str(kubectl()), "--kubeconfig", self.kubeconfig, "--namespace", self.namespace]
        return subprocess.run(
            [*base, *words], capture_output=True, text=True, timeout=120, check=False
        )

    def until(self, target: Target, holds: Callable[[Description], bool]) -> Description:
        """Wait until a description is as wished; fail with the last one after 90 s."""
        limit = time.monotonic() + 90
        while True:
            found = describe(self.server, target)
            if holds(found):
                return found
            assert time.monotonic() < limit, found
            time.sleep(0.1)


@pytest.fixture
def shop(server: Cluster, namespace: str, sandbox: Status) -> Shop:
    """Return a maker of workloads in a namespace of the test's own."""
    return Shop(server, namespace, str(sandbox.kubeconfig))
