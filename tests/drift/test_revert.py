"""Revert on the real API server: each kind of difference, and only what was chosen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from reconcile.conftest import config_map

from opslib.core.errors import ApprovalError, InputError, OpslibError
from opslib.drift.model import Difference, Drift
from opslib.drift.revert import Revert, plan_revert
from opslib.drift.reverting import apply_revert
from opslib.drift.review import Taken
from opslib.reconcile.apply import Applied
from opslib.reconcile.plan import Action
from opslib.runbook.gates import gate

from .scene import Scene

WEB = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web, tier: front}
spec:
  replicas: 0
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: registry.example/web:1
        args: [one, two, three]
        env:
        - {name: A, value: a}
        - {name: B, value: b}
        resources:
          limits: {cpu: 100m, memory: 64Mi}
      - name: side
        image: registry.example/side:1
"""
SECRET = """apiVersion: v1
kind: Secret
metadata:
  name: token
stringData:
  key: planted-value-one
  other: planted-value-two
"""
_SPEC = "spec.template.spec.containers"


def hands(scene: Scene) -> None:
    """Edit the Deployment as two people would, in every way there is."""
    path = "/spec/template/spec/containers"
    scene.edit(
        "deployments",
        "web",
        [
            {"op": "replace", "path": "/spec/replicas", "value": 2},
            {"op": "replace", "path": f"{path}/0/image", "value": "registry.example/web:9"},
            {"op": "replace", "path": f"{path}/0/args/1", "value": "changed"},
            {"op": "add", "path": f"{path}/0/args/-", "value": "four"},
            {"op": "remove", "path": f"{path}/0/env/1"},
            {"op": "add", "path": f"{path}/0/env/-", "value": {"name": "C", "value": "c"}},
            {"op": "remove", "path": f"{path}/0/resources/limits/cpu"},
            {"op": "add", "path": f"{path}/-", "value": {"name": "spy", "image": "x:1"}},
            {"op": "remove", "path": "/metadata/labels/tier"},
            {"op": "add", "path": "/metadata/labels/by", "value": "hand"},
        ],
        "apps/v1",
    )
    scene.edit(
        "deployments",
        "web",
        {"metadata": {"annotations": {"a.b/c": "d"}, "finalizers": ["example.com/hold"]}},
        "apps/v1",
        manager="dashboard",
    )


def revert(scene: Scene, taken: Taken, drifts: list[Drift]) -> tuple[Revert, Applied]:
    """Plan to revert some differences, and do it."""
    plan = plan_revert(scene.session, taken.planned, taken.review.drifts, [d.id for d in drifts])
    with scene.session.holding() as held:
        return plan, apply_revert(scene.session, plan, go_on=held)


def web(scene: Scene) -> dict[str, Any]:
    """Return the live Deployment without what the server counts and times."""
    live = copy.deepcopy(scene.live("deployments", "web", "apps/v1"))
    for name in ("resourceVersion", "generation", "managedFields"):
        live["metadata"].pop(name)
    live["metadata"]["annotations"].pop("deployment.kubernetes.io/revision", None)
    live.pop("status", None)
    return live


def test_each_difference_reverts_alone(scene: Scene) -> None:
    """One by one, each takes with it what it is about; all the others keep their live values."""
    scene.apply(web=WEB)
    declared = web(scene)
    hands(scene)
    taken = scene.take()
    left = {(d.path, repr(d.live)) for d in taken.review.drifts}
    count = len(left)
    assert count == 12, left
    while left:
        drift = taken.review.drifts[len(left) // 2]
        plan, applied = revert(scene, taken, [drift])
        assert applied.ok, (drift.path, applied.failures)
        assert [f.path for f in plan.plan.changes[0].fields] == [drift.path]
        taken = scene.take()
        now = {(d.path, repr(d.live)) for d in taken.review.drifts}
        gone = {path for path, _ in left - now}
        # Numbers of a list move up when one before them goes.
        assert {_listed(path) for path in gone} == {_listed(drift.path)}, (drift.path, gone)
        assert len(now) == len(left) - 1
        left = now
    assert web(scene) == declared
    print(f"{count} differences of one object, each reverted alone")


def _listed(path: str) -> str:
    return path.partition(".args[")[0]


def test_a_map_that_is_one_field_keeps_its_other_keys(scene: Scene) -> None:
    """A nodeSelector is owned as a whole: the keys that were not chosen are sent as they are."""
    selector = "      nodeSelector: {disk: hdd, zone: a}\n      containers:\n"
    scene.apply(web=WEB.replace("      containers:\n", selector))
    edit = {"disk": "ssd", "zone": "b", "more": "x"}
    change = {"spec": {"template": {"spec": {"nodeSelector": edit}}}}
    scene.edit("deployments", "web", change, "apps/v1")
    for word, left in (("disk", {"disk": "hdd", "zone": "b", "more": "x"}),
                       ("more", {"disk": "hdd", "zone": "b"})):  # fmt: skip
        taken = scene.take()
        (drift,) = [d for d in taken.review.drifts if d.path.endswith(f".{word}")]
        _, applied = revert(scene, taken, [drift])
        assert applied.ok, applied.failures
        assert web(scene)["spec"]["template"]["spec"]["nodeSelector"] == left
    assert [d.path.rpartition(".")[2] for d in scene.review().drifts] == ["zone"]


def test_what_cannot_go_alone_is_named(scene: Scene) -> None:
    """A Service that goes back to its type loses what only the other type has: choose both."""
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n"
    service += "  type: ClusterIP\n  selector: {app: web}\n  ports: [{port: 80}]\n"
    scene.apply(web=service)
    scene.edit("services", "web", {"spec": {"type": "NodePort", "sessionAffinity": "ClientIP"}})
    taken = scene.take()
    every = taken.review.drifts
    (one,) = [drift for drift in every if drift.path == "spec.type"]
    plan = plan_revert(scene.session, taken.planned, every, [one.id])
    assert "it cannot be reverted without spec.externalTrafficPolicy" in plan.consequences[0]
    assert not plan.plan.writes
    _, applied = revert(scene, taken, [d for d in every if d.path != "spec.sessionAffinity"])
    assert applied.ok, applied.failures
    live = scene.live("services", "web")["spec"]
    assert (live["type"], live["sessionAffinity"]) == ("ClusterIP", "ClientIP")


def test_all_at_once_is_one_plan(scene: Scene) -> None:
    """Chosen together they are one part of the plan, and the object is as it was declared."""
    scene.apply(web=WEB)
    declared = web(scene)
    hands(scene)
    taken = scene.take()
    plan, applied = revert(scene, taken, list(taken.review.drifts))
    assert len(plan.plan.changes) == 1
    assert applied.ok, applied.failures
    assert web(scene) == declared
    assert not scene.review().drifts


def test_whole_objects_come_back_and_go(scene: Scene) -> None:
    """A missing object is made again, and one that Git does not have is deleted."""
    scene.apply(a=config_map("a", x="1"), b=config_map("b", x="1"))
    scene.server.request("DELETE", scene.path("configmaps", "a"))
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}
    scene.make("configmaps", extra)
    taken = scene.take()
    missing, added = sorted(taken.review.drifts, key=lambda d: d.key.name)
    assert (missing.difference, added.difference) == (Difference.MISSING, Difference.EXTRA)
    plan, applied = revert(scene, taken, [missing])
    assert not plan.destructive
    assert [str(k) for k in applied.written] == [str(missing.key)]
    plan, applied = revert(scene, scene.take(), [added])
    assert plan.destructive
    assert plan.consequences == (f"{added.key} is deleted",)
    assert [str(k) for k in applied.deleted] == [str(added.key)]
    assert not scene.review().drifts


def test_a_secret_reverts_without_being_seen(scene: Scene) -> None:
    """Its value comes back; neither plan, evidence nor answer has one."""
    scene.apply(token=SECRET)
    scene.edit("secrets", "token", {"stringData": {"key": "planted-by-hand", "third": "planted-3"}})
    taken = scene.take()
    (drift,) = [d for d in taken.review.drifts if d.path == "data.key"]
    plan, applied = revert(scene, taken, [drift])
    live = scene.live("secrets", "token")["data"]
    assert live["key"] == "cGxhbnRlZC12YWx1ZS1vbmU="
    assert "third" in live
    assert applied.evidence
    for text in (json.dumps(plan.as_dict()), applied.evidence.read_text(), repr(plan)):
        assert "planted" not in text
        assert "cGxhbnRlZC" not in text


def _label(scene: Scene) -> None:
    scene.edit("configmaps", "a", {"metadata": {"labels": {"later": "yes"}}})


def _same(scene: Scene) -> None:
    scene.edit("configmaps", "a", {"data": {"w": "other"}})


def _value(scene: Scene) -> None:
    scene.edit("configmaps", "a", {"data": {"x": "10"}})


def _done(scene: Scene) -> None:
    scene.edit("configmaps", "a", {"data": {"x": "1"}})


def _gone(scene: Scene) -> None:
    scene.server.request("DELETE", scene.path("configmaps", "a"))


def _new(scene: Scene) -> None:
    _gone(scene)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "9"}}
    scene.make("configmaps", body)


@pytest.mark.parametrize(
    ("moves", "ok", "data"),
    [
        (_label, True, {"x": "1", "w": "2"}),
        (_same, True, {"x": "1", "w": "other"}),
        (_done, True, {"x": "1", "w": "2"}),
        (_value, False, {"x": "10", "w": "2"}),
        (_gone, False, None),
        (_new, False, {"x": "9"}),
    ],
)
def test_an_object_that_moved_is_planned_again(
    scene: Scene, moves: Callable[[Scene], None], *, ok: bool, data: dict[str, str] | None
) -> None:
    """The same change goes on; another one is a conflict, shown and not written."""
    scene.apply(a=config_map("a", x="1", w="2"), b=config_map("b"))
    scene.edit("configmaps", "a", {"data": {"x": "9"}})
    taken = scene.take()
    plan = plan_revert(
        scene.session, taken.planned, taken.review.drifts, [taken.review.drifts[0].id]
    )
    moves(scene)
    with scene.session.holding() as held:
        applied = apply_revert(scene.session, plan, go_on=held)
    assert applied.ok is ok, applied.failures
    found = scene.server.find(scene.path("configmaps", "a"))
    assert (found["data"] if found else None) == data
    if not ok:
        assert applied.failures[0].kind == "conflict"


def test_a_value_that_was_added_and_changed_since_is_not_taken(scene: Scene) -> None:
    """What is removed is what the review saw, also between plan and write."""
    scene.apply(a=config_map("a", x="1"))
    scene.edit("configmaps", "a", {"data": {"z": "9"}})
    taken = scene.take()
    plan = plan_revert(
        scene.session, taken.planned, taken.review.drifts, [taken.review.drifts[0].id]
    )
    scene.edit("configmaps", "a", {"data": {"z": "10"}})
    with scene.session.holding() as held:
        applied = apply_revert(scene.session, plan, go_on=held)
    assert [f.kind for f in applied.failures] == ["conflict"]
    assert scene.live("configmaps", "a")["data"] == {"x": "1", "z": "10"}


def test_whoever_takes_the_apps_own_name_is_reverted_too(scene: Scene) -> None:
    """An Update entry of our own manager, and wiped managedFields, do not hide an edit."""
    scene.apply(a=config_map("a", x="1"), b=config_map("b", x="1"))
    scene.edit("configmaps", "a", {"data": {"x": "9", "z": "1"}}, manager=scene.manager)
    scene.edit("configmaps", "b", {"data": {"x": "9"}, "metadata": {"managedFields": [{}]}})
    taken = scene.take()
    assert {d.path for d in taken.review.drifts} == {"data.x", "data.z"}
    _, applied = revert(scene, taken, list(taken.review.drifts))
    assert applied.ok, applied.failures
    assert scene.live("configmaps", "a")["data"] == {"x": "1"}
    assert scene.live("configmaps", "b")["data"] == {"x": "1"}


def test_what_is_immutable_reverts_whole_or_not(scene: Scene) -> None:
    """A field that cannot be changed in place takes the object along, if Git allows that."""
    text = config_map("a", x="1") + "immutable: true\n"
    allowed = text.replace("name: a\n", "name: a\n  annotations: {opslib.dev/replace: enabled}\n")
    scene.apply(a=allowed)
    scene.server.request("DELETE", scene.path("configmaps", "a"))
    body = {"metadata": {"name": "a"}, "data": {"x": "2"}, "immutable": True}
    scene.make("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", **body})
    taken = scene.take()
    data = [d for d in taken.review.drifts if d.path == "data.x"]
    with_all, applied = revert(scene, taken, list(taken.review.drifts))
    assert with_all.plan.changes[0].action is Action.REPLACE
    assert with_all.destructive
    assert data
    assert applied.ok, applied.failures
    assert scene.live("configmaps", "a")["data"] == {"x": "1"}


def test_the_hash_covers_what_an_approver_sees(scene: Scene) -> None:
    """Another choice, value or object is another hash; the same plan has the same one."""
    scene.apply(a=config_map("a", x="1", w="2"))
    scene.edit("configmaps", "a", {"data": {"x": "9", "w": "9"}})
    taken = scene.take()
    every = taken.review.drifts

    def planned(ids: list[str]) -> Revert:
        return plan_revert(scene.session, taken.planned, every, ids)

    one, two, both = planned([every[0].id]), planned([every[1].id]), planned([d.id for d in every])
    assert len({one.hash, two.hash, both.hash}) == 3
    assert planned([every[0].id]).hash == one.hash
    scene.edit("configmaps", "a", {"metadata": {"labels": {"x": "yes"}}})
    assert planned([every[0].id]).hash == one.hash
    scene.edit("configmaps", "a", {"data": {"w": "10"}})
    assert planned([every[0].id]).hash != one.hash
    with pytest.raises(ApprovalError):
        gate(two, apply=True, approve=one.hash)
    assert gate(one, apply=True, approve=one.hash[:12]).given


def test_ids_of_no_difference_are_refused(scene: Scene) -> None:
    """A choice that is not in the review is an error before anything is asked."""
    scene.apply(a=config_map("a", x="1"))
    taken = scene.take()
    with pytest.raises(InputError):
        plan_revert(scene.session, taken.planned, taken.review.drifts, ["0" * 12])


def test_without_evidence_nothing_is_written(scene: Scene, tmp_path: Any) -> None:
    """A folder that cannot be written stops the revert before its first request."""
    scene.apply(a=config_map("a", x="1"))
    scene.edit("configmaps", "a", {"data": {"x": "9"}})
    taken = scene.take()
    plan = plan_revert(
        scene.session, taken.planned, taken.review.drifts, [taken.review.drifts[0].id]
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(OpslibError, match="evidence"):
        apply_revert(scene.session, plan, evidence=tmp_path / "file" / "evidence")
    assert scene.live("configmaps", "a")["data"] == {"x": "9"}
