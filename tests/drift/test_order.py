"""What of a review is looked at first, and what is said of who and when."""

from __future__ import annotations

from dataclasses import replace

from opslib.core.model import ResourceKey
from opslib.drift.model import Attribution, Confidence, Decision, Disposition, Fight
from opslib.drift.order import Weight, ago, grouped, kind_of_actor, ordered, weight, when, who

from .made import ADMIN, ALL, BOB, BOUND, GONE, IMAGE, OWNER, REPLICAS, added, changed, many


def test_what_opens_a_door_comes_first() -> None:
    """Security, what runs, settings, labels; within each what people did; decided ones last."""
    expected = [ADMIN, IMAGE, GONE, REPLICAS, OWNER]
    assert ordered(ALL) == expected
    done = replace(ADMIN, decision=Decision(Disposition.ESCALATE, "ada"))
    assert ordered([done, *expected[1:]]) == [*expected[1:], done]


def test_the_weights() -> None:
    """Each reason that the page names has its examples."""
    container = "spec.template.spec.containers[name=app]"
    cases = {
        f"{container}.securityContext.privileged": Weight.SECURITY,
        "spec.template.spec.hostNetwork": Weight.SECURITY,
        'metadata.labels["pod-security.kubernetes.io/enforce"]': Weight.SECURITY,
        container: Weight.RUNS,
        f"{container}.env[name=A].value": Weight.RUNS,
        "spec.replicas": Weight.SPEC,
        "metadata.labels.team": Weight.LABELS,
    }
    assert {path: weight(changed(path, 1, 2)) for path in cases} == cases
    config = ResourceKey("", "ConfigMap", "a", "b")
    assert weight(changed("data.k", "1", "2", config)) is Weight.RUNS
    fight = Fight(("a", "b"), 3, "", "")
    assert weight(replace(REPLICAS, fight=fight)) is Weight.FIGHT
    assert weight(replace(ADMIN, key=config)) is Weight.OBJECT


def test_who_and_when_say_no_more_than_is_known() -> None:
    """Certain, likely, an upper bound and nothing read differently."""
    assert (who(REPLICAS), ago(REPLICAS)) == ("bob@example.com by kubectl/v1.37.2", "5 hours ago")
    assert who(GONE).startswith("probably system:serviceaccount")
    assert (who(OWNER), ago(OWNER)) == (
        "user unknown; manager kubectl-edit",
        "3 months ago or before",
    )
    nobody = replace(OWNER, attribution=Attribution())
    assert (who(nobody), when(nobody), kind_of_actor(nobody)) == ("unknown",) * 3
    lent = replace(BOB, impersonated_by="admin")
    other = replace(REPLICAS, attribution=Attribution(Confidence.CERTAIN, lent))
    assert who(other).startswith("admin as bob@example.com")
    odd = replace(OWNER, attribution=replace(BOUND, not_later_than="yesterday"))
    assert ago(odd) == "yesterday or before"


def test_few_are_shown_one_by_one_and_many_by_their_likeness() -> None:
    """Under the limit each is a group of its own; 10,000 alike ones are a dozen groups."""
    assert [len(group) for group in grouped(ALL, alike_from=101)] == [1] * 5
    found = grouped(many(10_000, alike=True), alike_from=101)
    assert sum(map(len, found)) == 10_000
    assert len(found) == 12
    two = grouped([added("a.b", 1), added("a.c", 1)], alike_from=1)
    assert len(two) == 2
