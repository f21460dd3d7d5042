"""Reads a policy file; whatever is wrong in it is named with file and line, all in one go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from difflib import get_close_matches
from typing import TypeGuard, get_args

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin
from opslib.policy.model import DEFAULT, RULES, SEVERITIES, Exemption, Policy, Severity, Target

API_VERSION = "opslib.dev/v1alpha1"
KIND = "Policy"
_TOP = ("apiVersion", "kind", "metadata", "rules", "exceptions")
_EXCEPTION = ("rule", "target", "reason", "expires")
_TARGET = ("kind", "namespace", "name")


def load_policy(text: str, path: str) -> Policy:
    """Read a policy file of ``apiVersion: opslib.dev/v1alpha1, kind: Policy``.

    ``rules`` maps rule names to error, warning, info or off; what it leaves out keeps its
    default. ``exceptions`` lists rule, target (kind, namespace, name: shell patterns),
    reason and expires (YYYY-MM-DD, the last day it holds); all are required, and of the
    target at least one field. Raises InputError, or Problems with every mistake.
    """
    reader = _Reader(path)
    root = reader.document(text)
    fields = reader.mapping(root, _TOP, "the policy")
    if not isinstance(root, MappingNode):
        raise Problems(reader.problems)
    for name, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if reader.text(fields.get(name)) != wanted:
            reader.wrong(fields.get(name) or root, f"{name} is not {wanted}", expected=wanted)
    severities = dict(DEFAULT.severities) | reader.rules(fields.get("rules"))
    exceptions = tuple(reader.exceptions(fields.get("exceptions")))
    if reader.problems:
        raise Problems(reader.problems)
    return Policy(severities, exceptions, path)


class _Reader:
    """Walks the nodes of one file and collects what is wrong."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[OpslibError] = []

    def wrong(self, node: Node, what: str, *, expected: str = "", hint: str = "") -> None:
        where = f"{self.path}:{node.start_mark.line + 1}"
        problem = InputError(what, where=where, expected=expected or None, hint=hint or None)
        self.problems.append(problem)

    def document(self, text: str) -> Node:
        try:
            roots = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{self.path}:{mark.line + 1}" if mark else self.path
            what = getattr(error, "problem", None) or getattr(error, "reason", "unreadable")
            raise InputError(f"the policy is not valid YAML: {what}", where=where) from None
        except RecursionError:
            raise InputError("the policy is nested too deeply", where=self.path) from None
        if len(roots) != 1 or roots[0] is None:
            raise InputError(
                "a policy file holds exactly one document",
                where=self.path,
                expected=f"apiVersion: {API_VERSION}, kind: {KIND}",
            )
        return roots[0]

    def mapping(self, node: Node, known: Iterable[str], what: str) -> dict[str, Node]:
        """Read a mapping of known keys; unknown and repeated ones are wrong."""
        if not isinstance(node, MappingNode):
            self.wrong(node, f"{what} is not a mapping", expected=", ".join(known))
            return {}
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = self.text(key) or ""
            if name in found:
                self.wrong(key, f"the key {name!r} is there twice")
            elif name not in known:
                self.wrong(key, f"{what} has no key {name!r}", **_advice(name, known))
            found[name] = value
        return {name: value for name, value in found.items() if name in known}

    def text(self, node: Node | None) -> str | None:
        return str(node.value) if isinstance(node, ScalarNode) else None

    def rules(self, node: Node | None) -> dict[str, Severity]:
        if node is None:
            return {}
        out: dict[str, Severity] = {}
        for name, value in self.mapping(node, RULES, "the list of rules").items():
            severity = self.text(value) or ""
            if _is_severity(severity):
                out[name] = severity
            else:
                what = f"the rule {name!r} has no severity {severity!r}"
                self.wrong(value, what, **_advice(severity, SEVERITIES))
        return out

    def exceptions(self, node: Node | None) -> Iterator[Exemption]:
        if node is None:
            return
        if not isinstance(node, SequenceNode):
            self.wrong(node, "exceptions is not a list", expected="a list of exceptions")
            return
        for item in node.value:
            before = len(self.problems)
            exemption = self._exception(item)
            if exemption and len(self.problems) == before:
                yield exemption

    def _exception(self, item: Node) -> Exemption | None:
        fields = self.mapping(item, _EXCEPTION, "an exception")
        missing = [name for name in _EXCEPTION if name not in fields]
        if missing:
            if isinstance(item, MappingNode):
                self.wrong(
                    item,
                    f"an exception has no {' and no '.join(missing)}",
                    expected="rule, target, reason and expires",
                )
            return None
        rule = self.text(fields["rule"]) or ""
        if rule not in RULES:
            self.wrong(fields["rule"], f"there is no rule {rule!r}", **_advice(rule, RULES))
        reason = (self.text(fields["reason"]) or "").strip()
        if not reason:
            self.wrong(fields["reason"], "an exception needs a reason that a person can read")
        expires = self._date(fields["expires"])
        target = self._target(fields["target"])
        origin = Origin(self.path, item.start_mark.line + 1)
        return Exemption(rule, target, reason, expires, origin) if expires else None

    def _date(self, node: Node) -> date | None:
        text = self.text(node) or ""
        try:
            if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                return date.fromisoformat(text)
        except ValueError:  # such as 2027-02-30: reported below
            pass
        self.wrong(node, f"expires is not a date: {text!r}", expected="YYYY-MM-DD, as 2027-03-31")
        return None

    def _target(self, node: Node) -> Target:
        fields = self.mapping(node, _TARGET, "a target")
        values = {name: self.text(value) for name, value in fields.items()}
        for name, value in values.items():
            if not value:
                self.wrong(fields[name], f"the target's {name} is not a pattern")
        if isinstance(node, MappingNode) and not node.value:
            self.wrong(node, "a target names at least one of kind, namespace and name")
        return Target(**{name: value for name, value in values.items() if value})


def _is_severity(text: str) -> TypeGuard[Severity]:
    return text in get_args(Severity)


def _advice(name: str, known: Iterable[str]) -> dict[str, str]:
    close = get_close_matches(name, list(known), n=1)
    advice = {"expected": "one of " + ", ".join(known)}
    return advice | ({"hint": f"did you mean {close[0]!r}?"} if close else {})
