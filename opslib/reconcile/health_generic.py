"""Health of kinds without a rule of their own, custom resources above all.

Asked in this order, and the first that has an answer decides: conditions (abnormal ones that
are True, then Ready and its like, then the rest), conditions one level down (the parents of a
route), phases, health flags, counts of replicas. An object that says nothing is Current, as in
kstatus, except for a custom resource so young that its controller cannot have spoken yet.
"""

from __future__ import annotations

from typing import Any

from opslib.reconcile.health_object import Assessment, Condition, Health, Look, read_conditions
from opslib.reconcile.health_phases import counts, flags, members, phase
from opslib.reconcile.health_words import (
    Sense,
    abnormal,
    busy,
    complains,
    done,
    idle,
    positive,
    sense,
    vocabulary,
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
    answer = stale(look) or _said(look)
    if answer.health is Health.FAILED and halted(look):
        # Whoever does not act on an object says nothing new about it either.
        return Assessment(Health.IN_PROGRESS, f"it is paused; it last said: {answer.message}")
    return answer


def _said(look: Look) -> Assessment:
    said = _of_conditions(look.conditions)
    if said and said.health is Health.IN_PROGRESS:
        # "Not ready" does not say why; a phase or an error message beside it may.
        worse = phase(look) or flags(look)
        return worse if worse and worse.health is Health.FAILED else said
    if not said or said.health is Health.CURRENT:
        said = members(look) or said
    answer = said or _nested(look) or phase(look) or flags(look)
    return answer or counts(look) or _silent(look)


def halted(look: Look) -> bool:
    """Whether the object's own spec tells its controller to leave it alone."""
    return any(look.spec.get(field) is True for field in ("paused", "suspend", "suspended"))


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
    """Find a condition that should be True, is not, and gives a failure as its reason.

    A severity is said beside False by the Cluster API and its like: Error needs a person,
    Info and Warning do not
    (https://github.com/kubernetes-sigs/cluster-api/blob/main/docs/proposals/20200506-conditions.md).
    """
    for condition in conditions:
        if not condition.false or abnormal(condition.kind) or busy(condition.kind):
            continue
        meaning = sense(condition.reason)
        if condition.severity == "Error":
            return Assessment(Health.FAILED, f"{condition.kind} is False: {condition.text}")
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


def stale(look: Look) -> Assessment | None:
    """Wait where the condition that sums up, or every one, is of an older generation."""
    old = look.stale_conditions
    summary = next((c for c in old if c.kind in _DECISIVE), None)
    if not old or (look.conditions and not summary):
        return None
    text = f"its conditions are of generation {(summary or old[0]).observed}"
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


def is_custom(look: Look) -> bool:
    """Whether an object is of a kind that the API server itself does not have."""
    return "." in look.group and look.group not in _BUILT_IN_GROUPS


def _silent(look: Look) -> Assessment:
    young = look.age is None or look.age < SILENCE_SECONDS
    # Who holds an object with a finalizer looks after it, and has not said a word.
    held = bool(look.metadata.get("finalizers"))
    if is_custom(look) and (young or held) and not any(look.status.values()):
        return Assessment(Health.IN_PROGRESS, "no controller has reported on it yet")
    return Assessment(Health.CURRENT, "nothing about it says otherwise")
