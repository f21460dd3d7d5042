"""Public disasters that begin in an object, replayed from Git: no delete that nobody meant."""

from __future__ import annotations

import pytest

from opslib.core.errors import OpslibError
from opslib.kube.client import APPLY, MERGE
from opslib.reconcile.app import App
from opslib.reconcile.prune import PruneLimits

from .parts import audited, wait_for
from .scene import REPLAYED, WORKLOAD, Scene, config, refused


def test_an_object_that_the_other_app_owns_by_now(scene: Scene) -> None:
    """An object moved between apps: the first one's prune sees the second one's fields on it.

    https://github.com/fluxcd/flux2/issues/1366 https://github.com/fluxcd/flux2/issues/1462
    """
    scene.first({"app/moves.yaml": config("moves"), "app/stays.yaml": config("stays")})
    scene.repository.git("mv", "app/moves.yaml", "moves.yaml")
    scene.repository.commit({"two/moves.yaml": config("moves"), "moves.yaml": None})
    second = App(f"{scene.app}-two")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "moves"}}
    scene.server.request(
        "PATCH",
        f"/api/v1/namespaces/{scene.namespace}/configmaps/moves",
        query={"fieldManager": second.manager, "force": True},
        body={**body, "data": {"k": "1"}},
        content_type=APPLY,
    )
    planned, applied = scene.apply()
    assert applied.ok
    assert second.name in scene.kept(planned)["moves"]


def test_an_object_that_moves_is_never_silently_taken(scene: Scene) -> None:
    """While one app has an object, another that declares it is refused, and both are named.

    https://github.com/fluxcd/flux2/issues/1366
    """
    scene.first({"app/one.yaml": config("moves", "stays")})
    scene.repository.commit({"app/one.yaml": config("stays"), "two/one.yaml": config("moves")})
    told = refused(scene, "two", f"{scene.app}-two")
    assert scene.app in told
    assert scene.inventory(f"{scene.app}-two") == set()
    assert scene.deletes(scene.plan()) == ["moves"]  # shown before anything is done


def test_labels_copied_to_children(scene: Scene) -> None:
    """What an operator makes with the labels and annotations of its parent is nobody's prune.

    https://github.com/fluxcd/kustomize-controller/issues/315
    https://github.com/fluxcd/kustomize-controller/issues/410
    """
    head = ", labels: {app.kubernetes.io/managed-by: opslib, opslib.dev/app: x}"
    scene.first({"app/one.yaml": config("parent", head=head), "app/two.yaml": config("b")})
    parent = scene.get("configmaps", "parent")
    copied = {key: parent["metadata"][key] for key in ("labels", "annotations")}
    scene.make("configmaps", {"metadata": {"name": "child", **copied}, "data": {"k": "1"}})
    scene.uids()
    scene.repository.commit({"app/one.yaml": None})
    scene.meant = {"configmaps/parent"}
    planned, applied = scene.apply()
    assert applied.ok
    assert scene.deletes(planned) == ["parent"]


def test_a_child_of_an_operator_is_its_owners(scene: Scene) -> None:
    """An object that got an owner since it was applied is left to that owner.

    https://github.com/fluxcd/kustomize-controller/issues/315
    """
    scene.first({"app/one.yaml": config("adopted"), "app/two.yaml": config("owner", "b")})
    owner = scene.get("configmaps", "owner")["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    scene.server.request(
        "PATCH",
        f"/api/v1/namespaces/{scene.namespace}/configmaps/adopted",
        query={"fieldManager": "operator"},
        body={"metadata": {"ownerReferences": [reference]}},
        content_type=MERGE,
    )
    scene.repository.commit({"app/one.yaml": None})
    planned, applied = scene.apply()
    assert applied.ok
    assert "ConfigMap owner owns it" in scene.kept(planned)["adopted"]


def test_a_namespace_on_a_cluster_scoped_object(scene: Scene) -> None:
    """An injected namespace makes no other identity: no delete and no re-creation in any pass.

    https://github.com/fluxcd/kustomize-controller/issues/1651
    """
    name = f"viewer-{scene.namespace}"
    role = (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n"
        f"metadata: {{name: {name}, namespace: {scene.namespace}}}\nrules: []\n"
    )
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}"
    scene.first({"app/role.yaml": role, "app/one.yaml": config("a")})
    uid = scene.server.get(path)["metadata"]["uid"]
    for value in ("2", "3"):
        scene.repository.commit({"app/one.yaml": config("a", value=value)})
        planned, applied = scene.apply()
        assert applied.ok
        assert not scene.deletes(planned)
        assert not scene.kept(planned)
    assert scene.server.get(path)["metadata"]["uid"] == uid
    assert not [e for e in audited(scene.sandbox, "", ("delete",)) if e.name == name]
    scene.server.request("DELETE", path)


ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def _forbid_deletes(scene: Scene, name: str) -> list[str]:
    """Let the server itself refuse to delete one object; return what was made for it."""
    rule = f"keep-{scene.namespace}"
    match = {
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["DELETE"],
                "resources": ["configmaps"],
            }
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
    }
    spec = {
        "matchConstraints": match,
        "validations": [{"expression": f"oldObject.metadata.name != '{name}'"}],
    }
    policies = f"{ADMISSION}/validatingadmissionpolicies"
    scene.server.request("POST", policies, body={"metadata": {"name": rule}, "spec": spec})
    binding = {"policyName": rule, "validationActions": ["Deny"]}
    body = {"metadata": {"name": rule}, "spec": binding}
    scene.server.request("POST", f"{ADMISSION}/validatingadmissionpolicybindings", body=body)
    return [f"{policies}/{rule}", f"{ADMISSION}/validatingadmissionpolicybindings/{rule}"]


def _deletable(scene: Scene, name: str) -> bool:
    path = f"/api/v1/namespaces/{scene.namespace}/configmaps/{name}"
    try:
        scene.server.request("DELETE", path, body={"dryRun": ["All"]})
    except OpslibError:
        return False
    return True


def test_a_failed_delete_leaves_no_orphan(scene: Scene) -> None:
    """What could not be deleted stays in the inventory, is named, and goes with the next pass.

    https://github.com/fluxcd/kustomize-controller/issues/1664
    """
    scene.first({"app/one.yaml": config("stuck", "easy"), "app/two.yaml": config(*"abcdefghij")})
    made = _forbid_deletes(scene, "stuck")
    wait_for(lambda: not _deletable(scene, "stuck"), why="the policy is not in force")
    scene.repository.commit({"app/one.yaml": None})
    scene.meant = {"configmaps/easy", "configmaps/stuck"}
    _, applied = scene.apply()
    assert [failure.key.name for failure in applied.failures] == ["stuck"]
    assert "stuck" in scene.inventory()
    for path in made:
        scene.server.request("DELETE", path)
    wait_for(lambda: _deletable(scene, "stuck"), why="the policy is still in force")
    _, again = scene.apply()
    assert again.ok
    assert [key.name for key in again.deleted] == ["stuck"]
    assert scene.inventory() == set("abcdefghij")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_an_invalid_change_deletes_nothing(scene: Scene, kind: str) -> None:
    """A 422 for a value that is merely wrong is no reason to delete and make anew.

    https://github.com/fluxcd/kustomize-controller/issues/734
    """
    scene.first({"app/db.yaml": WORKLOAD.format(kind=kind, replicas=0)})
    scene.repository.commit({"app/db.yaml": WORKLOAD.format(kind=kind, replicas=-1)})
    told = refused(scene)
    assert "app/db.yaml:5" in told
    assert "spec.replicas" in told


def test_data_goes_only_by_name(scene: Scene) -> None:
    """A claim and a StatefulSet that Git dropped stay until somebody names them.

    https://github.com/fluxcd/kustomize-controller/issues/734
    """
    claim = (
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec:\n"
        "  accessModes: [ReadWriteOnce]\n  storageClassName: ''\n  volumeName: VOLUME\n"
        "  resources: {requests: {storage: 1Gi}}\n"
    )
    volume = (
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: VOLUME}\nspec:\n"
        "  accessModes: [ReadWriteOnce]\n  storageClassName: ''\n  capacity: {storage: 1Gi}\n"
        "  persistentVolumeReclaimPolicy: Delete\n  hostPath: {path: /nowhere}\n"
    )
    text = WORKLOAD.format(kind="StatefulSet", replicas=0)
    both = f"{volume}---\n{claim}".replace("VOLUME", f"data-{scene.namespace}")
    scene.first({"app/pv.yaml": both, "app/db.yaml": text, "app/a.yaml": config("a")})
    scene.repository.commit({"app/pv.yaml": None, "app/db.yaml": None})
    planned, applied = scene.apply()
    assert applied.ok
    assert set(scene.kept(planned)) == {"data", f"data-{scene.namespace}", "db"}
    assert all("only when named" in why for why in scene.kept(planned).values())
    path = f"/api/v1/persistentvolumes/data-{scene.namespace}"
    assert not scene.server.get(path)["metadata"].get("deletionTimestamp")
    assert not [e for e in audited(scene.sandbox, "", ("delete",)) if e.uri.startswith(path)]
    scene.server.request("DELETE", path)


def test_the_same_object_through_another_group(scene: Scene) -> None:
    """An object that Git names by another API group is the same by its uid, and stays.

    https://github.com/argoproj/gitops-engine/blob/master/pkg/sync/reconcile.go
    """
    core = (
        "apiVersion: v1\nkind: Event\nmetadata: {name: deployed}\nreason: Deployed\n"
        "type: Normal\ninvolvedObject: {kind: ConfigMap, name: a, namespace: HERE}\n"
        "firstTimestamp: '2026-01-01T00:00:00Z'\nlastTimestamp: '2026-01-01T00:00:00Z'\n"
    ).replace("HERE", scene.namespace)
    scene.first({"app/event.yaml": core, "app/a.yaml": config(*"abcdef")})
    path = f"/api/v1/namespaces/{scene.namespace}/events/deployed"
    uid = scene.server.get(path)["metadata"]["uid"]
    moved = core.replace("apiVersion: v1", "apiVersion: events.k8s.io/v1")
    moved = moved.replace("involvedObject:", "regarding:")
    moved = moved.replace("firstTimestamp", "deprecatedFirstTimestamp")
    moved = moved.replace("lastTimestamp", "deprecatedLastTimestamp")
    scene.repository.commit({"app/event.yaml": moved})
    planned, applied = scene.apply()
    assert applied.ok, applied.as_dict()
    assert "it is the same object as Event.events.k8s.io" in scene.kept(planned)["deployed"]
    assert scene.server.get(path)["metadata"]["uid"] == uid


CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: boats.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Boat, plural: boats, singular: boat}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""


def test_a_definition_is_dropped_and_all_of_its_kind_with_it(scene: Scene) -> None:
    """A CustomResourceDefinition that Git drops stays, and with it every object of its kind.

    https://github.com/fluxcd/kustomize-controller/issues/732
    """
    group = f"{scene.app}.example"
    boat = f"apiVersion: {group}/v1\nkind: Boat\nmetadata: {{name: one}}\nspec: {{sails: 2}}\n"
    scene.first(
        {"app/crd.yaml": CRD.format(group=group), "app/boat.yaml": boat, "app/a.yaml": config("a")}
    )
    path = f"/apis/{group}/v1/namespaces/{scene.namespace}/boats/one"
    uid = scene.server.get(path)["metadata"]["uid"]
    scene.repository.commit({"app/crd.yaml": None})
    planned, applied = scene.apply()
    assert applied.ok
    assert "only when named" in scene.kept(planned)[f"boats.{group}"]
    assert scene.server.get(path)["metadata"]["uid"] == uid
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    scene.server.request("DELETE", f"{root}/boats.{group}")


def test_a_system_namespace_is_never_deleted(scene: Scene) -> None:
    """Not even confirmed by name is a namespace of the system deleted.

    https://github.com/carvel-dev/kapp
    """
    place = f"kube-{scene.namespace}"
    space = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {place}}}\n"
    scene.first({"app/ns.yaml": space, "app/a.yaml": config("a")})
    scene.repository.commit({"app/ns.yaml": None})
    limits = PruneLimits(confirmed=frozenset({f"Namespace {place}"}))
    planned, applied = scene.apply(limits=limits)
    assert applied.ok
    assert "never deleted" in scene.kept(planned)[place]
    assert not scene.server.get(f"/api/v1/namespaces/{place}")["metadata"].get("deletionTimestamp")
    scene.server.request("DELETE", f"/api/v1/namespaces/{place}")


def test_an_object_that_opted_out_is_shown_as_kept(scene: Scene) -> None:
    """The plan says that an opted-out object stays, and it stays; flux diff showed a delete.

    https://github.com/fluxcd/flux2/blob/main/internal/build/diff.go
    """
    opted = config("opted", head=", annotations: {opslib.dev/prune: disabled}")
    scene.first({"app/opted.yaml": opted, "app/a.yaml": config(*"abcdef")})
    scene.repository.commit({"app/opted.yaml": None})
    for _ in range(2):
        planned, applied = scene.apply()
        assert applied.ok
        assert "disabled" in scene.kept(planned)["opted"]
        assert not scene.deletes(planned)


def test_an_object_made_anew_since_the_plan(scene: Scene) -> None:
    """An object of the same name that somebody made meanwhile is another one, and stays.

    https://github.com/carvel-dev/kapp/blob/develop/pkg/kapp/clusterapply/delete_change.go
    """
    scene.first({"app/a.yaml": config(*"abcdef"), "app/old.yaml": config("old")})
    scene.repository.commit({"app/old.yaml": None})
    session = scene.session()
    planned = session.plan(session.fetch())
    assert scene.deletes(planned) == ["old"]
    path = f"/api/v1/namespaces/{scene.namespace}/configmaps"
    scene.server.request("DELETE", f"{path}/old", query={"pretty": True})
    made = scene.make("configmaps", {"metadata": {"name": "old"}, "data": {"k": "precious"}})
    applied = session.apply(planned, timeout=20)
    assert [failure.key.name for failure in applied.failures] == ["old"]
    assert scene.get("configmaps", "old")["metadata"]["uid"] == made["metadata"]["uid"]
    # It was this test that deleted the first one, by the same client.
    scene.meant = {"configmaps/old"}
    entries = audited(scene.sandbox, scene.namespace, ("delete",))
    assert [e.uri for e in entries if e.done] == [f"{path}/old?pretty=true"]


def test_the_disasters_are_counted() -> None:
    """There are as many as promised, each of them without a delete that nobody meant."""
    names = {name.partition("[")[0] for name in REPLAYED}
    print(f"{len(names)} disasters replayed in {len(REPLAYED)} ways, 0 unintended deletes")
    assert len(names) >= 12
