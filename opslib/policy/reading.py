"""Reads one of the kit's own files, node by node, and collects what is wrong with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Origin
from opslib.policy.model import Target

API_VERSION = "opslib.dev/v1alpha1"
MAX_DEPTH = 100
_TARGET = ("kind", "namespace", "name")


class Reader:
    """Walks the nodes of one file of ``kind`` and collects its problems."""

    def __init__(self, path: str, kind: str, api_version: str = API_VERSION) -> None:
        self.path = path
        self.kind = kind
        self.api_version = api_version
        self.problems: list[OpslibError] = []

    def origin(self, node: Node) -> Origin:
        return Origin(self.path, node.start_mark.line + 1)

    def wrong(self, node: Node, what: str, *, expected: str = "", hint: str = "") -> None:
        problem = InputError(
            what, where=str(self.origin(node)), expected=expected or None, hint=hint or None
        )
        self.problems.append(problem)

    def document(self, text: str) -> Node:
        try:
            roots = composed(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{self.path}:{mark.line + 1}" if mark else self.path
            what = getattr(error, "problem", None) or getattr(error, "reason", "unreadable")
            raise InputError(f"the {self.kind} is not valid YAML: {what}", where=where) from None
        except RecursionError:
            raise InputError(f"the {self.kind} is nested too deeply", where=self.path) from None
        if len(roots) != 1 or roots[0] is None:
            raise InputError(
                f"a file of kind {self.kind} holds exactly one document",
                where=self.path,
                expected=f"apiVersion: {self.api_version}, kind: {self.kind}",
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
                self.wrong(key, f"{what} has no key {name!r}", **advice(name, known))
            found[name] = value
        return {name: value for name, value in found.items() if name in known}

    def text(self, node: Node | None) -> str | None:
        return str(node.value) if isinstance(node, ScalarNode) else None

    def head(self, text: str, known: Iterable[str]) -> dict[str, Node]:
        """Read the whole document: its keys, with apiVersion and kind as they must be."""
        return self.fields(self.document(text), known)

    def fields(self, root: Node, known: Iterable[str]) -> dict[str, Node]:
        """Read one document: its keys, with apiVersion and kind as they must be."""
        fields = self.mapping(root, ("apiVersion", "kind", "metadata", *known), f"the {self.kind}")
        if isinstance(root, MappingNode):
            for name, wanted in (("apiVersion", self.api_version), ("kind", self.kind)):
                if self.text(fields.get(name)) != wanted:
                    self.wrong(fields.get(name) or root, f"{name} is not {wanted}", expected=wanted)
        return fields

    def items(self, node: Node | None, what: str) -> list[Node]:
        """Return the items of a list; of none where it is left out."""
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self.wrong(node, f"{what} is not a list", expected=f"a list of {what}")
            return []
        return list(node.value)

    def whole(self, node: Node, keys: Iterable[str], what: str) -> dict[str, Node] | None:
        """Read a mapping in which every key must be there; None where one is missing."""
        fields = self.mapping(node, keys, what)
        missing = [name for name in keys if name not in fields]
        if missing and isinstance(node, MappingNode):
            self.wrong(node, f"{what} has no {' and no '.join(missing)}", expected=", ".join(keys))
        return None if missing else fields

    def sentence(self, node: Node, what: str) -> str:
        """Read a reason: a text that is not empty."""
        text = (self.text(node) or "").strip()
        if not text:
            self.wrong(node, f"{what} needs a reason that a person can read")
        return text

    def date(self, node: Node) -> date | None:
        text = self.text(node) or ""
        try:
            if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                return date.fromisoformat(text)
        except ValueError:  # such as 2027-02-30: reported below
            pass
        self.wrong(node, f"expires is not a date: {text!r}", expected="YYYY-MM-DD, as 2027-03-31")
        return None

    def target(self, node: Node) -> Target:
        fields = self.mapping(node, _TARGET, "a target")
        values = {name: self.text(value) for name, value in fields.items()}
        for name, value in values.items():
            if not value:
                self.wrong(fields[name], f"the target's {name} is not a pattern")
        if isinstance(node, MappingNode) and not node.value:
            self.wrong(node, "a target names at least one of kind, namespace and name")
        return Target(**{name: value for name, value in values.items() if value})


def composed(text: str) -> list[Node]:
    """Return the documents of a text as nodes; raises yaml.YAMLError, and RecursionError.

    The nesting is looked at first: the composer in C overflows its stack, which no exception
    tells.
    """
    depth = 0
    for event in iter(yaml.CSafeLoader(text).get_event, None):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise RecursionError
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return list(yaml.compose_all(text, Loader=yaml.CSafeLoader))


def advice(name: str, known: Iterable[str]) -> dict[str, str]:
    """Return what was expected, and what may have been meant."""
    close = get_close_matches(name, list(known), n=1)
    found = {"expected": "one of " + ", ".join(known)}
    return found | ({"hint": f"did you mean {close[0]!r}?"} if close else {})
