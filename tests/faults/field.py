"""A namespace in which applies meet faults, and what is applied there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import yaml

from opslib.kube.client import Cluster
from opslib.reconcile.app import App
from opslib.reconcile.inventory import read_inventory

from . import victim


def config(*names: str, value: str = "1") -> str:
    """Return the YAML of ConfigMaps."""
    return "---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: '{value}'}}\n"
        for name in names
    )


def service(*names: str) -> str:
    """Return the YAML of headless Services."""
    return "---\n".join(
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        "spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80}]}\n"
        for name in names
    )


def secret(name: str, value: str) -> str:
    """Return the YAML of a Secret."""
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{p: {value}}}\n"


def names(text: str) -> set[str]:
    """Return what a text declares, as ``configmaps/NAME``."""
    return {
        f"{manifest['kind'].lower()}s/{manifest['metadata']['name']}"
        for manifest in yaml.safe_load_all(text)
        if manifest
    }


@dataclass
class Field:
    """A namespace in which applies are killed; a bystander in it belongs to nobody's app."""

    cluster: Cluster
    kubeconfig: str
    namespace: str
    app: str = field(default_factory=lambda: f"k{uuid.uuid4().hex[:8]}")

    def objects(self) -> dict[str, tuple[str, Any]]:
        """Return what lies here: uid and data by kind and name, without what controllers make."""
        found = {}
        for plural in ("configmaps", "secrets", "services"):
            items, _ = self.cluster.list(f"/api/v1/namespaces/{self.namespace}/{plural}")
            for item in items:
                name = item["metadata"]["name"]
                if name != "kube-root-ca.crt":
                    found[f"{plural}/{name}"] = (item["metadata"]["uid"], item.get("data"))
        return found

    def inventory(self) -> set[str]:
        """Return what the app's inventory names."""
        read = read_inventory(self.cluster, App(self.app))
        return {f"{key.kind.lower()}s/{key.name}" for key in read.objects}

    def apply(self, text: str, commit: str) -> bool:
        """Apply to the end."""
        return victim.apply(victim.Job(self.kubeconfig, self.namespace, self.app, text, commit))

    def clear(self) -> None:
        """Remove all but the bystander, and the inventory."""
        for name in self.objects():
            if name != "configmaps/bystander":
                self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}/{name}")
        path = f"/api/v1/namespaces/opslib-system/configmaps/{App(self.app).inventory}"
        if self.cluster.find(path):
            self.cluster.request("DELETE", path)
