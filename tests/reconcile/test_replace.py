"""Delete-and-create: only where it was planned, allowed by the object, and would be admitted."""

from __future__ import annotations

import pytest

from opslib.kube.errors import ApiError, Cause
from opslib.reconcile.plan import Action, Plan
from opslib.reconcile.prune import PruneLimits
from opslib.reconcile.replace import immutable

from .conftest import Workbench, config_map, deployment

ALLOWED = "  annotations: {opslib.dev/replace: enabled}\n"
JOB = """apiVersion: batch/v1
kind: Job
metadata:
  name: once
ANNOTATIONS
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: "registry.example/app:1"}]
"""


def _allowed(text: str, name: str) -> str:
    return text.replace(f"  name: {name}\n", f"  name: {name}\n{ALLOWED}", 1)


def _moved_selector(text: str) -> str:
    return text.replace("{app: web}", "{app: web, tier: front}")


def test_without_the_annotation_it_is_a_problem(bench: Workbench) -> None:
    """An immutable field is a problem at its line, and what to do names the annotation."""
    text = deployment("web")
    assert bench.apply(text).ok
    plan = bench.plan(_moved_selector(text), "b").plan
    (problem,) = plan.problems
    assert "immutable" in problem.message
    assert "opslib.dev/replace: enabled" in problem.hint
    assert not plan.writes


def test_an_allowed_object_is_deleted_and_created(bench: Workbench) -> None:
    """The plan says so, field by field; the apply makes another object, and it is healthy."""
    text = _allowed(deployment("web"), "web")
    assert bench.apply(text).ok
    before = bench.live("deployments", "web", "apps/v1")
    prepared = bench.plan(_moved_selector(text), "b")
    (change,) = prepared.plan.writes
    assert change.action is Action.REPLACE
    assert "spec.selector.matchLabels.tier" in {field.path for field in change.fields}
    assert "spec.selector" in change.reason
    assert Plan.from_dict(prepared.plan.as_dict()) == prepared.plan
    applied = bench.write(prepared)
    assert applied.ok, applied.as_dict()
    after = bench.live("deployments", "web", "apps/v1")
    assert before
    assert after
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["selector"]["matchLabels"]["tier"] == "front"
    assert bench.plan(_moved_selector(text), "b").plan.empty


def test_the_hash_of_a_replacement_is_stable(bench: Workbench) -> None:
    """Two plans of the same replacement are one approval: nothing random is in them."""
    text = _allowed(JOB.replace("ANNOTATIONS\n", ""), "once")
    assert bench.apply(text, wait=False).failures == ()
    newer = text.replace("app:1", "app:2")
    first, second = bench.plan(newer, "b").plan, bench.plan(newer, "b").plan
    assert first.counts["replace"] == 1
    assert first.hash == second.hash


def test_what_would_not_be_admitted_is_never_deleted(bench: Workbench) -> None:
    """A selector that changes to one that no pod of it has: invalid anew, so nothing is planned."""
    text = _allowed(deployment("web"), "web")
    assert bench.apply(text).ok
    wrong = text.replace("matchLabels: {app: web}", "matchLabels: {app: other}")
    plan = bench.plan(wrong, "b").plan
    assert len(plan.problems) == 1
    assert not plan.writes
    assert bench.live("deployments", "web", "apps/v1")


def test_an_object_that_moved_is_not_deleted(bench: Workbench) -> None:
    """Somebody's edit between plan and apply is a conflict: the object stays, with the edit."""
    text = _allowed(deployment("web"), "web")
    assert bench.apply(text).ok
    prepared = bench.plan(_moved_selector(text), "b")
    bench.patch(
        "deployments",
        "web",
        {"spec": {"template": {"metadata": {"labels": {"tier": "x"}}}}},
        "apps/v1",
    )
    (failure,) = bench.write(prepared).failures
    assert failure.kind == "conflict", failure
    live = bench.live("deployments", "web", "apps/v1")
    assert live
    assert live["spec"]["template"]["metadata"]["labels"]["tier"] == "x"


def test_data_is_replaced_only_by_name(bench: Workbench) -> None:
    """A StatefulSet needs the annotation and its name on the command line."""
    text = """apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
  annotations: {opslib.dev/replace: enabled}
spec:
  replicas: 0
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: app, image: "registry.example/app:1"}]
"""
    assert bench.apply(text, wait=False).failures == ()
    newer = text.replace("serviceName: db", "serviceName: other")
    (problem,) = bench.plan(newer, "b").plan.problems
    named = f"StatefulSet.apps {bench.namespace}/db"
    assert named in problem.hint
    limits = PruneLimits(confirmed=frozenset({named}))
    assert bench.plan(newer, "b", limits=limits).plan.counts["replace"] == 1


def test_an_immutable_config_map(bench: Workbench) -> None:
    """A ConfigMap that is immutable is replaced with its new data."""
    text = _allowed(config_map("fixed", a="1"), "fixed") + "immutable: true\n"
    assert bench.apply(text).ok
    newer = text.replace("'1'", "'2'")
    assert bench.apply(newer, "b").ok
    live = bench.live("configmaps", "fixed")
    assert live
    assert live["data"] == {"a": "2"}


@pytest.mark.parametrize(
    ("code", "message", "field", "found"),
    [
        (422, "Invalid value: {}: field is immutable", "spec.selector", "spec.selector"),
        (422, "Forbidden: updates to statefulset spec for fields other than 'a'", "spec", "spec"),
        (422, "Invalid value: 'x': field is immutable", "metadata.uid", ""),
        (422, "Required value", "spec.template", ""),
        (500, "field is immutable", "spec.selector", ""),
        (409, "field is immutable", "spec.selector", ""),
    ],
)
def test_refusals_are_read_by_their_causes(code: int, message: str, field: str, found: str) -> None:
    """Only a 422 whose cause says so, at a field of the object, is an immutable field."""
    causes = (Cause("FieldValueInvalid", message, field),)
    error = ApiError(
        code, "Invalid", f'Deployment "a" is invalid: {field}: {message}', where="x", causes=causes
    )
    assert immutable(error) == found
