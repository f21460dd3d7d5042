"""The parameters cell, read by ast and never run: names, types, defaults, help.

The cell stays plain papermill style (https://papermill.readthedocs.io, "Parameterize"):
assignments, with or without an annotation, and comments. A name that is only
annotated (``target: str``) must be given.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.runbook.markers import Pattern, Range
from opslib.runbook.secret import Secret

REQUIRED: Any = object()
"""The default of a parameter that has none."""

_SIMPLE: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "Path": Path,
    "list": list[Any],
    "List": list[Any],
    "dict": dict[str, Any],
    "Dict": dict[str, Any],
    "Secret": Secret,
    "Any": Any,
    "None": None,
}
_EXPECTED_TYPE = (
    "bool, int, float, str, Path, list, dict, Secret, Literal[...], a union of these, X | None, "
    "or Annotated[..., Range(...)] and Annotated[..., Pattern(...)]"
)


@dataclass(frozen=True)
class Declaration:
    """One assignment of the parameters cell; ``line`` counts from 1 within the cell."""

    name: str
    annotation: Any
    type_text: str
    default: Any
    help: str
    line: int


def declarations(source: str, where: str) -> tuple[Declaration, ...]:
    """Read the source of a parameters cell. ``where`` names the cell for the messages.

    Raises Problems that lists everything in the cell that is not a plain declaration.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InputError(
            f"the parameters cell is not Python: {error.msg}",
            where=f"{where}, line {error.lineno}",
            expected="plain assignments such as  replicas: int = 3  # how many pods",
        ) from None
    comments = _comments(source)
    found: list[Declaration] = []
    problems: list[OpslibError] = []
    for statement in tree.body:
        try:
            found.extend(_declaration(statement, comments))
        except InputError as error:
            error.where = f"{where}, line {statement.lineno}"
            problems.append(error)
    problems.extend(_twice(found, where))
    if problems:
        raise Problems(problems)
    return tuple(found)


def _twice(found: list[Declaration], where: str) -> Iterator[OpslibError]:
    seen: set[str] = set()
    for one in found:
        if one.name in seen:
            yield InputError(
                f"parameter {one.name} is declared twice", where=f"{where}, line {one.line}"
            )
        seen.add(one.name)


def _declaration(statement: ast.stmt, comments: dict[int, str]) -> Iterator[Declaration]:
    match statement:
        case ast.Import() | ast.ImportFrom():
            return
        case ast.Expr(value=ast.Constant(value=str())):
            return
        case ast.AnnAssign(target=ast.Name(id=name), annotation=note, value=value):
            annotation = resolve(note)
            default = REQUIRED if value is None else literal(value, name)
            text = _type_text(note)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = literal(value, name)
            annotation = _inferred(default)
            text = getattr(annotation, "__name__", "Any")
        case _:
            raise InputError(
                f"the parameters cell holds more than declarations: {_short(statement)}",
                expected="NAME = value, NAME: type = value, or NAME: type; imports; comments",
                hint="move other code to a cell below",
            )
    yield Declaration(name, annotation, text, default, _help(statement, comments), statement.lineno)


def literal(node: ast.expr, name: str) -> Any:
    """Evaluate a default that is written out: a literal, or Path("…")."""
    match node:
        case ast.Call(func=func, args=[ast.Constant(value=str(text))], keywords=[]) if (
            _last_name(func) == "Path"
        ):
            return Path(text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise InputError(
            f"the default of parameter {name} is computed: {_short(node)}",
            expected="a value that is written out, so that it can be read without running code",
        ) from None


def resolve(node: ast.expr) -> Any:
    """Turn the syntax of an annotation into the type it names, without evaluating anything."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return resolve(ast.parse(text, mode="eval").body)
        case ast.Name() | ast.Attribute() if _last_name(node) in _SIMPLE:
            return _SIMPLE[_last_name(node)]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[resolve(left), resolve(right)]  # noqa: UP007  # members are run-time values
        case ast.Subscript(value=value, slice=inner):
            items = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
            return _subscript(_last_name(value), items, node)
    raise _not_a_type(node)


def _subscript(outer: str, items: list[ast.expr], node: ast.expr) -> Any:
    match outer, items:
        case "Optional", [item]:
            return typing.Optional[resolve(item)]  # noqa: UP045  # the member is a run-time value
        case "Union", _:
            return typing.Union[tuple(resolve(item) for item in items)]  # noqa: UP007  # as above
        case "Literal", _:
            return typing.Literal[tuple(ast.literal_eval(item) for item in items)]
        case (("list" | "List"), [item]):
            return types.GenericAlias(list, (resolve(item),))
        case (("dict" | "Dict"), [key, value]):
            return types.GenericAlias(dict, (resolve(key), resolve(value)))
        case "Annotated", [base, *extras]:
            marks = tuple(mark for extra in extras for mark in _markers(extra))
            return typing.Annotated[(resolve(base), *marks)] if marks else resolve(base)
    raise _not_a_type(node)


def _markers(node: ast.expr) -> Iterator[Range | Pattern]:
    match node:
        case ast.Constant(value=str()):
            return
        case ast.Call(func=func, args=args, keywords=words):
            values = {word.arg: ast.literal_eval(word.value) for word in words if word.arg}
            bounds = {k: values[k] for k in ("ge", "le", "gt", "lt") if k in values}
            regex = values.get("pattern") or values.get("regex")
            name = _last_name(func)
            if name == "Pattern" and args:
                regex = ast.literal_eval(args[0])
            if name in {"Range", "Field", "Pattern"} and (bounds or regex):
                if bounds:
                    yield Range(**bounds)
                if regex:
                    yield Pattern(_compiled(regex))
                return
    raise _not_a_type(node)


def _compiled(regex: Any) -> str:
    try:
        return str(re.compile(regex).pattern)
    except (re.error, TypeError) as error:
        raise InputError(f"{regex!r} is not a regular expression: {error}") from None


def _not_a_type(node: ast.expr) -> InputError:
    return InputError(
        f"{_short(node)} is not a type that a parameter can have", expected=_EXPECTED_TYPE
    )


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _type_text(node: ast.expr) -> str:
    """Return the annotation for people: Annotated[int, Range(ge=1)] reads "int"."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    match node:
        case ast.Subscript(value=value, slice=ast.Tuple(elts=[base, *_])) if (
            _last_name(value) == "Annotated"
        ):
            return _type_text(base)
    return ast.unparse(node)


def _inferred(default: Any) -> Any:
    if isinstance(default, Path):
        return Path
    if isinstance(default, list | dict):
        return _SIMPLE[type(default).__name__]
    return type(default) if isinstance(default, bool | int | float | str) else Any


def _comments(source: str) -> dict[int, str]:
    """Return the text of each comment by its line, marking those alone on a line with a NUL."""
    lines = source.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = {}
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row = token.start[0]
            alone = lines[row - 1].lstrip().startswith("#")
            found[row] = ("\0" if alone else "") + token.string.lstrip("# ").rstrip()
    return found


def _help(statement: ast.stmt, comments: dict[int, str]) -> str:
    """Return the comment at the end of the statement, else the block of comments right above."""
    for row in (statement.end_lineno or statement.lineno, statement.lineno):
        if row in comments and not comments[row].startswith("\0"):
            return comments[row]
    block: list[str] = []
    row = statement.lineno - 1
    while comments.get(row, "").startswith("\0"):
        block.insert(0, comments[row].lstrip("\0"))
        row -= 1
    return " ".join(part for part in block if part)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
