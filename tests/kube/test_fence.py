"""Writes of somebody who may have lost the right to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from opslib.kube.client import Cluster
from opslib.kube.fence import Fenced

from .conftest import Asked, Reply, connected, serving


def test_what_may_be_written_is(cluster: Cluster, namespace: str) -> None:
    """Behind a fence that is open everything works as without, against the real server."""
    fenced = cluster.fenced(lambda: True)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    fenced.request("POST", path, body={"metadata": {"name": "c"}, "data": {"k": "v" * 100_000}})
    assert fenced.get(f"{path}/c")["data"] == {"k": "v" * 100_000}
    patch = {"data": {"k": "w"}}
    content = "application/merge-patch+json"
    fenced.request("PATCH", f"{path}/c", body=patch, content_type=content)
    fenced.request("DELETE", f"{path}/c", body={"propagationPolicy": "Background"})
    assert fenced.find(f"{path}/c") is None


def test_nothing_is_sent_behind_a_closed_fence(tmp_path: Path) -> None:
    """Reads go on; a write does not leave this process; the plain connection is not fenced."""

    def answer(reply: Reply, asked: Asked) -> None:
        reply.json({})

    with serving(answer) as fake, connected(fake, tmp_path / "k") as cluster:
        fenced = cluster.fenced(lambda: False)
        fenced.get("/api/v1/pods")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(Fenced, match="no longer write"):
                fenced.request(method, "/api/v1/pods", body={})
        cluster.request("POST", "/api/v1/pods", body={})
        asked = [one.method for one in fake.asked if one.path == "/api/v1/pods"]
    assert asked == ["GET", "POST"]


def test_a_fence_that_falls_inside_a_request(cluster: Cluster, namespace: str) -> None:
    """Closed between the headers and the body: nothing is written, and the next request works."""
    answers = iter([True, False])
    fenced = cluster.fenced(lambda: next(answers))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with pytest.raises(Fenced):
        fenced.request("POST", path, body={"metadata": {"name": "c"}})
    assert cluster.find(f"{path}/c") is None
    cluster.request("POST", path, body={"metadata": {"name": "c"}})
