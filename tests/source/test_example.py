"""The example repository: two commits, the same on every machine, taken by a real API server."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import date
from pathlib import Path

import pytest
import yaml

import opslib
from opslib.core.errors import InputError
from opslib.policy import DEFAULT, check, load_policy
from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status
from opslib.source.example import create_example, example_folder
from opslib.source.render import render_folder
from opslib.source.upgrade import upgrade_folder

TODAY = date(2026, 6, 1)
APPS = "/apis/apps/v1/namespaces"


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=folder, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout


def test_the_first_commit_is_the_deployment_of_2018(tmp_path: Path) -> None:
    """The first commit holds the Deployment field for field as it was written."""
    head = create_example(tmp_path / "repo", upgraded=False)
    assert _git(tmp_path / "repo", "log", "--format=%H %an <%ae> %ad", "--date=short").split() == [
        head,
        *["Payment", "Team", "<payments@example.com>", "2018-06-12"],
    ]
    text = _git(tmp_path / "repo", "show", "HEAD:production/deployment.yaml")
    deployment = yaml.safe_load(text)
    assert deployment["apiVersion"] == "extensions/v1beta1"
    assert deployment["metadata"]["name"] == "payment-processor"
    assert deployment["metadata"]["namespace"] == "production"
    assert set(deployment["spec"]) == {"replicas", "template"}
    assert deployment["spec"]["replicas"] == 3
    template = deployment["spec"]["template"]
    assert template["metadata"] == {"labels": {"app": "payment-processor"}}
    (container,) = template["spec"]["containers"]
    assert container == {
        "name": "payment-go",
        "image": "registry.coolvds.com/payment:v1.4.2",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": 8080},
            "initialDelaySeconds": 5,
            "periodSeconds": 10,
        },
        "resources": {
            "requests": {"memory": "128Mi", "cpu": "250m"},
            "limits": {"memory": "256Mi", "cpu": "500m"},
        },
    }


def test_the_second_commit_only_adds_what_is_needed(tmp_path: Path) -> None:
    """The upgrade touches four files, and takes away only lines that name a removed version."""
    create_example(tmp_path)
    assert len(_git(tmp_path, "log", "--format=%H").split()) == 2
    assert _git(tmp_path, "status", "--porcelain") == ""
    removed = [
        line[1:]
        for line in _git(tmp_path, "show", "--format=", "--unified=0").splitlines()
        if line.startswith("-") and not line.startswith("---")
    ]
    assert sorted(removed) == [
        "apiVersion: extensions/v1beta1",
        "apiVersion: extensions/v1beta1",
        "apiVersion: policy/v1beta1",
        "apiVersion: policy/v1beta1",
    ]
    assert upgrade_folder(tmp_path) == []


def test_commit_ids_depend_on_nothing_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile Git configuration and environment change nothing, and none of it runs."""
    first = create_example(tmp_path / "one")
    home = tmp_path / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (home / ".gitconfig").write_text(
        "[user]\nname = x\nemail = x@example.com\n[commit]\ngpgSign = true\n"
        f"[core]\nhooksPath = {hooks}\nautocrlf = true\n[init]\ndefaultBranch = other\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    before = os.umask(0o077)
    try:
        assert create_example(tmp_path / "two") == first
    finally:
        os.umask(before)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_a_target_that_holds_something_is_refused(tmp_path: Path) -> None:
    """Nothing is written into a folder that is not empty, or over a file."""
    (tmp_path / "mine").write_text("x")
    for target in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="not empty"):
            create_example(target)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_a_checkout_it_is_said_where_the_example_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed package has no examples folder, and the error says what to do."""
    monkeypatch.setattr(opslib, "__file__", str(tmp_path / "site" / "opslib" / "__init__.py"))
    with pytest.raises(InputError, match="not here") as caught:
        example_folder()
    assert "clone" in str(caught.value)


@pytest.mark.parametrize("path", ["production", "staging"])
def test_the_example_keeps_its_own_policy(path: str, tmp_path: Path) -> None:
    """The upgraded example has no finding that is not excused, and no exception is idle."""
    create_example(tmp_path)
    policy = load_policy((tmp_path / "policy.yaml").read_text(), "policy.yaml")
    resources = render_folder(tmp_path / path).resources
    report = check(resources, policy, today=TODAY)
    assert [finding for finding in report.findings if not finding.exception] == []
    assert [finding.rule for finding in report.excused] == ["liveness-probe"]
    assert check(resources, DEFAULT, today=TODAY).errors == ()


def test_the_example_outlives_its_exception(tmp_path: Path) -> None:
    """After the exception's last day the example still has no error, only warnings."""
    create_example(tmp_path)
    policy = load_policy((tmp_path / "policy.yaml").read_text(), "policy.yaml")
    (exemption,) = policy.exceptions
    resources = render_folder(tmp_path / "production").resources
    report = check(resources, policy, today=date(exemption.expires.year + 1, 1, 1))
    assert report.errors == ()
    assert {finding.rule for finding in report.warnings} == {"exception", "liveness-probe"}


def test_the_first_commit_is_found_to_be_of_removed_versions(tmp_path: Path) -> None:
    """Before the upgrade the policy names the two objects that no cluster takes any more."""
    create_example(tmp_path, upgraded=False)
    report = check(render_folder(tmp_path / "production").resources, today=TODAY)
    assert [(f.rule, f.key.kind if f.key else "") for f in report.errors] == [
        ("removed-api", "Deployment"),
        ("removed-api", "PodDisruptionBudget"),
    ]


def test_a_real_cluster_runs_the_upgraded_example(tmp_path: Path, sandbox: Status) -> None:
    """Production passes a strict dry run, and all its pods become ready within the quota."""
    create_example(tmp_path)
    kinds = {
        "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
        "LimitRange": "/api/v1/namespaces/{}/limitranges",
        "ConfigMap": "/api/v1/namespaces/{}/configmaps",
        "Service": "/api/v1/namespaces/{}/services",
        "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
        "Deployment": APPS + "/{}/deployments",
    }
    strict = "?fieldManager=test&fieldValidation=Strict"
    rendered = {
        path: {r.kind: r.manifest for r in render_folder(tmp_path / path).resources}
        for path in ("production", "staging")
    }
    assert set(rendered["production"]) == {"Namespace", *kinds}
    assert set(rendered["staging"]) == {"Namespace", *kinds} - {"PodDisruptionBudget"}
    with cluster.api(sandbox.name) as api:
        try:
            for path, manifests in rendered.items():
                api.json("POST", "/api/v1/namespaces" + strict, manifests["Namespace"])
                for kind in (kind for kind in kinds if kind in manifests):
                    url = kinds[kind].format(path) + strict
                    api.json("POST", url + "&dryRun=All", manifests[kind])
                    api.json("POST", url, manifests[kind])
            for path, wanted in (("production", 3), ("staging", 1)):
                deadline = time.monotonic() + 60
                url = f"{APPS}/{path}/deployments/payment-processor"
                while api.json("GET", url)["status"].get("readyReplicas") != wanted:
                    assert time.monotonic() < deadline, f"{path} did not become ready"
                    time.sleep(0.2)
        finally:
            for path in rendered:
                api.send("DELETE", f"/api/v1/namespaces/{path}")
