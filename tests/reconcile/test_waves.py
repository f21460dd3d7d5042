"""Waves inside an app, apps that wait for apps, and namespaces that are in use."""

from __future__ import annotations

import uuid

import pytest

from opslib.core.errors import Problems
from opslib.reconcile.app import App
from opslib.reconcile.depends import not_ready
from opslib.reconcile.plan import Action
from opslib.reconcile.prune import PruneLimits

from .conftest import Workbench, config_map, deployment


def _in_wave(text: str, name: str, wave: str) -> str:
    mark = f"  name: {name}\n"
    return text.replace(mark, mark + f"  annotations: {{opslib.dev/wave: '{wave}'}}\n", 1)


def test_a_later_wave_waits_for_the_health_of_the_earlier(bench: Workbench) -> None:
    """What is in wave 1 is made after all of wave 0 is healthy, though its kind comes first."""
    text = deployment("web") + "---\n" + _in_wave(config_map("after", a="1"), "after", "1")
    assert bench.apply(text).ok
    web, after = bench.live("deployments", "web", "apps/v1"), bench.live("configmaps", "after")
    assert web
    assert after
    available = next(c for c in web["status"]["conditions"] if c["type"] == "Available")
    assert available["status"] == "True"
    assert available["lastTransitionTime"] <= after["metadata"]["creationTimestamp"]


def test_an_unhealthy_wave_holds_the_next_back(bench: Workbench) -> None:
    """Wave 1 is not written while a Deployment of wave 0 is not available; it says why."""
    stuck = deployment("web").replace(
        "      labels: {app: web}", "      labels: {app: web, opslib.dev/simulate: never-ready}"
    )
    text = stuck + "---\n" + _in_wave(config_map("after", a="1"), "after", "1")
    applied = bench.apply(text, timeout=5)
    (failure,) = [f for f in applied.failures if f.key.name == "after"]
    assert failure.kind == "held-back"
    assert "wave 0 is not healthy: Deployment" in failure.what
    assert bench.live("configmaps", "after") is None


def test_a_wave_that_failed_holds_the_next_back(bench: Workbench) -> None:
    """A conflict in wave -1 keeps wave 0 from being written."""
    text = (
        _in_wave(config_map("first", a="1"), "first", "-1") + "---\n" + config_map("second", a="1")
    )
    prepared = bench.plan(text)
    root = f"/api/v1/namespaces/{bench.namespace}/configmaps"
    bench.server.request(
        "POST", root, body={"metadata": {"name": "first"}, "data": {"a": "theirs"}}
    )
    assert {f.key.name: f.kind for f in bench.write(prepared).failures}["second"] == "held-back"
    assert bench.live("configmaps", "second") is None


def test_a_wave_is_a_whole_number(bench: Workbench) -> None:
    """Another text is an error with its line."""
    with pytest.raises(Problems) as error:
        bench.plan(_in_wave(config_map("first", a="1"), "first", "soon"))
    assert "opslib.dev/wave" in str(error.value)
    assert "app.yaml:1" in str(error.value)


def test_an_app_waits_for_another(bench: Workbench) -> None:
    """Ready is: applied whole once, and everything healthy now; each reason is one sentence."""
    other = Workbench(bench.server, bench.namespace)

    def ask() -> tuple[str, ...]:
        # What the other depends on is told elsewhere.
        names = [other.app.name]
        return not_ready(bench.server, bench.discovery, bench.app, names, lambda name: ())

    assert ask() == (f"app {other.app.name} was never applied whole",)
    text = deployment("base")
    assert not other.apply(text, wait=False).failures
    assert "never applied whole" in ask()[0]
    assert other.apply(text).ok
    assert ask() == ()
    path = f"/apis/apps/v1/namespaces/{bench.namespace}/deployments/base"
    bench.server.request("DELETE", path)
    assert "Deployment" in ask()[0]


def test_a_namespace_in_use_is_never_deleted(bench: Workbench) -> None:
    """Confirmed by name or not: while another app, or this one, has objects in it, it stays."""
    name = f"n-{uuid.uuid4().hex[:8]}"
    space = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    rest = config_map("here", a="1")
    assert bench.apply(space + "---\n" + rest).ok
    tenant = Workbench(bench.server, name)
    assert tenant.apply(config_map("theirs", a="1")).ok
    limits = PruneLimits(confirmed=frozenset({f"Namespace {name}"}))
    (change,) = [
        c for c in bench.plan(rest, "b", limits=limits).plan.changes if c.key.kind == "Namespace"
    ]
    assert change.action is Action.KEEP
    assert f"app {tenant.app.name}" in change.reason
    bench.server.request(
        "DELETE", f"/api/v1/namespaces/opslib-system/configmaps/{App(tenant.app.name).inventory}"
    )
    (change,) = [
        c for c in bench.plan(rest, "b", limits=limits).plan.changes if c.key.kind == "Namespace"
    ]
    assert change.action is Action.DELETE
    assert bench.apply(rest, "b", limits=limits).ok
