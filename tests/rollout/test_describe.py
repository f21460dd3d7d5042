"""Why a pod is not ready: one sentence, true, without a shell on any node."""

from __future__ import annotations

from typing import Any

import pytest

from opslib.core.errors import InputError
from opslib.core.model import ResourceKey
from opslib.rollout import describe, describe_selector, explain, status, timeline
from opslib.rollout.reasons import pod_reason, workload_reason

from .conftest import BAD, Json, Shop


@pytest.mark.parametrize(
    ("simulate", "image", "sentence"),
    [
        ("", BAD, f"2 of 2 pods cannot pull image {BAD}"),
        ("never-ready", "", "main runs, but"),
        ("crash-loop", "", "main keeps crashing: exit code 1"),
    ],
)
def test_the_reason_comes_first(shop: Shop, simulate: str, image: str, sentence: str) -> None:
    """Each way in which the sandbox lets a pod fail is told as what it is."""
    more: dict[str, Any] = {"image": image} if image else {}
    target = shop.make("web", simulate=simulate, **more)
    found = shop.until(target, lambda one: sentence in one.reason)
    assert not found.ready
    assert all(pod.reason for pod in found.pods)
    key = ResourceKey("apps", "Deployment", shop.namespace, "web")
    other = ResourceKey("", "Service", shop.namespace, "web")
    (told,) = explain(shop.server, [key, other, ResourceKey("apps", "Deployment", "x", "gone")])
    assert sentence in told
    selected = describe_selector(shop.server, "app=web", shop.namespace)
    assert sentence in selected.reason


def test_pods_that_no_node_can_take(shop: Shop) -> None:
    """The scheduler's own words say why."""
    asked = {"requests": {"cpu": "4000"}}
    template = {
        "metadata": {"labels": {"app": "big"}},
        "spec": {"containers": [{"name": "main", "image": "x:1", "resources": asked}]},
    }
    target = shop.make("big", template=template)
    found = shop.until(target, lambda one: "cannot be placed" in one.reason)
    assert "Insufficient cpu" in found.reason


def test_pods_that_are_refused(shop: Shop) -> None:
    """A quota that forbids the pods is named, though there is no pod to look at."""
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}, "kind": "ResourceQuota"}
    path = f"/api/v1/namespaces/{shop.namespace}/resourcequotas"
    shop.server.request("POST", path, body={"apiVersion": "v1", **quota})
    target = shop.make("web")
    found = shop.until(target, lambda one: "cannot be created" in one.reason)
    assert "exceeded quota" in found.reason


def test_a_ready_workload(shop: Shop) -> None:
    """A workload whose pods are ready says so, and its timeline ends green."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    found = describe(shop.server, target)
    assert found.ready
    assert found.reason == "all 2 pods are ready"
    assert {pod.ready for pod in found.pods} == {"1/1"}
    assert any(event.reason == "ScalingReplicaSet" for event in found.events)
    rows = timeline(shop.server, target)
    assert {row.phase for row in rows} >= {"revision", "ready"}
    assert all(row.start <= row.end for row in rows)


def test_the_timeline_shows_where_it_hangs(shop: Shop) -> None:
    """A pod that fails has a bar of its own that says why; the old pods stay ready."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    shop.image(target, BAD)
    shop.until(target, lambda one: "cannot pull" in one.reason)
    rows = timeline(shop.server, target)
    failing = [row for row in rows if row.phase == "failing"]
    assert failing
    assert "cannot pull image" in failing[0].detail
    assert sum(row.phase == "revision" for row in rows) == 2


def test_no_such_pods(shop: Shop) -> None:
    """A selector that finds nothing is an input error."""
    with pytest.raises(InputError, match="no pod has the labels"):
        describe_selector(shop.server, "app=nothing", shop.namespace)


def _pod(**status: Any) -> Json:
    spec = {"containers": [{"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}}]}
    return {"metadata": {"uid": "u", "name": "p"}, "spec": spec, "status": status}


def _container(**state: Any) -> Json:
    return {"name": "c", "image": "i:1", "state": state, "ready": False}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (_pod(phase="Succeeded"), ""),
        (_pod(conditions=[{"type": "Ready", "status": "True"}]), ""),
        (_pod(phase="Failed", message="evicted: disk"), "failed: evicted: disk"),
        (
            _pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]),
            "cannot be placed on a node: 0/3 nodes",
        ),
        (
            _pod(containerStatuses=[_container(waiting={"reason": "InvalidImageName"})]),
            "cannot pull image i:1 (InvalidImageName)",
        ),
        (
            _pod(
                containerStatuses=[
                    _container(
                        waiting={
                            "reason": "CreateContainerConfigError",
                            "message": 'secret "x" not found',
                        }
                    )
                ]
            ),
            'c cannot be started: secret "x" not found',
        ),
        (
            _pod(
                containerStatuses=[
                    {
                        **_container(waiting={"reason": "CrashLoopBackOff"}),
                        "restartCount": 3,
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ]
            ),
            "c keeps crashing: killed because it used more memory than its limit, 3 restarts",
        ),
        (
            _pod(initContainerStatuses=[_container(running={})]),
            "init container c has not finished",
        ),
        (
            _pod(containerStatuses=[_container(running={})]),
            "c runs, but its readiness probe has not succeeded",
        ),
        (
            _pod(containerStatuses=[_container(terminated={"exitCode": 2, "reason": "Error"})]),
            "c ended: exit code 2",
        ),
        (
            _pod(containerStatuses=[_container(waiting={"reason": "ContainerCreating"})]),
            "is starting (ContainerCreating)",
        ),
    ],
)
def test_each_reason(pod: Json, reason: str) -> None:
    """The kubelet's and the scheduler's reasons, each as a person would say it."""
    assert pod_reason(pod) == reason


def test_a_pod_held_by_a_finalizer() -> None:
    """What keeps a pod from going is named."""
    pod = _pod()
    pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}
    assert pod_reason(pod) == "is being deleted, held by the finalizer a/b"


def test_the_workloads_own_reasons() -> None:
    """Paused, not yet seen, scaled to zero: told without any pod."""
    live = {"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2}}
    assert workload_reason({**live, "spec": {"replicas": 2, "paused": True}}, [], []) == (
        False,
        "the rollout is paused: `kubectl rollout resume` lets it go on",
    )
    seen = {"observedGeneration": 2}
    zero = {**live, "spec": {"replicas": 0}, "status": seen}
    assert workload_reason(zero, [], []) == (True, "no pods are wanted (scaled to 0)")
    assert not workload_reason({**zero, "status": {}}, [], [])[0]
    assert workload_reason(live, [], []) == (False, "2 of 2 pods are not there yet")
