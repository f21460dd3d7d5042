"""The objects of the recall measurement: many that nobody touches, and those that are edited."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]


def config(name: str) -> Manifest:
    """Return a ConfigMap."""
    data = {"a": f"declared {name}", "b": f"also {name}"}
    return _object("v1", "ConfigMap", name, data=data)


def service(name: str) -> Manifest:
    """Return a headless Service."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": ports}
    return _object("v1", "Service", name, spec=spec)


def deployment(name: str, replicas: int | None = 0) -> Manifest:
    """Return a Deployment; without replicas where they are None."""
    app = {
        "name": "app",
        "image": "registry.example/app:1",
        "env": [{"name": "A", "value": "a"}, {"name": "B", "value": f"declared {name}"}],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "1000m"}, "limits": {"memory": "64Mi"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [app]}}
    spec: Manifest = {"selector": {"matchLabels": {"app": name}}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return _object("apps/v1", "Deployment", name, spec=spec)


def scaler(name: str) -> Manifest:
    """Return an autoscaler that wants two at least of the Deployment of the same name."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": 2,
        "maxReplicas": 4,
        "metrics": [{"type": "Resource", "resource": metric}],
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", name, spec=spec)


def _object(version: str, kind: str, name: str, **rest: Any) -> Manifest:
    labels = {"app": name, "tier": "declared"}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        **rest,
    }


def _others(name: str) -> Iterator[Manifest]:
    """Yield one of each of several kinds with many defaults, and controllers behind them."""
    pod = {"containers": [{"name": "app", "image": "registry.example/app:1"}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    select = {"matchLabels": {"app": name}}
    once = {"spec": {**pod, "restartPolicy": "Never"}}
    yield _object("v1", "ServiceAccount", name)
    secret = base64.b64encode(f"canary {name}".encode()).decode()
    yield _object("v1", "Secret", name, data={"word": secret})
    yield _object(
        "v1",
        "Service",
        f"{name}-node",
        spec={"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80}]},
    )
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    yield _object("rbac.authorization.k8s.io/v1", "Role", name, rules=[rule])
    yield _object(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": name}],
    )
    yield _object("networking.k8s.io/v1", "NetworkPolicy", name, spec={"podSelector": select})
    yield _object(
        "policy/v1", "PodDisruptionBudget", name, spec={"selector": select, "maxUnavailable": 1}
    )
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    yield _object(
        "networking.k8s.io/v1",
        "Ingress",
        name,
        spec={"rules": [{"host": f"{name}.example.com", "http": {"paths": [path]}}]},
    )
    yield _object(
        "apps/v1",
        "StatefulSet",
        name,
        spec={"replicas": 0, "serviceName": name, "selector": select, "template": template},
    )
    yield _object("apps/v1", "DaemonSet", name, spec={"selector": select, "template": template})
    yield _object(
        "batch/v1",
        "CronJob",
        name,
        spec={"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": once}}},
    )
    yield _object("batch/v1", "Job", name, spec={"template": once})
    yield _object(
        "v1",
        "PersistentVolumeClaim",
        name,
        spec={
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1024Mi"}},
        },
    )


def untouched(count: int) -> list[Manifest]:
    """Return so many objects, or a few more, of many kinds."""
    found: list[Manifest] = []
    for number in range(6):
        found += _others(f"other-{number}")
        for replicas in (1, None):
            name = f"scaled-{number}-{'a' if replicas else 'b'}"
            found += [deployment(name, replicas), scaler(name)]
    number = 0
    while len(found) < count:
        found += [config(f"quiet-{number}"), service(f"quiet-{number}")]
        found += [config(f"calm-{number}")]
        if number % 2:
            found.append(deployment(f"quiet-{number}"))
        number += 1
    return found
