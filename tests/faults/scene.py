"""A repository, its apps in a cluster, and a memory of every object that was there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from reconcile.loops import Repository

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.reconcile.app import App
from opslib.reconcile.apply import Applied
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.plan import Action
from opslib.reconcile.planned import Planned
from opslib.reconcile.prune import PruneLimits
from opslib.reconcile.session import Session, open_session
from opslib.sandbox.cluster import Status
from opslib.source.mirror import Source

from .parts import USER_AGENT, audited

REPLAYED: set[str] = set()
KINDS = {
    "configmaps": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "secrets": "/api/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
}

WORKLOAD = """apiVersion: apps/v1
kind: {kind}
metadata: {{name: db}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec: {{containers: [{{name: db, image: registry.example/db:1}}]}}
"""


def config(*names: str, value: str = "1", head: str = "") -> str:
    """Return the YAML of ConfigMaps; ``head`` goes into their metadata."""
    return "---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{head}}}\n"
        f"data: {{k: '{value}'}}\n"
        for name in names
    )


@dataclass
class Scene:
    """A repository, its apps in a cluster, and a memory of every object that was there."""

    server: Cluster
    sandbox: Status
    namespace: str
    repository: Repository
    app: str = field(default_factory=lambda: f"d{uuid.uuid4().hex[:8]}")
    meant: set[str] = field(default_factory=set)
    """Objects that a test wants deleted, as ``configmaps/NAME``."""
    seen: dict[str, str] = field(default_factory=dict)

    def session(
        self, path: str = "app", app: str = "", limits: PruneLimits | None = None
    ) -> Session:
        """Open a folder of the repository as an app."""
        source = Source(f"file://{self.repository.folder}", "main", path)
        return open_session(
            self.server,
            source,
            app=app or self.app,
            namespace=self.namespace,
            limits=limits,
        )

    def plan(self, path: str = "app", app: str = "", **options: Any) -> Planned:
        """Fetch and plan, as ``opslib plan`` does."""
        accept = options.pop("accept_rewrite", False)
        session = self.session(path, app, **options)
        return session.plan(session.fetch(accept_rewrite=accept))

    def apply(self, path: str = "app", app: str = "", **options: Any) -> tuple[Planned, Applied]:
        """Fetch, plan and apply, as ``opslib apply --yes`` does."""
        self.uids()
        timeout = options.pop("timeout", 30)
        accept = options.pop("accept_rewrite", False)
        session = self.session(path, app, **options)
        planned = session.plan(session.fetch(accept_rewrite=accept))
        with session.holding() as held:
            applied = session.apply(planned, timeout=timeout, go_on=held)
        self.uids()
        return planned, applied

    def first(self, files: dict[str, str | None], **options: Any) -> None:
        """Commit and apply what is there before the disaster."""
        self.repository.commit(files)
        _, applied = self.apply(**options)
        assert applied.ok, applied.as_dict()

    def kept(self, planned: Planned) -> dict[str, str]:
        """Return why each object that Git dropped is kept, by name."""
        changes = planned.prepared.plan.changes
        return {c.key.name: c.reason for c in changes if c.action is Action.KEEP}

    def deletes(self, planned: Planned) -> list[str]:
        """Return the names of what a plan would delete."""
        changes = planned.prepared.plan.changes
        return sorted(c.key.name for c in changes if c.action is Action.DELETE)

    def uids(self) -> dict[str, str]:
        """Return the uids of all objects of this namespace, and remember them."""
        found: dict[str, str] = {}
        for plural, root in KINDS.items():
            items, _ = self.server.list(f"{root}/namespaces/{self.namespace}/{plural}")
            found |= {f"{plural}/{i['metadata']['name']}": i["metadata"]["uid"] for i in items}
        for name, uid in found.items():
            self.seen.setdefault(name, uid)
        return found

    def make(self, plural: str, body: dict[str, Any]) -> Any:
        """Create an object as somebody else."""
        path = f"{KINDS[plural]}/namespaces/{self.namespace}/{plural}"
        return self.server.request("POST", path, query={"fieldManager": "somebody"}, body=body)

    def get(self, plural: str, name: str) -> Any:
        return self.server.get(f"{KINDS[plural]}/namespaces/{self.namespace}/{plural}/{name}")

    def inventory(self, app: str = "") -> set[str]:
        """Return the names in an app's inventory."""
        return {key.name for key in read_inventory(self.server, App(app or self.app)).objects}

    def verify(self) -> None:
        """Nothing was deleted but what was meant: by uids, and by the audit log."""
        now = self.uids()
        lost = {name for name, uid in self.seen.items() if now.get(name) != uid}
        assert lost == self.meant, f"lost {lost}, meant {self.meant}"
        deleted = {
            f"{one.resource}/{one.name}"
            for one in audited(self.sandbox, self.namespace, ("delete", "deletecollection"))
            if one.done and one.agent == USER_AGENT
        }
        assert deleted == self.meant, f"deleted {deleted}, meant {self.meant}"


def refused(scene: Scene, path: str = "app", app: str = "", **options: Any) -> str:
    """Applying is refused as a whole; return what is told."""
    with pytest.raises(OpslibError) as caught:
        scene.apply(path, app, **options)
    return str(caught.value)
