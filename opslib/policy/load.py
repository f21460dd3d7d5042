"""Reads a policy file; whatever is wrong in it is named with file and line, all in one go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard, get_args

from yaml.nodes import Node

from opslib.core.errors import Problems
from opslib.policy.model import DEFAULT, RULES, SEVERITIES, Exemption, Policy, Severity
from opslib.policy.reading import Reader, advice

KIND = "Policy"
_EXCEPTION = ("rule", "target", "reason", "expires")


def load_policy(text: str, path: str) -> Policy:
    """Read a policy file of ``apiVersion: opslib.dev/v1alpha1, kind: Policy``.

    ``rules`` maps rule names to error, warning, info or off; what it leaves out keeps its
    default. ``exceptions`` lists rule, target (kind, namespace, name: shell patterns),
    reason and expires (YYYY-MM-DD, the last day it holds); all are required, and of the
    target at least one field. Raises InputError, or Problems with every mistake.
    """
    reader = Reader(path, KIND)
    fields = reader.head(text, ("rules", "exceptions"))
    severities = dict(DEFAULT.severities) | _rules(reader, fields.get("rules"))
    exceptions = tuple(_exceptions(reader, fields.get("exceptions")))
    if reader.problems:
        raise Problems(reader.problems)
    return Policy(severities, exceptions, path)


def _rules(reader: Reader, node: Node | None) -> dict[str, Severity]:
    if node is None:
        return {}
    out: dict[str, Severity] = {}
    for name, value in reader.mapping(node, RULES, "the list of rules").items():
        severity = reader.text(value) or ""
        if _is_severity(severity):
            out[name] = severity
        else:
            what = f"the rule {name!r} has no severity {severity!r}"
            reader.wrong(value, what, **advice(severity, SEVERITIES))
    return out


def _exceptions(reader: Reader, node: Node | None) -> Iterator[Exemption]:
    for item in reader.items(node, "exceptions"):
        before = len(reader.problems)
        exemption = _exception(reader, item)
        if exemption and len(reader.problems) == before:
            yield exemption


def _exception(reader: Reader, item: Node) -> Exemption | None:
    fields = reader.whole(item, _EXCEPTION, "an exception")
    if fields is None:
        return None
    rule = reader.text(fields["rule"]) or ""
    if rule not in RULES:
        reader.wrong(fields["rule"], f"there is no rule {rule!r}", **advice(rule, RULES))
    reason = reader.sentence(fields["reason"], "an exception")
    expires = reader.date(fields["expires"])
    target = reader.target(fields["target"])
    return Exemption(rule, target, reason, expires, reader.origin(item)) if expires else None


def _is_severity(text: str) -> TypeGuard[Severity]:
    return text in get_args(Severity)
