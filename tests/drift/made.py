"""Differences made by hand, for tests of what is shown and decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from opslib.core.clock import now, stamp
from opslib.core.model import Origin, ResourceKey, Revision
from opslib.drift import model
from opslib.drift.model import Difference, Drift, Plane, Review

REVISION = Revision("https://git.example.com/p.git", "main", "c" * 40, subject="Release v1.4.2")


def ago(**span: float) -> str:
    """Return a time of so long ago, as the API server writes it."""
    return stamp(now() - timedelta(**span))


BOB = model.Actor("bob@example.com", client="kubectl/v1.37.2 (linux)", time=ago(hours=5))
AGENT = model.Actor("system:serviceaccount:kube-system:agent", client="agent/1", time=ago(days=3))
CERTAIN = model.Attribution(model.Confidence.CERTAIN, BOB, person=True)
PROGRAM = model.Attribution(model.Confidence.LIKELY, AGENT, person=False)
BOUND = model.Attribution(
    model.Confidence.UPPER_BOUND,
    None,
    (model.Candidate("kubectl-edit", "Update", ago(days=92)),),
    ago(days=92),
)


def deployment(name: str = "api") -> ResourceKey:
    """Return the key of a Deployment in production."""
    return ResourceKey("apps", "Deployment", "production", name)


def changed(path: str, declared: Any, live: Any, key: ResourceKey | None = None) -> Drift:
    """Return a changed field that bob set, and Ada declared 80 days ago."""
    origin = Origin("production/api.yaml", 7)
    git = model.Declared(origin, "4f2a1b3c" * 5, "Ada <ada@example.com>", ago(days=80), "Three")
    key = key or deployment()
    drift = Drift(Plane.OBJECTS, Difference.CHANGED, key, path, declared, live, origin)
    return replace(drift, attribution=CERTAIN, git=git, since=ago(hours=5))


def added(path: str, live: Any, key: ResourceKey | None = None) -> Drift:
    """Return an added field of which only a manager is known."""
    key = key or deployment()
    return Drift(Plane.OBJECTS, Difference.ADDED, key, path, None, live, attribution=BOUND)


REPLICAS = changed("spec.replicas", 3, 5)
IMAGE = changed("spec.template.spec.containers[name=app].image", "r.example/api:v1", "api:hot")
OWNER = added('metadata.annotations["example.com/owner"]', "bob")
ADMIN = Drift(
    Plane.OBJECTS,
    Difference.EXTRA,
    ResourceKey("rbac.authorization.k8s.io", "ClusterRoleBinding", "", "temporary-admin"),
    live={"kind": "ClusterRoleBinding", "metadata": {"name": "temporary-admin"}},
    attribution=CERTAIN,
    since=ago(hours=4),
)
GONE = Drift(
    Plane.OBJECTS,
    Difference.MISSING,
    ResourceKey("", "Service", "production", "api"),
    origin=Origin("production/service.yaml", 1),
    attribution=PROGRAM,
)
ALL = (REPLICAS, IMAGE, OWNER, ADMIN, GONE)


def review(*drifts: Drift, **fields: Any) -> Review:
    """Return a review of some differences."""
    server = "https://127.0.0.1:6443"
    one = Review("shop", REVISION, server, "uid", stamp(), drifts, objects=41)
    return replace(one, **fields)


def many(count: int, *, alike: bool) -> tuple[Drift, ...]:
    """Return thousands of differences in a quarter as many objects."""
    paths = ("spec.replicas", 'metadata.labels["team"]', "spec.template.spec.nodeName", "spec.x")
    told = (CERTAIN, PROGRAM, BOUND)
    return tuple(
        replace(
            changed(
                paths[n % 4] + ("" if alike else f"y{n}"), 3, n, deployment(f"svc-{n // 4:05d}")
            ),
            attribution=told[n % 3],
            since=ago(hours=n % 700),
        )
        for n in range(count)
    )
