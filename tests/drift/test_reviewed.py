"""A whole review with the audit log at hand: what a reader sees of who did what."""

from __future__ import annotations

from opslib.drift.model import Confidence
from opslib.drift.review import take
from opslib.sandbox.cluster import Status

from . import editors
from .editors import Editor
from .scene import Scene

APP = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: payments, tier: front}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "registry.example.com/app:1", env: [{name: MODE, value: plain}]}
      - {name: proxy, image: "registry.example.com/proxy:1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {mode: plain, level: info}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: limits}
data: {most: "5"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {password: correct-horse}
"""


def test_a_review_names_them_all(scene: Scene, sandbox: Status) -> None:
    """Every kind of difference has its author from the log, for certain where that can be."""
    scene.wait = False
    scene.apply(all=APP)
    alice, bob, carol = (
        Editor(sandbox.name, n, scene.namespace) for n in ("alice", "bob", "carol")
    )
    web = scene.path("deployments", "web", "apps/v1")
    settings = scene.path("configmaps", "settings")

    def patch(who: Editor, url: str, body: object, kind: str = editors.STRATEGIC) -> None:
        status, answer = who.send("PATCH", f"{url}?fieldManager=kubectl-patch", body, kind=kind)
        assert status == 200, answer

    debug = {"name": "debug", "image": "busybox", "args": ["sh"]}
    for who, item in (
        (alice, {"name": "app", "image": "registry.example.com/app:2"}),
        (bob, debug),
    ):
        patch(who, web, {"spec": {"template": {"spec": {"containers": [item]}}}})
    who_env = {"name": "app", "env": [{"name": "MODE", "$patch": "delete"}]}
    patch(carol, web, {"spec": {"template": {"spec": {"containers": [who_env]}}}})
    patch(alice, web, {"spec": {"replicas": 2}})
    patch(bob, web, {"metadata": {"labels": {"team": None}, "annotations": {"by": "bob"}}})
    patch(carol, settings, {"data": {"level": "debug", "more": "x"}}, editors.MERGE)
    patch(bob, settings, {"data": {"level": "debug"}}, editors.MERGE)
    patch(alice, settings, [{"op": "remove", "path": "/data/mode"}], editors.JSON)
    assert alice.send("DELETE", scene.path("configmaps", "limits"))[0] == 200
    patch(bob, scene.path("secrets", "key"), {"stringData": {"password": "wrong-horse"}})
    extra = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "own"},
        "data": {"a": "b"},
    }
    assert carol.send("POST", scene.path("configmaps"), extra)[0] == 201
    for who in (alice, bob, carol):
        who.close()
    review = take(scene.session, audit=sandbox.audit_log)
    found = {
        f"{one.key.kind} {one.key.name} {one.path}": (
            one.attribution.actor.user if one.attribution.actor else "",
            str(one.attribution.confidence),
        )
        for one in review.drifts
    }
    for name, (user, how) in found.items():
        print(f"{name}: {how} {user}")
    print(review.audit)
    template = "spec.template.spec.containers"
    expected = {
        f"Deployment web {template}[name=app].image": "alice",
        f"Deployment web {template}[name=debug]": "bob",
        "Deployment web spec.replicas": "alice",
        "Deployment web metadata.labels.team": "bob",
        "Deployment web metadata.annotations.by": "bob",
        "ConfigMap settings data.level": "carol",
        "ConfigMap settings data.more": "carol",
        "ConfigMap settings data.mode": "alice",
        "ConfigMap limits ": "alice",
        "ConfigMap own ": "carol",
    }
    certain = str(Confidence.CERTAIN)
    assert {name: found.get(name) for name in expected} == {
        name: (user, certain) for name, user in expected.items()
    }
    assert found["Secret key data.password"] == ("bob", str(Confidence.LIKELY))
    # Had alice's patch been a plain merge patch, it would have taken the variable away, too.
    assert [user for name, (user, _) in found.items() if ".env" in name] == ["carol"]
    assert all(one.since for one in review.drifts if one.attribution.confidence == certain)
