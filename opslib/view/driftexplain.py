"""All that is known of one difference, as text: what, who, since when, what each answer does."""

from __future__ import annotations

from collections.abc import Iterator

from opslib.drift.choices import ANSWERS, would
from opslib.drift.model import Actor, Attribution, Disposition, Drift
from opslib.drift.order import WEIGHTS, kind_of_actor, named, weight, when
from opslib.view import yamldiff
from opslib.view.text import clean, columns

_MOST_OTHERS = 10


def explain(one: Drift) -> str:
    """Return what a person needs to decide about a difference."""
    head = f"{one.id}  {named(one.key)}"
    what = f"{one.path or 'the whole object'} {one.difference} ({WEIGHTS[weight(one)]})"
    rows = [[name, clean(text)] for name, text in _facts(one) if text]
    answers = [[str(answer), clean(would(one, answer))] for answer in ANSWERS]
    parts = [
        *(clean(head), clean(what), "", *yamldiff.as_text(yamldiff.lines([one])), ""),
        *(*columns(rows), "", "What each answer does:", *columns(answers, indent="  ")),
    ]
    return "\n".join(parts)


def _facts(one: Drift) -> Iterator[tuple[str, str]]:
    told = one.attribution
    yield "who", told.sentence()
    yield "", f"{told.confidence}: {told.why}" if told.why else str(told.confidence)
    yield "a person", {"person": "yes", "program": "no"}.get(kind_of_actor(one), "")
    if told.actor:
        yield from _request(told.actor)
    yield from _before(told)
    yield "since", when(one)
    yield "first seen", one.first_seen[:19]
    if one.fight:
        fight = one.fight
        yield (
            "two writers",
            f"{' and '.join(fight.writers)}, {fight.count} times since {fight.since}",
        )
    if one.git:
        git = one.git
        yield "declared", f"{git.origin}, {git.commit[:12]} {git.author} {git.time}: {git.subject}"
    elif one.origin:
        yield "declared", str(one.origin)
    yield "note", one.note
    if one.decision.disposition is not Disposition.OPEN:
        told_by = f"{one.decision.disposition} by {one.decision.by}, {one.decision.at[:19]}"
        yield "decided", f"{told_by}: {one.decision.reason}".rstrip(": ")


def _request(actor: Actor) -> Iterator[tuple[str, str]]:
    yield "request", f"{actor.verb} {actor.uri}".strip()
    yield "from", ", ".join(actor.source_ips)
    yield "client", actor.client
    yield "groups", ", ".join(actor.groups)
    yield "impersonated by", actor.impersonated_by
    yield "audit id", actor.audit_id


def _before(told: Attribution) -> Iterator[tuple[str, str]]:
    for other in told.others[:_MOST_OTHERS]:
        yield "before that", f"{other.user} by {other.client}, {other.time}"
    for one in told.candidates[:_MOST_OTHERS]:
        below = f" ({one.subresource})" if one.subresource else ""
        yield "field manager", f"{one.manager}{below}, {one.operation} {one.time}"
