"""Health as a status tells it outside conditions: phases, states of members, flags, counts."""

from __future__ import annotations

from typing import Any

from opslib.reconcile.health_object import Assessment, Health, Look
from opslib.reconcile.health_words import Sense, finite, past, sense, words

_PHASES = ("phase", "state", "status", "health", "currentState", "overallStatus", "compliant")
"""Fields of a status that sum up an object in a word, in the order of trust."""

_HEALTH = {
    Sense.BAD: Health.FAILED,
    Sense.BUSY: Health.IN_PROGRESS,
    Sense.IDLE: Health.CURRENT,
    Sense.GOOD: Health.CURRENT,
}


def phase(look: Look) -> Assessment | None:
    """Read the words that sum up: at the top of the status, else one or two levels down."""
    places = [("", look.status)]
    for name, value in look.status.items():
        if isinstance(value, dict):
            places.append((f"{name}.", value))
            inner = [(f"{name}.{n}.", v) for n, v in value.items() if isinstance(v, dict)]
            places += inner if name in _BY_OWNER else []
    for path, place in places:
        answer = _phase_in(look, place, path)
        if answer:
            return answer
    return None


_BY_OWNER = {"statuses"}
"""Fields in which several controllers each keep a status of their own, by name."""


def _phase_in(look: Look, place: dict[str, Any], path: str) -> Assessment | None:
    """Read one mapping: the first word in the order of trust, unless another one is worse."""
    others = [f for f in place if words(f)[-1:] in (["phase"], ["state"], ["status"])]
    answers: list[Assessment] = []
    for field in dict.fromkeys((*_PHASES, *others)):
        word = place.get(field)
        health = _health_of_word(word, look.kind) if isinstance(word, str) else None
        if health and not (answers and past(field)):
            said = place.get("message") or place.get("reason") or place.get("error")
            text = f"{path}{field} is {word}" + (f": {said}" if isinstance(said, str) else "")
            answers.append(Assessment(health, " ".join(text.split())))
    for health in (Health.FAILED, Health.UNKNOWN, Health.IN_PROGRESS):
        for answer in answers:
            if answer.health is health:
                return answer
    return answers[0] if answers else None


def members(look: Look) -> Assessment | None:
    """Find a member that failed in a list of what the object is made of.

    Lists of what was (runs, attempts, backups) say nothing about what is.
    """
    for name, value in look.status.items():
        if name == "conditions" or past(name) or not isinstance(value, list):
            continue
        for entry in (entry for entry in value if isinstance(entry, dict)):
            for field in ("health", "phase"):
                word = entry.get(field)
                if isinstance(word, str) and sense(word) is Sense.BAD:
                    return Assessment(Health.FAILED, f"{field} of one of its {name} is {word}")
    return None


def _health_of_word(word: str, kind: str) -> Health | None:
    parts = words(word)
    if parts == ["not", "found"]:
        return Health.NOT_FOUND
    if parts == ["unknown"]:
        return Health.UNKNOWN
    if parts == ["new"] or (parts == ["running"] and finite(kind)):
        return Health.IN_PROGRESS
    return _HEALTH.get(sense(word))


def flags(look: Look) -> Assessment | None:
    for field in ("failureMessage", "errorMessage", "error"):
        if look.text(field):
            return Assessment(Health.FAILED, " ".join(look.text(field).split()))
    for field, otherwise in (
        ("healthy", Health.FAILED),
        ("ready", Health.IN_PROGRESS),
        ("readyToUse", Health.IN_PROGRESS),
    ):
        value = look.status.get(field)
        if isinstance(value, bool):
            return Assessment(
                Health.CURRENT if value else otherwise, f"{field} is {str(value).lower()}"
            )
    return None


def counts(look: Look) -> Assessment | None:
    """Compare ready replicas with wanted ones where the kind counts them."""
    if "desiredNumberScheduled" in look.status:
        want, ready = look.number("desiredNumberScheduled"), look.number("numberReady")
    elif {"readyReplicas", "replicas"} & set(look.status):
        wanted = look.spec.get("replicas")
        want = wanted if isinstance(wanted, int) else look.number("replicas")
        ready = look.number("readyReplicas")
    else:
        return None
    text = f"{ready} of {want} replicas are ready"
    return Assessment(Health.CURRENT if ready >= want else Health.IN_PROGRESS, text)
