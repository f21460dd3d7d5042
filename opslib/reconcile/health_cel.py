"""Expressions of health rules: a bounded part of CEL, checked when read, timed by its size.

CEL (https://github.com/google/cel-spec/blob/master/doc/langdef.md) has no loops that do not
end, but macros nest, lists can be made to grow, and what is written in Git is hostile. So the
rules may use what only looks: no ``map``, no regular expressions, no escapes in texts, three
macros inside each other at most. What remains costs at most (longest list) ^ depth steps, and
an object for which that is too much is not evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opslib.core.model import Manifest

LENGTH, DEPTH = 1000, 3
"""Characters of an expression, and macros inside each other, at most."""

STEPS = 20_000_000
"""Values of the object, times turns of the macros, that one evaluation may touch: seconds."""

ROOTS = ("self", "metadata", "spec", "status", "data")
"""What an expression sees: the whole object, and its parts, which are empty where missing."""

_MACROS = ("all", "exists", "exists_one", "filter")
_FUNCTIONS = ("has", "size", "int", "double", "string", "timestamp", "duration")
_METHODS = (*_MACROS, "size", "startsWith", "endsWith", "contains")
_WORDS = ("true", "false", "null", "in")

_TOKEN = re.compile(
    r"""\s+
    | (?P<text>'[^'"\\\r\n]*'|"[^'"\\\r\n]*")
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>&&|\|\||[=!<>]=|[-!<>+*/%?:.,()\[\]])""",
    re.VERBOSE,
)


class NotAnswered(Exception):
    """An expression has no answer for this object; the text says why."""


@dataclass(frozen=True)
class Expression:
    """One expression that was checked; compiled when first asked."""

    source: str
    depth: int
    roots: tuple[str, ...]

    def holds(self, live: Manifest) -> bool:
        """Evaluate on a live object; raises NotAnswered where there is no true or false."""
        values = _values(live, self.roots)
        self._afford(values)
        try:
            answer = self._program.execute(values)
        except KeyError as error:
            raise NotAnswered(f"there is no {error} (ask has() first)") from None
        except IndexError:
            raise NotAnswered("a list is shorter than it expects") from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # a panic in Rust is none of Exception
            raise NotAnswered(_first_sentence(error)) from None
        if isinstance(answer, bool):
            return answer
        raise NotAnswered(f"it gives {type(answer).__name__}, not true or false")

    def _afford(self, value: Any) -> None:
        total, longest = _sizes(value)
        # A list that is written in the expression has a comma between each two.
        turns = max(longest, self.source.count(",") + 1) ** self.depth
        if turns * total > STEPS:
            size = f"{total} values, {longest} in one list"
            raise NotAnswered(f"the object is too large for it: {size}")

    @cached_property
    def _program(self) -> Any:
        # Imported here: 0.2 s that only those pay who have an object with a rule.
        import cel  # noqa: PLC0415  # start-up time

        return cel.compile(self.source)


def read(source: str, *, compiled: bool = True) -> Expression:
    """Check an expression and return it; raises ValueError that says what is wrong.

    Its names and functions are known ones, it is parsed, and it is tried on an empty object,
    which finds operators on texts and numbers that do not fit and answers that are no bool.
    Without ``compiled`` the last two are left for later.
    """
    text = source.strip()
    if not text:
        raise ValueError("it is empty")
    if len(text) > LENGTH:
        raise ValueError(f"it has {len(text)} characters, more than {LENGTH}")
    tokens = _checked(list(_tokens(text)))
    names = {token.text for token in tokens if token.kind == "name"}
    expression = Expression(text, _depth(tokens), tuple(root for root in ROOTS if root in names))
    if not compiled:
        return expression
    try:
        answer = expression._program.execute(_values({}, expression.roots))  # noqa: SLF001  # the same module
    except (KeyError, IndexError):
        return expression  # what an empty object lacks, a real one may have
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  # a panic in Rust is none of Exception
        raise ValueError(_first_sentence(error)) from None
    if not isinstance(answer, bool):
        raise ValueError(f"it gives {type(answer).__name__}, not true or false")  # noqa: TRY004  # told to people
    return expression


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if not found:
            hint = "; texts are '...' or \"...\" without quotes and backslashes inside"
            raise ValueError(f"{source[at : at + 10]!r} is not part of it{hint}")
        if found.lastgroup:
            yield _Token(found.lastgroup, found.group())
        at = found.end()


def _checked(tokens: list[_Token]) -> list[_Token]:
    """Refuse names that nothing stands for, and texts that CEL would read as other texts."""
    bound = {
        tokens[i + 2].text
        for i, token in enumerate(tokens[:-2])
        if token.text in _MACROS and tokens[i + 1].text == "("
    }
    known = {*ROOTS, *_WORDS, *bound}
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else _Token("", "")
        after = tokens[i + 1].text if i + 1 < len(tokens) else ""
        if token.kind == "text" and before.kind in {"text", "name"} and before.text != "in":
            raise ValueError(f"{before.text}{token.text} is a kind of text that rules do not use")
        if token.kind != "name":
            continue
        if after == "(" and token.text != "in":
            _callable(token.text, is_method=before.text == ".")
        elif before.text != "." and token.text not in known:
            raise ValueError(f"there is no {token.text!r}, expected one of {', '.join(ROOTS)}")
    return tokens


def _callable(name: str, *, is_method: bool) -> None:
    known = _METHODS if is_method else _FUNCTIONS
    if name not in known:
        raise ValueError(f"there is no function {name!r}, expected one of {', '.join(known)}")


def _depth(tokens: list[_Token]) -> int:
    """Count how many macros are inside each other at most; raises ValueError above DEPTH."""
    open_macros: list[bool] = []
    deepest = 0
    for i, token in enumerate(tokens):
        if token.text == "(" and token.kind == "sign":
            open_macros.append(i > 1 and tokens[i - 1].text in _MACROS)
            deepest = max(deepest, sum(open_macros))
        elif token.text == ")" and token.kind == "sign" and open_macros:
            open_macros.pop()
    if deepest > DEPTH:
        raise ValueError(f"{deepest} macros are inside each other, more than {DEPTH}")
    return deepest


def _values(live: Manifest, roots: tuple[str, ...]) -> dict[str, Any]:
    """Return what an expression names; who owns which field is long, and no matter of health."""
    values = {root: _part(live, root) for root in roots if root != "self"}
    if "metadata" in values:
        values["metadata"].pop("managedFields", None)
    if "self" in roots:
        metadata = _part(live, "metadata")
        metadata.pop("managedFields", None)
        values["self"] = {**live, "metadata": metadata}
    return values


def _part(live: Manifest, name: str) -> dict[str, Any]:
    value = live.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _sizes(value: Any) -> tuple[int, int]:
    """Count the values in an object (a text counts by its length), and the longest collection."""
    total, longest, stack = 0, 0, [value]
    while stack:
        one = stack.pop()
        total += 1
        if isinstance(one, Mapping):
            longest = max(longest, len(one))
            stack.extend(one.values())
        elif isinstance(one, list):
            longest = max(longest, len(one))
            stack.extend(one)
        elif isinstance(one, str):
            total += len(one) // 64
    return total, longest


def _first_sentence(error: BaseException) -> str:
    """Return what the library says, without the source that it repeats."""
    lines = [line for line in str(error).splitlines() if not line.startswith("|")]
    text = " ".join(" ".join(lines).split()).rpartition("ERROR: ")[2]
    text = re.sub(r"^<input>:(\d+):(\d+)", r"line \1, column \2 of it", text)
    return text[:200] or type(error).__name__
