"""Rules: what each finds, in every kind that starts pods, and what it leaves alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from opslib.core.model import Resource
from opslib.policy import RULES, Finding, Policy, Severity, check

from .conftest import Load, resource

GOOD: dict[str, Any] = {
    "name": "a",
    "image": "example.com/a:1.0",
    "ports": [{"containerPort": 80}],
    "readinessProbe": {"tcpSocket": {"port": 80}},
    "livenessProbe": {"tcpSocket": {"port": 80}},
    "resources": {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    },
}


def _only(rule: str, severity: Severity = "error") -> Policy:
    severities: dict[str, Severity] = dict.fromkeys(RULES, "off")
    return Policy(severities | {rule: severity})


def _run(rule: str, *resources: Resource, version: str = "") -> list[Finding]:
    return list(check(resources, _only(rule), version=version).findings)


def _pod(container: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"containers": [container], **more}


def _object(api_version: str, kind: str, spec: Any, **more: Any) -> Resource:
    metadata = {"name": "a", "namespace": "n"}
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
    return resource(manifest | {"spec": spec} | more)


def _workloads(pod: dict[str, Any]) -> list[Resource]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    apps = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
    return [
        _object("v1", "Pod", pod),
        _object("v1", "ReplicationController", {"template": template}),
        *(_object("apps/v1", kind, {"template": template}) for kind in apps),
        _object("batch/v1", "Job", {"template": template}),
        _object("batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": template}}}),
        _object("v1", "PodTemplate", None, template=template),
        _object("argoproj.io/v1alpha1", "Rollout", {"template": template}),
    ]


def _deployment(container: dict[str, Any], **more: Any) -> Resource:
    return _workloads(_pod(container, **more))[2]


def _without(*path: str) -> dict[str, Any]:
    container = deepcopy(GOOD)
    inner = container
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return container


@pytest.mark.parametrize("item", _workloads(_pod(GOOD)), ids=lambda item: item.kind)
@pytest.mark.parametrize("rule", ["limits", "requests", "pinned-image", "readiness-probe"])
def test_a_good_container_has_no_finding(item: Resource, rule: str) -> None:
    """A complete container is left alone in every kind."""
    assert _run(rule, item) == []


@pytest.mark.parametrize(
    "item",
    [
        *_workloads(_pod({"name": "a", "image": "a"})),
        *_workloads({"containers": [], "initContainers": [{"name": "a", "image": "a"}]}),
    ],
    ids=lambda item: item.kind,
)
@pytest.mark.parametrize("rule", ["limits", "requests", "pinned-image"])
def test_containers_and_init_containers_of_every_kind_are_looked_at(
    item: Resource, rule: str
) -> None:
    """Limits, requests and images are asked of every container, wherever its template is."""
    (finding,) = _run(rule, item)
    assert finding.key == item.key
    assert "ontainers/0/" in finding.field


@pytest.mark.parametrize("rule", ["limits", "requests"])
def test_each_missing_resource_is_named(rule: str) -> None:
    """The finding says which of CPU and memory is missing and where to write it."""
    (finding,) = _run(rule, _deployment(_without("resources", rule, "cpu")))
    assert finding.message == f"container a has no cpu {rule.removesuffix('s')}"
    assert finding.fix == f"set resources.{rule}.cpu"
    assert finding.field == f"/spec/template/spec/containers/0/resources/{rule}"
    (both,) = _run(rule, _deployment(_without("resources")))
    assert "cpu and memory" in both.message


@pytest.mark.parametrize("rule", ["limits", "requests"])
def test_resources_of_the_whole_pod_count(rule: str) -> None:
    """What is set for the pod as a whole need not be set for its containers."""
    pod = {"resources": {rule: {"cpu": 1, "memory": "1Gi"}}}
    assert _run(rule, _deployment(_without("resources"), **pod)) == []


@pytest.mark.parametrize("rule", ["readiness-probe", "liveness-probe"])
def test_probes_are_asked_of_what_serves(rule: str) -> None:
    """Probes are asked of Pods and of what keeps them running, not of jobs or custom kinds."""
    name = rule.replace("-probe", "Probe")
    found = [item.kind for item in _workloads(_pod(_without(name))) if _run(rule, item)]
    assert found == [
        "Pod",
        "ReplicationController",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
    ]


def test_a_sidecar_without_ports_needs_no_readiness_probe() -> None:
    """Only containers that take traffic are asked; a pod without ports needs one probe at all."""
    quiet = {"name": "b", "image": "b:1"}
    pod = {"containers": [GOOD, quiet], "initContainers": [quiet]}
    assert _run("readiness-probe", _workloads(pod)[2]) == []
    (finding,) = _run("readiness-probe", _deployment(quiet))
    assert finding.message == "container b has no readiness probe"


@pytest.mark.parametrize(
    ("image", "severity"),
    [
        ("a", "error"),
        ("a:latest", "error"),
        ("registry:5000/a", "error"),
        ("registry:5000/team/a:latest", "error"),
        ("a:", "error"),
        ("a:main", "warning"),
        ("a:1", None),
        ("registry:5000/a:v1.4.2", None),
        ("a@sha256:" + "0" * 64, None),
        ("a:latest@sha256:" + "0" * 64, None),
        ("a:1.2-nightly", None),
    ],
)
def test_images_are_pinned(image: str, severity: str | None) -> None:
    """No tag and latest are errors, a branch name is a warning, a version or digest is right."""
    found = _run("pinned-image", _deployment(GOOD | {"image": image}))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_a_guess_never_weighs_more_than_its_rule() -> None:
    """A rule set to info keeps its guesses at info."""
    item = _deployment(GOOD | {"image": "a:main"})
    (finding,) = check([item], _only("pinned-image", "info")).findings
    assert finding.severity == "info"


def test_removed_versions_are_told_against_the_clusters_version() -> None:
    """What is gone is an error, what will be gone a warning, both with the way out."""
    item = _object("policy/v1beta1", "PodDisruptionBudget", {})
    for version, severity in (("", "error"), ("v1.25.3", "error"), ("1.24", "warning")):
        (finding,) = _run("removed-api", item, version=version)
        assert finding.severity == severity
        assert "1.25" in finding.message
        assert "opslib upgrade" in finding.fix
        assert "policy/v1" in finding.fix
    assert _run("removed-api", _object("policy/v1", "PodDisruptionBudget", {})) == []
    (gone,) = _run("removed-api", _object("policy/v1beta1", "PodSecurityPolicy", {}))
    assert "nothing replaces it" in gone.fix


def test_every_namespace_needs_a_quota(load: Load) -> None:
    """Declared and used namespaces are asked once each, at the best place; a quota satisfies."""
    text = """\
        apiVersion: v1
        kind: Namespace
        metadata:
          name: declared
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: a, namespace: declared}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: b
          namespace: used
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: c}
        spec: {containers: []}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: d, namespace: kube-system}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: e}
        """
    found = _run("namespace-quota", *load(text))
    assert [(f.origin.line, f.message.split()[2]) for f in found] == [
        (4, "declared"),
        (14, "used"),
        (18, "default"),
    ]
    quotas = "".join(
        f"---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: q, namespace: {name}}}\n"
        for name in ("declared", "used", "default")
    )
    assert _run("namespace-quota", *load(text), *load(quotas)) == []


def test_findings_name_the_line_of_their_field(load: Load) -> None:
    """A finding points at the field, or where that is missing at its nearest parent."""
    items = load(
        """\
        # a comment
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: a
        spec:
          template:
            spec:
              containers:
              - name: a
                image: a:latest
                resources:
                  limits:
                    cpu: 1
        """
    )
    lines = {
        finding.rule: finding.origin.line
        for finding in check(items).findings
        if finding.rule in {"pinned-image", "limits", "requests", "readiness-probe"}
    }
    assert lines == {"pinned-image": 11, "limits": 13, "requests": 12, "readiness-probe": 10}


@pytest.mark.parametrize(
    "spec",
    [
        None,
        "x",
        1,
        [],
        {"template": "x"},
        {"template": {"spec": {"containers": "x"}}},
        {"template": {"spec": {"containers": [None, 1, {"image": 5, "env": [1], "args": [1]}]}}},
    ],
)
def test_manifests_of_any_shape_are_taken(spec: Any) -> None:
    """A manifest that makes no sense gives findings, never an exception."""
    kinds = (("apps/v1", "Deployment"), ("batch/v1", "CronJob"), ("v1", "Pod"), ("a/v1", "B"))
    for api_version, kind in kinds:
        report = check([_object(api_version, kind, spec, data=spec)])
        assert report.as_dict()["findings"] is not None
