"""Objects that Git does not have, and what belongs there although Git does not have it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from reconcile.conftest import config_map, deployment

from opslib.kube.client import Cluster
from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status

from .scene import EXTRA, Scene, told

STATEFUL = """apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: 'registry.example/db:1'}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
"""


def wait_for(condition: Any, seconds: float = 60) -> Any:
    """Wait until a condition gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def body(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    version = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1"}.get(kind, "v1")
    metadata = {"name": name, **rest.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def owned_by(owner: dict[str, Any], **other: Any) -> dict[str, Any]:
    reference = {
        "apiVersion": owner.get("apiVersion", "apps/v1"),
        "kind": owner.get("kind", "Deployment"),
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        **other,
    }
    return {"ownerReferences": [reference]}


def test_only_what_nobody_answers_for_is_extra(
    scene: Scene, server: Cluster, tmp_path: Path
) -> None:
    """Children, volumes, tokens and other apps' objects belong; what only claims to does not."""
    scene.wait = False  # nobody provides the volume
    scene.apply(web=deployment("web", replicas=1), db=STATEFUL, c=config_map("c", a="1"))
    wait_for(lambda: server.list(scene.path("persistentvolumeclaims"))[0])
    other = Scene(server, scene.namespace, tmp_path / "other")
    other.apply(theirs=config_map("theirs", a="1"))
    web = scene.live("deployments", "web", "apps/v1")
    # What belongs there.
    token = {"annotations": {"kubernetes.io/service-account.name": "default"}}
    kind = "kubernetes.io/service-account-token"
    scene.make("secrets", body("Secret", "default-token-abcde", metadata=token, type=kind))
    helm = {"labels": {"owner": "helm"}}
    scene.make("secrets", body("Secret", "sh.helm.release.v1.x.v1", metadata=helm))
    # What only says so.
    scene.make("configmaps", body("ConfigMap", "child", metadata=owned_by(web)))
    scene.make("secrets", body("Secret", "token-of-nobody", data={"password": "aHVudGVyMg=="}))
    scene.make("secrets", body("Secret", "default-token-fghij", metadata=token))
    pod = {"containers": [{"name": "a", "image": "registry.example/a:1"}]}
    scene.make("pods", body("Pod", "debug", spec=pod))
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
    select = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    scene.make("deployments", body("Deployment", "miner", spec=select), "apps/v1")
    wait_for(lambda: len(server.list(scene.path("replicasets", "", "apps/v1"))[0]) == 2)
    review = scene.review()
    print(review.explained)
    assert told(review.drifts) == sorted(
        [
            ("ConfigMap/child", EXTRA, ""),
            ("Secret/token-of-nobody", EXTRA, ""),
            ("Secret/default-token-fghij", EXTRA, ""),
            ("Pod/debug", EXTRA, ""),
            ("Deployment/miner", EXTRA, ""),
        ]
    )
    notes = {one.key.name: one.note for one in review.drifts}
    assert notes["child"] == "Deployment web, its owner, makes no ConfigMap"
    secret = next(one for one in review.drifts if one.key.name == "token-of-nobody")
    assert "hunter2" not in str(review)
    assert "aHVudGVyMg" not in str(review)
    assert secret.live["data"]["password"].startswith("<masked ")
    assert secret.uid
    assert not review.unread


@pytest.fixture
def reader(sandbox: Status, scene: Scene, server: Cluster) -> Any:
    """Return what makes a connection of somebody who may read some kinds only."""
    from opslib.kube.client import connect

    made: list[Cluster] = []
    name = f"reader-{uuid.uuid4().hex[:6]}"
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces"

    def one(*resources: str) -> Cluster:
        where = scene.namespace
        shell = {"metadata": {"name": name, "namespace": where}}
        rules = [{"apiGroups": ["", "apps"], "resources": resources, "verbs": ["get", "list"]}]
        server.request("POST", f"{rbac}/{where}/roles", body={**shell, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        who = {"kind": "ServiceAccount", "name": "default", "namespace": where}
        binding = {**shell, "roleRef": role, "subjects": [who]}
        server.request("POST", f"{rbac}/{where}/rolebindings", body=binding)
        path = scene.path("serviceaccounts", "default") + "/token"
        answer = server.request("POST", path, body={"spec": {"expirationSeconds": 600}})
        made.append(connect(_kubeconfig(sandbox, answer["status"]["token"], scene)))
        return made[-1]

    yield one
    for connection in made:
        connection.close()


def _kubeconfig(sandbox: Status, token: str, scene: Scene) -> Path:
    import yaml

    path = Path(cluster.environment(sandbox.name)["KUBECONFIG"])
    document = yaml.safe_load(path.read_text())
    document["users"][0]["user"] = {"token": token}
    place = scene.repository.folder.parent / "kubeconfig"
    place.write_text(yaml.safe_dump(document))
    place.chmod(0o600)
    return place


def test_who_may_read_little_reviews_that(scene: Scene, reader: Any) -> None:
    """Kinds that may not be listed are named; the rest is compared, without any right to write."""
    from opslib.drift.review import take
    from opslib.reconcile.session import open_session
    from opslib.source.mirror import Source

    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n"
    scene.apply(
        c1=config_map("c1", a="1", b="2"),
        c2=config_map("c2", a="1"),
        c3=config_map("c3", a="1"),
        s=secret,
        web=deployment("web", replicas=1),
    )
    scene.edit("configmaps", "c1", {"data": {"a": "9", "b": None, "c": "3"}})
    scene.server.request("DELETE", scene.path("configmaps", "c2"))
    scene.server.request("DELETE", scene.path("secrets", "s"))
    session = open_session(
        reader("configmaps", "deployments", "pods"),
        Source(str(scene.repository.folder), "", "app"),
        app=scene.app,
        namespace=scene.namespace,
    )
    review = take(session)
    print(review.unread, review.warnings, sep="\n")
    found = told(review.drifts)
    assert ("ConfigMap/c1", "changed", "data.a") in found
    assert ("ConfigMap/c1", "removed", "data.b") in found
    assert ("ConfigMap/c1", "added", "data.c") in found
    unread = {one.what: one.why for one in review.unread}
    assert f"Secret {scene.namespace}/s" in unread
    # The pod is a ReplicaSet's that may not be seen: it is not taken for one of nobody.
    assert f"ReplicaSet.apps in {scene.namespace}" in unread
    assert f"ConfigMap in {scene.namespace}" not in unread
    assert all(one[0].startswith("ConfigMap/") for one in found), found
    assert ("ConfigMap/c2", "missing", "") in found
    assert len(found) == 4


def test_an_app_in_many_namespaces_is_listed_once_per_kind(scene: Scene, server: Cluster) -> None:
    """What is foreign in any of them is found; what is in other namespaces is nobody's business."""
    names = [f"{scene.namespace}-{number}" for number in range(6)]
    files = {}
    for number, name in enumerate(names):
        space = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n"
        inside = config_map("c", a="1").replace("name: c", f"name: c\n  namespace: {name}")
        files[f"n{number}"] = space + inside
    scene.apply(**files)
    try:
        foreign = body("ConfigMap", "foreign")
        for name in (names[4], "default"):
            server.request("POST", f"/api/v1/namespaces/{name}/configmaps", body=foreign)
        review = scene.review()
        found = [(one.key.namespace, one.key.name) for one in review.drifts]
        assert found == [(names[4], "foreign")]
        assert review.objects == 12
    finally:
        server.request("DELETE", "/api/v1/namespaces/default/configmaps/foreign")
        for name in names:
            server.request("DELETE", f"/api/v1/namespaces/{name}")
