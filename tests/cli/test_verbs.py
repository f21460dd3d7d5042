"""The verbs from Git to the cluster and back, with their exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from opslib import __version__
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.source.example import create_example

from .conftest import Opslib, git, run

HEAVY = (
    "cel",
    "kubernetes",
    "pandas",
    "papermill",
    "plotly",
    "jsonschema",
    "rich",
    "pydantic",
    "git",
)
VERBS = ("upgrade", "plan", "apply", "check", "watch", "run", "demo")
GROUPS = {
    "sandbox": ("up", "down", "status", "env"),
    "drift": ("list", "explain", "revert", "adopt", "ignore", "escalate"),
    "rollout": ("status", "history", "undo", "describe", "logs"),
    "records": ("list", "show", "diff", "gallery", "verify", "export"),
    "schedule": ("list", "render"),
    "notify": ("flush",),
}


def test_help_loads_nothing_heavy() -> None:
    """Start-up is a feature: --help imports no client, no tables, no notebooks."""
    code = (
        "import sys\nfrom opslib.cli.main import run\nrun(['--help'])\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


def test_every_verb_has_help_and_json() -> None:
    """Each verb explains itself and can answer with one JSON document."""
    assert run("--version").out == f"opslib {__version__}\n"
    words = [[verb] for verb in VERBS]
    words += [[group, verb] for group, verbs in GROUPS.items() for verb in verbs]
    for verb in words:
        ended = run(*verb, "--help")
        assert ended.code == 0, ended.err
        assert "--json" in ended.out, verb


def test_from_git_to_the_cluster_and_back(
    opslib: Opslib, platform: Path, server: Cluster, namespace: str, place: str
) -> None:
    """Plan, apply, check, drift, an approval by hash: each with its exit code."""
    common = ("--repo", platform, "--path", "production", "--app", namespace)
    first = opslib("plan", *common, "--json")
    assert first.code == 0, first.err
    assert first.json["counts"]["create"] >= 7
    denied = opslib("apply", *common)
    assert denied.code == 3
    assert first.json["hash"] in denied.told()
    assert opslib("apply", *common, "--approve", "0" * 64).code == 3
    assert server.find(f"/api/v1/namespaces/{place}") is None
    applied = opslib("apply", *common, "--approve", first.json["hash"], "--json")
    assert applied.code == 0, applied.err
    assert applied.json["applied"]["ok"]
    assert opslib("check", *common).code == 0
    path = f"/apis/apps/v1/namespaces/{place}/deployments/payment-processor"
    assert server.get(path)["status"]["readyReplicas"] == 3
    merge = "application/merge-patch+json"
    server.request("PATCH", path, body={"spec": {"replicas": 2}}, content_type=merge)
    drift = opslib("check", *common)
    assert drift.code == 4
    assert "spec.replicas  2 → 3" in drift.out
    assert opslib("apply", *common, "--yes").code == 0
    assert opslib("check", *common).code == 0


def test_the_platform_of_2018_is_upgraded(opslib: Opslib, tmp_path: Path) -> None:
    """Removed API versions are refused by name and line; upgrade makes them plannable."""
    repo = tmp_path / "old"
    create_example(repo, upgraded=False)
    refused = opslib("plan", "--repo", repo, "--path", "production")
    assert refused.code == 2
    assert "opslib upgrade" in refused.told()
    shown = opslib("upgrade", repo)
    assert "+apiVersion: apps/v1" in shown.out
    assert not git(repo, "status", "--porcelain")
    assert opslib("upgrade", repo, "--write").code == 0
    git(repo, "commit", "-qam", "upgrade")
    assert opslib("plan", "--repo", repo, "--path", "production").code == 0


def test_the_loop_applies_and_ends_cleanly_on_sigterm(
    opslib: Opslib, sandbox: Status, platform: Path, namespace: str, place: str
) -> None:
    """A commit is live within a poll; SIGTERM ends the loop with exit 0 and a last status."""
    del place
    common = ("--repo", str(platform), "--path", "production", "--app", namespace)
    env = {**os.environ, **sandboxes.environment(sandbox.name)}
    words = [sys.executable, "-m", "opslib", "watch", *common, "--interval", "2s"]
    loop = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True)

    def applied() -> bool:
        ended = opslib("watch", *common, "--status", "--json")
        return bool(ended.json.get("applied_commit") == git(platform, "rev-parse", "HEAD"))

    try:
        _wait(applied)
        git(platform, "commit", "-q", "--allow-empty", "-m", "nothing")
        _wait(applied)
    finally:
        loop.send_signal(signal.SIGTERM)
        _, err = loop.communicate(timeout=90)
    assert loop.returncode == 0, err
    assert opslib("watch", *common, "--status", "--json").json["phase"] == "stopped"


def test_a_failed_revision_is_taken_back_and_released(
    opslib: Opslib, tmp_path: Path, namespace: str
) -> None:
    """With --once: exit 1, a status that says what to do, a warning to who plans, a release."""
    repo, app = tmp_path / "shop", f"q-{namespace}"
    (repo / "app").mkdir(parents=True)
    text = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n"
        "  selector: {matchLabels: {app: app}}\n"
        "  template:\n    metadata: {labels: {app: app}}\n"
        "    spec: {containers: [{name: app, image: registry.example/app:IMAGE}]}\n"
    )
    git(tmp_path, "init", "-q", "-b", "main", str(repo))
    for image in ("v1", "does-not-exist"):
        (repo / "app" / "d.yaml").write_text(text.replace("IMAGE", image))
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", f"image {image}")
        common = ("--repo", repo, "--path", "app", "--app", app)
        patience = "1m" if image == "v1" else "3s"
        once = ("--once", "--health-timeout", patience, "--json")
        ended = opslib("watch", *common, "-n", namespace, *once)
        assert ended.code == (0 if image == "v1" else 1), ended.err
    bad = git(repo, "rev-parse", "HEAD")
    assert (ended.json["phase"], ended.json["quarantined"]["commit"]) == ("quarantined", bad)
    assert ended.json["proposal"]["commands"][0] == f"git revert --no-commit {bad}"
    status = opslib("watch", *common, "--status")
    assert f"--release {bad[:12]}" in status.out
    assert "git revert" in status.out
    warned = opslib("plan", *common, "-n", namespace)
    assert f"revision {bad[:12]} is quarantined since" in warned.out + warned.err
    refused = opslib("watch", *common, "--release", "1234567")
    assert refused.code == 2
    assert bad[:12] in refused.told()
    released = opslib("watch", *common, "--release", bad[:10], "--json")
    assert released.json["released"]["commit"] == bad
    assert "quarantined since" not in opslib("plan", *common, "-n", namespace).out


def test_the_sandbox_verbs(own_sandbox: str) -> None:
    """Up, status, env, down: what they print points other programs at the control plane."""
    up = run("sandbox", "up", "--name", own_sandbox, "--nodes", "1", "--json")
    assert up.json["state"] == "running"
    assert run("sandbox", "status", "--name", own_sandbox).code == 0
    env = run("sandbox", "env", "--name", own_sandbox).out
    assert f"export KUBECONFIG={up.json['kubeconfig']}" in env
    assert run("sandbox", "down", "--name", own_sandbox).code == 0
    assert run("sandbox", "status", "--name", own_sandbox).code == 1


def _wait(condition: Callable[[], bool], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")
