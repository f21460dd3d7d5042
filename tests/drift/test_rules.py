"""Rules with a reason and an end, and against which commit an app is reviewed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from reconcile.conftest import config_map, deployment

from opslib.core.clock import now
from opslib.core.errors import OpslibError

from .scene import ADDED, CHANGED, Scene, told

HEAD = "apiVersion: opslib.dev/v1alpha1\nkind: App\n"


def rule(kind: str, name: str, days: int, fields: str = "") -> str:
    """Return an entry of ignore that ends in so many days."""
    end = (now() + timedelta(days=days)).date()
    named = f"  fields: [{fields}]\n" if fields else ""
    target = f"- target: {{kind: {kind}, name: {name}}}\n"
    return f"{target}{named}  reason: agreed with support\n  expires: {end}\n"


def test_a_rule_explains_until_its_day(scene: Scene) -> None:
    """Fields, whole objects, extra ones and missing ones; past its day the drift says so."""
    rules = (
        rule("ConfigMap", "c1", 1, "data, metadata.labels, 'metadata.annotations[\"x.y/z\"]'")
        + rule("ConfigMap", "c2", 1)
        + rule("ConfigMap", "scratch*", 0, "'*'")
        + rule("ConfigMap", "c3", -1, "data.a")
        + rule("Deployment", "web", 1, "'spec.template.spec.containers[name=app].env[*].value'")
    )
    web = deployment("web", replicas=0) + "          env: [{name: A, value: a}]\n"
    maps = {name: config_map(name, a="1") for name in ("c1", "c2", "c3")}
    scene.apply(opslib=f"{HEAD}ignore:\n{rules}", web=web, **maps)
    change = {"data": {"a": "2", "b": "3"}, "metadata": {"annotations": {"x.y/z": "1", "o": "2"}}}
    scene.edit("configmaps", "c1", change)
    scene.server.request("DELETE", scene.path("configmaps", "c2"))
    scene.edit("configmaps", "c3", {"data": {"a": "2"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scratch-1"}}
    scene.make("configmaps", body)
    env = [{"name": "A", "value": "b"}, {"name": "B", "value": "b"}]
    pod = {"containers": [{"name": "app", "env": env}]}
    scene.server.request(
        "PATCH",
        scene.path("deployments", "web", "apps/v1"),
        body={"spec": {"template": {"spec": pod}}},
        content_type="application/strategic-merge-patch+json",
    )
    review = scene.review()
    app = "spec.template.spec.containers[name=app]"
    assert told(review.drifts) == [
        ("ConfigMap/c1", ADDED, "metadata.annotations.o"),
        ("ConfigMap/c3", CHANGED, "data.a"),
        ("Deployment/web", ADDED, f"{app}.env[name=B]"),
    ]
    expired = next(one for one in review.drifts if one.key.name == "c3")
    assert "agreed with support" in expired.note
    assert "that day is past" in expired.note
    told_of = "\n".join(review.explained)
    for part in ("data.b of", f"ConfigMap {scene.namespace}/c2:", "scratch-1", "env[name=A].value"):
        assert part in told_of, part
    assert "app/opslib.yaml:" in told_of


def test_what_is_not_applied_yet_is_no_drift(scene: Scene) -> None:
    """The last applied commit counts; newer ones are counted, and their rules hold already."""
    scene.apply(c1=config_map("c1", a="1"), c2=config_map("c2", a="1"))
    first = scene.session.fetch()
    scene.repository.commit({"elsewhere/notes.md": "not of this app"})
    assert not any("not applied yet" in line for line in scene.review().warnings)
    scene.edit("configmaps", "c1", {"data": {"a": "9"}})
    scene.edit("configmaps", "c2", {"data": {"a": "9"}})
    scene.commit(c1=config_map("c1", a="2"), c3=config_map("c3", a="1"))
    scene.commit(opslib=f"{HEAD}ignore:\n" + rule("ConfigMap", "c2", 1, "data.a"))
    review = scene.review()
    assert review.revision.commit == first.commit
    assert told(review.drifts) == [("ConfigMap/c1", CHANGED, "data.a")]
    assert (review.drifts[0].declared, review.drifts[0].live) == ("1", "9")
    (pending,) = [line for line in review.warnings if "not applied yet" in line]
    assert pending.startswith("2 commits are not applied yet")


def test_a_source_that_is_gone_does_not_end_reviews(scene: Scene) -> None:
    """Without the source the last applied commit is reviewed from the mirror."""
    scene.apply(c1=config_map("c1", a="1"))
    scene.edit("configmaps", "c1", {"data": {"a": "9"}})
    (scene.repository.folder / ".git").rename(scene.repository.folder / "gone")
    review = scene.review()
    assert told(review.drifts) == [("ConfigMap/c1", CHANGED, "data.a")]
    assert any("the source cannot be had" in line for line in review.warnings)


def test_what_was_never_applied_is_not_missing(scene: Scene) -> None:
    """A new app has nothing that could be gone."""
    scene.commit(c1=config_map("c1", a="1"))
    review = scene.review()
    assert review.drifts == ()
    assert any(line.startswith("not applied yet: ConfigMap") for line in review.warnings)


def test_nothing_to_compare_with_is_an_error(scene: Scene) -> None:
    """An empty repository is bad input, not an app without drift."""
    with pytest.raises(OpslibError):
        scene.review()
