"""Reads NodeBaseline documents; every mistake is told with file and line, all in one go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.node import values
from opslib.node.baseline import (
    API_VERSION,
    KIND,
    OWNERS,
    SEVERITIES,
    SHIPPED,
    Baseline,
    Parent,
    Rule,
    Without,
)
from opslib.node.facts.saved import path_of
from opslib.node.facts.sysctls import sysctl_name
from opslib.policy.reading import Reader, advice, composed

MOST_BYTES, MOST_RULES, MOST_DOCUMENTS, MOST_STARS = 1 << 20, 5000, 500, 8
_RULE = ("key", "op", "value", "owner", "severity", "why", "source", "since", "optional")
_SPEC = ("extends", "select", "rules", "without")
_NULL = "tag:yaml.org,2002:null"

_SINCE = re.compile(r"(?:(kubernetes|kernel) +)?v?(\d{1,4}(?:\.\d{1,4}){1,2})")


def read_baselines(files: Mapping[str, str], *, shipped: bool = False) -> dict[str, Baseline]:
    """Read the NodeBaseline documents of some YAML files, by path; others are left out.

    Only the kit's own (``shipped``) may have names that start with ``opslib/``.

    Raises Problems with every mistake, or InputError for the only one.
    """
    found: dict[str, Baseline] = {}
    problems: list[OpslibError] = []
    for path in sorted(files):
        if KIND not in files[path]:
            continue
        reader = _Reader(path, KIND, API_VERSION)
        reader.shipped = shipped
        for baseline in reader.all(files[path]):
            twin = found.setdefault(baseline.name, baseline)
            if twin is not baseline:
                what = f"two baselines are named {baseline.name!r}: here and {twin.origin}"
                problems.append(InputError(what, where=str(baseline.origin), hint="rename one"))
        problems += reader.problems
    if len(found) > MOST_DOCUMENTS:
        raise InputError(f"more than {MOST_DOCUMENTS} baselines", where=next(iter(found)))
    if problems:
        raise Problems(problems)
    return found


class _Reader(Reader):
    """Reads the documents of one file."""

    shipped = False

    def all(self, text: str) -> list[Baseline]:
        """Return the baselines of a text; what is wrong is in ``problems``."""
        if len(text) > MOST_BYTES:
            what = f"the file is larger than {MOST_BYTES} bytes"
            self.problems.append(InputError(what, where=self.path))
            return []
        try:
            roots = composed(text)
        except yaml.YAMLError as error:
            self.problems.append(_syntax(error, self.path))
            return []
        except RecursionError:
            self.problems.append(InputError("this is nested too deeply", where=self.path))
            return []
        found = [self.baseline(root) for root in roots if _is_one(root)]
        return [one for one in found if one is not None]

    def baseline(self, root: Node) -> Baseline | None:
        before = len(self.problems)
        fields = self.fields(root, ("spec",))
        name = self._name(fields.get("metadata") or root)
        spec = self.mapping(fields["spec"], _SPEC, "the spec") if "spec" in fields else {}
        if "spec" not in fields:
            self.wrong(root, "the baseline has no spec", expected="spec: {rules: [...]}")
        extends = tuple(self._parents(spec.get("extends")))
        rules = self._rules(spec.get("rules"), name)
        without = tuple(self._without(spec.get("without")))
        select = self._select(spec.get("select"))
        if spec and not rules and not extends:
            self.wrong(root, "the baseline has no rules and extends nothing")
        if len(self.problems) > before:
            return None
        return Baseline(name, extends, select, rules, without, self.origin(root))

    def _name(self, node: Node) -> str:
        fields = self.peek(node)
        name = self.text(fields.get("name")) or ""
        if not re.fullmatch(r"[A-Za-z0-9][\w./-]{0,200}", name):
            self.wrong(fields.get("name") or node, "metadata.name is missing or no name",
                       expected="letters, digits, - _ . /")  # fmt: skip
        elif name.startswith(SHIPPED) and not self.shipped:
            self.wrong(fields["name"], f"names with {SHIPPED} are the kit's own", hint="rename it")
        return name

    def peek(self, node: Node | None) -> dict[str, Node]:
        """Return a mapping's fields, whatever they are named."""
        pairs = node.value if isinstance(node, MappingNode) else []
        return {self.text(key) or "": value for key, value in pairs}

    def _parents(self, node: Node | None) -> list[Parent]:
        found = []
        for item in self.items(node, "extends"):
            name = self.text(item)
            if name:
                found.append(Parent(name, self.origin(item)))
            else:
                self.wrong(item, "extends takes names of baselines")
        return found

    def _select(self, node: Node | None) -> dict[str, str]:
        if node is None:
            return {}
        fields = self.mapping(node, ("node", "pool"), "select")
        found = {name: self.text(value) or "" for name, value in fields.items()}
        for name, pattern in found.items():
            if not pattern:
                self.wrong(fields[name], f"select.{name} is no pattern", expected="as worker-*")
        return found

    def _without(self, node: Node | None) -> list[Without]:
        found = []
        for item in self.items(node, "without"):
            fields = self.whole(item, ("key", "why"), "what is left out")
            if fields:
                why = self.sentence(fields["why"], "what is left out")
                found.append(Without(self._key(fields["key"]), why, self.origin(item)))
        return found

    def _rules(self, node: Node | None, name: str) -> tuple[Rule, ...]:
        items = self.items(node, "rules")
        if node is not None and len(items) > MOST_RULES:
            self.wrong(node, f"more than {MOST_RULES} rules")
            return ()
        found: list[Rule] = []
        for item in items:
            rule = self._rule(item, name)
            if rule is not None:
                self._beside(found, rule, item)
                found.append(rule)
        return tuple(found)

    def _beside(self, found: list[Rule], rule: Rule, item: Node) -> None:
        """Hold a rule against those of the same key before it."""
        for other in found:
            if other.key != rule.key:
                continue
            if (other.op, other.wanted) == (rule.op, rule.wanted):
                self.wrong(item, f"{rule.key} is there twice: here and {other.origin}")
            elif values.contradict((other.op, other.wanted), (rule.op, rule.wanted)):
                both = f"{other.told} in line {other.origin.line}, {rule.told} here"
                self.wrong(item, f"{rule.key} cannot be both: {both}")

    def _rule(self, item: Node, baseline: str) -> Rule | None:
        before = len(self.problems)
        fields = self.mapping(item, _RULE, "a rule")
        missing = [name for name in ("key", "op", "why", "source") if name not in fields]
        if isinstance(item, MappingNode) and missing:
            self.wrong(item, f"a rule has no {' and no '.join(missing)}", expected=", ".join(_RULE))
        if len(self.problems) > before or not fields:
            return None
        key = self._key(fields["key"])
        op = self._word(fields["op"], values.OPERATORS, "operator")
        wanted = self._wanted(fields, op)
        rule = Rule(
            key=key,
            op=op,
            wanted=wanted,
            owner=self.text(fields.get("owner")) or OWNERS.get(key.partition("/")[0], ""),
            severity=self._severity(fields.get("severity")),
            why=self.sentence(fields["why"], "a rule"),
            source=self.sentence(fields["source"], "the source of a rule"),
            since=self._since(fields.get("since")),
            optional=self._flag(fields.get("optional")),
            origin=self.origin(item),
            line=self.origin(fields.get("value") or fields["op"]).line,
            baseline=baseline,
        )
        return rule if len(self.problems) == before else None

    def _key(self, node: Node) -> str:
        text = (self.text(node) or "").strip()
        kind, slash, rest = text.partition("/")
        if kind not in OWNERS or not rest:
            found = advice(kind, [f"{one}/" for one in sorted(OWNERS)])
            if not slash and "." in text:
                found["hint"] = f"did you mean sysctl/{text}?"
            self.wrong(node, f"the key {text!r} names no kind of setting", **found)
            return text
        if len(text) > 500:
            self.wrong(node, "the key is longer than 500 characters")
        if text.count("*") > MOST_STARS:
            self.wrong(node, f"the key has more than {MOST_STARS} stars")
        if kind == "sysctl":
            return "sysctl/" + sysctl_name(path_of(rest))
        if kind == "module":
            name, mark, parameter = rest.partition("/")
            return "module/" + name.replace("-", "_") + mark + parameter
        return text

    def _word(self, node: Node, known: tuple[str, ...], what: str) -> str:
        word = self.text(node) or ""
        if word not in known:
            self.wrong(node, f"there is no {what} {word!r}", **advice(word, known))
        return word

    def _severity(self, node: Node | None) -> str:
        if node is None:
            return "warning"
        word = self.text(node) or ""
        return "warning" if word == "warn" else self._word(node, SEVERITIES, "severity")

    def _wanted(self, fields: Mapping[str, Node], op: str) -> tuple[str, ...]:
        node = fields.get("value")
        found = self._texts(node) if node is not None else ()
        if op != "in" and isinstance(node, SequenceNode):
            self.wrong(node, f"{op} takes one value, not a list", hint="in takes a list")
            return found
        if op in values.OPERATORS and (problem := values.wrong(op, found)):
            self.wrong(node or fields["op"], problem)
        return found

    def _texts(self, node: Node) -> tuple[str, ...]:
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        found = []
        for one in nodes:
            if not isinstance(one, ScalarNode):
                self.wrong(one, "a value is a text or a number, or for in a list of those")
            elif one.tag == _NULL:
                self.wrong(one, "the value is empty", hint='"" is the empty text')
            else:
                found.append(values.plain(str(one.value)) if len(nodes) else "")
        return tuple(found)

    def _since(self, node: Node | None) -> tuple[str, str] | None:
        if node is None:
            return None
        found = _SINCE.fullmatch((self.text(node) or "").strip().lower())
        if not found:
            expected = "a version of Kubernetes, as 1.29, or of the kernel, as kernel 5.11"
            self.wrong(node, "since is no version", expected=expected)
            return None
        return found[1] or "kubernetes", found[2]

    def _flag(self, node: Node | None) -> bool:
        word = (self.text(node) or "").lower() if node is not None else "false"
        if word not in {"true", "false"} and node is not None:
            self.wrong(node, "optional is true or false")
        return word == "true"


def _is_one(root: Any) -> bool:
    """Tell whether a document is a baseline, or means to be one."""
    if not isinstance(root, MappingNode):
        return False
    for key, value in root.value:
        if isinstance(key, ScalarNode) and key.value == "kind":
            return isinstance(value, ScalarNode) and value.value == KIND
    return False


def _syntax(error: yaml.YAMLError, path: str) -> InputError:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else path
    what = getattr(error, "problem", None) or getattr(error, "reason", "unreadable")
    return InputError(f"this is not YAML: {what}", where=where)
