"""Objects that kubectl made: what Git drops goes, and the plan says so before."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from opslib.reconcile.ownership import paths, union
from opslib.reconcile.plan import Action, Change, Plan
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.binaries import kubectl
from opslib.sandbox.cluster import Status

from .conftest import Workbench, config_map, deployment


@pytest.fixture
def client_side(sandbox: Status, namespace: str, tmp_path: Path) -> Any:
    """Return ``kubectl apply`` as people have used it since 2016."""
    env = sandboxes.environment(sandbox.name)

    def apply(text: str) -> None:
        file = tmp_path / "object.yaml"
        file.write_text(text)
        words = [str(kubectl()), "--kubeconfig", env["KUBECONFIG"], "-n", namespace]
        subprocess.run([*words, "apply", "-f", str(file)], check=True, capture_output=True)

    return apply


def _only(plan: Plan) -> Change:
    assert not plan.problems, plan.problems
    (change,) = plan.changes
    return change


def test_what_git_drops_from_kubectls_object_goes(bench: Workbench, client_side: Any) -> None:
    """A key that only client-side apply knew is removed, as planned, and nothing else."""
    client_side(config_map("one", keep="1", dropped="2"))
    change = _only(bench.plan(config_map("one", keep="1")).plan)
    assert change.action is Action.UPDATE
    assert change.takeovers == ("kubectl-client-side-apply",)
    gone = {f.path: f.before for f in change.fields if f.after is None}
    assert gone["data.dropped"] == "2"
    assert bench.apply(config_map("one", keep="1")).ok
    live = bench.live("configmaps", "one")
    assert live
    assert live["data"] == {"keep": "1"}
    assert "kubectl.kubernetes.io/last-applied-configuration" not in live["metadata"]["annotations"]
    assert bench.plan(config_map("one", keep="1")).plan.empty


def test_a_deployment_of_kubectl_loses_only_what_git_drops(
    bench: Workbench, client_side: Any
) -> None:
    """An item of a list goes whole; defaults of the server come back by themselves."""
    old = deployment("app", replicas=0)
    old += "          env: [{name: A, value: a}, {name: B, value: b}]\n"
    old += "      terminationGracePeriodSeconds: 5\n"
    client_side(old)
    new = deployment("app", replicas=0) + "          env: [{name: A, value: a}]\n"
    change = _only(bench.plan(new).plan)
    changed = {f.path: (f.before, f.after) for f in change.fields}
    grace = "spec.template.spec.terminationGracePeriodSeconds"
    assert changed[grace] == (5, 30)
    assert any("env[name=B]" in path and after is None for path, (_, after) in changed.items())
    assert not any("env[name=A]" in path for path in changed)
    assert bench.apply(new).ok
    live = bench.live("deployments", "app", "apps/v1")
    assert live
    spec = live["spec"]["template"]["spec"]
    assert spec["containers"][0]["env"] == [{"name": "A", "value": "a"}]
    assert spec["terminationGracePeriodSeconds"] == 30
    assert bench.plan(new).plan.empty


def test_fields_of_others_stay(bench: Workbench, client_side: Any) -> None:
    """What a controller owns besides is not taken."""
    client_side(config_map("one", keep="1", shared="2"))
    bench.server.request(
        "PATCH",
        f"/api/v1/namespaces/{bench.namespace}/configmaps/one",
        query={"fieldManager": "controller", "force": True},
        body={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "one"},
            "data": {"shared": "2"},
        },
        content_type="application/apply-patch+yaml",
    )
    change = _only(bench.plan(config_map("one", keep="1")).plan)
    assert "data.shared" not in {f.path for f in change.fields}
    assert bench.apply(config_map("one", keep="1")).ok
    live = bench.live("configmaps", "one")
    assert live
    assert live["data"] == {"keep": "1", "shared": "2"}


def test_wiped_managed_fields_do_not_keep_fields_for_ever(bench: Workbench) -> None:
    """After somebody emptied managedFields, a key that Git drops still goes."""
    bench.apply(config_map("one", keep="1", dropped="2"))
    bench.patch("configmaps", "one", {"metadata": {"managedFields": [{}]}})
    change = _only(bench.plan(config_map("one", keep="1"), "b").plan)
    assert change.takeovers == ("before-first-apply",)
    assert "data.dropped" in {f.path for f in change.fields}
    assert bench.apply(config_map("one", keep="1"), "b").ok
    live = bench.live("configmaps", "one")
    assert live
    assert live["data"] == {"keep": "1"}


def test_a_takeover_is_part_of_what_is_approved(bench: Workbench, client_side: Any) -> None:
    """It is in the hash, survives JSON, and one that is done already needs no new approval."""
    client_side(config_map("one", keep="1", dropped="2"))
    plan = bench.plan(config_map("one", keep="1")).plan
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan
    change = _only(plan)
    done = Change(change.action, change.key, change.api_version, None, change.fields, change.uid)
    assert change.same_as(done)
    assert not done.same_as(change)


def test_an_object_that_moved_is_not_taken_over(bench: Workbench, client_side: Any) -> None:
    """Somebody's other change between plan and apply is a conflict; nothing is lost."""
    client_side(config_map("one", keep="1", dropped="2"))
    prepared = bench.plan(config_map("one", keep="1"))
    client_side(config_map("one", keep="1", dropped="3"))
    applied = bench.write(prepared)
    assert [failure.kind for failure in applied.failures] == ["conflict"]
    live = bench.live("configmaps", "one")
    assert live
    assert live["data"] == {"keep": "1", "dropped": "3"}


def test_sets_of_fields() -> None:
    """A union has the paths of both."""
    one: dict[str, Any] = {"f:data": {".": {}, "f:a": {}}}
    other: dict[str, Any] = {"f:data": {"f:b": {}}, "f:metadata": {"f:labels": {"f:x": {}}}}
    both = set(paths(union(one, other)))
    assert both == set(paths(one)) | set(paths(other))
    assert ("f:data", ".") in both
