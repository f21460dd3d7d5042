"""One app in one namespace of the real control plane, and hands that edit its objects."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reconcile.loops import Repository

from opslib.drift.model import Difference, Drift, Review
from opslib.drift.review import Taken, taken
from opslib.kube.client import Cluster
from opslib.reconcile.apply import Applied
from opslib.reconcile.session import open_session
from opslib.source.mirror import Source

MERGE = "application/merge-patch+json"
PATCH = "application/json-patch+json"


class Scene:
    """A repository whose folder ``app`` is applied to a namespace."""

    def __init__(self, server: Cluster, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.repository = Repository(folder)
        self.wait = True
        self.app = f"d{uuid.uuid4().hex[:8]}"
        self.session = open_session(
            server, Source(str(folder), "", "app"), app=self.app, namespace=namespace
        )

    @property
    def manager(self) -> str:
        return f"opslib-{self.app}"

    def commit(self, **files: str | None) -> str:
        """Commit files of the folder; the names without their .yaml."""
        named = {f"app/{name}.yaml": text for name, text in files.items()}
        return self.repository.commit(named)

    def apply(self, **files: str | None) -> Applied:
        """Commit and apply; nothing may fail."""
        if files:
            self.commit(**files)
        with self.session.holding() as held:
            planned = self.session.plan(self.session.fetch())
            applied = self.session.apply(planned, timeout=60, wait=self.wait, go_on=held)
        assert applied.ok, applied
        return applied

    def take(self) -> Taken:
        """Take a review."""
        return taken(self.session)

    def review(self) -> Review:
        return self.take().review

    def path(self, plural: str, name: str = "", group: str = "") -> str:
        root = f"/apis/{group}" if group else "/api/v1"
        item = f"/{name}" if name else ""
        return f"{root}/namespaces/{self.namespace}/{plural}{item}"

    def live(self, plural: str, name: str, group: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(self.path(plural, name, group))
        return found

    def edit(
        self,
        plural: str,
        name: str,
        change: Any,
        group: str = "",
        *,
        manager: str = "kubectl-edit",
        subresource: str = "",
    ) -> dict[str, Any]:
        """Patch an object as somebody; a list is a JSON Patch, all else a merge patch."""
        path = self.path(plural, name, group) + (f"/{subresource}" if subresource else "")
        answer: dict[str, Any] = self.server.request(
            "PATCH",
            path,
            query={"fieldManager": manager},
            body=change,
            content_type=PATCH if isinstance(change, list) else MERGE,
        )
        return answer

    def make(self, plural: str, body: dict[str, Any], group: str = "") -> dict[str, Any]:
        """Create an object as somebody."""
        answer: dict[str, Any] = self.server.request(
            "POST",
            self.path(plural, "", group),
            query={"fieldManager": "kubectl-create"},
            body=body,
        )
        return answer


def told(drifts: Iterable[Drift]) -> list[tuple[str, str, str]]:
    """Return what was found, as kind/name, difference and path."""
    return sorted(
        (f"{one.key.kind}/{one.key.name}", str(one.difference), one.path) for one in drifts
    )


CHANGED, ADDED, REMOVED, MISSING, EXTRA = (
    str(getattr(Difference, name)) for name in ("CHANGED", "ADDED", "REMOVED", "MISSING", "EXTRA")
)
