"""Bad input: one message with what, where and what to do; exit 2; nothing half applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from opslib.kube.client import Cluster

from .conftest import Ended, Opslib, git, run

NOWHERE = "http://127.0.0.1:1"


def _plan(opslib: Opslib, repo: Path | str, *more: str, **env: str) -> Ended:
    return opslib("plan", "--repo", repo, "--path", "production", *more, **env)


def _refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    text = ended.told()
    for word in words:
        assert word in text


def _kubeconfig(folder: Path, server: str = NOWHERE, **user: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "here",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_an_api_server_that_does_not_answer(opslib: Opslib, platform: Path) -> None:
    """The address that was tried is named."""
    config = _kubeconfig(platform.parent)
    _refused(_plan(opslib, platform, "--kubeconfig", str(config)), "127.0.0.1:1", "to do:")


def test_a_kubeconfig_that_is_not_there(opslib: Opslib, platform: Path) -> None:
    """The path is named, and how to have a control plane."""
    _refused(_plan(opslib, platform, KUBECONFIG="/nonexistent/kc"), "/nonexistent/kc", "sandbox up")


def test_a_kubeconfig_that_is_not_yaml(opslib: Opslib, platform: Path) -> None:
    """A broken kubeconfig is named as such."""
    broken = platform.parent / "broken"
    broken.write_text("clusters: [")
    _refused(_plan(opslib, platform, "--kubeconfig", str(broken)), "kubeconfig", str(broken))


def test_credentials_that_the_server_does_not_take(
    opslib: Opslib, platform: Path, server: Cluster
) -> None:
    """A wrong token is told as such, not as a missing right."""
    config = yaml.safe_load(_kubeconfig(platform.parent, server.server, token="wrong").read_text())
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path = platform.parent / "kubeconfig"
    path.write_text(json.dumps(config))
    _refused(_plan(opslib, platform, "--kubeconfig", str(path)), "401", "renew")


def test_a_context_that_is_not_there(opslib: Opslib, platform: Path) -> None:
    """The contexts that there are, are named."""
    _refused(_plan(opslib, platform, "--context", "prod"), "prod", "one of:")


def test_a_broken_yaml_file(opslib: Opslib, platform: Path) -> None:
    """File and line are named."""
    (platform / "production" / "service.yaml").write_text("kind: Service\n  bad: [\n")
    git(platform, "commit", "-qam", "broken")
    _refused(_plan(opslib, platform), "production/service.yaml:2")


def test_an_unknown_kind(opslib: Opslib, platform: Path) -> None:
    """The kind, its file and the nearest known kind are named."""
    path = platform / "production" / "service.yaml"
    path.write_text(path.read_text().replace("kind: Service", "kind: Servize"))
    git(platform, "commit", "-qam", "misspelt")
    _refused(_plan(opslib, platform), "Servize", "production/service.yaml:", "Service")


def test_a_missing_custom_resource_definition(opslib: Opslib, platform: Path) -> None:
    """What is missing is named as what to do."""
    (platform / "production" / "lane.yaml").write_text(
        "apiVersion: shop.example/v1\nkind: Lane\nmetadata: {name: left, namespace: production}\n"
    )
    (platform / "production" / "kustomization.yaml").unlink(missing_ok=True)
    git(platform, "add", "--all")
    git(platform, "commit", "-qm", "lane")
    _refused(_plan(opslib, platform), "Lane", "production/lane.yaml:1", "CustomResourceDefinition")


@pytest.mark.parametrize(
    "url", ["/nonexistent/repo", "http://127.0.0.1:1/x.git", "ext::sh -c id", "--upload-pack=id"]
)
def test_a_git_url_that_fails(opslib: Opslib, url: str) -> None:
    """A repository that cannot be had, for whatever reason, is named."""
    ended = opslib("plan", f"--repo={url}", "--path", "production")
    _refused(ended, url)


def test_a_branch_that_is_not_there(opslib: Opslib, platform: Path) -> None:
    """The branch is named."""
    _refused(_plan(opslib, platform, "--revision", "mian"), "mian")


def test_a_folder_that_is_not_there(opslib: Opslib, platform: Path) -> None:
    """The folder is named; it is not an empty desired state."""
    _refused(opslib("plan", "--repo", platform, "--path", "produktion"), "produktion")


def test_a_runbook_that_is_not_there(opslib: Opslib) -> None:
    """The nearest runbook is named."""
    _refused(opslib("run", "reconcil"), "reconcil", "did you mean reconcile?")


def test_a_parameter_that_is_not_there(opslib: Opslib, tmp_path: Path) -> None:
    """The nearest parameter is named; no record is begun."""
    ended = opslib("run", "reconcile", "-p", "rebo", "x", "--out", tmp_path / "records")
    _refused(ended, "rebo", "did you mean repo?")
    assert not (tmp_path / "records").exists()


def test_a_parameter_of_the_wrong_type(opslib: Opslib) -> None:
    """What would be right is named."""
    _refused(opslib("run", "reconcile", "-p", "mode", "destroy"), "mode", "plan")


def test_errors_are_one_json_document_when_asked(opslib: Opslib, platform: Path) -> None:
    """With --json the error is on standard output too, with its exit code."""
    ended = _plan(opslib, platform, "--context", "prod", "--json")
    assert ended.json["error"]["exit_code"] == 2
    assert ended.json["error"]["kind"] == "bad-input"


def test_a_stack_is_shown_when_asked(opslib: Opslib, platform: Path) -> None:
    """--debug shows where an error comes from."""
    ended = opslib("--debug", "plan", "--repo", platform, "--context", "prod")
    assert ended.code == 2
    assert "Traceback" in ended.err


def test_nothing_is_half_applied(opslib: Opslib, platform: Path, server: Cluster) -> None:
    """A wrong field in one file keeps all files out of the cluster."""
    path = platform / "production" / "service.yaml"
    path.write_text(path.read_text().replace("spec:", "spce:"))
    for name in platform.glob("production/*.yaml"):
        name.write_text(name.read_text().replace("production", "half-applied"))
    git(platform, "commit", "-qam", "wrong field")
    ended = opslib("apply", "--repo", platform, "--path", "production", "--yes")
    _refused(ended, "production/service.yaml")
    assert server.find("/api/v1/namespaces/half-applied") is None


def test_an_unknown_verb_and_option() -> None:
    """The parser's own errors are bad input too."""
    assert run("destroy").code == 2
    assert run("plan", "--force").code == 2
