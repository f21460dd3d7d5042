"""Runs the rules, weighs their findings, and lets the dated exceptions excuse some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from opslib.core.clock import now
from opslib.core.model import Origin, Resource
from opslib.policy import containers, objects, schema, secrets
from opslib.policy.model import (
    DEFAULT,
    EXCEPTION,
    RULES,
    SEVERITIES,
    Exemption,
    Finding,
    Policy,
    Report,
    Severity,
)
from opslib.policy.seen import Seen

_Check = Callable[[Sequence[Resource], str], Iterable[Seen]]


def _each(check: Callable[[Resource], Iterable[Seen]]) -> _Check:
    def run(resources: Sequence[Resource], version: str) -> Iterator[Seen]:
        del version
        for resource in resources:
            yield from check(resource)

    return run


_CHECKS: dict[str, _Check] = {
    "limits": _each(containers.limits),
    "requests": _each(containers.requests),
    "readiness-probe": _each(containers.readiness),
    "liveness-probe": _each(containers.liveness),
    "pinned-image": _each(containers.image),
    "plain-secret": _each(secrets.plain),
    "pinned-secret": _each(secrets.unpinned),
    "removed-api": objects.removed,
    "namespace-quota": objects.quota,
    "schema": schema.check,
}


def check(
    resources: Sequence[Resource],
    policy: Policy = DEFAULT,
    *,
    today: date | None = None,
    version: str = "",
) -> Report:
    """Check desired objects against a policy.

    ``version`` is the cluster's ("1.37" or "v1.37.2"; "" means the newest that is known).
    ``today`` decides which exceptions still hold (UTC by default). Reads no cluster and
    no network; never raises for what a manifest holds, findings are returned.
    """
    day = today or now().date()
    findings: list[Finding] = []
    for name, run in _CHECKS.items():
        severity = policy.severities.get(name, RULES[name].severity)
        if severity != "off":
            findings += [_finding(name, severity, seen) for seen in run(resources, version)]
    findings, used = _excuse(findings, policy.exceptions, day)
    findings += _on_exceptions(policy, used, day)
    return Report(tuple(sorted(findings, key=_rank)))


def _finding(name: str, severity: Severity, seen: Seen) -> Finding:
    """Weigh what a rule saw: a guess is never graver than the rule says it may be."""
    resource = seen.resource
    line = resource.line_of(seen.field)
    return Finding(
        rule=name,
        severity=max(severity, seen.at_most, key=SEVERITIES.index),
        key=resource.key,
        origin=Origin(resource.origin.path, line),
        message=seen.message,
        why=seen.why or RULES[name].why,
        fix=seen.fix,
        field=seen.field,
    )


def _excuse(
    findings: list[Finding], exceptions: tuple[Exemption, ...], day: date
) -> tuple[list[Finding], dict[Exemption, int]]:
    """Mark the findings that an exception excuses; count what each exception matches."""
    used = dict.fromkeys(exceptions, 0)
    out = []
    for finding in findings:
        for exemption in exceptions:
            if _fits(exemption, finding):
                used[exemption] += 1
                if exemption.expires >= day and finding.exception is None:
                    finding = replace(finding, exception=exemption)  # noqa: PLW2901 - the marked one
        out.append(finding)
    return out, used


def _fits(exemption: Exemption, finding: Finding) -> bool:
    same = exemption.rule == finding.rule
    return same and finding.key is not None and exemption.target.matches(finding.key)


def _on_exceptions(policy: Policy, used: dict[Exemption, int], day: date) -> Iterator[Finding]:
    for exemption, count in used.items():
        what = f"the exception of {exemption.rule} for {exemption.target}"
        ended = exemption.expires < day
        if ended and count:
            yield _on_exception(
                exemption,
                "warning",
                f"{what} expired on {exemption.expires}: {count} findings count again",
                "mend what it excused, or give it a new date and reason",
            )
        elif not count and policy.severities.get(exemption.rule) != "off":
            state = f"expired on {exemption.expires} and" if ended else "matches nothing: it"
            yield _on_exception(
                exemption, "info", f"{what} {state} is not needed", "take it out of the policy"
            )


def _on_exception(exemption: Exemption, severity: Severity, message: str, fix: str) -> Finding:
    return Finding(
        rule=EXCEPTION,
        severity=severity,
        key=None,
        origin=exemption.origin,
        message=message,
        why="an exception that nobody looks after hides what comes later",
        fix=fix,
        exception=None,
    )


def _rank(finding: Finding) -> tuple[int, str, int, str, str]:
    grave = SEVERITIES.index(finding.severity)
    return grave, finding.origin.path, finding.origin.line, finding.rule, finding.field
