"""Which commit, author and line brought a declared value, in real repositories."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opslib.core.model import Origin, ResourceKey
from opslib.drift.blame import declared
from opslib.drift.model import Declared, Difference, Drift, Plane
from opslib.reconcile.diff import Step, line_of, show
from opslib.reconcile.fieldpath import value_at
from opslib.source.mirror import Mirror, Source
from opslib.source.render import render

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: app
        image: app:1
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  mode: plain
"""
KEY = ResourceKey("apps", "Deployment", "shop", "web")
IMAGE: tuple[Step, ...] = ("spec", "template", "spec", "containers", (("name", "app"),), "image")
REPLICAS: tuple[Step, ...] = ("spec", "replicas")


@dataclass
class Shop:
    """A repository with one folder per app."""

    path: Path
    folder: str = "app"

    def git(self, *args: str) -> str:
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        words = ["git", "-C", str(self.path), *args]
        return subprocess.run(words, env=env, capture_output=True, check=True, text=True).stdout

    def commit(self, author: str, files: dict[str, str | None]) -> str:
        """Write or remove files as somebody; return the commit."""
        for name, text in files.items():
            place = self.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink() if text is None else place.write_text(text)
        self.git("add", "--all")
        who = ("-c", f"user.name={author}", "-c", f"user.email={author}@example.com")
        self.git(*who, "commit", "--quiet", "--message", f"by {author}")
        return self.git("rev-parse", "HEAD").strip()

    def blamed(
        self, place: tuple[Step, ...], *, how: str = "changed", **key: Any
    ) -> Declared | None:
        """Ask for one field of the newest commit, with the origin that a plan gives it."""
        mirror = Mirror.open(Source(str(self.path), "main", self.folder))
        revision = mirror.fetch()
        wanted = KEY if not key else ResourceKey(**key)
        for resource in render(mirror, revision, self.folder).resources:
            if resource.kind == wanted.kind and resource.name == wanted.name:
                origin = Origin(resource.origin.path, line_of(place, resource) or 1)
                value = value_at(resource.manifest, place)[1] if place else None
                drift = Drift(
                    Plane.OBJECTS,
                    Difference(how),
                    wanted,
                    show(place),
                    value,
                    "x",
                    origin,
                    place=place,
                )
                return declared(mirror, revision.commit, [drift])[0].git
        raise AssertionError(wanted)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))
    one = Shop(tmp_path / "repo")
    one.path.mkdir()
    one.git("init", "--quiet", "--initial-branch=main", "--template=")
    one.commit("ann", {"app/web.yaml": WEB})
    return one


def test_the_commit_that_set_the_value(shop: Shop) -> None:
    """Each field has its own commit, author, file and line."""
    first = shop.git("rev-parse", "HEAD").strip()
    second = shop.commit("ben", {"app/web.yaml": WEB.replace("app:1", "app:2")})
    image, replicas = shop.blamed(IMAGE), shop.blamed(REPLICAS)
    assert image
    assert replicas
    assert (image.commit, image.author, str(image.origin)) == (second, "ben", "app/web.yaml:11")
    assert (replicas.commit, replicas.author) == (first, "ann")
    assert str(replicas.origin) == "app/web.yaml:6"
    assert image.subject == "by ben"
    assert image.time


def test_moved_lines_keep_their_author(shop: Shop) -> None:
    """Who moves, indents, comments, renames or splits files did not bring the values in them."""
    moved = WEB.replace("  replicas: 3\n", "") + "  # how many\n  replicas:   3\n"
    shop.commit("mover", {"app/web.yaml": moved})
    shop.commit("renamer", {"app/web.yaml": None, "app/deploy.yaml": moved})
    shop.commit("joiner", {"app/deploy.yaml": None, "app/all.yaml": f"{CONFIG}---\n{moved}"})
    indented = moved.replace(
        "      - name: app\n        image", "        - name: app\n          image"
    )
    shop.commit("indenter", {"app/all.yaml": f"{CONFIG}---\n{indented}"})
    for place in (REPLICAS, IMAGE):
        found = shop.blamed(place)
        assert found
        assert (found.author, found.origin.path) == ("ann", "app/all.yaml")
    mode = shop.blamed(
        ("data", "mode"), group="", kind="ConfigMap", namespace="shop", name="settings"
    )
    assert mode
    assert mode.author == "joiner"


def test_a_value_that_came_back(shop: Shop) -> None:
    """The last one who brought a value counts, not who had it first."""
    shop.commit("ben", {"app/web.yaml": WEB.replace("replicas: 3", "replicas: 5")})
    back = shop.commit("cyd", {"app/web.yaml": WEB})
    found = shop.blamed(REPLICAS)
    assert found
    assert (found.commit, found.author) == (back, "cyd")


def test_a_missing_object_has_the_commit_that_declared_it(shop: Shop) -> None:
    """For a whole object it is the commit that brought the object."""
    shop.commit("ben", {"app/web.yaml": WEB.replace("app:1", "app:2")})
    found = shop.blamed((), how="missing")
    assert found
    assert (found.author, str(found.origin)) == ("ann", "app/web.yaml:4")
    assert shop.blamed(IMAGE, how="added") is None


def test_overlays(shop: Shop) -> None:
    """A patch of an overlay is found; a kustomization's own field has its file and no line."""
    base = {"base/web.yaml": WEB, "base/kustomization.yaml": "resources: [web.yaml]\n"}
    shop.commit("ann", {"app/web.yaml": None, **base})
    patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 7\n"
    text = "resources: [../../base]\nnamespace: shop\npatches:\n- path: more.yaml\n"
    shop.commit("ben", {"over/prod/kustomization.yaml": text, "over/prod/more.yaml": patch})
    shop.commit("cyd", {"over/dev/kustomization.yaml": text, "over/dev/more.yaml": patch})
    images = "images:\n- name: app\n  newTag: '9'\n"
    newest = shop.commit("dee", {"over/prod/kustomization.yaml": text + images})
    shop.folder = "over/prod"
    replicas = shop.blamed(REPLICAS)
    assert replicas
    assert (replicas.author, str(replicas.origin)) == ("ben", "over/prod/more.yaml:6")
    image = shop.blamed(IMAGE)
    assert image
    assert (image.commit, image.author) == (newest, "dee")
    assert (image.origin.path, image.origin.line) == ("over/prod/kustomization.yaml", 0)
    name = shop.blamed(("metadata", "name"))
    assert name
    assert (name.author, name.origin.path) == ("ben", "over/prod/more.yaml")
