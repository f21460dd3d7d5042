"""Applies: what was planned is written and nothing else, in order, pruned last."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from opslib.core.errors import InputError
from opslib.core.model import ResourceKey
from opslib.reconcile.app import COMMIT
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.order import stage_of, staged
from opslib.reconcile.prune import apply_managers

from .conftest import Workbench, config_map, deployment
from .test_desired import CRD, LANE


def test_an_apply_makes_the_plan_true(bench: Workbench) -> None:
    """Objects are live, healthy, owned by this app's manager, and name the commit."""
    applied = bench.apply(config_map("one", k="v") + "---\n" + deployment("app"))
    assert applied.ok, applied.as_dict()
    assert len(applied.written) == 2
    live = bench.live("deployments", "app", "apps/v1")
    assert live is not None
    assert live["status"]["readyReplicas"] == 1
    assert apply_managers(live) == {bench.app.manager}
    assert live["metadata"]["annotations"][COMMIT] == "a" * 40


def test_the_inventory_is_what_was_applied(bench: Workbench) -> None:
    """It has every object, the commit, and shrinks after a prune."""
    bench.apply(config_map("one", k="v") + "---\n" + config_map("two", k="v"))
    first = read_inventory(bench.server, bench.app)
    assert {k.name for k in first.objects} == {"one", "two"}
    assert first.commit == "a" * 40
    applied = bench.apply(config_map("one", k="v"), "b")
    assert [k.name for k in applied.deleted] == ["two"]
    assert bench.live("configmaps", "two") is None
    second = read_inventory(bench.server, bench.app)
    assert {k.name for k in second.objects} == {"one"}
    assert second.commit == "b" * 40


def test_a_new_namespace_and_what_is_in_it_go_in_one_apply(bench: Workbench) -> None:
    """The namespace comes first, whatever the order of the files."""
    place = f"{bench.namespace}-new"
    inside = config_map("one", k="v").replace("name: one", f"name: one\n  namespace: {place}")
    space = f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {place}}}\n"
    assert bench.apply(inside + space).ok
    bench.server.request("DELETE", f"/api/v1/namespaces/{place}")


def test_a_definition_and_its_resource_go_in_one_apply(bench: Workbench) -> None:
    """The definition is established and discovered before its resource is sent."""
    try:
        applied = bench.apply(LANE + "---\n" + CRD)
        assert applied.ok, applied.as_dict()
        assert bench.live("lanes", "left", "shop.example/v1") is not None
    finally:
        root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        bench.server.request("DELETE", f"{root}/lanes.shop.example")


def test_an_object_that_moved_the_same_way_is_written(bench: Workbench) -> None:
    """A status or label of somebody else moves the version; the planned change goes on."""
    bench.apply(config_map("one", k="v"))
    prepared = bench.plan(config_map("one", k="w"), "b")
    bench.patch("configmaps", "one", {"metadata": {"labels": {"seen": "yes"}}})
    assert bench.write(prepared).ok
    live = bench.live("configmaps", "one")
    assert live is not None
    assert live["data"] == {"k": "w"}
    assert live["metadata"]["labels"] == {"seen": "yes"}


def test_an_object_that_moved_otherwise_is_a_conflict(bench: Workbench) -> None:
    """A value that nobody reviewed is not overwritten; the rest is written; exit is not ok."""
    bench.apply(config_map("one", k="v") + "---\n" + config_map("two", k="v"))
    prepared = bench.plan(config_map("one", k="w") + "---\n" + config_map("two", k="w"), "b")
    bench.patch("configmaps", "one", {"data": {"k": "somebody"}})
    applied = bench.write(prepared)
    (failure,) = applied.failures
    assert failure.kind == "conflict"
    assert "data.k changed since" in failure.what
    assert bench.live("configmaps", "one")["data"] == {"k": "somebody"}  # type: ignore[index]  # it is there
    assert bench.live("configmaps", "two")["data"] == {"k": "w"}  # type: ignore[index]  # it is there
    assert read_inventory(bench.server, bench.app).commit == "a" * 40


def test_an_object_made_meanwhile_is_not_overwritten(bench: Workbench) -> None:
    """What was absent in the plan and is there now is a conflict."""
    prepared = bench.plan(config_map("one", k="v"))
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one"},
        "data": {"k": "x"},
    }
    bench.server.request("POST", f"/api/v1/namespaces/{bench.namespace}/configmaps", body=body)
    (failure,) = bench.write(prepared).failures
    assert "somebody created it since" in failure.what
    assert bench.live("configmaps", "one")["data"] == {"k": "x"}  # type: ignore[index]  # it is there


def test_an_object_made_anew_is_a_conflict(bench: Workbench) -> None:
    """The same name with another uid is not what was reviewed."""
    bench.apply(config_map("one", k="v"))
    prepared = bench.plan(config_map("one", k="w"), "b")
    path = f"/api/v1/namespaces/{bench.namespace}/configmaps"
    bench.server.request("DELETE", f"{path}/one")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one"},
        "data": {"k": "v"},
    }
    bench.server.request("POST", path, body=body)
    (failure,) = bench.write(prepared).failures
    assert failure.kind == "conflict"


def test_evidence_is_on_disk_before_a_correction(bench: Workbench, tmp_path: Path) -> None:
    """The corrected object is kept whole, with the editor's name in managedFields."""
    bench.apply(config_map("one", k="v"))
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    applied = bench.apply(config_map("one", k="v"), evidence=tmp_path)
    assert applied.evidence is not None
    kept = json.loads(applied.evidence.read_text())
    assert kept["live"][0]["data"] == {"k": "edited"}
    managers = {e["manager"] for e in kept["live"][0]["metadata"]["managedFields"]}
    assert "kubectl-edit" in managers
    assert applied.evidence.stat().st_mode & 0o777 == 0o600


def test_evidence_has_no_secret(bench: Workbench, tmp_path: Path) -> None:
    """A corrected Secret is kept without its values."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {pass: %s}\n"
    bench.apply(text % "open-sesame")
    applied = bench.apply(text % "close-sesame", "b", evidence=tmp_path)
    assert applied.evidence is not None
    kept = applied.evidence.read_text()
    for word in ("open-sesame", "close-sesame", "b3Blbi1zZXNhbWU", "Y2xvc2Utc2VzYW1l"):
        assert word not in kept


def test_a_plan_with_problems_writes_nothing(bench: Workbench) -> None:
    """One wrong file keeps everything back, the right ones too."""
    wrong = config_map("bad", k="v").replace("\ndata:", "\ndate:")
    with pytest.raises(InputError, match="nothing was written"):
        bench.apply(config_map("good", k="v") + "---\n" + wrong)
    assert bench.live("configmaps", "good") is None


def test_an_unhealthy_apply_prunes_nothing(bench: Workbench) -> None:
    """A rollout that hangs keeps what Git dropped, and the last good commit stays the last."""
    bench.apply(deployment("app") + "---\n" + config_map("two", k="v"))
    bad = deployment("app", image="registry.example/app:does-not-exist")
    applied = bench.apply(bad, "b", timeout=6)
    assert not applied.ok
    assert applied.unhealthy[0].key.name == "app"
    assert bench.live("configmaps", "two") is not None
    assert read_inventory(bench.server, bench.app).commit == "a" * 40


def test_a_writer_that_must_stop_writes_no_more(bench: Workbench) -> None:
    """When the lease is lost, or a stop is asked for, nothing is sent."""
    stop = threading.Event()
    stop.set()
    applied = bench.write(bench.plan(config_map("one", k="v")), go_on=lambda: not stop.is_set())
    assert len(applied.failures) == 1
    assert bench.live("configmaps", "one") is None


def test_stages_put_first_what_others_need() -> None:
    """Definitions and namespaces, rights, configuration, workloads, webhooks; stable inside."""
    kinds = [
        "ValidatingWebhookConfiguration",
        "Deployment",
        "ConfigMap",
        "Role",
        "Namespace",
        "Lane",
    ]
    keys = [ResourceKey("", kind, "", "x") for kind in kinds]
    order = [key.kind for stage in staged(keys, lambda k: k) for key in stage]
    assert order == [
        "Namespace",
        "Role",
        "ConfigMap",
        "Deployment",
        "Lane",
        "ValidatingWebhookConfiguration",
    ]
    assert stage_of(keys[1]) == stage_of(keys[5])
