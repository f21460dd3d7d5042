"""Plans: they say what would change and nothing else, and they write nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opslib.core.errors import InputError
from opslib.kube.client import MERGE, Cluster
from opslib.reconcile.app import COMMIT
from opslib.reconcile.plan import Action, Plan
from opslib.reconcile.prune import PruneLimits
from opslib.reconcile.surroundings import fingerprint

from .conftest import Workbench, config_map, deployment, revision
from .test_desired import CRD, LANE


def test_a_new_object_is_created_with_every_declared_field(bench: Workbench) -> None:
    """A plan of an empty namespace creates, and leaves the namespace empty."""
    plan = bench.plan(config_map("one", k="v")).plan
    (change,) = plan.changes
    assert change.action is Action.CREATE
    assert {f.path: f.after for f in change.fields}["data.k"] == "v"
    assert bench.live("configmaps", "one") is None


def test_what_was_applied_is_unchanged(bench: Workbench) -> None:
    """After an apply the same commit, and a later one that changes nothing, plan nothing.

    Defaults and normal forms (1000m is 1) are no change.
    """
    text = config_map("one", k="v") + "---\n" + deployment("app")
    assert bench.apply(text).ok
    for commit in ("a", "b"):
        plan = bench.plan(text, commit).plan
        assert plan.counts["unchanged"] == 2, plan.as_dict()
        assert plan.empty


def test_a_changed_field_is_named_with_before_and_after(bench: Workbench) -> None:
    """One new image is one field, and the commit's annotation."""
    bench.apply(deployment("app"))
    plan = bench.plan(deployment("app", image="registry.example/app:2"), "b").plan
    (change,) = plan.changes
    assert change.action is Action.UPDATE
    assert {f.path: (f.before, f.after) for f in change.fields} == {
        "spec.template.spec.containers[name=app].image": (
            "registry.example/app:1",
            "registry.example/app:2",
        ),
        f'metadata.annotations["{COMMIT}"]': ("a" * 40, "b" * 40),
    }


def test_a_value_changed_by_hand_is_seen(bench: Workbench) -> None:
    """Somebody's edit of a declared field is a change of the next plan."""
    bench.apply(config_map("one", k="v"))
    bench.patch("configmaps", "one", {"data": {"k": "edited"}})
    (change,) = bench.plan(config_map("one", k="v")).plan.changes
    assert [(f.path, f.before, f.after) for f in change.fields] == [("data.k", "edited", "v")]


def test_a_plan_survives_json(bench: Workbench) -> None:
    """A plan read back from its JSON is the same plan; one that was edited is refused."""
    bench.apply(config_map("one", k="v"))
    text = config_map("one", k="w") + "---\n" + config_map("two", k="v")
    plan = bench.plan(text, "b").plan
    document = json.loads(json.dumps(plan.as_dict()))
    assert Plan.from_dict(document) == plan
    document["changes"][0]["fields"][0]["after"] = "other"
    with pytest.raises(InputError, match="hash"):
        Plan.from_dict(document)


def test_the_hash_is_of_what_was_seen(bench: Workbench) -> None:
    """The same change hashes the same again; values and commits matter, status does not."""
    bench.apply(deployment("app"))
    text = deployment("app", replicas=2)
    first = bench.plan(text, "b").plan
    bench.patch("deployments", "app", {"metadata": {"labels": {"seen": "yes"}}}, "apps/v1")
    again = bench.plan(text, "b").plan
    assert first.changes[0].resource_version != again.changes[0].resource_version
    assert first.hash == again.hash
    assert first.hash != bench.plan(text, "c").plan.hash
    assert first.hash != bench.plan(deployment("app", replicas=3), "b").plan.hash


def test_secret_values_are_in_no_plan(bench: Workbench) -> None:
    """A changed Secret shows that a key changed, and neither value."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {pass: %s}\n"
    bench.apply(text % "open-sesame")
    plan = bench.plan(text % "close-sesame", "b").plan
    document = json.dumps(plan.as_dict())
    assert plan.changes[0].fields[0].path == "data.pass"
    for word in ("open-sesame", "close-sesame", "b3Blbi1zZXNhbWU", "Y2xvc2Utc2VzYW1l"):
        assert word not in document


def test_unknown_and_wrong_fields_are_problems_with_their_line(bench: Workbench) -> None:
    """Both mistakes of two objects are told in one pass; nothing else of the plan is lost."""
    wrong = deployment("app").replace("replicas: 1", "replicsa: 1")
    worse = config_map("bad", k="v").replace("\ndata:", "\ndate:")
    plan = bench.plan(wrong + "---\n" + worse + "---\n" + config_map("good", k="v")).plan
    assert len(plan.problems) == 2
    assert "replicsa" in plan.problems[0].message
    assert plan.problems[1].origin is not None
    assert plan.problems[1].origin.path == "app.yaml"
    assert [c.key.name for c in plan.writes] == ["good"]


def test_objects_of_a_new_namespace_are_simulated_and_checked(bench: Workbench) -> None:
    """They are said to be simulated; a mistake in one is found nevertheless."""
    place = f"{bench.namespace}-new"
    space = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {place}}}\n---\n"
    inside = config_map("one", k="v").replace("name: one", f"name: one\n  namespace: {place}")
    plan = bench.plan(space + inside).plan
    assert "is created by this plan" in plan.changes[1].simulated
    wrong = bench.plan(space + inside.replace("\ndata:", "\ndate:")).plan
    assert len(wrong.problems) == 1


def test_a_namespace_that_nobody_declares_is_a_problem(bench: Workbench) -> None:
    """The plan says that it is missing and where to put it."""
    text = config_map("one", k="v").replace("name: one", "name: one\n  namespace: nowhere-at-all")
    (problem,) = bench.plan(text).plan.problems
    assert "nowhere-at-all does not exist" in problem.message


def test_a_custom_resource_beside_its_definition_is_simulated(bench: Workbench) -> None:
    """What cannot be known yet is said to be unknown."""
    plan = bench.plan(CRD + "---\n" + LANE).plan
    assert not plan.problems
    assert "CustomResourceDefinition is created" in plan.changes[1].simulated


def test_an_object_of_another_app_is_refused(bench: Workbench, namespace: str) -> None:
    """Two apps that declare one object are both named, and nothing is planned for it."""
    bench.apply(config_map("one", k="v"))
    other = Workbench(bench.server, namespace)
    (problem,) = other.plan(config_map("one", k="w")).plan.problems
    assert bench.app.name in problem.message
    assert other.app.name in problem.hint


def test_what_git_dropped_is_deleted(bench: Workbench) -> None:
    """An object of the inventory that the new commit lacks is planned for deletion."""
    bench.apply(config_map("one", k="v") + "---\n" + config_map("two", k="v"))
    plan = bench.plan(config_map("one", k="v"), "b").plan
    deletes = [c for c in plan.changes if c.action is Action.DELETE]
    assert [c.key.name for c in deletes] == ["two"]
    assert deletes[0].uid


def test_deletes_beyond_the_limits_need_names(bench: Workbench) -> None:
    """Three of four objects are kept, with the reason; named ones are deleted."""
    texts = [config_map(name, k="v") for name in ("a", "b", "c", "d")]
    bench.apply("---\n".join(texts))
    plan = bench.plan(texts[0], "b").plan
    assert [c.action for c in plan.changes if c.action is not Action.UNCHANGED] == [Action.KEEP] * 3
    assert "3 of 4 objects (75 %)" in plan.changes[1].reason
    names = frozenset(f"ConfigMap {bench.namespace}/{n}" for n in ("b", "c", "d"))
    allowed = bench.plan(texts[0], "b", limits=PruneLimits(confirmed=names)).plan
    assert allowed.counts["delete"] == 3


@pytest.mark.parametrize(
    ("commit", "reason"), [("0", "older than what was applied"), ("x", "not in the history")]
)
def test_nothing_is_deleted_by_another_history(bench: Workbench, commit: str, reason: str) -> None:
    """A commit that is older, or of another history, deletes nothing and says why."""
    bench.apply(config_map("one", k="v") + "---\n" + config_map("two", k="v"), "a")

    def is_ancestor(older: str, newer: str) -> bool:
        return "x" not in {older[0], newer[0]} and older <= newer

    plan = bench.plan(config_map("one", k="v"), commit, is_ancestor=is_ancestor).plan
    (kept,) = [c for c in plan.changes if c.action is Action.KEEP]
    assert reason in kept.reason


def test_an_object_may_opt_out_of_pruning(bench: Workbench) -> None:
    """The annotation on the live object keeps it, and the plan says so."""
    bench.apply(config_map("one", k="v") + "---\n" + config_map("two", k="v"))
    change = {"metadata": {"annotations": {"opslib.dev/prune": "disabled"}}}
    bench.patch("configmaps", "two", change)
    plan = bench.plan(config_map("one", k="v"), "b").plan
    (kept,) = [c for c in plan.changes if c.action is Action.KEEP]
    assert "disabled" in kept.reason


def test_data_is_deleted_only_by_name(bench: Workbench) -> None:
    """A PersistentVolumeClaim that Git dropped is kept until somebody names it."""
    claim = (
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n"
        "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
    )
    bench.apply(config_map("one", k="v") + "---\n" + claim, timeout=1)
    plan = bench.plan(config_map("one", k="v"), "b").plan
    (kept,) = [c for c in plan.changes if c.action is Action.KEEP]
    assert f"--prune 'PersistentVolumeClaim {bench.namespace}/data'" in kept.reason


def test_the_plan_names_commit_and_cluster(bench: Workbench) -> None:
    """What is approved is bound to one commit and one cluster."""
    plan = bench.plan(config_map("one", k="v")).plan
    assert plan.revision == revision("a")
    assert plan.cluster_uid == bench.server.uid()


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the method of each request from here on."""
    seen: list[str] = []
    real = Cluster.request

    def request(self: Cluster, method: str, path: str, **options: Any) -> Any:
        seen.append(method)
        return real(self, method, path, **options)

    monkeypatch.setattr(Cluster, "request", request)
    return seen


def test_unchanged_objects_cost_no_request_of_their_own(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty objects: no dry run, and as many LISTs as kinds; ``full`` asks about each."""
    text = "---\n".join(config_map(f"c{i}", k="v") for i in range(20))
    text += "---\n" + "---\n".join(deployment(f"d{i}", replicas=0) for i in range(10))
    bench.apply(text)
    seen = _asked(monkeypatch)
    plan = bench.plan(text).plan
    assert plan.counts["unchanged"] == 30
    assert "PATCH" not in seen
    lists = len(seen)
    seen.clear()
    full = bench.plan(text, full=True).plan
    assert full.hash == plan.hash
    assert seen.count("PATCH") == 30
    print(f"30 unchanged objects: {lists} requests, {len(seen)} with every object asked about")


def test_what_cannot_be_proven_is_asked_about(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many objects only the one that somebody changed costs a dry run."""
    text = "---\n".join(config_map(f"c{i}", k="v") for i in range(9))
    bench.apply(text)
    bench.patch("configmaps", "c4", {"data": {"k": "by hand"}})
    seen = _asked(monkeypatch)
    plan = bench.plan(text).plan
    assert [c.key.name for c in plan.writes] == ["c4"]
    assert seen.count("PATCH") == 1


def test_mutating_admission_changes_the_surroundings(
    bench: Workbench, server: Cluster, namespace: str
) -> None:
    """A webhook that may change objects on their way is noticed, when it comes and when it goes."""
    before = fingerprint(server, bench.discovery)
    assert before
    assert fingerprint(server, bench.discovery) == before
    root = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    name = f"hook-{namespace}"
    client = {"url": "https://127.0.0.1:1/", "caBundle": ""}
    hook = {
        "name": "a.example.com",
        "clientConfig": client,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [],
    }
    server.request("POST", root, body={"metadata": {"name": name}, "webhooks": [hook]})
    try:
        assert fingerprint(server, bench.discovery) != before
    finally:
        server.request("DELETE", f"{root}/{name}")
    assert fingerprint(server, bench.discovery) == before


def test_a_changed_schema_is_noticed(bench: Workbench, server: Cluster) -> None:
    """A definition with another schema counts, one that only has another label does not."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/lanes.schema.example"
    assert bench.apply(CRD.replace("shop.example", "schema.example")).ok

    def change(body: dict[str, Any]) -> str:
        server.request("PATCH", path, body=body, content_type=MERGE)
        return fingerprint(server, bench.discovery)

    try:
        before = fingerprint(server, bench.discovery)
        assert change({"metadata": {"labels": {"a": "b"}}}) == before
        versions = server.get(path)["spec"]["versions"]
        versions[0]["schema"]["openAPIV3Schema"]["description"] = "another"
        assert change({"spec": {"versions": versions}}) != before
    finally:
        server.request("DELETE", path)
