"""The simulated nodes of a sandbox: created by us, kept alive by kwok."""

from __future__ import annotations

import time
from typing import Any

from opslib.core.errors import DeadlineExceeded
from opslib.core.settings import machine
from opslib.sandbox.api import Api
from opslib.sandbox.tools import KUBERNETES

_SIZE = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}
"""110 pods is the kubelet's default: https://kubernetes.io/docs/setup/best-practices/cluster-large/"""


def ensure(api: Api, count: int) -> None:
    """Create node-0 … node-(count-1) where they are missing; more than that stay."""
    there = {item["metadata"]["name"] for item in listing(api)}
    for number in range(count):
        if f"node-{number}" not in there:
            api.json("POST", "/api/v1/nodes", _node(f"node-{number}"))


def listing(api: Api) -> list[dict[str, Any]]:
    """Return all nodes as the API server has them."""
    items: list[dict[str, Any]] = api.json("GET", "/api/v1/nodes")["items"]
    return items


def usable(node: dict[str, Any]) -> bool:
    """Tell whether a node is Ready and pods may be put on it (no NoSchedule taint of its state)."""
    conditions = node.get("status", {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    taints = node.get("spec", {}).get("taints") or []
    return ready and not any(t["key"].startswith("node.kubernetes.io/not-ready") for t in taints)


def wait_usable(api: Api, count: int, deadline: float) -> int:
    """Wait until at least ``count`` nodes are usable; return how many are. Monotonic deadline."""
    while True:
        number = sum(map(usable, listing(api)))
        if number >= count:
            return number
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"{number} of {count} simulated nodes became ready")
        time.sleep(0.05)


def point_to(api: Api, port: int) -> None:
    """Tell each node's record at which port its kubelet, that is kwok, answers now."""
    endpoint = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}}
    for node in listing(api):
        path = f"/api/v1/nodes/{node['metadata']['name']}/status"
        api.json("PATCH", path, endpoint, content_type="application/strategic-merge-patch+json")


def _node(name: str) -> dict[str, Any]:
    arch = machine()[1]
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "type": "kwok",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {
            "allocatable": _SIZE,
            "capacity": _SIZE,
            "nodeInfo": {
                "architecture": arch,
                "bootID": "",
                "containerRuntimeVersion": "simulated://kwok",
                "kernelVersion": "simulated",
                "kubeProxyVersion": KUBERNETES,
                "kubeletVersion": KUBERNETES,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "simulated by kwok",
                "systemUUID": "",
            },
        },
    }
