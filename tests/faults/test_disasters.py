"""Public disasters that begin in a source, replayed from Git: no delete that nobody meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from opslib.kube.client import MERGE
from opslib.reconcile.app import App
from opslib.reconcile.prune import PruneLimits
from opslib.source.mirror import RewrittenHistory

from .parts import audited, wait_for
from .scene import WORKLOAD, Scene, config, refused


def test_nine_of_ten_objects_vanish_from_the_source(scene: Scene) -> None:
    """A generator that lost its input drops 18 of 20 objects; other engines pruned 90 %.

    https://github.com/argoproj/argo-cd/issues/7412
    """
    names = [f"c{i}" for i in range(20)]
    scene.first({f"app/{name}.yaml": config(name) for name in names})
    scene.repository.commit({f"app/{name}.yaml": None for name in names[2:]})
    planned, applied = scene.apply()
    assert applied.ok
    assert not applied.deleted
    assert len(scene.kept(planned)) == 18
    assert all("18 of 20 objects (90 %)" in why for why in scene.kept(planned).values())
    assert scene.inventory() == set(names)


def test_the_folder_vanishes_for_a_moment(scene: Scene) -> None:
    """A source that for one commit lacks the folder is an error, not the wish for nothing.

    https://github.com/argoproj/argo-cd/issues/9227
    """
    scene.first({"app/one.yaml": config("a", "b")})
    scene.repository.commit({"app/one.yaml": None, "else/x.yaml": config("x")})
    assert "app" in refused(scene)
    scene.repository.commit({"app/one.yaml": config("a", "b")})
    planned, applied = scene.apply()
    assert applied.ok
    assert not scene.deletes(planned)


@pytest.mark.parametrize("rest", ["README.md", "note.yaml"])
def test_everything_is_removed_from_the_folder(scene: Scene, rest: str) -> None:
    """A folder without a single object deletes nothing; kustomize-controller deletes all.

    https://github.com/fluxcd/kustomize-controller/blob/main/internal/controller/kustomization_prune_test.go
    """
    scene.first({"app/one.yaml": config("a", "b")})
    scene.repository.commit({"app/one.yaml": None, f"app/{rest}": "# nothing\n"})
    assert "declares nothing" in refused(scene)


def test_two_apps_one_namespace_and_one_drops_it(scene: Scene) -> None:
    """A namespace that two apps declare is refused to the second; dropped, it is not deleted.

    https://github.com/fluxcd/kustomize-controller/issues/1724
    """
    place = f"{scene.namespace}-shared"
    space = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {place}}}\n"
    inside = config("inside", head=f", namespace: {place}")
    scene.first({"app/ns.yaml": space, "app/one.yaml": config("a")})
    uid = scene.server.get(f"/api/v1/namespaces/{place}")["metadata"]["uid"]
    scene.repository.commit({"two/ns.yaml": space, "two/one.yaml": inside})
    told = refused(scene, "two", f"{scene.app}-two")
    assert scene.app in told
    scene.repository.commit({"two/ns.yaml": None, "app/ns.yaml": None})
    assert scene.apply("two", f"{scene.app}-two")[1].ok
    planned, applied = scene.apply()
    assert applied.ok
    assert f"of app {scene.app}-two is in this namespace" in scene.kept(planned)[place]
    live = scene.server.get(f"/api/v1/namespaces/{place}")["metadata"]
    assert (live["uid"], live.get("deletionTimestamp")) == (uid, None)
    assert scene.server.get(f"/api/v1/namespaces/{place}/configmaps/inside")
    assert not [e for e in audited(scene.sandbox, "", ("delete",)) if e.name == place]
    scene.server.request("DELETE", f"/api/v1/namespaces/{place}")


@pytest.mark.parametrize(
    "broken",
    [
        "kind: [\n",
        config("b").replace("ConfigMap", "ConfigMpa"),
        config("b").replace("data:", "dta:"),
    ],
    ids=["no YAML", "no such kind", "no such field"],
)
def test_one_broken_file_holds_back_every_delete(scene: Scene, broken: str) -> None:
    """A revision that renders in part deletes nothing, also not what it dropped elsewhere.

    https://github.com/argoproj/argo-cd/issues/9227
    """
    scene.first({f"app/{name}.yaml": config(name) for name in "abcdefgh"})
    scene.repository.commit({"app/a.yaml": None, "app/b.yaml": broken})
    assert "app/b.yaml" in refused(scene)


def test_a_branch_that_was_reset(scene: Scene) -> None:
    """A branch set back to an older commit is not followed; accepted, it still deletes nothing.

    https://github.com/argoproj/argo-cd/issues/9227
    """
    scene.repository.commit({"app/a.yaml": config(*"abcdefgh")})
    scene.first({"app/new.yaml": config("new")})
    scene.repository.git("reset", "--quiet", "--hard", "HEAD~1")
    with pytest.raises(RewrittenHistory):
        scene.apply()
    planned, applied = scene.apply(accept_rewrite=True)
    assert applied.ok
    assert "older than what was applied" in scene.kept(planned)["new"]


def test_a_branch_that_was_forced_to_another_history(scene: Scene) -> None:
    """An unrelated history under the same name is not followed; accepted, it deletes nothing.

    https://github.com/argoproj/argo-cd/issues/9227
    """
    scene.first({"app/a.yaml": config(*"abcdefgh"), "app/b.yaml": config("b2")})
    scene.repository.git("checkout", "--quiet", "--orphan", "fresh")
    scene.repository.commit({"app/b.yaml": None})
    scene.repository.git("branch", "--force", "main", "fresh")
    with pytest.raises(RewrittenHistory):
        scene.apply()
    planned, _ = scene.apply(accept_rewrite=True)
    assert "not in the history" in scene.kept(planned)["b2"]


def test_a_new_machine_does_not_know_the_old_head(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the mirror's memory a rewritten branch is seen by the inventory's commit.

    https://github.com/argoproj/argo-cd/issues/9227
    """
    scene.repository.commit({"app/a.yaml": config(*"abcdefgh")})
    scene.first({"app/new.yaml": config("new")})
    scene.repository.git("reset", "--quiet", "--hard", "HEAD~1")
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "another"))
    planned, _ = scene.apply()
    assert "not in the history" in scene.kept(planned)["new"]


def test_a_shallow_clone_as_the_source(scene: Scene, tmp_path: Path) -> None:
    """A clone whose history is cut off cannot show that the old commit is in it: no deletes.

    https://github.com/argoproj/argo-cd/issues/9227
    """
    scene.first({"app/a.yaml": config(*"abcdefgh"), "app/old.yaml": config("old")})
    scene.repository.commit({"app/old.yaml": None})
    clone = tmp_path / "shallow"
    url = f"file://{scene.repository.folder}"
    scene.repository.git("clone", "--quiet", "--depth=1", url, str(clone))
    scene.repository.folder = clone
    planned, _ = scene.apply()
    assert "not in the history" in scene.kept(planned)["old"]


def test_the_app_is_renamed(scene: Scene) -> None:
    """The same folder under a new app's name is refused while the old app has the objects.

    https://github.com/fluxcd/flux2/issues/3316
    """
    scene.first({"app/a.yaml": config(*"abc")})
    told = refused(scene, app=f"{scene.app}-renamed")
    assert scene.app in told
    assert scene.inventory(f"{scene.app}-renamed") == set()


def test_the_folder_is_renamed(scene: Scene) -> None:
    """The old path is an error; the new one under the same app is the same objects.

    https://github.com/fluxcd/kustomize-controller/issues/338
    """
    scene.first({"app/a.yaml": config(*"abc")})
    scene.repository.git("mv", "app", "apps")
    scene.repository.commit({})
    assert "app" in refused(scene)
    planned, applied = scene.apply("apps")
    assert applied.ok
    assert not scene.deletes(planned)
    assert planned.prepared.plan.counts["unchanged"] == 3


def test_the_dry_run_shows_exactly_what_is_deleted(scene: Scene) -> None:
    """What the plan names as deletes, no more and no less, is in the audit log afterwards.

    https://github.com/fluxcd/flux/issues/1990
    """
    scene.first({f"app/{name}.yaml": config(name) for name in "abcdefghijkl"})
    scene.repository.commit({"app/a.yaml": None, "app/b.yaml": None})
    planned = scene.plan()
    scene.meant = {f"configmaps/{name}" for name in scene.deletes(planned)}
    assert scene.meant == {"configmaps/a", "configmaps/b"}
    again, applied = scene.apply()
    assert again.prepared.plan.hash == planned.prepared.plan.hash
    assert {f"configmaps/{key.name}" for key in applied.deleted} == scene.meant


def test_half_of_the_first_apply_fails(scene: Scene) -> None:
    """Objects of a first apply that failed half way are tracked, and go when Git drops them.

    https://github.com/fluxcd/kustomize-controller/blob/main/internal/controller/kustomization_controller.go
    """
    hanging = WORKLOAD.format(kind="Deployment", replicas=1).replace("db:1", "db:does-not-exist")
    scene.repository.commit({"app/a.yaml": config(*"abcdef"), "app/d.yaml": hanging})
    _, applied = scene.apply(timeout=4)
    assert not applied.ok
    assert scene.inventory() == {*"abcdef", "db"}
    scene.repository.commit({"app/a.yaml": config(*"bcdef"), "app/d.yaml": None})
    scene.meant = {"configmaps/a"}
    limits = PruneLimits(confirmed=frozenset({f"Deployment.apps {scene.namespace}/db"}))
    planned, applied = scene.apply(limits=limits)
    assert applied.ok, applied.as_dict()
    assert scene.deletes(planned) == ["a", "db"]
    assert scene.inventory() == set("bcdef")
    # The controllers take what they made of the Deployment; the test means these as well.
    gone = {name for name in scene.seen if name.startswith(("deployments/", "replicasets/"))}
    wait_for(lambda: not gone & scene.uids().keys(), why="the Deployment's children stay")
    scene.seen = {
        name: uid for name, uid in scene.seen.items() if not name.startswith("replicasets")
    }
    scene.meant.add("deployments/db")


@pytest.mark.parametrize(
    "spoiled",
    ["", "{}", '{"format": "opslib.dev/inventory/v0", "objects": []}'],
    ids=["", "{}", "v0"],
)
def test_an_inventory_that_cannot_be_read(scene: Scene, spoiled: str) -> None:
    """An inventory that somebody spoiled is an error; it is never taken for an empty one.

    https://github.com/kubernetes-sigs/cli-utils
    """
    scene.first({"app/a.yaml": config(*"abcdef"), "app/old.yaml": config("old")})
    path = f"/api/v1/namespaces/opslib-system/configmaps/{App(scene.app).inventory}"
    whole = scene.server.get(path)["data"]["inventory"]

    def put(text: str) -> None:
        body = {"data": {"inventory": text}}
        scene.server.request("PATCH", path, body=body, content_type=MERGE)

    scene.repository.commit({"app/old.yaml": None})
    put(spoiled)
    assert "cannot be read" in refused(scene)
    put(whole)
    scene.meant = {"configmaps/old"}
    assert [key.name for key in scene.apply()[1].deleted] == ["old"]
