"""What the record keeps of a drift review: counts and rows in result.json, all of it in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opslib.drift.encode import headline, review_document
from opslib.drift.model import Drift, Review
from opslib.drift.order import moment, ordered, who
from opslib.view.text import value

if TYPE_CHECKING:
    from opslib.drift.carry import Acts
    from opslib.view.decide import Answers

MOST_ROWS = 500
"""Differences that result.json has one by one; all are in review.json."""


def document(review: Review, answers: Answers) -> dict[str, Any]:
    """Return the whole review with the decisions of now: what the next one starts from."""
    found = review_document(review)
    for row in found["drifts"]:
        told = answers.decisions.get(row["id"])
        if told:
            row["decision"] = {**vars(told), "disposition": str(told.disposition)}
    return found


def report(review: Review, acts: Acts, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``runbook.report`` takes: the first line, rows, decisions, the plan's hash.

    ``planned`` has the form of a plan, so that ``opslib records diff`` compares two reviews
    object by object and field by field.
    """
    rows = ordered(review.drifts)
    return {
        "headline": headline(review),
        "revision": review.revision.commit,
        "cluster": dict(about),
        "reviewed": {
            "objects": review.objects,
            "differences": len(rows),
            "explained": len(review.explained),
            "unread": len(review.unread),
            "audit": review.audit,
        },
        **({"warnings": list(review.warnings)} if review.warnings else {}),
        "drifts": [_row(one) for one in rows[:MOST_ROWS]],
        "decisions": [_decision(one) for one in acts.decided[:MOST_ROWS]],
        "decided": [_alike(same) for same in acts.alike],
        "planned": {"hash": acts.hash, **acts.counts, "changes": _changes(rows[:MOST_ROWS])},
    }


_BULKY = {"diff", "message", "health", "refused"}
"""What the page and the commit have: result.json names the commit."""


def outcome(done: Mapping[str, Any], verified: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what was done and verified, where something was."""
    applied = {
        name: {
            **{key: item for key, item in one.items() if key not in _BULKY},
            "refused": [[row["id"], row["why"]] for row in one.get("refused") or ()],
        }
        for name, one in done.items()
    }
    return {
        **({"applied": applied} if done else {}),
        **({"verified": dict(verified)} if verified else {}),
    }


def _row(one: Drift) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": str(one.key),
        "path": one.path,
        "difference": str(one.difference),
        "declared": value(one.declared, 200),
        "live": value(one.live, 200),
        "who": who(one),
        "confidence": str(one.attribution.confidence),
        "person": one.attribution.person,
        "since": moment(one)[0],
        "time_is": moment(one)[1] or "proven",
        "note": one.note,
    }


def _decision(one: Drift) -> dict[str, Any]:
    told = one.decision
    return {
        "id": one.id,
        "object": str(one.key),
        "path": one.path,
        "difference": str(one.difference),
        "who": one.attribution.sentence(),
        "disposition": str(told.disposition),
        "by": told.by,
        "at": told.at,
        "reason": told.reason,
        "until": told.until,
    }


def _alike(same: list[Drift]) -> dict[str, Any]:
    """Return one answer with all the differences that have it: none is left out."""
    told = same[0].decision
    return {
        "disposition": str(told.disposition),
        "by": told.by,
        "reason": told.reason,
        "until": told.until,
        "ids": [one.id for one in same],
    }


def _changes(rows: list[Drift]) -> list[dict[str, Any]]:
    objects: dict[Any, dict[str, Any]] = {}
    for one in rows:
        change = objects.setdefault(
            one.key, {**one.key.as_dict(), "action": "differs", "fields": []}
        )
        if not one.path:
            change["action"] = str(one.difference)
            continue
        sides = {"before": value(one.live, 200), "after": value(one.declared, 200)}
        change["fields"].append({"path": one.path, **sides})
    return list(objects.values())
