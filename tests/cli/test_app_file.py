"""opslib.yaml from Git, as the verbs see it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from .conftest import Opslib, git

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n"
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1'}\n"
APP = """apiVersion: opslib.dev/v1alpha1
kind: App
dependsOn: [base-NAME]
leave:
- target: {kind: ConfigMap, name: settings}
  fields: [data.a]
  to: the night shift
  reason: they tune it
  expires: 2999-12-31
"""


@pytest.fixture
def apps(tmp_path: Path) -> tuple[Path, str]:
    """Return a repository of two apps, the second of which depends on the first; and its mark."""
    name = f"n{uuid.uuid4().hex[:8]}"
    repo = tmp_path / "apps"
    for folder, files in {
        "base": {"namespace.yaml": NAMESPACE},
        "shop": {"map.yaml": MAP, "opslib.yaml": APP},
    }.items():
        (repo / folder).mkdir(parents=True)
        for file, text in files.items():
            (repo / folder / file).write_text(text.replace("NAME", name))
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(repo))
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "two apps")
    return repo, name


def test_an_app_waits_until_the_other_is_there(
    opslib: Opslib, apps: tuple[Path, str], namespace: str
) -> None:
    """Refused with the reason and nothing written, then applied once the first app is whole."""
    repo, name = apps
    shop = ("--repo", repo, "--path", "shop", "--app", f"shop-{name}", "--namespace", namespace)
    base = ("--repo", repo, "--path", "base", "--app", f"base-{name}")
    planned = opslib("plan", *shop)
    assert planned.code == 0, planned.err
    assert f"waits: app base-{name} was never applied whole" in planned.out
    refused = opslib("apply", *shop, "--yes")
    assert refused.code == 1
    assert f"app base-{name} was never applied whole" in refused.told()
    assert opslib("plan", *shop, "--json").json["counts"]["create"] == 1
    assert opslib("apply", *base, "--yes").code == 0
    assert opslib("apply", *shop, "--yes").code == 0
    shown = opslib("plan", *shop, "--all").out
    assert "data.a is left to the night shift until 2999-12-31: they tune it" in shown
    assert "shop/opslib.yaml:5" in shown


def test_a_mistake_in_the_file_is_named(opslib: Opslib, apps: tuple[Path, str]) -> None:
    """Exit code 2, with the file and the line."""
    repo, _ = apps
    (repo / "shop" / "opslib.yaml").write_text(APP.replace("expires: 2999-12-31", "expires: soon"))
    git(repo, "commit", "--quiet", "-am", "a mistake")
    ended = opslib("plan", "--repo", repo, "--path", "shop")
    assert ended.code == 2
    assert "shop/opslib.yaml:9" in ended.told()
