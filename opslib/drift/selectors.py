"""Label selectors as requests write them: does one choose an object with these labels?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SET = re.compile(r"([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)")
_EQUAL = re.compile(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)")
_THERE = re.compile(r"(!?)\s*([^\s!=,()]+)")


def selects(selector: str, labels: Mapping[str, Any]) -> bool | None:
    """Tell whether a selector chooses labels; None for one that is not understood.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
    """
    verdicts = [_one(part.strip(), labels) for part in re.split(r",(?![^()]*\))", selector)]
    if None in verdicts:
        return None
    return all(verdicts)


def _one(text: str, labels: Mapping[str, Any]) -> bool | None:
    if match := _SET.fullmatch(text):
        values = {value.strip() for value in match[3].split(",")}
        return (labels.get(match[1]) in values) == (match[2] == "in")
    if match := _EQUAL.fullmatch(text):
        return (labels.get(match[1]) == match[3]) == (match[2] != "!=")
    if match := _THERE.fullmatch(text):
        return (match[2] in labels) != (match[1] == "!")
    return None
