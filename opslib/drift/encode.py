"""A drift review as JSON, back from it, and in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from opslib.core.clock import human_age, now, parse_stamp
from opslib.core.model import Origin, ResourceKey, Revision
from opslib.drift.model import (
    FORMAT,
    Actor,
    Attribution,
    Candidate,
    Confidence,
    Decision,
    Declared,
    Difference,
    Disposition,
    Drift,
    Fight,
    Plane,
    Review,
    Unread,
)
from opslib.drift.order import moment


def drift_row(one: Drift) -> dict[str, Any]:
    """Return one difference as a JSON object: everything but ``place``."""
    return {
        "id": one.id,
        "plane": str(one.plane),
        "difference": str(one.difference),
        **one.key.as_dict(),
        "path": one.path,
        "declared": one.declared,
        "live": one.live,
        "origin": str(one.origin) if one.origin else None,
        "api_version": one.api_version,
        "uid": one.uid,
        "resource_version": one.resource_version,
        "note": one.note,
        "attribution": {**asdict(one.attribution), "sentence": one.attribution.sentence()},
        "git": {**asdict(one.git), "origin": str(one.git.origin)} if one.git else None,
        "fight": asdict(one.fight) if one.fight else None,
        "first_seen": one.first_seen,
        "since": one.since,
        "decision": asdict(one.decision),
    }


def drift_of(row: Mapping[str, Any]) -> Drift:
    """Read one difference back; ``place`` is not kept in JSON."""
    return Drift(
        Plane(row["plane"]),
        Difference(row["difference"]),
        ResourceKey(row["group"], row["kind"], row["namespace"], row["name"]),
        row["path"],
        row["declared"],
        row["live"],
        Origin.parse(row["origin"]),
        row["api_version"],
        row["uid"],
        row["resource_version"],
        note=row["note"],
        attribution=_attribution(row["attribution"]),
        git=_declared(row["git"]),
        fight=_fight(row["fight"]),
        first_seen=row["first_seen"],
        since=row["since"],
        decision=decision_of(row["decision"]),
    )


def review_document(one: Review) -> dict[str, Any]:
    """Return a review as one JSON document."""
    return {
        "format": FORMAT,
        "app": one.app,
        "revision": asdict(one.revision),
        "server": one.server,
        "cluster_uid": one.cluster_uid,
        "taken_at": one.taken_at,
        "headline": headline(one),
        "objects": one.objects,
        "drifts": [drift_row(drift) for drift in one.drifts],
        "explained": list(one.explained),
        "unread": [asdict(gap) for gap in one.unread],
        "warnings": list(one.warnings),
        "audit": one.audit,
        "planes": dict(one.planes),
    }


def review_of(document: Mapping[str, Any]) -> Review:
    """Read a review back."""
    return Review(
        document["app"],
        Revision(**document["revision"]),
        document["server"],
        document["cluster_uid"],
        document["taken_at"],
        tuple(drift_of(row) for row in document["drifts"]),
        tuple(document["explained"]),
        tuple(Unread(**row) for row in document["unread"]),
        tuple(document["warnings"]),
        document["objects"],
        document["audit"],
        document["planes"],
    )


def headline(one: Review) -> str:
    """Return the first line of a review."""
    if not one.drifts:
        whole = "" if not one.unread else f"; {len(one.unread)} things could not be read"
        return f"No differences in {one.objects} objects{whole}"
    objects = {(drift.plane, drift.key) for drift in one.drifts}
    people = sum(drift.attribution.person is True for drift in one.drifts)
    text = f"{_many(len(one.drifts), 'difference')} in {_many(len(objects), 'object')}"
    if people:
        text += f", {people} by people"
    times = (moment(drift)[0] for drift in one.drifts)
    since = min(filter(None, times), default="")
    if since:
        text += f", oldest {human_age((now() - parse_stamp(since)).total_seconds())}"
    return text


def _many(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _attribution(row: Mapping[str, Any]) -> Attribution:
    return Attribution(
        Confidence(row["confidence"]),
        _actor(row["actor"]) if row["actor"] else None,
        tuple(Candidate(**one) for one in row["candidates"]),
        row["not_later_than"],
        row["why"],
        row["person"],
        tuple(_actor(one) for one in row["others"]),
    )


def _actor(row: Mapping[str, Any]) -> Actor:
    lists = {name: tuple(row[name]) for name in ("groups", "source_ips")}
    return Actor(**{**row, **lists})


def _declared(row: Mapping[str, Any] | None) -> Declared | None:
    return Declared(**{**row, "origin": Origin.parse(row["origin"])}) if row else None


def _fight(row: Mapping[str, Any] | None) -> Fight | None:
    return Fight(**{**row, "writers": tuple(row["writers"])}) if row else None


def decision_of(row: Mapping[str, Any]) -> Decision:
    """Read a decision back."""
    return Decision(**{**row, "disposition": Disposition(row["disposition"])})
