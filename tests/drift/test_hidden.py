"""Edits that hide: under our own name, under a controller's, behind wiped or erased entries."""

from __future__ import annotations

from typing import Any

from reconcile.conftest import config_map, deployment

from .scene import ADDED, CHANGED, EXTRA, MISSING, REMOVED, Scene, told

SPEC = "spec.template.spec"
APP = f"{SPEC}.containers[name=app]"


def names(*numbers: int) -> dict[str, str]:
    return {f"c{number}": config_map(f"c{number}", a="1", b="2") for number in numbers}


def test_names_explain_nothing(scene: Scene) -> None:
    """Our own manager's updates and applies, and a controller's name, hide no edit."""
    scene.apply(**names(1, 2, 3, 4), web=deployment("web", replicas=0))
    scene.edit("configmaps", "c1", {"metadata": {"labels": {"x": "y"}}}, manager=scene.manager)
    scene.edit("configmaps", "c1", {"data": {"a": "9", "new": "z"}}, manager=scene.manager)
    controller = "kube-controller-manager"
    scene.edit("configmaps", "c2", {"metadata": {"finalizers": ["a.b/c"]}}, manager=controller)
    note = {"deployment.kubernetes.io/note": "1"}
    scene.edit("deployments", "web", {"metadata": {"annotations": note}}, "apps/v1",
               manager=controller)  # fmt: skip
    # Somebody applies under our manager's name: what he leaves out goes, what he adds is "ours".
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c3"}}
    _apply(scene, {**body, "data": {"a": "1", "c": "3"}}, scene.manager)
    other = {**body, "metadata": {"name": "c4"}, "data": {"a": "7"}}
    _apply(scene, other, "opslib-somebody")
    taken = scene.take()
    scene.edit("configmaps", "c2", {"metadata": {"finalizers": None}})
    assert told(taken.review.drifts) == sorted(
        [
            ("ConfigMap/c1", ADDED, "metadata.labels.x"),
            ("ConfigMap/c1", CHANGED, "data.a"),
            ("ConfigMap/c1", ADDED, "data.new"),
            ("ConfigMap/c2", ADDED, "metadata.finalizers[0]"),
            ("ConfigMap/c3", REMOVED, "data.b"),
            ("ConfigMap/c3", ADDED, "data.c"),
            ("ConfigMap/c4", CHANGED, "data.a"),
            ("Deployment/web", ADDED, 'metadata.annotations["deployment.kubernetes.io/note"]'),
        ]
    )
    assert any("app somebody applies ConfigMap" in line for line in taken.review.warnings)
    (changed,) = [one for one in taken.review.drifts if one.key.name == "c4"]
    assert (changed.declared, changed.live) == ("1", "7")


def _apply(scene: Scene, body: dict[str, Any], manager: str) -> None:
    scene.server.request(
        "PATCH",
        scene.path("configmaps", body["metadata"]["name"]),
        query={"fieldManager": manager, "force": True},
        body=body,
        content_type="application/apply-patch+yaml",
    )


def test_wiped_entries_hide_nothing(scene: Scene) -> None:
    """All entries gone, our own gone, the editor's own gone: each is compared with its twin."""
    webs = {name: deployment(name, replicas=0) for name in ("w1", "w2", "w3", "w4")}
    scene.apply(**names(1, 2), **webs)
    edit = {"spec": {"template": {"spec": {"hostNetwork": True}}}}
    for name in ("w1", "w2", "w3"):
        scene.edit("deployments", name, edit, "apps/v1")
    scene.edit("configmaps", "c1", {"data": {"x": "y"}})
    entries = {
        kind: scene.live(plural, name, group)["metadata"]["managedFields"]
        for kind, (plural, name, group) in {
            "w2": ("deployments", "w2", "apps/v1"),
            "w3": ("deployments", "w3", "apps/v1"),
            "c1": ("configmaps", "c1", ""),
        }.items()
    }
    for name in ("w1", "w4"):
        _set_entries(scene, "deployments", name, [{}], "apps/v1")
    _set_entries(scene, "configmaps", "c2", [{}])
    own = [one for one in entries["w2"] if one["manager"] != scene.manager]
    _set_entries(scene, "deployments", "w2", own, "apps/v1")
    mine = [one for one in entries["w3"] if one["manager"] != "kubectl-edit"]
    _set_entries(scene, "deployments", "w3", mine, "apps/v1")
    _set_entries(scene, "configmaps", "c1",
                 [one for one in entries["c1"] if one["manager"] == scene.manager])  # fmt: skip
    review = scene.review()
    print(review.warnings)
    expected = [(f"Deployment/{w}", ADDED, f"{SPEC}.hostNetwork") for w in ("w1", "w2", "w3")]
    assert told(review.drifts) == sorted([("ConfigMap/c1", ADDED, "data.x"), *expected])
    assert sum("managedFields was removed" in line for line in review.warnings) == 4


def _set_entries(
    scene: Scene, plural: str, name: str, entries: list[dict[str, Any]], group: str = ""
) -> None:
    scene.edit(plural, name, {"metadata": {"managedFields": entries}}, group, manager="wiper")


def test_lists_that_are_one_value(scene: Scene) -> None:
    """Atomic lists and maps: items added to declared ones, and whole ones that Git has not."""
    more = """          args: [one, two]
          volumeMounts: [{name: scratch, mountPath: /scratch}]
      nodeSelector: {disk: hdd}
      volumes: [{name: scratch, emptyDir: {}}]
"""
    scene.apply(web=deployment("web", replicas=0) + more)
    pod: dict[str, Any] = {
        "containers": [{"name": "app", "args": ["one", "two", "three"], "command": ["sh"]}],
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "nodeSelector": {"zone": "a"},
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
        "affinity": {"nodeAffinity": {}},
    }
    scene.server.request(
        "PATCH",
        scene.path("deployments", "web", "apps/v1"),
        body={"spec": {"template": {"spec": pod}}},
        content_type="application/strategic-merge-patch+json",
    )
    review = scene.review()
    assert told(review.drifts) == sorted(
        [
            ("Deployment/web", ADDED, f"{APP}.args[2]"),
            ("Deployment/web", ADDED, f"{APP}.command"),
            ("Deployment/web", ADDED, f"{SPEC}.tolerations"),
            ("Deployment/web", ADDED, f"{SPEC}.nodeSelector.zone"),
            ("Deployment/web", ADDED, f"{SPEC}.volumes[name=scratch].emptyDir.sizeLimit"),
            ("Deployment/web", ADDED, f"{SPEC}.affinity"),
        ]
    )


def test_what_a_plan_cannot_be_made_of(scene: Scene) -> None:
    """Objects that went with a hold on them, became immutable, or are foreign under our name."""
    scene.apply(**names(1, 2, 3))
    scene.edit("configmaps", "c1", {"metadata": {"finalizers": ["example.com/hold"]}})
    scene.server.request("DELETE", scene.path("configmaps", "c1"))
    scene.edit("configmaps", "c2", {"immutable": True, "data": {"a": "9", "b": None}})
    scene.server.request("DELETE", scene.path("configmaps", "c3"))
    shell = {"apiVersion": "v1", "kind": "ConfigMap"}
    _apply(scene, {**shell, "metadata": {"name": "c9"}, "data": {"a": "1"}}, scene.manager)
    review = scene.review()
    scene.edit("configmaps", "c1", {"metadata": {"finalizers": None}})
    assert told(review.drifts) == sorted(
        [
            ("ConfigMap/c1", ADDED, "metadata.deletionTimestamp"),
            ("ConfigMap/c1", ADDED, "metadata.finalizers[0]"),
            ("ConfigMap/c2", ADDED, "immutable"),
            ("ConfigMap/c2", CHANGED, "data.a"),
            ("ConfigMap/c2", REMOVED, "data.b"),
            ("ConfigMap/c3", MISSING, ""),
            ("ConfigMap/c9", EXTRA, ""),
        ]
    )
    (extra,) = [one for one in review.drifts if one.key.name == "c9"]
    assert "whose inventory does not have it" in extra.note


def test_one_of_many_alike_is_not_lost_among_them(scene: Scene) -> None:
    """Objects of one shape are looked into once; one that was edited has another shape."""
    webs = {f"same{n}": deployment(f"same{n}", replicas=0) for n in range(8)}
    scene.apply(**webs)
    pod = {"spec": {"template": {"spec": {"hostNetwork": True}}}}
    for name in ("same3", "same5"):
        scene.edit("deployments", name, pod, "apps/v1")
    entries = scene.live("deployments", "same5", "apps/v1")["metadata"]["managedFields"]
    kept = [one for one in entries if one["manager"] != "kubectl-edit"]
    _set_entries(scene, "deployments", "same5", kept, "apps/v1")
    grace = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 31}}}}
    scene.edit("deployments", "same6", grace, "apps/v1", manager=scene.manager)
    review = scene.review()
    assert told(review.drifts) == [
        ("Deployment/same3", ADDED, f"{SPEC}.hostNetwork"),
        ("Deployment/same5", ADDED, f"{SPEC}.hostNetwork"),
        ("Deployment/same6", ADDED, f"{SPEC}.terminationGracePeriodSeconds"),
    ]


def test_a_value_that_is_too_large_is_said_by_its_size(scene: Scene) -> None:
    """Half a megabyte is not put into a review; that it is there is."""
    scene.apply(**names(1))
    scene.edit("configmaps", "c1", {"data": {"big": "x" * 500_000}})
    (one,) = scene.review().drifts
    assert (one.path, one.live) == ("data.big", "<500000 bytes: too large to be shown>")
