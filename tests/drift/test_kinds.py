"""Kinds whose twin cannot be made, cluster-wide ones, and what the system does to them."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from reconcile.conftest import deployment

from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError

from .scene import ADDED, CHANGED, Scene, told

QUOTA = """apiVersion: v1
kind: ResourceQuota
metadata: {name: quota}
spec:
  hard: {count/deployments.apps: '1', count/services: '3'}
"""
FIXED = """apiVersion: v1
kind: Service
metadata: {name: fixed}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, nodePort: PORT}]
"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  containers: [{name: app, image: 'registry.example/app:1'}]
"""
JOB = """apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: 'registry.example/app:1'}]
"""


@pytest.fixture
def wide(server: Cluster) -> Iterator[str]:
    """Return a name for cluster-wide objects, which are deleted afterwards."""
    name = f"w{uuid.uuid4().hex[:8]}"
    yield name
    for path in (
        f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
        f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}-all",
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}s.example.com",
        f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}",
        f"/apis/storage.k8s.io/v1/storageclasses/{name}",
        f"/api/v1/persistentvolumes/{name}",
        f"/api/v1/namespaces/{name}",
    ):
        with contextlib.suppress(ApiError):  # not all of them were made
            server.request("DELETE", path)


def cluster_wide(name: str, namespace: str) -> dict[str, str]:
    """Return cluster-wide objects, and a claim that is bound to a volume of the same set."""
    rbac = "rbac.authorization.k8s.io/v1"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    size = {"storage": "1024Mi"}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    label = {"matchLabels": {"opslib-test": name}}
    rows: dict[str, dict[str, Any]] = {
        "space": {"apiVersion": "v1", "kind": "Namespace"},
        "role": {"apiVersion": rbac, "kind": "ClusterRole", "rules": [rule]},
        "all": {
            "apiVersion": rbac,
            "kind": "ClusterRole",
            "metadata": {"name": f"{name}-all"},
            "aggregationRule": {"clusterRoleSelectors": [label]},
        },
        "crd": {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{name}s.example.com"},
            "spec": {
                "group": "example.com",
                "names": {"plural": f"{name}s", "kind": name.title()},
                "scope": "Namespaced",
                "versions": [version],
            },
        },
        "priority": {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 7},
        "class": {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "provisioner": "example.com/none",
        },
        "volume": {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "spec": {
                "capacity": size,
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": name,
                "hostPath": {"path": "/nowhere"},
            },
        },
        "claim": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "claim", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": name,
                "resources": {"requests": size},
            },
        },
    }
    named = {"metadata": {"name": name, "labels": {"opslib-test": name}}}
    return {key: json.dumps({**named, **row}) for key, row in rows.items()}


def until(condition: Any, seconds: float = 60) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def test_kinds_with_taken_names_quotas_and_generated_parts(
    scene: Scene, server: Cluster, wide: str
) -> None:
    """Where a create would be refused, a replace is asked: what was added is found, no more."""
    port = 30000 + int(uuid.uuid4().hex[:3], 16) % 2000
    scene.apply(
        quota=QUOTA,
        web=deployment("web", replicas=0),
        fixed=FIXED.replace("PORT", str(port)),
        alone=POD,
        once=JOB,
        **cluster_wide(wide, scene.namespace),
    )
    until(lambda: scene.live("persistentvolumeclaims", "claim")["status"]["phase"] == "Bound")
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    until(lambda: server.get(f"{roles}/{wide}-all").get("rules"))
    quota = scene.path("resourcequotas", "quota")
    until(lambda: server.get(quota).get("status", {}).get("used", {}).get("count/services") == "1")
    before = scene.review()
    print(*before.explained, *before.warnings, sep="\n")
    assert told(before.drifts) == []

    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    label = {"metadata": {"labels": {"by": "hand"}}}
    for path, body in (
        (f"{crds}/{wide}s.example.com", label),
        (f"{roles}/{wide}", label),
        (f"/api/v1/namespaces/{wide}", label),
        (f"/apis/storage.k8s.io/v1/storageclasses/{wide}", label),
        (scene.path("deployments", "web", "apps/v1"), {"spec": {"paused": True}}),
        (scene.path("services", "fixed"), {"spec": {"sessionAffinity": "ClientIP"}}),
        (scene.path("pods", "alone"), {"metadata": {"annotations": {"x": "y"}}}),
        (scene.path("jobs", "once", "batch/v1"), {"spec": {"ttlSecondsAfterFinished": 9999}}),
        (scene.path("persistentvolumeclaims", "claim"), label),
        (
            f"/api/v1/persistentvolumes/{wide}",
            {"spec": {"persistentVolumeReclaimPolicy": "Delete"}},
        ),
        (f"/apis/scheduling.k8s.io/v1/priorityclasses/{wide}", {"description": "mine"}),
    ):
        server.request(
            "PATCH",
            path,
            query={"fieldManager": "kubectl-edit"},
            body=body,
            content_type="application/merge-patch+json",
        )
    review = scene.review()
    assert told(review.drifts) == sorted(
        [
            (f"CustomResourceDefinition/{wide}s.example.com", ADDED, "metadata.labels.by"),
            (f"ClusterRole/{wide}", ADDED, "metadata.labels.by"),
            (f"Namespace/{wide}", ADDED, "metadata.labels.by"),
            (f"StorageClass/{wide}", ADDED, "metadata.labels.by"),
            ("Deployment/web", ADDED, "spec.paused"),
            ("Service/fixed", ADDED, "spec.sessionAffinity"),
            ("Service/fixed", ADDED, "spec.sessionAffinityConfig"),
            ("Pod/alone", ADDED, "metadata.annotations.x"),
            ("Job/once", ADDED, "spec.ttlSecondsAfterFinished"),
            ("PersistentVolumeClaim/claim", ADDED, "metadata.labels.by"),
            (f"PersistentVolume/{wide}", ADDED, "spec.persistentVolumeReclaimPolicy"),
            (f"PriorityClass/{wide}", ADDED, "description"),
        ]
    )


def test_replicas_of_an_autoscaler_are_its_own(scene: Scene) -> None:
    """Declared or not, by whatever name they are set; of others they are drift."""
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"},
            "minReplicas": 2,
            "maxReplicas": 3,
        },
    }
    bare = deployment("scaled").replace("  replicas: 1\n", "")
    alone = deployment("alone").replace("  replicas: 1\n", "")
    scene.wait = False
    scene.apply(scaled=bare, alone=alone, other=deployment("other"), scaler=json.dumps(scaler))
    until(lambda: scene.live("deployments", "scaled", "apps/v1")["spec"]["replicas"] == 2)
    change = {"spec": {"replicas": 2}}
    for name in ("alone", "other"):
        scene.edit("deployments", name, change, "apps/v1", subresource="scale")
    review = scene.review()
    assert told(review.drifts) == [
        ("Deployment/alone", ADDED, "spec.replicas"),
        ("Deployment/other", CHANGED, "spec.replicas"),
    ]
    assert review.drifts[0].note.startswith("undisturbed it is 1")
    assert any("HorizontalPodAutoscaler scaled" in line for line in review.explained)
