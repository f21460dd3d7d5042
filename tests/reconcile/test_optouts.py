"""An autoscaler's replicas are its own, before and after it has scaled."""

from __future__ import annotations

from typing import Any

import pytest

from opslib.reconcile.plan import Action

from .conftest import Workbench, deployment

HPA = """apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: web
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 5
"""
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
