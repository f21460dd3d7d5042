"""Policies of Vault as they are written: HCL or JSON, read as far as paths and capabilities go.

https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError

CAPABILITIES = (
    "create",
    "read",
    "update",
    "patch",
    "delete",
    "list",
    "sudo",
    "deny",
    "subscribe",
    "recover",
)
_OLD = {
    "deny": ("deny",),
    "read": ("read", "list"),
    "write": ("create", "read", "update", "delete", "list"),
    "sudo": ("create", "read", "update", "delete", "list", "sudo"),
}
"""The older ``policy = "write"`` (https://developer.hashicorp.com/vault/docs/concepts/policies)."""

_MOST = 1_000_000
_DEPTH = 20
_TOKEN = re.compile(
    r'\s+|#[^\n]*|//[^\n]*|/\*.*?\*/|(?P<string>"(?:[^"\\\n]|\\.)*")'
    r"|<<-?(?P<here>\w+)\n.*?\n\s*(?P=here)\b|(?P<word>[\w.\-]+)|(?P<mark>[{}\[\],=:])",
    re.DOTALL,
)


@dataclass(frozen=True)
class Rule:
    """What one path of a policy allows. ``path`` may end in ``*`` and have ``+`` as parts."""

    path: str
    capabilities: frozenset[str]


def read(text: str, name: str) -> list[Rule]:
    """Read a policy. Raises InputError, with the line, for what is none."""
    if len(text) > _MOST:
        raise InputError("the policy is longer than 1 MB", where=name)
    if text.lstrip().startswith("{"):
        return [_rule(path, body, name) for path, body in _of_json(text, name)]
    return _Parser(text, name).rules()


def _of_json(text: str, name: str) -> Iterator[tuple[str, Any]]:
    try:
        found = json.loads(text).get("path")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"the policy is not JSON: {type(error).__name__}", where=name) from None
    for group in found if isinstance(found, list) else [found]:
        yield from (group or {}).items() if isinstance(group, dict | None) else ()


def _rule(path: str, body: Any, name: str) -> Rule:
    found = body[0] if isinstance(body, list) and body else body
    if not isinstance(found, dict):
        raise InputError(f"the policy says nothing of {path[:80]!r}", where=name)
    capabilities = found.get("capabilities")
    words = set(map(str, capabilities)) if isinstance(capabilities, list) else set()
    words |= set(_OLD.get(str(found.get("policy")), ()))
    return Rule(path.lstrip("/"), frozenset(words))


class _Parser:
    """Reads the blocks ``path "…" { … }``; other blocks and fields are passed over."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.tokens = list(_tokens(text, name))
        self.at = 0

    def rules(self) -> list[Rule]:
        found: list[Rule] = []
        while self.at < len(self.tokens):
            word = self.next()
            labels = []
            while self.peek() not in {"{", "="}:
                labels.append(self.next())
            if self.peek() == "=":
                self.next()
            body = self.value(0)
            if word.strip('"') == "path" and labels:
                found.append(_rule(_text(labels[0]), body, self.name))
        return found

    def peek(self) -> str:
        if self.at >= len(self.tokens):
            raise InputError("the policy ends in the middle of a block", where=self.name)
        return self.tokens[self.at][0]

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def value(self, depth: int) -> Any:
        line = self.tokens[self.at][1] if self.at < len(self.tokens) else 0
        mark = self.next()
        if depth > _DEPTH:
            raise InputError("the policy is nested too deeply", where=f"{self.name}:{line}")
        if mark == "[":
            return self.items(depth)
        if mark == "{":
            return self.block(depth)
        if mark in {"}", "]", ",", "=", ":"}:
            raise InputError(f"{mark} is not expected here", where=f"{self.name}:{line}")
        return _text(mark)

    def items(self, depth: int) -> list[Any]:
        found = []
        while self.peek() != "]":
            if self.peek() == ",":
                self.next()
            else:
                found.append(self.value(depth + 1))
        self.next()
        return found

    def block(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.peek() != "}":
            key = self.next()
            if key == ",":
                continue
            while self.peek() not in {"=", ":", "{"}:
                self.next()
            if self.peek() != "{":
                self.next()
            found[_text(key)] = self.value(depth + 1)
        self.next()
        return found


def _tokens(text: str, name: str) -> Iterator[tuple[str, int]]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InputError("this is not the language of policies", where=f"{name}:{line}")
        if match["string"] or match["word"] or match["mark"] or match["here"]:
            yield match[0], line
        line += match[0].count("\n")
        at = match.end()


def _text(token: str) -> str:
    if not token.startswith('"'):
        return token
    try:
        return str(json.loads(token))
    except ValueError:
        return token[1:-1]
