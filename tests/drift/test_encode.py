"""A drift review as JSON and back, and its first line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.clock import now, stamp
from opslib.core.model import Origin, ResourceKey, Revision
from opslib.drift import model
from opslib.drift.encode import drift_of, drift_row, headline, review_document, review_of

KEY = ResourceKey("apps", "Deployment", "production", "payment-processor")
ONE = model.Drift(model.Plane.OBJECTS, model.Difference.CHANGED, KEY, "spec.replicas", 3, 5)
EMPTY = model.Review("shop", Revision("u", "main", "c" * 40), "https://s", "uid", stamp(), ())

_actors = st.builds(
    model.Actor,
    st.text(),
    st.lists(st.text()).map(tuple),
    source_ips=st.lists(st.text()).map(tuple),
)
_attributions = st.builds(
    model.Attribution,
    st.sampled_from(model.Confidence),
    st.none() | _actors,
    st.lists(st.builds(model.Candidate, st.text())).map(tuple),
    others=st.lists(_actors).map(tuple),
    person=st.none() | st.booleans(),
)
_origins = st.builds(Origin, st.text(min_size=1), st.integers(1, 10**6))
_drifts = st.builds(
    model.Drift,
    st.sampled_from(model.Plane),
    st.sampled_from(model.Difference),
    st.builds(ResourceKey, st.text(), st.text(), st.text(), st.text()),
    st.text(),
    st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.booleans()),
    origin=st.none() | _origins,
    attribution=_attributions,
    git=st.none() | st.builds(model.Declared, _origins, st.text()),
    fight=st.none() | st.builds(model.Fight, st.just(("a", "b")), st.just(3), st.text(), st.text()),
    decision=st.builds(model.Decision, st.sampled_from(model.Disposition), st.text()),
)


@given(st.lists(_drifts, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_review_survives_json(drifts: list[model.Drift]) -> None:
    """Whatever is in a review is read back as it was written."""
    review = replace(EMPTY, drifts=tuple(drifts), unread=(model.Unread("pods", "no right"),))
    # A time that no server writes cannot be an age; everything else may be any text.
    review = replace(review, drifts=tuple(replace(one, since="") for one in review.drifts))
    text = json.dumps(review_document(review))
    assert review_of(json.loads(text)) == review
    for one in drifts:
        assert drift_of(json.loads(json.dumps(drift_row(one)))) == one


def test_a_difference_keeps_its_name() -> None:
    """The id is of the place, not of the value, so that a decision finds it again."""
    assert replace(ONE, live=7, attribution=model.Attribution()).id == ONE.id
    assert replace(ONE, path="spec.paused").id != ONE.id
    assert replace(ONE, plane=model.Plane.NODES).id != ONE.id


def test_the_first_line_counts() -> None:
    """Differences, objects, people, and the age of the oldest; or that there are none."""
    assert headline(replace(EMPTY, objects=7)) == "No differences in 7 objects"
    person = model.Attribution(person=True)
    old = stamp(now() - timedelta(days=90))
    two = (replace(ONE, since=old), replace(ONE, path="metadata.labels.a", attribution=person))
    found = headline(replace(EMPTY, drifts=two))
    assert found == "2 differences in 1 object, 1 by people, oldest 3 months"


def test_an_attribution_says_no_more_than_it_knows() -> None:
    """Without an audit log: a manager and an upper bound in time, never a user."""
    names = (model.Candidate("kubectl-edit"), model.Candidate("helm"))
    told = model.Attribution(
        model.Confidence.UPPER_BOUND, None, names, not_later_than="2026-11-25T10:00:00Z"
    )
    text = "manager kubectl-edit or helm, not later than 2026-11-25T10:00:00Z, user unknown"
    assert told.sentence() == text
    assert model.NOBODY.sentence() == "unknown"
    ada = model.Actor("ada", client="kubectl/v1.37.2", time="2026-11-25T10:00:00.000000Z")
    sure = model.Attribution(model.Confidence.CERTAIN, ada)
    assert sure.sentence() == "ada by kubectl/v1.37.2, 2026-11-25T10:00:00.000000Z"
    assert replace(sure, confidence=model.Confidence.LIKELY).sentence().startswith("probably ada")
