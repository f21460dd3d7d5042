"""From what a person typed to a typed value, changing nothing on the way.

Text stays text for str (1.10, 007, 1_000 and false are four strings); every other
type has one spelling. What is not that spelling is an error, never a guess.
pydantic checks in strict mode: https://docs.pydantic.dev/latest/concepts/strict_mode/
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from opslib.runbook.markers import Pattern, Range
from opslib.runbook.secret import FORMS, Secret

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOUN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Secret: FORMS,
    None: "null",
    type(None): "null",
}


class BadValueError(ValueError):
    """A value that is not of the parameter's type; the text says why in a few words."""


def convert(annotation: Any, value: Any) -> Any:
    """Return ``value`` as the annotated type; text is read by the spelling of that type.

    Raises BadValueError.
    """
    typed = parse(annotation, value) if isinstance(value, str) else value
    return _validate(annotation, typed)


def parse(annotation: Any, text: str) -> Any:
    """Read text as the annotated type says. Raises BadValueError."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return parse(arguments[0], text)
    if origin in (typing.Union, types.UnionType):
        return _parse_union(arguments, text)
    if origin is typing.Literal:
        return _parse_choice(arguments, text)
    if origin in (list, dict):
        return _parse_json(origin, text)
    return _parse_scalar(annotation, text)


def _parse_scalar(annotation: Any, text: str) -> Any:
    reader = _READERS.get(type(None) if annotation is None else annotation)
    return text if reader is None else reader(text)


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise BadValueError("it is neither true nor false")
    return text.lower() == "true"


def _int(text: str) -> int:
    if not _INT.fullmatch(text):
        raise BadValueError("it is not a whole number in plain digits")
    try:
        return int(text)
    except ValueError:  # Python refuses more than 4300 digits
        raise BadValueError("it has too many digits") from None


def _float(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise BadValueError("it is not a number")
    return float(text)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise BadValueError("it is not a path")
    return Path(text)


def _secret(text: str) -> Secret:
    try:
        return Secret(text)
    except ValueError:
        raise BadValueError("it is a value, not a reference to one") from None


def _null(text: str) -> None:
    if text not in {"null", "None"}:
        raise BadValueError("it is not null")


_READERS: dict[Any, Callable[[str], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    Path: _path,
    Secret: _secret,
    type(None): _null,
}


def _parse_union(members: tuple[Any, ...], text: str) -> Any:
    """Read text for a union: where str is a member, text is meant as it stands."""
    if str in members or Any in members:
        return text
    reasons = []
    for member in sorted(members, key=lambda one: one is Path):
        try:
            return convert(member, text)
        except BadValueError as error:
            reasons.append(str(error))
    raise BadValueError(" and ".join(dict.fromkeys(reasons)))


def _parse_choice(choices: tuple[Any, ...], text: str) -> Any:
    for choice in choices:
        try:
            if parse(type(choice), text) == choice:
                return choice
        except BadValueError:
            continue
    raise BadValueError("it is not one of the choices")


def _parse_json(kind: type, text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise BadValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BadValueError(f"it is not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(value, kind):
        raise BadValueError(f"it is JSON, but no {'array' if kind is list else 'object'}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadValueError("a key of the JSON object is there twice")
    return value


def _no_constant(name: str) -> Any:
    raise BadValueError(f"{name} is not JSON")


def _validate(annotation: Any, value: Any) -> Any:
    from pydantic import ValidationError  # noqa: PLC0415  # 60 ms that a plain import need not pay

    try:
        return _adapter(annotation).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"[{part!r}]" for part in first["loc"] if _is_place(part))
        raise BadValueError(f"{place + ': ' if place else ''}{_reason(first)}") from None


def _is_place(part: Any) -> bool:
    """Tell positions and keys from the names that pydantic gives to members of a union."""
    return isinstance(part, int) or not re.match(r"(bool|int|float|str|none|list|dict|lax)", part)


def _reason(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


@lru_cache(maxsize=256)
def _adapter(annotation: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter  # noqa: PLC0415  # see _validate

    config = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(_for_pydantic(annotation), config=config)


def _for_pydantic(annotation: Any) -> Any:
    """Translate our markers; let text become a Path inside lists and dicts."""
    from pydantic import (  # noqa: PLC0415  # see _validate
        AfterValidator,
        BeforeValidator,
        Field,
        InstanceOf,
        Strict,
    )

    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    simple = {
        Path: typing.Annotated[Path, Strict(strict=False)],
        Secret: typing.Annotated[InstanceOf[Secret], BeforeValidator(_as_secret)],
    }
    if origin is None and annotation in simple:
        return simple[annotation]
    if origin is typing.Literal:
        return typing.Annotated[annotation, BeforeValidator(_chooser(arguments))]
    if origin is typing.Annotated:
        marks = [
            Field(ge=mark.ge, le=mark.le, gt=mark.gt, lt=mark.lt)
            if isinstance(mark, Range)
            else AfterValidator(_matcher(mark))
            for mark in annotation.__metadata__
        ]
        return typing.Annotated[(_for_pydantic(arguments[0]), *marks)]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_for_pydantic(one) for one in arguments)]  # noqa: UP007  # run-time members
    if origin in (list, dict):
        return types.GenericAlias(origin, tuple(_for_pydantic(one) for one in arguments))
    return annotation


def _chooser(choices: tuple[Any, ...]) -> Any:
    """Let only a choice itself through: to pydantic True is 1, in strict mode too."""

    def check(value: Any) -> Any:
        equal = [one for one in choices if one == value]
        if equal and not any(type(one) is type(value) for one in equal):
            raise ValueError("it is not one of the choices")
        return value

    return check


def _as_secret(value: Any) -> Any:
    """Turn the text of a reference inside a list or dict into a Secret."""
    return _secret(value) if isinstance(value, str) else value


def _matcher(mark: Pattern) -> Any:
    def check(value: Any) -> Any:
        if not re.fullmatch(mark.regex, str(value)):
            raise ValueError(f"it does not match {mark.regex}")
        return value

    return check


def describe(annotation: Any) -> str:
    """Say in words what values a type has: "a whole number >= 1 or null"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return " ".join([describe(arguments[0]), *(str(mark) for mark in annotation.__metadata__)])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(one) for one in arguments)
    if origin is typing.Literal:
        return f"one of {', '.join(str(choice) for choice in arguments)}"
    if origin is list:
        return "a JSON array" + ("" if arguments[0] is Any else f" of {describe(arguments[0])}")
    return "a JSON object" if origin is dict else _NOUN.get(annotation, "any value")


def takes_text(annotation: Any) -> bool:
    """Tell whether a type, or a part of it, takes any text."""
    if annotation in (str, Any, Path):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    parts = arguments[1:] if origin is dict else arguments
    return origin is not typing.Literal and any(takes_text(one) for one in parts)


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """Return what a Literal allows; empty for a type that is not one."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return arguments
    if origin is typing.Annotated:
        return choices_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(choice for one in arguments for choice in choices_of(one))
    return (True, False) if annotation is bool else ()
