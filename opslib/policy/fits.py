"""Says quickly that a value fits a schema of Kubernetes; what it cannot say is left to jsonschema.

Most objects are right. For these a few closures are enough, made once for each schema; an error
is found again by jsonschema, which says where it is. True is a proof; False means "not known".
Only the keywords that the published schemas use are understood, with any other nothing fits.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fits = Callable[[Any], bool]

_TYPES: dict[str, Fits] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: value is True or value is False,
    # A float such as 1.0 is an integer for JSON Schema: left to jsonschema.
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}
_SAYS_NOTHING = frozenset({"$id", "$schema", "default", "description", "format", "title"})
_REFERENCE = "#/$defs/"


class Fitter:
    """Makes functions of schemas; ``definitions`` are those that references lead to, by name."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._made: dict[str, Fits] = {}

    def of(self, schema: Any) -> Fits:
        """Return a function that says True only of values that fit."""
        if schema is True:
            return _always
        if not isinstance(schema, dict):
            return _never
        parts = [
            self._part(keyword, schema)
            for keyword in schema
            if keyword not in _SAYS_NOTHING and not keyword.startswith("x-")
        ]
        if len(parts) == 1:
            return parts[0]
        return lambda value: all(part(value) for part in parts)

    def _part(self, keyword: str, schema: Mapping[str, Any]) -> Fits:
        make = {
            "$ref": self._reference,
            "type": _typed,
            "enum": _one_of,
            "oneOf": _one_type_of,
            "items": self._items,
            "required": _required,
            "properties": self._properties,
            "additionalProperties": self._others,
        }.get(keyword)
        return make(schema) if make else _never

    def _reference(self, schema: Mapping[str, Any]) -> Fits:
        name = str(schema["$ref"]).partition(_REFERENCE)[2]
        if name not in self._definitions:
            return _never

        def follow(value: Any) -> bool:
            # Made at its first use: definitions refer to themselves.
            if name not in self._made:
                self._made[name] = self.of(self._definitions[name])
            return self._made[name](value)

        return follow

    def _items(self, schema: Mapping[str, Any]) -> Fits:
        one = self.of(schema["items"])
        return lambda value: not isinstance(value, list) or all(map(one, value))

    def _properties(self, schema: Mapping[str, Any]) -> Fits:
        made = {name: self.of(part) for name, part in schema["properties"].items()}

        def each(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            return all(made[name](part) for name, part in value.items() if name in made)

        return each

    def _others(self, schema: Mapping[str, Any]) -> Fits:
        known = frozenset(schema.get("properties", ()))
        other = self.of(schema["additionalProperties"])

        def each(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            return all(other(part) for name, part in value.items() if name not in known)

        return each


def _always(value: Any) -> bool:
    del value
    return True


def _never(value: Any) -> bool:
    del value
    return False


def _names(schema: Mapping[str, Any]) -> list[str]:
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def _typed(schema: Mapping[str, Any]) -> Fits:
    checks = [_TYPES[name] for name in _names(schema) if name in _TYPES]
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def _required(schema: Mapping[str, Any]) -> Fits:
    names = frozenset(schema["required"])
    return lambda value: not isinstance(value, dict) or names <= value.keys()


def _one_of(schema: Mapping[str, Any]) -> Fits:
    """Texts and null only: other values are equal in more ways than one."""
    allowed = {one for one in schema["enum"] if isinstance(one, str | None)}
    return lambda value: isinstance(value, str | None) and value in allowed


def _one_type_of(schema: Mapping[str, Any]) -> Fits:
    """Choose between types that exclude each other, as in "a text or a whole number".

    Null is in both options as they are published, so that exactly one of them never takes it.
    """
    options = [{k: v for k, v in one.items() if k not in _SAYS_NOTHING} for one in schema["oneOf"]]
    if any(set(one) != {"type"} for one in options):
        return _never
    names = [name for one in options for name in _names(one) if name != "null"]
    if len(set(names)) < len(names) or {"integer", "number"} <= set(names):
        return _never
    return _typed({"type": names})
