"""Edges of applying from Git that no other module's tests show, against the real API server."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.kube.errors import ApiError, Unreachable
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.plan import Action
from opslib.reconcile.retry import RETRY_SECONDS, passes
from opslib.source.render import render_folder

from .conftest import Workbench, config_map, deployment

TWICE = "          env: [{name: A, value: '1'}, {name: A, value: '2'}]\n"


def test_duplicate_keys_are_a_problem_and_not_repeated(bench: Workbench) -> None:
    """The 500 that they give is told at once as a mistake of the file; nothing is tried again."""
    bench.apply(deployment("app", replicas=0))
    began = time.monotonic()
    plan = bench.plan(deployment("app", replicas=0) + TWICE, "b").plan
    assert time.monotonic() - began < RETRY_SECONDS  # so long what passes would be tried again
    (problem,) = plan.problems
    assert "duplicate" in problem.message
    assert problem.hint.startswith("mend the file")


def test_duplicates_that_are_live_already_are_told(bench: Workbench) -> None:
    """An object that some client made with duplicates: the plan shows the one that goes."""
    body = {
        "metadata": {"name": "app"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "image": "registry.example/app:1",
                            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
                        }
                    ]
                },
            },
        },
    }
    path = f"/apis/apps/v1/namespaces/{bench.namespace}/deployments"
    bench.server.request("POST", path, body=body)
    began = time.monotonic()
    plan = bench.plan(deployment("app", replicas=0)).plan
    assert time.monotonic() - began < RETRY_SECONDS  # so long what passes would be tried again
    assert not plan.problems
    assert bench.apply(deployment("app", replicas=0)).ok
    one = "          env: [{name: A, value: '1'}]\n"
    plan = bench.plan(deployment("app", replicas=0) + one, "b").plan
    (change,) = plan.writes
    (gone,) = (f for f in change.fields if f.path.startswith("spec"))
    assert (gone.before, gone.after) == ({"name": "A", "value": "2"}, None)
    assert bench.apply(deployment("app", replicas=0) + one, "b").ok
    assert time.monotonic() - began < 3 * RETRY_SECONDS
    live = bench.live("deployments", "app", "apps/v1")
    assert live is not None
    assert live["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]


def test_what_others_added_stays(bench: Workbench) -> None:
    """A label, a key and a finalizer of somebody else are no change of Git's, and stay."""
    bench.apply(config_map("one", k="v"))
    added = {"labels": {"theirs": "x"}, "finalizers": ["example.com/hold"]}
    bench.patch("configmaps", "one", {"metadata": added, "data": {"more": "w"}})
    assert bench.plan(config_map("one", k="v")).plan.empty
    assert bench.plan(config_map("one", k="v"), full=True).plan.empty
    assert bench.apply(config_map("one", k="new"), "b").ok
    live = bench.live("configmaps", "one")
    assert live is not None
    assert live["data"] == {"k": "new", "more": "w"}
    assert live["metadata"]["labels"] == {"theirs": "x"}
    bench.patch("configmaps", "one", {"metadata": {"finalizers": None}})


def test_a_pass_without_changes_leaves_no_trace(bench: Workbench) -> None:
    """Neither a version nor a time of managedFields moves, proven or asked."""
    text = config_map("one", k="v") + "---\n" + deployment("app", replicas=0)
    bench.apply(text)
    before = bench.live("configmaps", "one")
    for full in (False, True):
        prepared = bench.plan(text, "b", full=full)
        assert bench.write(prepared).ok
    assert before is not None
    assert bench.live("configmaps", "one") == before


def test_an_edit_under_the_apps_own_name_is_seen(bench: Workbench) -> None:
    """Somebody who calls himself by the app's manager is no app: the value is put back."""
    bench.apply(config_map("one", k="v"))
    bench.server.request(
        "PATCH",
        f"/api/v1/namespaces/{bench.namespace}/configmaps/one",
        query={"fieldManager": bench.app.manager},
        body={"data": {"k": "edited"}},
        content_type="application/merge-patch+json",
    )
    (change,) = bench.plan(config_map("one", k="v")).plan.changes
    assert [(f.path, f.before, f.after) for f in change.fields] == [("data.k", "edited", "v")]
    assert bench.apply(config_map("one", k="v")).ok
    assert bench.plan(config_map("one", k="v")).plan.empty


def test_a_key_dropped_from_string_data_goes(bench: Workbench) -> None:
    """What Git no longer has in stringData is not in the Secret any more."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: one%s}\n"
    bench.apply(text % ", b: two")
    assert bench.apply(text % "", "b").ok
    live = bench.live("secrets", "s")
    assert live is not None
    assert set(live["data"]) == {"a"}


def test_a_generated_name_is_refused(tmp_path: Path) -> None:
    """An object without a name of its own has no identity; it is told with its line."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: job-}\n"
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="name") as caught:
        render_folder(tmp_path)
    assert "one.yaml:" in str(caught.value)


def test_an_exported_object_can_be_applied(bench: Workbench) -> None:
    """What ``kubectl get -o yaml`` prints goes back as it is, with managedFields and all."""
    bench.apply(config_map("one", k="v"))
    live = bench.live("configmaps", "one")
    assert live is not None
    exported = {**live, "metadata": {**live["metadata"], "creationTimestamp": None}}
    exported["data"] = {"k": "w"}
    assert bench.apply(json.dumps(exported), "b").ok
    after = bench.live("configmaps", "one")
    assert after is not None
    assert after["data"] == {"k": "w"}
    assert after["metadata"]["uid"] == live["metadata"]["uid"]


def _definition(group: str, *versions: str, stored: str) -> str:
    head = f"""apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: lanes.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Lane, plural: lanes, singular: lane}}
  versions:
"""
    schema = "{openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}"
    rows = [
        f"    - {{name: {name.strip('-')}, served: {str(name[0] != '-').lower()}, "
        f"storage: {str(name.strip('-') == stored).lower()}, schema: {schema}}}\n"
        for name in versions
    ]
    return head + "".join(rows)


def _lane(group: str, version: str, cpu: str = "1000m") -> str:
    spec = f"{{limits: {{cpu: {cpu}}}}}"
    return f"apiVersion: {group}/{version}\nkind: Lane\nmetadata: {{name: left}}\nspec: {spec}\n"


@pytest.fixture
def group(server: Cluster) -> Iterator[str]:
    """Return a name for an API group; its definition is removed afterwards."""
    name = f"g{uuid.uuid4().hex[:8]}.example"
    yield name
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    server.request("DELETE", f"{root}/lanes.{name}")


def test_quantities_of_custom_resources_stay_as_written(bench: Workbench, group: str) -> None:
    """1000m is not 1 in a custom resource: it stays, and is unchanged in the next plan."""
    text = _definition(group, "v1", stored="v1") + "---\n" + _lane(group, "v1")
    assert bench.apply(text, wait=False).ok
    live = bench.live("lanes", "left", f"{group}/v1")
    assert live is not None
    assert live["spec"] == {"limits": {"cpu": "1000m"}}
    assert bench.plan(text).plan.empty
    plan = bench.plan(text.replace("1000m", "'1'"), "b").plan
    assert [c.key.kind for c in plan.writes] == ["Lane"]


def test_a_version_that_is_no_longer_served(bench: Workbench, group: str) -> None:
    """Fields that were applied in a version since removed are the same fields in the new one."""
    old = _definition(group, "v1alpha1", "v1", stored="v1alpha1")
    assert bench.apply(old + "---\n" + _lane(group, "v1alpha1"), wait=False).ok
    both = _definition(group, "v1alpha1", "v1", stored="v1")
    assert bench.apply(both + "---\n" + _lane(group, "v1"), "b", wait=False).ok
    new = _definition(group, "-v1alpha1", "v1", stored="v1")
    text = new + "---\n" + _lane(group, "v1", "500m")
    applied = bench.apply(text, "c", wait=False)
    assert applied.ok, applied.as_dict()
    live = bench.live("lanes", "left", f"{group}/v1")
    assert live is not None
    assert live["spec"] == {"limits": {"cpu": "500m"}}
    assert bench.plan(text, "c").plan.empty
    (key,) = (k for k in read_inventory(bench.server, bench.app).objects if k.kind == "Lane")
    assert key.group == group


ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}"


def test_roles_without_rules_do_not_change_for_ever(bench: Workbench) -> None:
    """Rules that are empty, null or made by aggregation are no change of every pass."""
    name = f"all-{bench.namespace}"
    label = f"{{matchLabels: {{for: {name}}}}}"
    aggregated = f"aggregationRule: {{clusterRoleSelectors: [{label}]}}\n"
    part = ROLE.format(kind="ClusterRole", name=f"{name}-part", rest="").replace(
        "-part}", f"-part, labels: {{for: {name}}}}}"
    )
    part += "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n"
    text = "---\n".join(
        [
            ROLE.format(kind="Role", name="empty", rest="rules: []\n"),
            ROLE.format(kind="Role", name="nothing", rest="rules:\n"),
            part,
            ROLE.format(kind="ClusterRole", name=name, rest=aggregated),
        ]
    )
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    try:
        assert bench.apply(text).ok
        _until(lambda: bench.server.get(f"{roles}/{name}").get("rules"))
        for full in (False, True):
            plan = bench.plan(text, full=full).plan
            assert plan.empty, plan.as_dict()
    finally:
        for one in (name, f"{name}-part"):
            bench.server.request("DELETE", f"{roles}/{one}")


def _until(condition: Any, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
HOOK = """apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NAME}
webhooks:
  - name: a.example.com
    clientConfig: {url: https://127.0.0.1:1/}
    sideEffects: None
    failurePolicy: Ignore
    admissionReviewVersions: [v1]
    rules: []
"""


def test_an_injected_ca_bundle_is_left(bench: Workbench) -> None:
    """A caBundle that an injector set, and Git does not declare, is no change, and stays."""
    name = f"hook-{bench.namespace}"
    text = HOOK.replace("NAME", name)
    assert bench.apply(text).ok
    bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"
    try:
        live = bench.server.get(f"{HOOKS}/{name}")
        live["webhooks"][0]["clientConfig"]["caBundle"] = bundle
        query = {"fieldManager": "cainjector"}
        bench.server.request("PUT", f"{HOOKS}/{name}", query=query, body=live)
        for full in (False, True):
            assert bench.plan(text, full=full).plan.empty
        changed = text.replace("failurePolicy: Ignore", "failurePolicy: Fail")
        assert bench.apply(changed, "b").ok
        client = bench.server.get(f"{HOOKS}/{name}")["webhooks"][0]["clientConfig"]
        assert client["caBundle"] == bundle
    finally:
        bench.server.request("DELETE", f"{HOOKS}/{name}")


def test_no_webhook_may_be_against_dry_runs(server: Cluster, namespace: str) -> None:
    """In the version that is served a webhook with side effects of its own is not taken at all."""
    hook = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "sideEffects": "Some",
        "admissionReviewVersions": ["v1"],
        "rules": [],
    }
    body = {"metadata": {"name": f"hook-{namespace}"}, "webhooks": [hook]}
    with pytest.raises(ApiError, match="sideEffects"):
        server.request("POST", HOOKS, body=body)


def test_a_finalizer_that_nobody_clears_does_not_block(bench: Workbench) -> None:
    """The delete is sent and the apply ends; the next plan does not delete it again."""
    text = config_map("one", k="v")
    rest = "---\n".join(config_map(f"c{i}", k="v") for i in range(5))
    bench.apply(text + "---\n" + rest)
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    bench.patch("configmaps", "one", hold)
    began = time.monotonic()
    applied = bench.apply(rest, "b")
    assert applied.ok
    assert [key.name for key in applied.deleted] == ["one"]
    assert time.monotonic() - began < 50  # a delete that was waited for would take all of 60
    live = bench.live("configmaps", "one")
    assert live is not None
    assert live["metadata"]["deletionTimestamp"]
    assert not [c for c in bench.plan(rest, "c").plan.changes if c.action is Action.DELETE]
    bench.patch("configmaps", "one", {"metadata": {"finalizers": None}})


def test_what_is_gone_already_is_no_failure(bench: Workbench) -> None:
    """An object that somebody deleted between plan and prune is done, and not tracked further."""
    rest = "---\n".join(config_map(f"c{i}", k="v") for i in range(5))
    bench.apply(config_map("one", k="v") + "---\n" + rest)
    prepared = bench.plan(rest, "b")
    bench.server.request("DELETE", f"/api/v1/namespaces/{bench.namespace}/configmaps/one")
    assert bench.write(prepared).ok
    assert "one" not in {k.name for k in read_inventory(bench.server, bench.app).objects}


@pytest.mark.parametrize(
    ("code", "text", "again"),
    [
        (429, "Too many requests, please try again later.", True),
        (503, "the server is currently unable to handle the request", True),
        (504, "Timeout: request did not complete within the allotted timeout", True),
        (500, 'Internal error occurred: failed calling webhook "a.example.com"', True),
        (500, "etcdserver: leader changed", True),
        (500, "failed to create typed patch object: duplicate entries for key", False),
        (500, "something else", False),
        (409, "Operation cannot be fulfilled on resourcequotas: modified", True),
        (409, "the object has been modified; please apply your changes", False),
        (422, "field is immutable", False),
        (403, "forbidden", False),
        (404, "not found", False),
    ],
)
def test_only_what_passes_by_itself_is_repeated(code: int, text: str, again: bool) -> None:
    """Errors are told apart by what they say; a server that does not answer passes, too."""
    assert passes(ApiError(code, "Reason", text, where="here")) is again
    assert passes(Unreachable("no answer", where="here"))
    assert not passes(ValueError(text))


def test_discovery_leaves_no_file_for_others(server: Cluster) -> None:
    """What the server serves is kept in memory, not under a name in /tmp that others can plant."""
    before = set(Path(tempfile.gettempdir()).glob("osrcp-*"))
    assert Discovery(server).find("v1", "ConfigMap")
    assert set(Path(tempfile.gettempdir()).glob("osrcp-*")) == before
