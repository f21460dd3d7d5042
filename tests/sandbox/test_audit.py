"""What the audit log holds: every change with its body, reads without, Secrets never."""

from __future__ import annotations

import base64
import json
from typing import Any

from auditlog import lines

from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status

from .conftest import wait_for

SECRET = "correct-horse-battery"


def entries(sandbox: Status, namespace: str, verb: str, resource: str) -> list[dict[str, Any]]:
    """Return the audit entries on one kind of resource in a namespace."""
    found = []
    for line in lines(sandbox.audit_log):
        entry = json.loads(line)
        ref = entry.get("objectRef") or {}
        if (ref.get("namespace"), entry["verb"], ref.get("resource")) == (
            namespace,
            verb,
            resource,
        ):
            found.append(entry)
    return found


def test_writes_with_bodies(sandbox: Status, namespace: str) -> None:
    """A change is on the log before its client goes on: who, with what client, and the body."""
    with cluster.api(sandbox.name) as api:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        api.json("POST", path, {"metadata": {"name": "c"}, "data": {"k": "v1"}})
        patch = {"data": {"k": "v2"}}
        api.json("PATCH", f"{path}/c", patch, content_type="application/merge-patch+json")
        api.json("DELETE", f"{path}/c")
    (created,) = [
        e
        for e in entries(sandbox, namespace, "create", "configmaps")
        if e["objectRef"].get("name") == "c"
    ]
    (patched,) = entries(sandbox, namespace, "patch", "configmaps")
    (deleted,) = entries(sandbox, namespace, "delete", "configmaps")
    assert created["level"] == "Request"
    assert created["requestObject"]["data"] == {"k": "v1"}
    assert created["userAgent"] == "opslib-sandbox"
    assert created["user"]["username"]
    assert "responseObject" not in created
    assert patched["requestObject"]["data"] == {"k": "v2"}
    assert deleted["objectRef"]["name"] == "c"


def test_server_side_apply_with_its_manager(sandbox: Status, namespace: str) -> None:
    """An apply is a patch whose address names the field manager."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    with cluster.api(sandbox.name) as api:
        path = f"/api/v1/namespaces/{namespace}/configmaps/a?fieldManager=someone"
        api.json("PATCH", path, body, content_type="application/apply-patch+yaml")
    (entry,) = entries(sandbox, namespace, "patch", "configmaps")
    assert "fieldManager=someone" in entry["requestURI"]
    assert entry["requestObject"]["data"] == {"x": "1"}


def test_secrets_never(sandbox: Status, namespace: str) -> None:
    """Creating, changing and reading a Secret is logged, its content in no form."""
    with cluster.api(sandbox.name) as api:
        path = f"/api/v1/namespaces/{namespace}/secrets"
        api.json("POST", path, {"metadata": {"name": "s"}, "stringData": {"k": SECRET}})
        data = {"data": {"j": base64.b64encode(SECRET.encode()).decode()}}
        api.json("PATCH", f"{path}/s", data, content_type="application/merge-patch+json")
        api.json("GET", f"{path}/s")
        token = api.json(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token",
            {"spec": {"audiences": ["x"]}},
        )["status"]["token"]
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        api.json("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    for verb in ("create", "patch", "get"):
        (entry,) = entries(sandbox, namespace, verb, "secrets")
        assert entry["level"] == "Metadata"
        assert "requestObject" not in entry
    text = b"".join(lines(sandbox.audit_log)).decode()
    assert '"resource":"tokenreviews"' in text
    for form in (SECRET, base64.b64encode(SECRET.encode()).decode(), token):
        assert form not in text


def test_reads_without_bodies(sandbox: Status, namespace: str) -> None:
    """A read by somebody is logged as having happened."""
    with cluster.api(sandbox.name) as api:
        api.json("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    (entry,) = [
        e
        for e in entries(sandbox, namespace, "list", "configmaps")
        if e["userAgent"] == "opslib-sandbox"
    ]
    assert entry["level"] == "Metadata"


def test_leases_of_apps_are_kept_and_heartbeats_are_not(sandbox: Status, namespace: str) -> None:
    """The lease of a loop is evidence; those of nodes and controllers would bury it."""
    body = {"metadata": {"name": "loop"}, "spec": {"holderIdentity": "me"}}
    with cluster.api(sandbox.name) as api:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        api.json("POST", path, body)
        beats = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        wait_for(lambda: len(api.json("GET", beats)["items"]) >= 3)
    (entry,) = entries(sandbox, namespace, "create", "leases")
    assert entry["requestObject"]["spec"] == {"holderIdentity": "me"}
    for verb in ("create", "update", "patch"):
        assert entries(sandbox, "kube-node-lease", verb, "leases") == []


def test_rotation_is_bounded(sandbox: Status) -> None:
    """The API server was told how large the log may grow and how many old ones stay."""
    folder = sandbox.audit_log.parent.parent
    config = (folder / "kwok.yaml").read_text()
    for flag in ("--audit-log-maxsize=50", "--audit-log-maxbackup=4", "--audit-log-mode=blocking"):
        assert flag in config
