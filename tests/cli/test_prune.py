"""The limits of a prune, as options of the verbs."""

from __future__ import annotations

from pathlib import Path

from .conftest import Opslib, git

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {a: '1'}\n"


def test_limits_are_options(opslib: Opslib, tmp_path: Path, namespace: str) -> None:
    """Three of four objects are too many by default, and deleted when the options allow it."""
    repo = tmp_path / "repo"
    (repo / "app").mkdir(parents=True)
    for name in ("a", "b", "c", "d"):
        (repo / "app" / f"{name}.yaml").write_text(MAP.replace("NAME", name))
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(repo))
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "four")
    where = ("--repo", repo, "--path", "app", "--app", namespace, "--namespace", namespace)
    assert opslib("apply", *where, "--yes").code == 0
    for name in ("b", "c", "d"):
        (repo / "app" / f"{name}.yaml").unlink()
    git(repo, "commit", "--quiet", "-am", "one")
    held = opslib("plan", *where)
    assert "3 of 4 objects (75 %) would be deleted; the limits are 10 and 20 %" in held.out
    assert opslib("plan", *where, "--json", "--prune-percent", "100").json["counts"]["delete"] == 3
    few = ("--json", "--prune-percent", "100", "--prune-count", "2")
    assert opslib("plan", *where, *few).json["counts"]["keep"] == 3
    assert opslib("apply", *where, "--yes", "--prune-percent", "100").code == 0
    assert opslib("plan", *where, "--json").json["counts"]["unchanged"] == 1
    refused = opslib("plan", *where, "--prune-percent", "120")
    assert refused.code == 2
    assert "--prune-percent" in refused.told()
