"""The values of the policy room: rules, findings, dated exceptions, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Literal

from opslib.core.model import Origin, ResourceKey

Severity = Literal["error", "warning", "info", "off"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info", "off")


@dataclass(frozen=True)
class Rule:
    """A rule: its name, default severity, what it asks for and why, in a few words each."""

    name: str
    severity: Severity
    asks: str
    why: str


_TABLE = (
    Rule(
        "limits",
        "error",
        "every container has a CPU and a memory limit",
        "without a limit one container can starve its whole node",
    ),
    Rule(
        "requests",
        "error",
        "every container has a CPU and a memory request",
        "the scheduler places pods by their requests",
    ),
    Rule(
        "readiness-probe",
        "error",
        "containers that take traffic have a readiness probe",
        "without one a rollout calls a pod ready that cannot answer yet",
    ),
    Rule(
        "liveness-probe",
        "warning",
        "containers of long-running workloads have a liveness probe",
        "without one a process that hangs is never restarted",
    ),
    Rule(
        "pinned-image",
        "error",
        "every image has a fixed tag, or better a digest",
        "the same manifest must run the same program tomorrow",
    ),
    Rule(
        "plain-secret",
        "error",
        "no Secret values in Git, also not as base64",
        "who can read the repository, or any old clone of it, has the secret",
    ),
    Rule(
        "pinned-secret",
        "warning",
        "every reference to Vault names a version",
        "another value would reach the cluster without a commit that anybody reviewed",
    ),
    Rule(
        "removed-api",
        "error",
        "every API version is one that the cluster serves",
        "the API server refuses what it no longer knows",
    ),
    Rule(
        "namespace-quota",
        "error",
        "every namespace has a ResourceQuota",
        "without one a single namespace can take the whole cluster",
    ),
    Rule(
        "schema",
        "error",
        "every object fits the schema of its API version",
        "an unknown or misplaced field is refused, or worse, ignored",
    ),
)
RULES: Mapping[str, Rule] = {rule.name: rule for rule in _TABLE}
EXCEPTION = "exception"
"""The rule name of findings on the exceptions themselves; their severity is fixed."""


@dataclass(frozen=True)
class Target:
    """Which objects an exception is for: shell patterns (fnmatch), all of which must fit."""

    kind: str = "*"
    namespace: str = "*"
    name: str = "*"

    def matches(self, key: ResourceKey) -> bool:
        """Tell whether an object is meant; cluster-wide objects have the namespace "".

        A Namespace counts as being in itself.
        """
        place = key.name if (key.group, key.kind) == ("", "Namespace") else key.namespace
        return (
            fnmatchcase(key.kind, self.kind)
            and fnmatchcase(place, self.namespace)
            and fnmatchcase(key.name, self.name)
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Exemption:
    """A dated exception: the findings of one rule on some objects, excused until a day.

    ``expires`` is the last day on which it holds.
    """

    rule: str
    target: Target
    reason: str
    expires: date
    origin: Origin

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "rule": self.rule,
            "target": vars(self.target),
            "reason": self.reason,
            "expires": self.expires.isoformat(),
            "origin": str(self.origin),
        }


@dataclass(frozen=True)
class Policy:
    """The severity of each rule, and the exceptions."""

    severities: Mapping[str, Severity] = field(
        default_factory=lambda: {rule.name: rule.severity for rule in _TABLE}
    )
    exceptions: tuple[Exemption, ...] = ()
    path: str = ""


DEFAULT = Policy()
"""What a policy file starts from: every rule at its own severity."""

ADVISORY = Policy(
    {
        name: rule.severity if name in {"plain-secret", "removed-api", "schema"} else "warning"
        for name, rule in RULES.items()
    }
)
"""For a repository without a policy file: only what cannot work or must not be blocks."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    ``message`` says what is wrong, ``why`` why it matters, ``fix`` what to do; none of
    them holds a value of the manifest. ``field`` is a JSON pointer into the object and
    ``origin`` the file and line of it. ``key`` is None where the finding is not about an
    object. ``exception`` is the exception that excuses it.
    """

    rule: str
    severity: Severity
    key: ResourceKey | None
    origin: Origin
    message: str
    why: str
    fix: str
    field: str = ""
    exception: Exemption | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "object": str(self.key) if self.key else None,
            "path": self.origin.path,
            "line": self.origin.line,
            "field": self.field,
            "message": self.message,
            "why": self.why,
            "fix": self.fix,
            "exception": self.exception.as_dict() if self.exception else None,
        }

    def __str__(self) -> str:
        about = f"{self.key}: " if self.key else ""
        return f"{self.origin}: {self.severity} [{self.rule}] {about}{self.message}"


@dataclass(frozen=True)
class Report:
    """All findings, the gravest first; the excused ones are in ``excused`` only."""

    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return self._of("warning")

    @property
    def infos(self) -> tuple[Finding, ...]:
        return self._of("info")

    @property
    def excused(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.exception)

    @property
    def ok(self) -> bool:
        """Whether nothing stands against going on: no error that is not excused."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: counts and every finding."""
        return {
            "ok": self.ok,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "infos": len(self.infos),
            "excused": len(self.excused),
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == severity and not f.exception)
