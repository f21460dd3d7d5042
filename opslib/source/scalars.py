"""How kubectl reads a plain YAML scalar.

kubectl turns YAML into JSON by sigs.k8s.io/yaml, which rests on a fork of go-yaml v2: YAML
1.1 without sexagesimal numbers, with timestamps left as text and Go's ideas of integers
(https://github.com/kubernetes-sigs/yaml, https://pkg.go.dev/strconv#ParseInt). Its JSON is
then read with integers as int64 where they fit, else as float64.
"""

from __future__ import annotations

import ctypes
import math
import re
from decimal import Decimal

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {"": None, "~": None}
for _word, _value in (
    ("null", None),
    ("true", True),
    ("yes", True),
    ("on", True),
    ("false", False),
    ("no", False),
    ("off", False),
):
    _WORDS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value)
_WORDS |= {"y": True, "Y": True, "n": False, "N": False}
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)"
    r"|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}


class NotJsonError(ValueError):
    """A number that JSON cannot hold: infinity or not-a-number."""


def plain(text: str) -> Scalar:
    """Return the value of an unquoted scalar without a tag. Raises NotJsonError."""
    value = resolve(text)
    return number_of(value) if isinstance(value, float) else value


def resolve(text: str) -> Scalar:
    """Return the value as YAML has it: before JSON makes integers of whole floats."""
    if text in _WORDS:
        return _WORDS[text]
    if _SPECIAL.fullmatch(text):
        raise NotJsonError(text)
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "") if text[0] != "." else text
    if found := _INTEGER.fullmatch(digits):
        base, number = next((b, found[b]) for b in _BASES if found[b])
        value = int(number, _BASES[base]) * (-1 if found[1] == "-" else 1)
        # What fits neither int64 nor uint64 is no integer for Go, but may still be a float.
        if -(2**63) <= value < 2**64:
            return _int64(value)
    if _FLOAT.fullmatch(digits):
        number_read = float(digits)
        return text if math.isinf(number_read) else number_read
    return text


def number_of(value: float) -> int | float:
    """Return a float64 as JSON's reader in Kubernetes has it: an int64 where it is one."""
    # Go writes floats below 1e21 without an exponent, so they are read as integers again.
    if value.is_integer() and abs(value) < 1e21:
        return _int64(int(Decimal(repr(value))))
    return value


def _int64(value: int) -> int | float:
    return value if -(2**63) <= value < 2**63 else float(value)


def key_text(value: Scalar) -> str | None:
    """Return a resolved mapping key as JSON has it; None for null, which cannot be one."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _go_float(value)


def _go_float(value: float) -> str:
    """Format as Go's strconv.FormatFloat(value, 'g', -1, 32): the fewest digits of a float32."""
    short = ctypes.c_float(value).value
    if math.isinf(short):
        return ".inf" if value > 0 else "-.inf"
    texts = (f"{short:.{digits}e}" for digits in range(9))
    text = next(t for t in texts if ctypes.c_float(float(t)).value == short)
    number = Decimal(text).normalize()
    if -4 <= number.adjusted() < 6:
        return f"{number:f}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent):+03d}"
