"""Rendering: what a commit declares, with file and line, and nothing from anywhere else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from opslib.core.errors import InputError, Problems
from opslib.sandbox.binaries import kubectl
from opslib.source.mirror import Mirror, Source
from opslib.source.render import Rendered, render, render_folder

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\ndata:\n  k: v\n"
KUSTOMIZE = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def committed(folder: Path, files: dict[str, str], path: str = "") -> Rendered:
    """Commit files to a repository and render its head."""
    repo = write(folder / "repo", files)
    git = ["git", "-C", str(repo), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run([*git[:3], "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "-c", "commit.gpgsign=false", "commit", "-qm", "x"], check=True)
    mirror = Mirror.open(Source(str(repo), "", path))
    return render(mirror, mirror.fetch(), path)


def test_a_plain_folder_with_its_subfolders(tmp_path: Path) -> None:
    """All manifests below the path, each with its file and line; hidden files are left out."""
    two = CONFIG.format("b") + "---\n" + CONFIG.format("c")
    files = {"app/a.yaml": CONFIG.format("a"), "app/deep/b.yml": two, "app/.hidden.yaml": "x: ["}
    files |= {"app/d.json": '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}}'}
    found = committed(tmp_path, {**files, "other/e.yaml": CONFIG.format("e")}, "app")
    assert found.kind == "plain"
    assert [(r.name, str(r.origin)) for r in found.resources] == [
        ("a", "app/a.yaml:1"),
        ("d", "app/d.json:1"),
        ("b", "app/deep/b.yml:1"),
        ("c", "app/deep/b.yml:8"),
    ]
    assert found.resources[3].line_of("/data/k") == 13


def test_a_commit_and_its_folder_on_disk_render_alike(tmp_path: Path) -> None:
    """What is rendered from the mirror is what the work tree has."""
    files = {"app/a.yaml": CONFIG.format("a"), "app/b.yaml": CONFIG.format("b")}
    found = committed(tmp_path, files, "app")
    assert render_folder(tmp_path / "repo" / "app").resources == found.resources


def test_a_kustomization_is_what_kubectl_makes_of_it(tmp_path: Path) -> None:
    """Objects equal kubectl's own output; origins are the files of the base."""
    files = {
        "base/kustomization.yaml": KUSTOMIZE + "resources: [a.yaml]\n",
        "base/a.yaml": "# a comment\n" + CONFIG.format("a"),
        "over/kustomization.yaml": KUSTOMIZE
        + "resources: [../base]\nnamePrefix: x-\nlabels: [{pairs: {team: a}}]\n"
        + "configMapGenerator: [{name: made, literals: [k=v]}]\n",
    }
    found = committed(tmp_path, files, "over")
    words = [str(kubectl()), "kustomize", str(tmp_path / "repo" / "over")]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    theirs = {d["metadata"]["name"]: d for d in yaml.safe_load_all(output)}
    assert found.kind == "kustomize"
    assert {r.name: r.manifest for r in found.resources} == theirs
    origins = {r.name.partition("-")[2][:4]: str(r.origin) for r in found.resources}
    assert origins == {"a": "base/a.yaml:2", "made": "over/kustomization.yaml:1"}
    (plain,) = [r for r in found.resources if r.name == "x-a"]
    assert plain.line_of("/data/k") == 7


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("resources: [https://example.invalid/x.yaml]\n", "fetched from elsewhere"),
        ("resources: ['github.com/a/b//base?ref=v1']\n", "fetched from elsewhere"),
        ("resources: ['git@github.com:a/b']\n", "fetched from elsewhere"),
        ("resources: [../../../etc]\n", "leads out of the repository"),
        ("resources: [/etc]\n", "leads out of the repository"),
        ("resources: [absent.yaml]\n", "is not in the repository"),
        ("helmCharts: [{name: x}]\n", "run another program"),
        ("resources: []\npatches: [{path: 'http://127.0.0.1/p.yaml'}]\n", "fetched from elsewhere"),
        ("resources: []\nconfigMapGenerator: [{name: x, files: ['http://h/f']}]\n", "fetched"),
    ],
)
def test_a_kustomization_cannot_reach_out(tmp_path: Path, text: str, word: str) -> None:
    """Remote bases, files, charts and paths out of the repository are refused with their line."""
    with pytest.raises(InputError, match=word) as caught:
        committed(tmp_path, {"app/kustomization.yaml": KUSTOMIZE + text}, "app")
    assert "app/kustomization.yaml:" in str(caught.value)


def test_a_kustomization_cannot_read_beside_itself(tmp_path: Path) -> None:
    """A file of the machine is out of reach, also by a symlink that kustomize would follow."""
    files = {"app/kustomization.yaml": KUSTOMIZE + "configMapGenerator: [{name: x, files: [p]}]\n"}
    write(tmp_path / "repo", files)
    (tmp_path / "repo" / "app" / "p").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="passwd"):
        committed(tmp_path, {}, "app")


def test_what_kubectl_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    """An error of kustomize names the folder and how to see it oneself."""
    text = KUSTOMIZE + "resources: [a.yaml]\npatches: [{path: absent.yaml}]\n"
    files = {"app/kustomization.yaml": text, "app/a.yaml": CONFIG.format("a")}
    with pytest.raises(InputError, match="kubectl kustomize refuses") as caught:
        committed(tmp_path, files, "app")
    assert "absent.yaml" in str(caught.value)
    assert "kustomize-" not in str(caught.value)


def test_a_root_with_several_kustomizations_is_refused(tmp_path: Path) -> None:
    """Overlays beside each other are different apps: one has to be named."""
    files = {f"{n}/kustomization.yaml": KUSTOMIZE + "resources: []\n" for n in ("one", "two")}
    with pytest.raises(InputError, match="2 kustomizations") as caught:
        committed(tmp_path, files)
    assert "--path with one of: one, two" in str(caught.value)


def test_an_object_declared_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    """The same identity in two files is an error, not the last one wins."""
    files = {"a.yaml": CONFIG.format("a"), "b.yaml": "\n" + CONFIG.format("a")}
    with pytest.raises(Problems, match="declared twice") as caught:
        committed(tmp_path, files)
    assert "a.yaml:1 and b.yaml:2" in str(caught.value)


def test_every_broken_file_is_told(tmp_path: Path) -> None:
    """One pass names the mistakes of all files."""
    files = {"a.yaml": "kind: [", "b.yaml": "x: 1\n", "c.yaml": CONFIG.format("c")}
    with pytest.raises(Problems) as caught:
        committed(tmp_path, files)
    text = str(caught.value)
    assert "a.yaml:" in text
    assert "b.yaml:1" in text


def test_a_folder_without_manifests_is_not_an_empty_wish(tmp_path: Path) -> None:
    """Nothing to declare is an error, so that nothing is ever deleted by it."""
    with pytest.raises(InputError, match="declares nothing"):
        committed(tmp_path, {"app/README.md": "words"}, "app")


def test_bytes_that_are_not_text_are_told(tmp_path: Path) -> None:
    """A file in another encoding is named with its line."""
    repo = write(tmp_path / "repo", {"a.yaml": ""})
    (repo / "a.yaml").write_bytes(b"# fine\nname: \xff\n")
    with pytest.raises(Problems, match="not UTF-8") as caught:
        committed(tmp_path, {})
    assert "a.yaml:2" in str(caught.value)


def test_a_policy_file_is_no_resource(tmp_path: Path) -> None:
    """Files of the kit itself are not sent to the cluster."""
    policy = "apiVersion: opslib.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\n"
    found = committed(tmp_path, {"policy.yaml": policy, "a.yaml": CONFIG.format("a")})
    assert [r.name for r in found.resources] == ["a"]


def test_kustomize_works_without_kubectl_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no kubectl is on PATH the sandbox's own is taken."""
    files = {"app/kustomization.yaml": KUSTOMIZE + "resources: [a.yaml]\n"}
    repo = write(tmp_path / "repo", {**files, "app/a.yaml": CONFIG.format("a")})
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(bare))
    monkeypatch.delenv("OPSLIB_CACHE")
    assert [r.name for r in render_folder(repo / "app").resources] == ["a"]
