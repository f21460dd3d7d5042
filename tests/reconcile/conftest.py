"""A connected cluster, an app of one's own, and resources made on the spot."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.core.model import Origin, Resource, Revision
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.app import App
from opslib.reconcile.appfile import Leave
from opslib.reconcile.apply import Applied, apply_plan
from opslib.reconcile.desired import declare
from opslib.reconcile.judge import Prepared
from opslib.reconcile.loop import LoopOptions
from opslib.reconcile.planner import make_plan
from opslib.reconcile.prune import PruneLimits
from opslib.reconcile.session import open_session
from opslib.source.mirror import Source

from .loops import Repository, Running


def resources(text: str, path: str = "app.yaml") -> list[Resource]:
    """Return the resources of a YAML text; each says the line that its document starts at."""
    line, found = 1, []
    for part in text.strip("\n").split("---\n"):
        manifest = yaml.safe_load(part)
        if manifest:
            found.append(Resource(manifest, Origin(path, line)))
        line += part.count("\n") + 1
    return found


def revision(commit: str) -> Revision:
    """Return a revision; the commit is repeated up to 40 digits."""
    return Revision("file:///repo", "main", (commit * 40)[:40], path="app")


@dataclass
class Workbench:
    """One app in one namespace: plan and apply texts of YAML as successive commits."""

    server: Cluster
    namespace: str
    app: App = field(default_factory=lambda: App(f"t{uuid.uuid4().hex[:8]}"))
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.discovery = Discovery(self.server)

    def plan(
        self,
        found: Sequence[Resource] | str,
        commit: str = "a",
        *,
        limits: PruneLimits | None = None,
        is_ancestor: Callable[[str, str], bool] | None = None,
        full: bool = False,
        leave: Sequence[Leave] = (),
    ) -> Prepared:
        """Plan these resources as if they were a commit's."""
        listed = resources(found) if isinstance(found, str) else list(found)
        self.discovery.refresh()
        desired = declare(listed, self.discovery, namespace=self.namespace)
        return make_plan(
            self.server,
            self.discovery,
            self.app,
            revision(commit),
            desired,
            is_ancestor=is_ancestor or (lambda older, newer: older <= newer),
            limits=limits,
            leave=leave,
            full=full,
        )

    def apply(self, found: Sequence[Resource] | str, commit: str = "a", **options: Any) -> Applied:
        """Plan and apply."""
        limits = options.pop("limits", None)
        return self.write(self.plan(found, commit, limits=limits), **options)

    def write(self, prepared: Prepared, **options: Any) -> Applied:
        """Apply a plan that was made before."""
        options.setdefault("timeout", 60)
        return apply_plan(self.server, self.discovery, prepared, **options)

    def live(self, plural: str, name: str, group: str = "") -> dict[str, Any] | None:
        """Return a live object of this namespace."""
        root = f"/apis/{group}" if group else "/api/v1"
        return self.server.find(f"{root}/namespaces/{self.namespace}/{plural}/{name}")

    def patch(self, plural: str, name: str, change: dict[str, Any], group: str = "") -> None:
        """Change an object as somebody else would."""
        root = f"/apis/{group}" if group else "/api/v1"
        self.server.request(
            "PATCH",
            f"{root}/namespaces/{self.namespace}/{plural}/{name}",
            query={"fieldManager": "kubectl-edit"},
            body=change,
            content_type="application/merge-patch+json",
        )


@pytest.fixture
def bench(server: Cluster, namespace: str) -> Workbench:
    """Return a workbench on a namespace of its own."""
    return Workbench(server, namespace)


def config_map(name: str, **data: str) -> str:
    """Return the YAML of a ConfigMap."""
    rows = "".join(f"  {key}: {value!r}\n" for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{rows}"


def deployment(name: str, *, image: str = "registry.example/app:1", replicas: int = 1) -> str:
    """Return the YAML of a Deployment."""
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
        - name: app
          image: {image}
          resources:
            limits: {{cpu: 1000m, memory: 64Mi}}
"""


Start = Callable[..., Running]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return an empty repository."""
    return Repository(tmp_path / "repo")


@pytest.fixture
def start(bench: Workbench, repository: Repository) -> Iterator[Start]:
    """Start loops of one app; all end with the test."""
    loops: list[Running] = []

    def one(**options: Any) -> Running:
        session = open_session(
            bench.server,
            Source(str(repository.folder), "", "app"),
            app=bench.app.name,
            namespace=bench.namespace,
        )
        loops.append(Running(session, LoopOptions(**{"interval": 1.0, **options})))
        return loops[-1]

    yield one
    for loop in loops:
        loop.end()
