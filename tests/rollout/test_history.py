"""The revisions that were, and the way back to one of them."""

from __future__ import annotations

import pytest

from opslib.core.errors import ConflictError, InputError
from opslib.rollout import apply_undo, history, plan_undo, status

from .conftest import BAD, GOOD, Shop


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_undo_goes_back_as_kubectl_does(shop: Shop, kind: str) -> None:
    """Shown first, written under a lock; afterwards the old image runs and history is longer."""
    target = shop.make("web", kind)
    status(shop.server, target, timeout=120)
    shop.image(target, "registry.example.com/shop:v2")
    status(shop.server, target, timeout=120)
    before = history(shop.server, target)
    assert [(e.revision, e.current) for e in before] == [(1, False), (2, True)]
    plan = plan_undo(shop.server, target)
    assert [(c.path, c.before, c.after) for c in plan.changes] == [
        (
            "spec.template.spec.containers[name=main].image",
            "registry.example.com/shop:v2",
            GOOD,
        )
    ]
    assert apply_undo(shop.server, plan)
    assert status(shop.server, target, timeout=120).ok
    entries = history(shop.server, target)
    assert [(e.revision, e.images) for e in entries if e.current] == [(3, (GOOD,))]
    listed = shop.kubectl("rollout", "history", f"{kind.lower()}/web").stdout
    theirs = [line.split()[0] for line in listed.splitlines() if line[:1].isdigit()]
    assert [str(e.revision) for e in entries] == theirs


def test_undo_is_locked_to_what_was_shown(shop: Shop) -> None:
    """A workload that changed since the plan is not written."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    shop.image(target, BAD)
    shop.until(target, lambda found: "cannot pull" in found.reason)
    plan = plan_undo(shop.server, target)
    shop.patch(target, {"spec": {"replicas": 3}})
    with pytest.raises(ConflictError, match="nothing was written"):
        apply_undo(shop.server, plan)
    assert BAD in shop.kubectl("get", "deploy", "web", "-o", "yaml").stdout


def test_undo_needs_something_to_go_back_to(shop: Shop) -> None:
    """One revision, an unknown one and a paused rollout are refused, as in kubectl."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    with pytest.raises(InputError, match="no rollout history"):
        plan_undo(shop.server, target)
    with pytest.raises(InputError, match="no revision 9"):
        plan_undo(shop.server, target, to_revision=9)
    assert plan_undo(shop.server, target, to_revision=1).changes == ()
    shop.patch(target, {"spec": {"paused": True}})
    with pytest.raises(InputError, match="paused"):
        plan_undo(shop.server, target)


def test_change_causes_and_commits_are_told(shop: Shop) -> None:
    """What a person noted, and what commit brought it, is beside each revision."""
    target = shop.make("web")
    notes = {"kubernetes.io/change-cause": "release", "opslib.dev/commit": "a" * 40}
    shop.patch(target, {"metadata": {"annotations": notes}})
    status(shop.server, target, timeout=120)
    shop.image(target, "registry.example.com/shop:v2")
    status(shop.server, target, timeout=120)
    newest = history(shop.server, target)[-1]
    assert (newest.change_cause, newest.commit) == ("release", "a" * 40)
