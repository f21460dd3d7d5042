"""The part of Go's templates that ``template.data`` of a SealedSecret usually needs.

``{{ .key }}``, ``{{ index . "key" }}``, texts, pipes into a few functions of sprig, and trimmed
white space (``{{-``, ``-}}``). Anything else is an error that says so: the controller would
render it, and a recovered Secret that silently lacks it would be worse than none.
https://pkg.go.dev/text/template , https://masterminds.github.io/sprig/
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

from opslib.core.errors import InputError

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'\s*("(?:[^"\\\n]|\\.)*"|`[^`]*`|\||\.?[A-Za-z_]\w*|\.|[^\s|]+)')
_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "b64enc": lambda text: base64.b64encode(text.encode("utf-8", "surrogateescape")).decode(),
    "b64dec": lambda text: base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape"),
    "quote": lambda text: json.dumps(text, ensure_ascii=False),
    "squote": lambda text: f"'{text}'",
    "trim": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "toString": str,
    "print": str,
    "urlquery": quote_plus,
}
_NO_VALUE = "<no value>"


def render(template: str, data: Mapping[str, str], where: str) -> str:
    """Render a template. Raises InputError for what is not understood here."""
    out: list[str] = []
    at = 0
    trim_next = False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip() if trim_next else text
        out.append(text.rstrip() if match[1] else text)
        trim_next, at = bool(match[3]), match.end()
        action = match[2].strip()
        if not (action.startswith("/*") and action.endswith("*/")):
            out.append(_action(action, data, where))
    rest = template[at:]
    if "{{" in rest:
        raise _unknown("{{ without its }}", where)
    return "".join([*out, rest.lstrip() if trim_next else rest])


def _action(action: str, data: Mapping[str, str], where: str) -> str:
    words = _WORD.findall(action)
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            commands.append([])
        else:
            commands[-1].append(word)
    value: str | None = None
    for number, command in enumerate(commands):
        value = _command(command, data, value if number else None, where)
    return value if value is not None else ""


def _command(command: list[str], data: Mapping[str, str], piped: str | None, where: str) -> str:
    match command:
        case [name] if name in _FUNCTIONS and piped is not None:
            return _call(name, piped, where)
        case [name, argument] if name in _FUNCTIONS and piped is None:
            return _call(name, _operand(argument, data, where), where)
        case ["index", ".", key] if piped is None and key[:1] in '"`':
            return data.get(_text(key), "")
        case [operand] if piped is None:
            return _operand(operand, data, where)
    raise _unknown(" ".join(command), where)


def _call(name: str, text: str, where: str) -> str:
    try:
        return _FUNCTIONS[name](text)
    except ValueError:
        raise InputError(f"{name} cannot be used on this value", where=where) from None


def _operand(word: str, data: Mapping[str, str], where: str) -> str:
    if word[:1] in '"`':
        return _text(word)
    if re.fullmatch(r"\.[A-Za-z_]\w*", word):
        return data.get(word[1:], _NO_VALUE)
    raise _unknown(word, where)


def _text(word: str) -> str:
    return word[1:-1] if word[0] == "`" else str(json.loads(word))


def _unknown(what: str, where: str) -> InputError:
    return InputError(
        f"this part of a template cannot be rendered here: {what[:80]}",
        where=where,
        expected="{{ .key }}, perhaps with one of: " + ", ".join(sorted(_FUNCTIONS)),
        hint="the controller can: apply the SealedSecret to a cluster that has the key",
    )
