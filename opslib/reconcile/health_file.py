"""Reads health rules: a file in the user's repository, and the one in this package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from yaml.nodes import MappingNode, Node

from opslib.core.errors import InputError, Problems
from opslib.core.model import Origin
from opslib.policy.reading import Reader
from opslib.reconcile.health_cel import Expression, read

KIND = "HealthRules"
FIELDS = ("inProgress", "failed", "current")
"""The expressions of a rule, in the order in which they are asked, which is that of Flux:
https://fluxcd.io/flux/components/kustomize/kustomizations/#health-check-expressions."""

LARGEST, MOST = 256 * 1024, 500
"""Bytes of a file, and rules in it, at most."""

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
    reader = _Rules(path, check=check)
    reader.rules(reader.head(text, ("rules",)).get("rules"))
    if reader.problems:
        raise Problems(reader.problems)
    return HealthRules(MappingProxyType(reader.found))


class _Rules(Reader):
    """Reads the rules, and keeps those that are right."""

    def __init__(self, path: str, *, check: bool) -> None:
        super().__init__(path, KIND)
        self.check = check
        self.found: dict[tuple[str, str], Rule] = {}

    def rules(self, node: Node | None) -> None:
        items = self.items(node, "rules")
        if node is not None and len(items) > MOST:
            self.wrong(node, f"there are {len(items)} rules", expected=f"at most {MOST}")
            return
        for item in items:
            self._rule(item)

    def _rule(self, item: Node) -> None:
        before = len(self.problems)
        fields = self.mapping(item, _RULE, "a health rule")
        if not isinstance(item, MappingNode):
            return
        group, kind = self.text(fields.get("group")), self.text(fields.get("kind"))
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
        source = self.text(fields.get("source")) or ""
        if source and not re.match(r"https?://", source):
            self.wrong(fields["source"], "source is not an address", expected="https://…")
        good = {field: found for field, found in expressions.items() if found}
        if len(self.problems) == before:
            rule = Rule(group, kind, MappingProxyType(good), self.origin(item), source)
            self.found[group, kind] = rule

    def _expression(self, node: Node, what: str) -> Expression | None:
        text = self.text(node)
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
