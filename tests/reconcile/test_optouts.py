"""An autoscaler's replicas are its own, before and after it has scaled."""

from __future__ import annotations

import base64
import os
import subprocess
from typing import Any

import pytest

from opslib.kube.client import Cluster
from opslib.reconcile.appfile import Leave, load_appfile
from opslib.reconcile.plan import Action

from .conftest import Workbench, config_map, deployment

HPA = """apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: web
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 5
"""
PEM = base64.b64encode(
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", os.devnull,
         "-subj", "/CN=ca", "-days", "2"],
        check=True, capture_output=True,
    ).stdout
).decode()  # fmt: skip
NOTE = ("spec.replicas is left to HorizontalPodAutoscaler web",)


def _scale(bench: Workbench, replicas: int) -> None:
    """Scale as an autoscaler does: by the subresource."""
    bench.server.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{bench.namespace}/deployments/web/scale",
        query={"fieldManager": "autoscaler"},
        body={"spec": {"replicas": replicas}},
        content_type="application/merge-patch+json",
    )


def _replicas(bench: Workbench) -> Any:
    live = bench.live("deployments", "web", "apps/v1")
    assert live
    return live["spec"]["replicas"]


@pytest.mark.parametrize("where", ["in Git", "in the cluster"])
def test_replicas_belong_to_the_autoscaler(bench: Workbench, where: str) -> None:
    """Scaled by it, the object is no drift; another change keeps its number of replicas."""
    text = deployment("web", replicas=1)
    if where == "in Git":
        text += "---\n" + HPA
        assert not bench.apply(text, wait=False).failures  # nothing here measures pods
    else:
        assert bench.apply(text).ok
        root = f"/apis/autoscaling/v2/namespaces/{bench.namespace}/horizontalpodautoscalers"
        body = {"metadata": {"name": "web"}, "spec": _spec()}
        bench.server.request("POST", root, body=body)
    _scale(bench, 3)
    plan = bench.plan(text).plan
    assert plan.empty, plan.as_dict()
    (web,) = [c for c in plan.changes if c.key.kind == "Deployment"]
    assert web.left_out == NOTE
    newer = text.replace("app:1", "app:2")
    assert not bench.apply(newer, "b", wait=False).failures
    assert _replicas(bench) == 3


def test_a_scaling_between_plan_and_apply_is_kept(bench: Workbench) -> None:
    """The write carries the number of the moment, not that of the plan."""
    text = deployment("web", replicas=1) + "---\n" + HPA
    assert not bench.apply(text, wait=False).failures
    prepared = bench.plan(text.replace("app:1", "app:2"), "b")
    _scale(bench, 4)
    applied = bench.write(prepared, wait=False)
    assert not applied.failures
    assert _replicas(bench) == 4


def test_without_an_autoscaler_replicas_are_gits(bench: Workbench) -> None:
    """Somebody's scaling by hand is a change back."""
    text = deployment("web", replicas=1)
    assert bench.apply(text).ok
    _scale(bench, 3)
    (change,) = bench.plan(text).plan.changes
    assert change.action is Action.UPDATE
    assert [(f.path, f.before, f.after) for f in change.fields] == [("spec.replicas", 3, 1)]


def _spec() -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 5}


def _rule(fields: str, kind: str, expires: str = "2999-12-31") -> tuple[Leave, ...]:
    return load_appfile(
        f"""apiVersion: opslib.dev/v1alpha1
kind: App
leave:
- target: {{kind: {kind}, name: '*'}}
  fields: {fields}
  to: the night shift
  reason: they tune it
  expires: {expires}
""",
        "opslib.yaml",
    ).leave


def test_a_rule_leaves_a_field_to_others(bench: Workbench) -> None:
    """Changed by others it is no drift, other fields stay Git's, and the plan says why."""
    rules = _rule("['data[\"tuned\"]']", "ConfigMap")
    text = config_map("settings", tuned="1", fixed="1")
    assert bench.write(bench.plan(text, leave=rules)).ok
    bench.patch("configmaps", "settings", {"data": {"tuned": "9"}})
    plan = bench.plan(text, leave=rules).plan
    assert plan.empty
    assert plan.changes[0].left_out == (
        "data.tuned is left to the night shift until 2999-12-31: they tune it (opslib.yaml:4)",
    )
    assert bench.write(bench.plan(text.replace("fixed: '1'", "fixed: '2'"), "b", leave=rules)).ok
    live = bench.live("configmaps", "settings")
    assert live
    assert live["data"] == {"tuned": "9", "fixed": "2"}


def test_a_field_of_a_list_item_is_left(bench: Workbench) -> None:
    """A path through the items of a list reaches the one that it names."""
    rules = _rule("['spec.template.spec.containers[name=app].image']", "Deployment")
    text = deployment("web", replicas=0)
    assert bench.write(bench.plan(text, leave=rules)).ok
    spec = {"containers": [{"name": "app", "image": "registry.example/app:theirs"}]}
    bench.server.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{bench.namespace}/deployments/web",
        query={"fieldManager": "image-updater"},
        body={"spec": {"template": {"spec": spec}}},
        content_type="application/strategic-merge-patch+json",
    )
    assert bench.plan(text, leave=rules).plan.empty
    assert len(bench.plan(text).plan.writes) == 1


def test_an_expired_rule_alarms_again(bench: Workbench) -> None:
    """Past its last day the field is Git's again, and the plan says which rule ended."""
    rules = _rule("[data.tuned]", "ConfigMap", "2020-01-31")
    text = config_map("settings", tuned="1")
    assert bench.write(bench.plan(text, leave=rules)).ok
    bench.patch("configmaps", "settings", {"data": {"tuned": "9"}})
    plan = bench.plan(text, leave=rules).plan
    assert plan.counts["update"] == 1
    assert any("until 2020-01-31" in text for text in plan.warnings)


WEBHOOK = """apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: NAME
  annotations: {cert-manager.io/inject-ca-from: a/b}
webhooks:
- name: one.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  clientConfig: {caBundle: "", url: "https://127.0.0.1:1/"}
  rules:
  - {apiGroups: [example.invalid], apiVersions: [v1], operations: [CREATE], resources: [none]}
"""


def test_an_injected_certificate_is_no_drift(bench: Workbench, server: Cluster) -> None:
    """What cert-manager injects into a webhook stays, though Git declares the field empty."""
    name = f"hook-{bench.app.name}"
    text = WEBHOOK.replace("NAME", name)
    path = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}"
    try:
        assert bench.apply(text).ok
        live = server.get(path)
        live["webhooks"][0]["clientConfig"]["caBundle"] = PEM
        server.request("PUT", path, query={"fieldManager": "cainjector"}, body=live)
        plan = bench.plan(text).plan
        assert plan.empty, plan.as_dict()
        assert "left to cert-manager" in plan.changes[0].left_out[0]
    finally:
        server.request("DELETE", path)
