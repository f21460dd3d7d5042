"""The revisions that a workload has had, and the commits that brought them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from opslib.kube.client import Cluster
from opslib.rollout.describe import COMMIT, images_of, revision_of
from opslib.rollout.targets import Target, owned_by, read, selector_of

Json = dict[str, Any]
CHANGE_CAUSE = "kubernetes.io/change-cause"


@dataclass(frozen=True)
class RevisionEntry:
    """One revision. ``commit`` is the Git commit that declared it, "" where none is noted."""

    revision: int
    change_cause: str
    created: str
    images: tuple[str, ...]
    current: bool
    replicas: int
    commit: str
    name: str

    def as_dict(self) -> Json:
        return asdict(self)


def history(cluster: Cluster, target: Target) -> list[RevisionEntry]:
    """Return the revisions that are kept, the oldest first, as ``kubectl rollout history``."""
    live = read(cluster, target)
    entries = [_entry(item, target) for item in kept(cluster, target, live)]
    newest = max((entry.revision for entry in entries), default=0)
    ordered = sorted(entries, key=lambda entry: entry.revision)
    return [
        entry if entry.revision != newest else RevisionEntry(**{**asdict(entry), "current": True})
        for entry in ordered
    ]


def kept(cluster: Cluster, target: Target, live: Json) -> list[Json]:
    """Return the objects in which a workload's revisions are kept."""
    plural = "replicasets" if target.kind == "Deployment" else "controllerrevisions"
    root = f"/apis/apps/v1/namespaces/{target.namespace}/{plural}"
    items, _ = cluster.list(root, {"labelSelector": selector_of(live)})
    return owned_by(items, live["metadata"]["uid"])


def template_of(item: Json, target: Target) -> Json:
    """Return the pod template that a revision holds."""
    part = item["spec"] if target.kind == "Deployment" else item["data"]["spec"]
    return dict(part["template"])


def number_of(item: Json, target: Target) -> int:
    """Return the number of a revision."""
    return revision_of(item) if target.kind == "Deployment" else int(item["revision"])


def _entry(item: Json, target: Target) -> RevisionEntry:
    metadata = item["metadata"]
    annotations = metadata.get("annotations") or {}
    return RevisionEntry(
        number_of(item, target),
        str(annotations.get(CHANGE_CAUSE, "")),
        str(metadata.get("creationTimestamp", "")),
        images_of(template_of(item, target)),
        current=False,
        replicas=int((item.get("status") or {}).get("replicas") or 0),
        commit=str(annotations.get(COMMIT, "")),
        name=str(metadata["name"]),
    )
