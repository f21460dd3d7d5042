"""Differences of one object as a diff that reads like its YAML file, with blame on both sides.

Lines that begin with - are what Git declares, + what the cluster has; the others show where in
the file that is. Beside a - stands who declared it (commit, author, file:line), beside a + who
set it in the cluster. Large values are cut, and say so.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from opslib.core.errors import InputError
from opslib.drift.model import Difference, Drift
from opslib.drift.order import age, ago, who
from opslib.reconcile.fieldpath import parse_path
from opslib.view.text import clean

MOST_LINES = 40
"""Lines of one side of one difference."""
_MOST_ITEMS, _MOST_TEXT, _MOST_INSIDE, _CONTEXT = 60, 4000, 500, 2
_ORDER = " (order)"
_FIRST = ("", "apiVersion", "kind", "metadata")

Sign = Literal[" ", "-", "+", "…"]


@dataclass(frozen=True)
class Line:
    """One line of a diff, with what Git and the cluster say of it; ``id`` where one begins."""

    sign: Sign
    text: str
    git: str = ""
    live: str = ""
    id: str = ""


@dataclass
class _Node:
    """A part of the object: what is below it by step, and the differences right there."""

    below: dict[Any, _Node] = field(default_factory=dict)
    drifts: list[Drift] = field(default_factory=list)


def lines(drifts: Sequence[Drift]) -> list[Line]:
    """Return the diff of differences that are all of one object."""
    root = _Node()
    for one in sorted(drifts, key=_place):
        node = root
        for step in _steps(one):
            node = node.below.setdefault(step, _Node())
        node.drifts.append(one)
    return [
        Line(line.sign, clean(line.text), clean(line.git), clean(line.live), line.id)
        for line in _node(root, 0)
    ]


def _place(one: Drift) -> int:
    """Keep the order in which people write an object's parts; the rest as it comes."""
    first = re.split(r"[.\[ ]", one.path, maxsplit=1)[0]
    return _FIRST.index(first) if first in _FIRST else 9


def _steps(one: Drift) -> tuple[Any, ...]:
    """Return the path as steps: keys, and for items of lists what names them, in brackets."""
    path, order = one.path.removesuffix(_ORDER), one.path.endswith(_ORDER)
    if not path:
        return ()
    try:
        read = parse_path(path).steps
    except InputError:
        return (one.path,)
    steps = [step if isinstance(step, str) else _item(step) for step in read]
    return (*steps, "# order of the items") if order else tuple(steps)


def _item(step: Any) -> tuple[tuple[str, str], ...] | int:
    number: int | None = step.number
    keys: tuple[tuple[str, str], ...] = step.keys
    return keys if number is None else number


def _node(node: _Node, depth: int) -> Iterator[Line]:
    pad = "  " * depth
    for one in node.drifts:
        yield from _whole(one)
    for step, below in node.below.items():
        for one in below.drifts:
            yield from _leaf(one, step, pad)
        if below.below:
            yield from _inside(step, below, depth)


def _inside(step: Any, below: _Node, depth: int) -> Iterator[Line]:
    """Write a key or the head of a list's item, and what is below it."""
    pad = "  " * depth
    if isinstance(step, str):
        # Items of a list stand under their key, as kubectl and most people write them.
        items = any(not isinstance(one, str) for one in below.below)
        yield Line(" ", f"{pad}{_scalar(step)}:")
        yield from _node(below, depth if items else depth + 1)
        return
    names = [f"{key}: {_scalar(text)}" for key, text in step] if isinstance(step, tuple) else []
    head = names or [f"# item {step}"]
    yield Line(" ", f"{pad}- {head[0]}")
    for name in head[1:]:
        yield Line(" ", f"{pad}  {name}")
    yield from _node(below, depth + 1)


def _leaf(one: Drift, step: Any, pad: str) -> Iterator[Line]:
    key = step if isinstance(step, str) else None
    sides = [_dumped(key, value, pad) for value in _near(one.declared, one.live)]
    has = (
        one.difference is not Difference.ADDED and one.declared is not None,
        one.difference is not Difference.REMOVED and one.live is not None,
    )
    yield from _sides(one, [side if there else [] for side, there in zip(sides, has, strict=True)])


def _whole(one: Drift) -> Iterator[Line]:
    """Write a difference of a whole object: what it is, or that it is not there."""
    gone = one.difference is Difference.MISSING
    value = one.declared if gone else one.live
    rows = _dumped(None, value, "", item=False) if value else [f"# {one.key}: the whole object"]
    yield from _sides(one, [rows, []] if gone else [[], rows])


def _sides(one: Drift, sides: list[list[str]]) -> Iterator[Line]:
    """Write both sides; what is the same in long ones is context, and most of it is left out."""
    old, new = sides
    blames = {"-": git_blame(one), "+": live_blame(one)}
    if old == new:
        yield Line(
            "…", f"… {one.path} differs in what is left out here", blames["-"], blames["+"], one.id
        )
        return
    shown: set[str] = set()
    for sign, text in _merged(old, new):
        first = sign in "-+" and sign not in shown
        git = blames["-"] if first and (sign == "-" or not old) else ""
        live = blames["+"] if first and (sign == "+" or not new) else ""
        yield Line(sign, text, git, live, one.id if first and not shown else "")
        shown |= {sign} if sign in "-+" else set()


def _merged(old: list[str], new: list[str]) -> Iterator[tuple[Sign, str]]:
    if min(len(old), len(new)) < 4:
        yield from _cut("-", old)
        yield from _cut("+", new)
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if number == 0 and group[0][1] > 0 and old[0] == new[0]:
            yield " ", old[0]  # the key that the text is of
        if number or group[0][1] > 1:
            yield "…", ""
        for kind, i, j, k, m in group:
            if kind == "equal":
                yield from ((" ", text) for text in old[i:j])
            else:
                yield from _cut("-", old[i:j])
                yield from _cut("+", new[k:m])


def _cut(sign: Sign, rows: list[str]) -> Iterator[tuple[Sign, str]]:
    yield from ((sign, text) for text in rows[:MOST_LINES])
    if len(rows) > MOST_LINES:
        yield "…", f"… {len(rows) - MOST_LINES} more lines; all of it is in the review's JSON"


def _near(old: Any, new: Any) -> tuple[Any, Any]:
    """Return long texts and lists from a little before where they begin to differ."""
    if isinstance(old, list) and isinstance(new, list) and max(len(old), len(new)) > _MOST_ITEMS:
        start = max(0, _same(old, new) - _CONTEXT)
        head: list[Any] = [f"… {start} items that are the same"] if start else []
        return head + old[start:], head + new[start:]
    if not (isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > _MOST_TEXT):
        return old, new
    same = _same(old, new)
    begin = max(0, old.rfind("\n", 0, max(0, same - 400)) + 1, same - 2000)
    above = f"… {begin} characters that are the same\n" if begin else ""
    return above + old[begin:], above + new[begin:]


def _same(old: Sequence[Any], new: Sequence[Any]) -> int:
    """Return how many items both begin with: halved again and again, for slices compare fast."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _dumped(key: str | None, value: Any, pad: str, *, item: bool = True) -> list[str]:
    """Return a value as lines of YAML below its key, or as an item of a list."""
    small = _bounded(value)
    document = {key: small} if key is not None else [small] if item else small
    if key is not None and key.startswith("# "):
        return [f"{pad}{key}: {_scalar(str(small))}"]
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return [f"{pad}{row}".rstrip() for row in text.rstrip("\n").split("\n")][: 10 * MOST_LINES]


class _Dumper(yaml.SafeDumper):
    """Writes YAML as people write manifests: texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: _Dumper, text: str) -> Any:
    style = "|" if "\n" in text and not re.search(r"[ \t]+\n", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _scalar(text: str) -> str:
    """Return a text as YAML writes it on one line: in quotes where it needs them."""
    if re.fullmatch(r"[A-Za-z][\w./@-]*( [\w./@-]+)*", text) and text not in _WORDS:
        return text
    return text if re.fullmatch(r"[1-9][0-9]*", text) else json.dumps(text, ensure_ascii=False)


_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "True", "False", "Null"))


def _bounded(value: Any, depth: int = 0) -> Any:
    """Return a value that is small enough to be shown."""
    if isinstance(value, str):
        most = _MOST_TEXT if depth == 0 else _MOST_INSIDE
        if len(value) <= most:
            return value
        return f"{value[:most]}\n… {len(value) - most} more characters"
    if depth > 12 and isinstance(value, dict | list):
        return "… deeper"
    if isinstance(value, dict):
        kept = {str(k): _bounded(v, depth + 1) for k, v in list(value.items())[:_MOST_ITEMS]}
        more = len(value) - len(kept)
        return {**kept, "…": f"{more} more"} if more > 0 else kept
    if isinstance(value, list):
        items = [_bounded(one, depth + 1) for one in value[:_MOST_ITEMS]]
        return [*items, f"… {len(value) - len(items)} more"] if len(value) > len(items) else items
    return value


def git_blame(one: Drift) -> str:
    """Say who declared it: file:line, commit, author and age; or that Git does not."""
    if one.difference in {Difference.ADDED, Difference.EXTRA}:
        return "not in Git"
    told = one.git
    if told is None:
        return str(one.origin) if one.origin else ""
    parts = [
        told.commit[:8],
        told.author.split(" <")[0],
        age(told.time) and f"{age(told.time)} ago",
    ]
    text = f"{told.origin} · {' '.join(filter(None, parts))}".removesuffix(" · ")
    return f"{text} · {told.subject[:60]}" if told.subject else text


def live_blame(one: Drift) -> str:
    """Say who set it in the cluster and since when."""
    text = " · ".join(dict.fromkeys((who(one), ago(one))))
    if one.fight:
        writers = " and ".join(one.fight.writers)
        text += f" · {writers} set it in turn, {one.fight.count} times"
    return text


def as_text(found: Sequence[Line], *, blame: bool = True) -> list[str]:
    """Return a diff as text; blame stands behind its line, as a comment of YAML."""
    rows = []
    for line in found:
        said = " | ".join(filter(None, (line.git, line.live))) if blame else ""
        rows.append(f"{line.sign} {line.text}" + (f"    # {said}" if said else ""))
    return rows
