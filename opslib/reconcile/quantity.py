"""Quantities ("1000m", "0.5Gi") in the form in which the API server keeps them."""

from __future__ import annotations

import re
from decimal import Decimal

_TEXT = re.compile(r"((?:0|[1-9]\d*)(?:\.\d)?)([KMGTPE]i|[mkMGTPE])?")
_DECIMAL = ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"))
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_POWERS = {"m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LIMIT = 2**63 - 1


def canonical(value: object) -> str | None:
    """Return the normal form of a quantity, None where it is not known for certain.

    The largest suffix that leaves no fraction, of the same family (decimal or binary): "1000m"
    is "1", "1024Mi" is "1Gi". Not decided here: exponents, signs, leading zeros, more than one
    digit of a fraction (the server keeps "1.001" as it is), amounts below one thousandth or
    beyond 2^63.
    https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    match = _TEXT.fullmatch(str(value))
    if not match:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix.endswith("i"):
        return _binary(number * 1024 ** _BINARY.index(suffix))
    return _decimal(number.scaleb(_POWERS[suffix]))


def _decimal(amount: Decimal) -> str | None:
    if not amount:
        return "0"
    if amount > _LIMIT:
        return None
    for power, suffix in _DECIMAL:
        scaled = amount.scaleb(-power)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return None


def _binary(amount: Decimal) -> str | None:
    if not amount:
        return "0"
    whole = int(amount)
    if whole != amount or whole > _LIMIT or whole < 1024:
        return None
    power = 0
    while whole % 1024 == 0 and power < len(_BINARY) - 1:
        whole, power = whole // 1024, power + 1
    return f"{whole}{_BINARY[power]}"
