"""What a webhook does to our own writes, and who only uses our manager's name."""

from __future__ import annotations

from pathlib import Path

from bench.webhook import MARK, webhook
from reconcile.conftest import config_map, deployment

from opslib.kube.client import Cluster

from .scene import ADDED, Scene, told

SEEN = f'metadata.annotations["{MARK}"]'


def test_a_webhook_is_told_from_whoever_uses_our_name(
    scene: Scene, server: Cluster, tmp_path: Path
) -> None:
    """Neither is named in our own entry; only the twin has what the webhook does."""
    first = {name: config_map(name, a="1") for name in ("c1", "c2", "old")}
    scene.apply(**first, web=deployment("web", replicas=0))
    with webhook(server, tmp_path / "hook", f"hook-{scene.namespace}", scene.namespace):
        again = {name: config_map(name, a="2") for name in ("c1", "c2", "c3")}
        scene.apply(**again, web=deployment("web", replicas=0, image="registry.example/app:2"))
        assert MARK in scene.live("configmaps", "c1")["metadata"]["annotations"]
        assert told(scene.review().drifts) == []
        change = {"metadata": {"annotations": {MARK: "no", "more": "x"}}}
        scene.edit("configmaps", "c2", change, manager=scene.manager)
        review = scene.review()
        assert told(review.drifts) == [
            ("ConfigMap/c2", ADDED, "metadata.annotations.more"),
            ("ConfigMap/c2", ADDED, SEEN),
        ]
        (seen,) = [one for one in review.drifts if one.path == SEEN]
        assert seen.note == "undisturbed it is yes"
    # Without the webhook, what it has left behind is what nobody would set any more.
    review = scene.review()
    assert ("ConfigMap/c1", ADDED, SEEN) in told(review.drifts)
    left = next(one for one in review.drifts if one.key.name == "c1")
    assert "no manager is named" in left.note
