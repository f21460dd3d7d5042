"""Reads health rules: a file in the user's repository, and the one in this package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin
from opslib.reconcile.health_cel import Expression, read

API_VERSION, KIND = "opslib.dev/v1alpha1", "HealthRules"
FIELDS = ("inProgress", "failed", "current")
"""The expressions of a rule, in the order in which they are asked, which is that of Flux:
https://fluxcd.io/flux/components/kustomize/kustomizations/#health-check-expressions."""

LARGEST, MOST = 256 * 1024, 500
"""Bytes of a file, and rules in it, at most."""

_TOP = ("apiVersion", "kind", "metadata", "rules")
_RULE = ("group", "kind", "source", *FIELDS)


@dataclass(frozen=True)
class Rule:
    """The expressions for one kind; those that it has, in the order of FIELDS."""

    group: str
    kind: str
    expressions: Mapping[str, Expression]
    origin: Origin
    source: str = ""


@dataclass(frozen=True)
class HealthRules:
    """The rules of a repository, and whether those of the package stand behind them."""

    by_kind: Mapping[tuple[str, str], Rule] = field(default_factory=lambda: MappingProxyType({}))
    shipped: bool = True

    def find(self, group: str, kind: str, *, custom: bool) -> Rule | None:
        """Return the rule for a kind; the package has rules for ``custom`` kinds only."""
        own = self.by_kind.get((group, kind))
        if own or not (custom and self.shipped):
            return own
        return _shipped().get((group, kind))


SHIPPED = HealthRules()
"""The package's own rules alone: what a repository without a file has."""

NO_RULES = HealthRules(shipped=False)
"""What conditions, phases and counts say in general, without any rule for a kind."""


@cache
def _shipped() -> Mapping[tuple[str, str], Rule]:
    text = files("opslib.reconcile").joinpath("health_shipped.yaml").read_text(encoding="utf-8")
    return load_health_rules(text, "opslib/health_shipped.yaml", check=False).by_kind


def load_health_rules(text: str, path: str, *, check: bool = True) -> HealthRules:
    """Read a file of ``apiVersion: opslib.dev/v1alpha1, kind: HealthRules``.

    ``rules`` lists group ("" for the core group), kind, and of ``inProgress``, ``failed`` and
    ``current`` at least one, each an expression in CEL. ``source`` may say where the meaning
    of the fields is documented. Without ``check`` the expressions are taken as they are, for
    a file that tests have checked. Raises InputError, or Problems with every mistake.
    """
    if len(text) > LARGEST:
        raise InputError(
            f"the health rules have {len(text)} characters",
            where=path,
            expected=f"at most {LARGEST}",
        )
    reader = _Reader(path, check=check)
    root = reader.document(text)
    fields = reader.mapping(root, _TOP, "the file of health rules")
    if isinstance(root, MappingNode):
        for name, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
            if _text(fields.get(name)) != wanted:
                reader.wrong(fields.get(name) or root, f"{name} is not {wanted}", expected=wanted)
        reader.rules(fields.get("rules"))
    if reader.problems:
        raise Problems(reader.problems)
    return HealthRules(MappingProxyType(reader.found))


class _Reader:
    """Walks the nodes of one file and collects what is wrong."""

    def __init__(self, path: str, *, check: bool) -> None:
        self.path = path
        self.check = check
        self.problems: list[OpslibError] = []
        self.found: dict[tuple[str, str], Rule] = {}

    def wrong(self, node: Node, what: str, *, expected: str = "", hint: str = "") -> None:
        where = f"{self.path}:{node.start_mark.line + 1}"
        problem = InputError(what, where=where, expected=expected or None, hint=hint or None)
        self.problems.append(problem)

    def document(self, text: str) -> Node:
        try:
            roots = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{self.path}:{mark.line + 1}" if mark else self.path
            what = getattr(error, "problem", None) or getattr(error, "reason", "unreadable")
            raise InputError(f"the health rules are not valid YAML: {what}", where=where) from None
        except RecursionError:
            raise InputError("the health rules are nested too deeply", where=self.path) from None
        if len(roots) != 1 or roots[0] is None:
            raise InputError(
                "a file of health rules holds exactly one document",
                where=self.path,
                expected=f"apiVersion: {API_VERSION}, kind: {KIND}",
            )
        root: Node = roots[0]
        return root

    def mapping(self, node: Node, known: Iterable[str], what: str) -> dict[str, Node]:
        """Read a mapping of known keys; unknown and repeated ones are wrong."""
        if not isinstance(node, MappingNode):
            self.wrong(node, f"{what} is not a mapping", expected=", ".join(known))
            return {}
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = _text(key) or ""
            if name in found:
                self.wrong(key, f"the key {name!r} is there twice")
            elif name not in known:
                close = get_close_matches(name, list(known), n=1)
                hint = f"did you mean {close[0]!r}?" if close else ""
                expected = "one of " + ", ".join(known)
                self.wrong(key, f"{what} has no key {name!r}", expected=expected, hint=hint)
            found[name] = value
        return {name: value for name, value in found.items() if name in known}

    def rules(self, node: Node | None) -> None:
        if not isinstance(node, SequenceNode):
            if node is not None:
                self.wrong(node, "rules is not a list", expected="a list of rules")
            return
        if len(node.value) > MOST:
            self.wrong(node, f"there are {len(node.value)} rules", expected=f"at most {MOST}")
            return
        for item in node.value:
            self._rule(item)

    def _rule(self, item: Node) -> None:
        before = len(self.problems)
        fields = self.mapping(item, _RULE, "a health rule")
        if not isinstance(item, MappingNode):
            return
        group, kind = _text(fields.get("group")), _text(fields.get("kind"))
        if group is None or not kind:
            expected = 'group (as "cert-manager.io", "" for the core group) and kind'
            self.wrong(item, "a health rule does not say for which kind it is", expected=expected)
            return
        name = f"{group or 'core'}/{kind}"
        if (group, kind) == ("", "Secret"):
            self.wrong(item, "a Secret has no health", hint="no expression reads secret values")
        if (group, kind) in self.found:
            line = self.found[group, kind].origin.line
            self.wrong(item, f"there is a second rule for {name}, the first in line {line}")
        if not any(field in fields for field in FIELDS):
            self.wrong(item, f"the rule for {name} has no expression", expected=", ".join(FIELDS))
        expressions = {
            field: self._expression(fields[field], f"{field} of {name}")
            for field in FIELDS
            if field in fields
        }
        source = _text(fields.get("source")) or ""
        if source and not re.match(r"https?://", source):
            self.wrong(fields["source"], "source is not an address", expected="https://…")
        good = {field: found for field, found in expressions.items() if found}
        if len(self.problems) == before:
            origin = Origin(self.path, item.start_mark.line + 1)
            self.found[group, kind] = Rule(group, kind, MappingProxyType(good), origin, source)

    def _expression(self, node: Node, what: str) -> Expression | None:
        text = _text(node)
        if text is None:
            self.wrong(node, f"{what} is not an expression", expected="a text in CEL")
            return None
        try:
            return read(text, compiled=self.check)
        except ValueError as error:
            self.wrong(
                node, f"{what}: {error}", expected="an expression in CEL, see docs/health.md"
            )
            return None


def _text(node: Node | None) -> str | None:
    return str(node.value) if isinstance(node, ScalarNode) else None
