"""Health of one object by the rule that a file has for its kind."""

from __future__ import annotations

from opslib.reconcile.health_cel import NotAnswered
from opslib.reconcile.health_file import Rule
from opslib.reconcile.health_object import Assessment, Health, Look

_MEANS = {
    "inProgress": Health.IN_PROGRESS,
    "failed": Health.FAILED,
    "current": Health.CURRENT,
}


def judge(rule: Rule, look: Look) -> Assessment | None:
    """Ask the expressions in their order; the first that holds decides.

    A rule with ``current`` has the whole say: where nothing holds, the object is in progress.
    One without refines: where nothing holds, None leaves it to the general rules. What cannot
    be evaluated is Unknown, with the reason: never Current, as nobody said so.
    """
    for name, expression in rule.expressions.items():
        try:
            holds = expression.holds(look.live)
        except NotAnswered as error:
            text = f"{rule.origin}: {name} of {_kind(rule)} has no answer: {error}"
            return Assessment(Health.UNKNOWN, text)
        if holds:
            return Assessment(_MEANS[name], f"{_said(look)} ({name} by {rule.origin})")
    if "current" in rule.expressions:
        text = f"neither failed nor current yet by {rule.origin}"
        return Assessment(Health.IN_PROGRESS, text)
    return None


def _kind(rule: Rule) -> str:
    return f"{rule.group or 'core'}/{rule.kind}"


def _said(look: Look) -> str:
    """Return the object's own words, for a person who reads the answer."""
    summary = look.condition("Ready", "Available", "Healthy", "Synced")
    if summary:
        return f"{summary.kind} is {summary.status}: {summary.text}"
    for field in ("message", "reason", "phase", "state"):
        text = " ".join(look.text(field).split())
        if text:
            return f"{field} is {text}" if field in {"phase", "state"} else text
    return "it says nothing in words"
