"""Why a workload makes no progress: what the pods of its newest revision say.

A Deployment whose image cannot be pulled is in progress until its deadline passes, ten minutes
as a rule, and does not say why. Its pods know at once. They are read only while a workload is
in progress, two lists per namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from opslib.core.errors import OpslibError
from opslib.core.model import Manifest
from opslib.kube.client import Cluster
from opslib.reconcile import health_workloads
from opslib.reconcile.health_object import Assessment, Health, Look

STUCK_SECONDS = 30.0
"""How old a pod without its image must be to make its workload Failed: the kubelet has tried
three times by then (the delay begins at 10 s and doubles), so that a registry that was away for a
moment fails no revision. https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff

A crash loop is told and stays in progress until the workload's own deadline: many programs
crash until what they need is there."""

WORKLOADS = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
    }
)

_REVISION = "deployment.kubernetes.io/revision"
_GENERATION = "deprecated.daemonset.template.generation"


@dataclass(frozen=True)
class Children:
    """The pods and the ReplicaSets of one namespace."""

    pods: Sequence[Manifest]
    replica_sets: Sequence[Manifest]


def read_children(cluster: Cluster, namespace: str) -> Children:
    """List what workloads own in a namespace; nothing where that may not be read."""
    try:
        pods, _ = cluster.list(f"/api/v1/namespaces/{namespace}/pods")
        sets, _ = cluster.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets")
    except OpslibError:  # an explanation less is no failure
        return Children((), ())
    return Children(pods, sets)


def with_pods(live: Manifest, answer: Assessment, children: Children, at: datetime) -> Assessment:
    """Add to a workload in progress why a pod of its newest revision cannot run.

    Pods of older revisions do not count: a broken one is often what the new one mends.
    """
    for pod in _newest(live, children):
        look = Look(pod, at)
        reason = health_workloads.broken_containers(look)
        if reason:
            name = look.metadata.get("name")
            old = look.age is not None and look.age >= STUCK_SECONDS
            stuck = old and health_workloads.lacks_image(look)
            health = Health.FAILED if stuck else Health.IN_PROGRESS
            return Assessment(health, f"{answer.message}; pod {name}: {reason}")
    return answer


def _newest(live: Manifest, children: Children) -> Iterable[Manifest]:
    metadata = live.get("metadata") or {}
    uid, notes = metadata.get("uid"), metadata.get("annotations") or {}
    kind = live.get("kind")
    if kind == "Deployment":
        owners = [
            s["metadata"]["uid"]
            for s in _owned(children.replica_sets, uid)
            if _of(s, "annotations").get(_REVISION) == notes.get(_REVISION)
        ]
        return [pod for owner in owners for pod in _owned(children.pods, owner)]
    pods = _owned(children.pods, uid)
    if kind == "StatefulSet":
        wanted = (live.get("status") or {}).get("updateRevision")
        return [p for p in pods if _of(p, "labels").get("controller-revision-hash") == wanted]
    if kind == "DaemonSet":
        wanted = notes.get(_GENERATION)
        return [p for p in pods if _of(p, "labels").get("pod-template-generation") == wanted]
    return pods


def _owned(items: Sequence[Manifest], uid: str | None) -> list[Manifest]:
    return [
        item
        for item in items
        if uid and any(o.get("uid") == uid for o in item["metadata"].get("ownerReferences") or ())
    ]


def _of(item: Manifest, field: str) -> Mapping[str, str]:
    return item["metadata"].get(field) or {}
