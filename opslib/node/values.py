"""What an operator says of a value: equal, at least, one of, like, there.

Values are texts as the system gives them. White space counts as one space; whole numbers, also
several in a row (``net.ipv4.tcp_rmem``), are compared as numbers, one by one; what has dots
(``6.1.0-18-amd64``, ``1.7.27``) as versions by their leading numbers.

Regular expressions are those of Rust's regex, which takes linear time whatever the pattern
(https://docs.rs/regex/latest/regex/#untrusted-input): what is written in Git is hostile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import inf, prod
from typing import Any

OPERATORS = ("eq", "ne", "ge", "le", "in", "regex", "exists", "absent")
_BARE = ("exists", "absent")
_SIGNS = {"eq": "=", "ne": "not", "ge": "≥", "le": "≤", "in": "one of", "regex": "like"}
_SIGNS |= {"exists": "there", "absent": "not there"}

LONGEST, REPEATS = 500, 1000
"""Characters of a pattern; and its counted repetitions, multiplied, which cost memory."""

_ENDLESS = ("unlimited", "infinity", "max")
_NUMBER = re.compile(r"[-+]?\d{1,40}")
_VERSION = re.compile(r"(?:\d+:)?[vV]?(\d{1,9}(?:\.\d{1,9}){0,9})")
_COUNTS = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")

Numbers = tuple[float | int, ...]


def plain(text: str) -> str:
    """Return a value with each run of white space as one space."""
    return " ".join(text.split())


def numbers(text: str) -> Numbers | None:
    """Return a value's whole numbers; None where it is something else."""
    words = text.split()
    found: list[float | int] = []
    for word in words:
        if word in _ENDLESS:
            found.append(inf)
        elif _NUMBER.fullmatch(word):
            found.append(int(word))
        else:
            return None
    return tuple(found) or None


def version(text: str) -> tuple[int, ...] | None:
    """Return a version's leading numbers, without an epoch and what follows them."""
    found = _VERSION.match(text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else None


def order(one: str, two: str) -> list[int] | None:
    """Compare two values place by place: -1, 0 or 1 each; None where that has no meaning."""
    left, right = numbers(one), numbers(two)
    if left is not None and right is not None:
        if len(left) != len(right):
            return None
        return [(a > b) - (a < b) for a, b in zip(left, right, strict=True)]
    first, second = version(one), version(two)
    if first is None or second is None:
        return None
    width = max(len(first), len(second))
    padded = [(*part, *([0] * (width - len(part)))) for part in (first, second)]
    return [(padded[0] > padded[1]) - (padded[0] < padded[1])]


def same(one: str, two: str) -> bool:
    """Tell whether two values are equal."""
    left, right = plain(one), plain(two)
    if left == right:
        return True
    found = numbers(left)
    return found is not None and found == numbers(right)


def holds(op: str, wanted: Sequence[str], value: str | None) -> bool:
    """Tell whether a value (None: it is not there) is as wanted.

    ``wanted`` is one text, several for ``in``, none for ``exists`` and ``absent``. What is not
    there fulfils ``ne`` and ``absent`` only.
    """
    if op in _BARE or value is None:
        return (value is None) == (op in {"absent", "ne"}) or (op == "exists" and value is not None)
    if op in {"eq", "in"}:
        return any(same(value, one) for one in wanted)
    if op == "ne":
        return not same(value, wanted[0])
    if op == "regex":
        return matches(wanted[0], plain(value))
    found = order(value, wanted[0])
    return found is not None and all(sign >= 0 if op == "ge" else sign <= 0 for sign in found)


def told(op: str, wanted: Sequence[str]) -> str:
    """Return an operator and its value for people: ``≥ 262144``."""
    return _SIGNS[op] if op in _BARE else f"{_SIGNS[op]} {', '.join(wanted)}"


def wrong(op: str, wanted: Sequence[str]) -> str:
    """Say what is wrong with an operator's value; "" where nothing is."""
    if op in _BARE:
        return "" if not wanted else f"{op} takes no value"
    if not wanted:
        return f"{op} needs a value"
    if op in {"ge", "le"} and numbers(wanted[0]) is None and version(wanted[0]) is None:
        return f"{wanted[0]!r} is no number and no version"
    return _wrong_pattern(wanted[0]) if op == "regex" else ""


def _wrong_pattern(pattern: str) -> str:
    if len(pattern) > LONGEST:
        return f"the pattern has {len(pattern)} characters, more than {LONGEST}"
    counts = [int(b or a) for a, b in _COUNTS.findall(pattern)]
    if prod(max(one, 1) for one in counts) > REPEATS:
        return f"the pattern repeats more than {REPEATS} times"
    try:
        matches(pattern, "")
    except ValueError as error:
        return str(error)
    return ""


def matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern is found in a text; raises ValueError for what is no pattern."""
    return _matches(pattern, text)


@lru_cache(maxsize=4096)
def _matches(pattern: str, text: str) -> bool:
    try:
        return bool(_program().execute({"text": text, "pattern": pattern}))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  # a panic in Rust is none of Exception
        lines = [
            line for line in str(error).splitlines() if line.startswith(("error:", "Compiled"))
        ]
        why = lines[0].removeprefix("error: ").split(". Check")[0] if lines else "not understood"
        raise ValueError(f"this is no pattern: {why}") from None


@lru_cache(maxsize=1)
def _program() -> Any:
    # Imported here: 0.2 s that only those pay who have a pattern.
    import cel  # noqa: PLC0415  # start-up time

    return cel.compile("text.matches(pattern)")


def contradict(one: tuple[str, Sequence[str]], two: tuple[str, Sequence[str]]) -> bool:
    """Tell whether no value can fulfil both of two demands, as far as that can be seen."""
    for (op, wanted), (other, more) in ((one, two), (two, one)):
        if op == "absent" and other not in {"absent", "ne"}:
            return True
        if op in {"eq", "in"} and not any(holds(other, more, value) for value in wanted):
            return True
    demands = {one[0]: one[1], two[0]: two[1]}
    if set(demands) == {"ge", "le"}:
        return any(sign > 0 for sign in order(demands["ge"][0], demands["le"][0]) or ())
    return False
