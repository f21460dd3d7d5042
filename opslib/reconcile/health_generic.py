"""Health of kinds without a rule of their own, custom resources above all.

Asked in this order, and the first that has an answer decides: conditions (abnormal ones that
are True, then Ready and its like, then the rest), conditions one level down (the parents of a
route), phases, health flags, counts of replicas. An object that says nothing is Current, as in
kstatus, except for a custom resource so young that its controller cannot have spoken yet.
"""

from __future__ import annotations

from typing import Any

from opslib.reconcile.health_object import Assessment, Condition, Health, Look, read_conditions
from opslib.reconcile.health_words import (
    Sense,
    abnormal,
    busy,
    complains,
    done,
    finite,
    idle,
    positive,
    sense,
    vocabulary,
    words,
)

SILENCE_SECONDS = 10.0
"""How long a custom resource without a status is taken to wait for its controller.

Many kinds never get a status (they are read by others), so silence cannot mean "in progress"
for ever; a controller that runs answers within a second or two.
"""

_DECISIVE = ("Ready", "Available", "Healthy", "Succeeded", "Complete", "Completed", "Successful")
"""Condition types that sum up an object, the first that is there decides."""

_VERDICTS = frozenset({"Accepted", "Admitted", "ResolvedRefs", "Valid", "Validated"})
"""Condition types that are an answer to what was written: False is a no, not a not yet."""

_PHASES = ("phase", "state", "status", "health", "currentState", "overallStatus", "compliant")
"""Fields of a status that sum up an object in a word, in the order of trust."""

_BUILT_IN_GROUPS = vocabulary(
    "admissionregistration.k8s.io apiextensions.k8s.io apiregistration.k8s.io "
    "authentication.k8s.io authorization.k8s.io certificates.k8s.io coordination.k8s.io "
    "discovery.k8s.io events.k8s.io flowcontrol.apiserver.k8s.io internal.apiserver.k8s.io "
    "networking.k8s.io node.k8s.io rbac.authorization.k8s.io resource.k8s.io "
    "scheduling.k8s.io storage.k8s.io storagemigration.k8s.io"
)
"""Groups of the API server itself; groups without a dot are too. All others are custom."""


def assess_generic(look: Look) -> Assessment:
    """Assess by what controllers commonly say about their objects."""
    said = _of_conditions(look.conditions)
    if said and said.health is Health.IN_PROGRESS:
        # "Not ready" does not say why; a phase or an error message beside it may.
        worse = _phase(look) or _flags(look)
        return worse if worse and worse.health is Health.FAILED else said
    answer = said or _stale(look) or _nested(look) or _phase(look) or _flags(look)
    return answer or _counts(look) or _silent(look)


def _of_conditions(conditions: tuple[Condition, ...]) -> Assessment | None:
    return (
        _abnormal(conditions)
        or _broken(conditions)
        or _paused(conditions)
        or _busy(conditions)
        or _decisive(conditions)
        or _unmet(conditions)
    )


def _abnormal(conditions: tuple[Condition, ...]) -> Assessment | None:
    bad = next((c for c in conditions if c.true and abnormal(c.kind)), None)
    return Assessment(Health.FAILED, f"{bad.kind}: {bad.text}") if bad else None


def _paused(conditions: tuple[Condition, ...]) -> Assessment | None:
    """Take what somebody stopped on purpose as current: it does as it was told."""
    for condition in conditions:
        stopped = condition.true and idle(condition.kind)
        sums_up = condition.kind in _DECISIVE or condition.kind == "Synced"
        if stopped or (condition.false and sums_up and sense(condition.reason) is Sense.IDLE):
            return Assessment(Health.CURRENT, f"stopped on purpose: {condition.text}")
    return None


def _broken(conditions: tuple[Condition, ...]) -> Assessment | None:
    """Find a condition that should be True, is not, and gives a failure as its reason."""
    for condition in conditions:
        if not condition.false or abnormal(condition.kind) or busy(condition.kind):
            continue
        meaning = sense(condition.reason)
        loud = meaning is not Sense.BUSY and (
            condition.kind in _VERDICTS or positive(condition.kind)
        )
        refused = condition.kind in _VERDICTS
        if meaning is Sense.BAD or (loud and (refused or complains(condition.message))):
            return Assessment(Health.FAILED, f"{condition.kind} is False: {condition.text}")
    return None


def _busy(conditions: tuple[Condition, ...]) -> Assessment | None:
    for condition in conditions:
        if not busy(condition.kind):
            continue
        if condition.false and sense(condition.reason) is Sense.BAD:
            return Assessment(Health.FAILED, condition.text)
        if condition.status in {"True", "Unknown"} and not done(condition.reason):
            return Assessment(Health.IN_PROGRESS, condition.text)
    return None


def _decisive(conditions: tuple[Condition, ...]) -> Assessment | None:
    by_kind = {c.kind: c for c in conditions}
    found = next((by_kind[kind] for kind in _DECISIVE if kind in by_kind), None)
    if found is None:
        return None
    if not found.true:
        return Assessment(Health.IN_PROGRESS, f"{found.kind} is {found.status}: {found.text}")
    over = found.kind not in {"Ready", "Available", "Healthy"}
    if over and sense(found.reason) is Sense.BAD:
        return Assessment(Health.FAILED, found.text)
    unmet = _unmet(conditions) if found.kind != "Ready" else None
    return unmet or Assessment(Health.CURRENT, found.text)


def _unmet(conditions: tuple[Condition, ...]) -> Assessment | None:
    """Wait for conditions of unknown types that sound as if they had to be True."""
    for condition in conditions:
        # Ansible's operators keep Running=True between runs, with the reason Successful.
        if condition.kind == "Running" and condition.true and condition.reason == "Running":
            return Assessment(Health.IN_PROGRESS, condition.text)
        if condition.true or abnormal(condition.kind) or busy(condition.kind):
            continue
        unmet = condition.false and positive(condition.kind)
        if unmet or (condition.false and sense(condition.reason) is Sense.BUSY):
            text = f"{condition.kind} is {condition.status}: {condition.text}"
            return Assessment(Health.IN_PROGRESS, text)
    return None


def _stale(look: Look) -> Assessment | None:
    """Wait for conditions that speak of an older generation only."""
    if look.conditions or not look.stale_conditions:
        return None
    text = f"its conditions are of generation {look.stale_conditions[0].observed}"
    return Assessment(Health.IN_PROGRESS, f"{text}, not yet of {look.generation}")


def _nested(look: Look) -> Assessment | None:
    """Judge by what each parent says, as with routes and policies of the Gateway API.

    https://gateway-api.sigs.k8s.io/guides/implementers/#resource-status-field
    """
    answers: list[Assessment] = []
    for value in look.status.values():
        for entry in _entries(value):
            conditions = read_conditions(entry.get("conditions"))
            fresh = tuple(c for c in conditions if not look.stale(c))
            answers.append((_of_conditions(fresh) or _MET) if fresh else _UNSEEN)
    for health in (Health.FAILED, Health.IN_PROGRESS, Health.CURRENT):
        for answer in answers:
            if answer.health is health:
                return answer
    return None


def _entries(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict) and "conditions" in item]


_MET = Assessment(Health.CURRENT, "every condition is met")
_UNSEEN = Assessment(Health.IN_PROGRESS, "not every parent has answered to its latest generation")

_HEALTH = {
    Sense.BAD: Health.FAILED,
    Sense.BUSY: Health.IN_PROGRESS,
    Sense.IDLE: Health.CURRENT,
    Sense.GOOD: Health.CURRENT,
}


def _phase(look: Look) -> Assessment | None:
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
    others = [f for f in place if words(f)[-1:] in (["phase"], ["state"], ["status"])]
    for field in (*_PHASES, *others):
        word = place.get(field)
        health = _health_of_word(word, look.kind) if isinstance(word, str) else None
        if health:
            said = place.get("message") or place.get("reason") or place.get("error")
            text = f"{path}{field} is {word}" + (f": {said}" if isinstance(said, str) else "")
            return Assessment(health, " ".join(text.split()))
    return None


def _health_of_word(word: str, kind: str) -> Health | None:
    parts = words(word)
    if parts == ["unknown"]:
        return Health.UNKNOWN
    if parts == ["new"] or (parts == ["running"] and finite(kind)):
        return Health.IN_PROGRESS
    return _HEALTH.get(sense(word))


def _flags(look: Look) -> Assessment | None:
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


def _counts(look: Look) -> Assessment | None:
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


def _silent(look: Look) -> Assessment:
    custom = "." in look.group and look.group not in _BUILT_IN_GROUPS
    young = look.age is None or look.age < SILENCE_SECONDS
    if custom and young and not any(look.status.values()):
        return Assessment(Health.IN_PROGRESS, "no controller has reported on it yet")
    return Assessment(Health.CURRENT, "nothing about it says otherwise")
