"""What names what: an object that could not be written holds back its dependants only."""

from __future__ import annotations

import yaml

from opslib.core.model import Manifest, ResourceKey, key_of
from opslib.reconcile.needs import needs, waiting

from .conftest import Workbench, config_map, deployment

DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      serviceAccountName: runner
      priorityClassName: high
      volumes:
      - name: a
        configMap: {name: settings}
      - name: b
        secret: {secretName: keys}
      - name: c
        secret: {secretName: maybe, optional: true}
      - name: d
        persistentVolumeClaim: {claimName: data}
      - name: e
        projected: {sources: [{secret: {name: token}}, {configMap: {name: more}}]}
      initContainers:
      - {name: i, envFrom: [{configMapRef: {name: first}}]}
      containers:
      - name: app
        env: [{name: A, valueFrom: {secretKeyRef: {name: password, key: p}}}]
"""
OTHERS = """apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bind, namespace: shop}
roleRef: {kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: runner}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec: {rules: [{http: {paths: [{backend: {service: {name: front}}}]}}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks: [{name: a.b.c, clientConfig: {service: {name: guard, namespace: shop}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: night, namespace: shop}
spec:
  jobTemplate: {spec: {template: {spec: {containers: [{envFrom: [{secretRef: {name: keys}}]}]}}}}
---
apiVersion: example.com/v1
kind: Gadget
metadata: {name: one, namespace: shop}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec: {group: example.com, names: {kind: Gadget}}
"""


def _all(text: str) -> dict[str, Manifest]:
    found = [one for one in yaml.safe_load_all(text) if one]
    return {one["kind"]: one for one in found}


def test_pods_need_what_they_mount_and_read() -> None:
    """Volumes, environment, account and class are needed; what is optional is not."""
    names = {(k.kind, k.name) for k in needs(yaml.safe_load(DEPLOYMENT))}
    assert names == {
        ("Namespace", "shop"),
        ("ServiceAccount", "runner"),
        ("PriorityClass", "high"),
        ("ConfigMap", "settings"),
        ("ConfigMap", "more"),
        ("ConfigMap", "first"),
        ("Secret", "keys"),
        ("Secret", "token"),
        ("Secret", "password"),
        ("PersistentVolumeClaim", "data"),
    }


def test_other_kinds_need_what_they_name() -> None:
    """Bindings, autoscalers, ingresses, webhooks and cron jobs name what they need."""
    found = _all(OTHERS)
    wanted = {
        "RoleBinding": ResourceKey("rbac.authorization.k8s.io", "Role", "shop", "reader"),
        "HorizontalPodAutoscaler": ResourceKey("apps", "Deployment", "shop", "web"),
        "Ingress": ResourceKey("", "Service", "shop", "front"),
        "ValidatingWebhookConfiguration": ResourceKey("", "Service", "shop", "guard"),
        "CronJob": ResourceKey("", "Secret", "shop", "keys"),
    }
    for kind, key in wanted.items():
        assert key in needs(found[kind]), kind


def test_waiting_is_passed_on() -> None:
    """A lost ConfigMap holds its Deployment, which holds its autoscaler; the rest is free."""
    web, others = yaml.safe_load(DEPLOYMENT), _all(OTHERS)
    lost = yaml.safe_load(config_map("settings", a="b"))
    lost["metadata"]["namespace"] = "shop"
    held = waiting([web, *others.values()], [lost])
    assert {key.kind for key in held} == {"Deployment", "HorizontalPodAutoscaler"}
    crd = others["CustomResourceDefinition"]
    assert set(waiting([others["Gadget"]], [crd])) == {key_of(others["Gadget"])}


def test_independent_objects_go_on(bench: Workbench) -> None:
    """With one ConfigMap gone wrong between plan and apply, only what mounts it is held back."""
    web = deployment("web").replace(
        "          image:", "          envFrom: [{configMapRef: {name: bad}}]\n          image:"
    )
    text = "---\n".join(
        [config_map("bad", a="1"), config_map("good", a="1"), web, deployment("api")]
    )
    prepared = bench.plan(text)
    # Somebody makes the ConfigMap meanwhile, with another value: a conflict, which is not forced.
    root = f"/api/v1/namespaces/{bench.namespace}/configmaps"
    body = {"metadata": {"name": "bad"}, "data": {"a": "theirs"}}
    bench.server.request("POST", root, query={"fieldManager": "someone"}, body=body)
    applied = bench.write(prepared)
    kinds = {failure.key.name: failure.kind for failure in applied.failures}
    assert set(kinds) == {"bad", "web"}
    assert kinds["web"] == "held-back"
    assert "ConfigMap" in next(f.what for f in applied.failures if f.key.name == "web")
    assert bench.live("configmaps", "good")
    assert bench.live("deployments", "api", "apps/v1")
    assert bench.live("deployments", "web", "apps/v1") is None
    live = bench.live("configmaps", "bad")
    assert live
    assert live["data"] == {"a": "theirs"}
