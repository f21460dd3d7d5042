"""The parameters of a runbook as JSON Schema (draft 2020-12), for forms and other tools.

It describes values as JSON has them: a number for ``int``, an array for ``list``. What a
person types for those on the command line ("3", "[1]") is read by ``Schema.check`` beside
it and is not described here. https://json-schema.org/draft/2020-12/json-schema-validation

JSON does not tell 1.0 from 1, and a pattern says nothing of numbers: there the schema takes
what ``Schema.check`` then refuses. Patterns are in Python's syntax.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opslib.runbook import facts
from opslib.runbook.markers import Pattern, Range
from opslib.runbook.parameters import Parameter, Schema

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    None: {"type": "null"},
}
_PATH = {"type": "string", "pattern": "^[^\\u0000]+$(?!\\n)"}
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_FLAGS = re.compile(r"\(\?([aiLmsux]+)\)")


def json_schema(schema: Schema, title: str = "") -> dict[str, Any]:
    """Return the JSON Schema of an object that holds the parameters of one run by name."""
    return {
        "$schema": DRAFT,
        **({"title": title} if title else {}),
        "type": "object",
        "properties": {one.name: _property(one) for one in schema.parameters},
        "required": [one.name for one in schema.parameters if one.required],
        "additionalProperties": False,
    }


def _property(one: Parameter) -> dict[str, Any]:
    notes: dict[str, Any] = {"description": one.help} if one.help else {}
    if not one.required:
        notes["default"] = facts.to_plain(one.default, one.name)
    return {**notes, **of_type(one.annotation)}


def of_type(annotation: Any, *, inside: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of one type; ``inside`` a list or dict, any text is a path."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _marked(of_type(arguments[0], inside=inside), annotation.__metadata__)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [of_type(one, inside=inside) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (list, dict):
        return _container(origin, *arguments)
    simple = {**_SIMPLE, Path: {"type": "string"} if inside else _PATH}
    return dict(simple.get(annotation, {}))


def _container(origin: type, *arguments: Any) -> dict[str, Any]:
    if origin is list:
        return {"type": "array", **_part("items", arguments[0])}
    keys, values = arguments
    names = {} if keys is str else _part("propertyNames", keys)
    return {"type": "object", **names, **_part("additionalProperties", values)}


def _part(keyword: str, annotation: Any) -> dict[str, Any]:
    found = of_type(annotation, inside=True)
    return {keyword: found} if found else {}


def _marked(base: dict[str, Any], marks: Iterable[Any]) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [base]
    for mark in marks:
        if isinstance(mark, Range):
            rules.append({_BOUNDS[k]: v for k, v in vars(mark).items() if v is not None})
        elif isinstance(mark, Pattern):
            rules.append(_pattern(mark.regex))
    merged: dict[str, Any] = {}
    for rule in rules:
        if set(rule) & set(merged):
            return {"allOf": rules}
        merged |= rule
    return merged


def _pattern(regex: str) -> dict[str, Any]:
    """Return the rule for text that matches as a whole.

    A pattern of JSON Schema may match anywhere, and Python's ``$`` also matches before a
    last line break. Null is text to a Pattern too: "None".
    """
    flags = _FLAGS.match(regex)
    body = f"(?{flags[1]}:{regex[flags.end() :]})" if flags else f"(?:{regex})"
    rule: dict[str, Any] = {"pattern": f"^{body}$(?!\\n)"}
    return rule if re.fullmatch(regex, "None") else {**rule, "not": {"type": "null"}}
