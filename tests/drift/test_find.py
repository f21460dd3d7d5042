"""Every difference is found at its place, and what differs by right is not."""

from __future__ import annotations

import time

from reconcile.conftest import config_map, deployment

from .scene import ADDED, CHANGED, EXTRA, MISSING, REMOVED, Scene, told

SERVICE = """apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
"""
POD = """
        - name: side
          image: registry.example/side:1
          args: [one, two]
          env:
            - {name: A, value: a}
"""
WEB = deployment("web", replicas=2) + POD.lstrip("\n").replace("        -", "        -")


def test_untouched_objects_are_not_drift(scene: Scene) -> None:
    """Defaults, normal forms, allocated addresses and controllers at work are explained."""
    scene.apply(web=WEB, config=config_map("settings", a="1"), service=SERVICE)
    review = scene.review()
    print(review.explained)
    assert told(review.drifts) == []
    assert review.objects == 3
    assert not review.unread


def test_each_kind_of_difference_is_found(scene: Scene) -> None:
    """Changed, removed, missing, added in many depths, and an object that Git does not have."""
    scene.apply(
        web=WEB,
        config=config_map("settings", a="1", b="2"),
        gone=config_map("gone", a="1"),
        service=SERVICE,
    )
    scene.edit("configmaps", "settings", {"data": {"a": "9", "b": None, "c": "3"}})
    scene.server.request("DELETE", scene.path("configmaps", "gone"))
    side = {"name": "side", "env": [{"name": "A", "value": "a"}, {"name": "B", "value": "b"}]}
    scene.server.request(
        "PATCH",
        scene.path("deployments", "web", "apps/v1"),
        query={"fieldManager": "kubectl-edit"},
        body={
            "metadata": {"labels": {"by": "hand"}, "finalizers": ["example.com/hold"]},
            "spec": {
                "template": {
                    "metadata": {"labels": {"x": "y"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 5,
                        "nodeSelector": {"disk": "ssd"},
                        "containers": [side, {"name": "third", "image": "x:1"}],
                    },
                }
            },
        },
        content_type="application/strategic-merge-patch+json",
    )
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}}
    scene.make("configmaps", body)
    found = told(scene.review().drifts)
    spec = "spec.template.spec"
    assert found == sorted(
        [
            ("ConfigMap/foreign", EXTRA, ""),
            ("ConfigMap/gone", MISSING, ""),
            ("ConfigMap/settings", CHANGED, "data.a"),
            ("ConfigMap/settings", REMOVED, "data.b"),
            ("ConfigMap/settings", ADDED, "data.c"),
            ("Deployment/web", ADDED, "metadata.labels.by"),
            ("Deployment/web", ADDED, "metadata.finalizers[0]"),
            ("Deployment/web", ADDED, "spec.template.metadata.labels.x"),
            ("Deployment/web", ADDED, f"{spec}.terminationGracePeriodSeconds"),
            ("Deployment/web", ADDED, f"{spec}.nodeSelector.disk"),
            ("Deployment/web", ADDED, f"{spec}.containers[name=side].env[name=B]"),
            ("Deployment/web", ADDED, f"{spec}.containers[name=third]"),
        ]
    )
    scene.edit("deployments", "web", {"metadata": {"finalizers": None}}, "apps/v1")


def test_ten_thousand_at_once(scene: Scene) -> None:
    """Each is found and has a name of its own; it takes seconds."""
    scene.apply(config=config_map("settings", a="1"))
    many = {f"k{number}": str(number) for number in range(10_000)}
    scene.edit("configmaps", "settings", {"data": many})
    started = time.perf_counter()
    review = scene.review()
    print(f"{len(review.drifts)} drifts in {time.perf_counter() - started:.1f} s")
    assert {one.path for one in review.drifts} == {f"data.{key}" for key in many}
    assert {str(one.difference) for one in review.drifts} == {ADDED}
    assert len({one.id for one in review.drifts}) == len(many)
