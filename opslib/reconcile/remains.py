"""What remains of an approved plan when its apply was cut off, told by hashes of its parts.

A plan that is made anew after a break is smaller, so that its hash is another. Each part of a
plan has a hash of its own: what the plan stands on (app, commit, cluster), each change that
writes, each takeover in it. A plan of which every part is a part of an approved one adds
nothing to it, and ``Change.same_as`` holds for each of its changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opslib.core.hashes import digest
from opslib.reconcile.judge import Prepared, creation
from opslib.reconcile.plan import Action, Change, Plan

FORMAT = "opslib.dev/plan-part/v1"


def parts_of(prepared: Prepared) -> frozenset[str]:
    """Return the hashes (SHA-256) of a plan's parts: what covers, or is covered, part by part.

    What is kept writes nothing and is no part. The second half of a replacement, the creation
    after the delete, is one too: it is what remains where a break came between the two.
    """
    plan = prepared.plan
    ground = _ground(plan)
    parts = {digest(ground)}
    replaced = {change.key for change in plan.writes if change.action is Action.REPLACE}
    halves = (creation(prepared, t) for t in prepared.desired.targets if t.key in replaced)
    for change in (*plan.writes, *halves):
        parts.update(digest({**ground, **part}) for part in _parts(change))
    return frozenset(parts)


def _ground(plan: Plan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "app": plan.app,
        "commit": plan.revision.commit,
        "path": plan.revision.path,
        "cluster": plan.cluster_uid,
    }


def _parts(change: Change) -> Iterator[dict[str, Any]]:
    """Yield what an approver sees: a takeover that is done already is none of a later plan."""
    seen = replace(change, takeovers=()).approved_part()
    yield {"change": seen}
    for manager in change.takeovers:
        yield {"change": seen, "takeover": manager}
