"""What holds for a machine: its baselines, those that they extend, and who wins.

Whatever extends a baseline, directly or through others, wins over it for each key that it
names. Baselines that do not extend each other hold together; where they cannot, that is an
error which names both lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.node import values
from opslib.node.baseline import SHIPPED, Baseline, Parent, Rule


@dataclass(frozen=True)
class Effective:
    """The rules that hold, by key, and the names of the baselines that they come from."""

    names: tuple[str, ...]
    rules: tuple[Rule, ...]
    baselines: tuple[str, ...]


def resolve(names: Sequence[str], known: Mapping[str, Baseline]) -> Effective:
    """Return the rules of some baselines, with all that they extend.

    Raises InputError for a name that is not there and for a circle, Problems with each conflict.
    """
    above = _Above(known)
    closure: dict[str, frozenset[str]] = {}
    for name in names:
        closure |= above.of(name, None)
    _check_without(closure, known)
    rules: list[Rule] = []
    for name in sorted(closure):
        heirs = [other for other in closure if name in closure[other]]
        lost = {rule.key for heir in heirs for rule in known[heir].rules}
        lost |= {one.key for heir in heirs for one in known[heir].without}
        rules += [rule for rule in known[name].rules if rule.key not in lost]
    rules.sort(key=lambda rule: (rule.key, rule.origin.path, rule.origin.line))
    _check_conflicts(rules)
    return Effective(tuple(names), _once(rules), tuple(sorted(closure)))


class _Above:
    """What each baseline extends, directly or through others."""

    def __init__(self, known: Mapping[str, Baseline]) -> None:
        self.known = known
        self.done: dict[str, dict[str, frozenset[str]]] = {}

    def of(
        self, name: str, asked: Parent | None, way: tuple[str, ...] = ()
    ) -> dict[str, frozenset[str]]:
        """Return each baseline of a closure with all that stands above it."""
        if name in way:
            circle = " extends ".join([*way[way.index(name) :], name])
            where = str(asked.origin) if asked else None
            raise InputError(f"the baselines go in a circle: {circle}", where=where)
        if name not in self.known:
            raise _unknown(name, asked, self.known)
        if name not in self.done:
            found: dict[str, frozenset[str]] = {}
            for parent in self.known[name].extends:
                found |= self.of(parent.name, parent, (*way, name))
            self.done[name] = {**found, name: frozenset(found)}
        return self.done[name]


def _unknown(name: str, asked: Parent | None, known: Mapping[str, Baseline]) -> InputError:
    close = get_close_matches(name, [*known, *(one.removeprefix(SHIPPED) for one in known)], n=1)
    meant = next((one for one in known if close and one.removeprefix(SHIPPED) == close[0]), "")
    meant = meant or (close[0] if close else "")
    return InputError(
        f"there is no baseline {name!r}",
        where=str(asked.origin) if asked else name,
        expected="one of " + ", ".join(sorted(known)),
        hint=f"did you mean {meant!r}?" if meant else None,
    )


def _check_without(closure: Mapping[str, frozenset[str]], known: Mapping[str, Baseline]) -> None:
    """Raise InputError for a key that is left out and that no parent has: a slip of the pen."""
    for name, above in closure.items():
        keys = sorted({rule.key for parent in above for rule in known[parent].rules})
        for one in known[name].without:
            if one.key not in keys:
                close = get_close_matches(one.key, keys, n=1)
                raise InputError(
                    f"{one.key} is left out, and nothing above has it",
                    where=str(one.origin),
                    hint=f"did you mean {close[0]!r}?" if close else None,
                )


def _check_conflicts(rules: Sequence[Rule]) -> None:
    by_key: dict[str, list[Rule]] = {}
    for rule in rules:
        by_key.setdefault(rule.key, []).append(rule)
    problems: list[OpslibError] = [
        _conflict(one, two)
        for group in by_key.values()
        for index, one in enumerate(group)
        for two in group[index + 1 :]
        if values.contradict((one.op, one.wanted), (two.op, two.wanted))
    ]
    if problems:
        raise Problems(problems)


def _conflict(one: Rule, two: Rule) -> InputError:
    told = f"{one.baseline} says {one.told} ({one.origin}), {two.baseline} says {two.told}"
    return InputError(
        f"{one.key} cannot be both: {told} ({two.origin})",
        where=str(two.origin),
        hint="name the key in a baseline that extends both: it wins",
    )


def _once(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Leave out what two baselines demand alike; the graver one stays."""
    rank = {"error": 0, "warning": 1, "info": 2}
    found: dict[tuple[str, str, tuple[str, ...]], Rule] = {}
    for rule in sorted(rules, key=lambda one: rank[one.severity]):
        found.setdefault((rule.key, rule.op, rule.wanted), rule)
    return tuple(sorted(found.values(), key=lambda one: (one.key, one.op)))


def fitting(known: Mapping[str, Baseline], node: str, pool: str) -> list[str]:
    """Return the names of the baselines that are for a machine, by what they select.

    Where none selects anything, it is the one that no other extends.
    """
    own = {name: one for name, one in known.items() if not name.startswith(SHIPPED)}
    chosen = [
        name
        for name, one in own.items()
        if one.select
        and fnmatchcase(node, one.select.get("node", "*"))
        and fnmatchcase(pool, one.select.get("pool", "*"))
    ]
    if chosen:
        return sorted(chosen)
    extended = {parent.name for one in own.values() for parent in one.extends}
    tops = [name for name, one in own.items() if name not in extended and not one.select]
    return tops if len(tops) == 1 else []
