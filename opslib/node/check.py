"""Four planes of a node side by side: desired, persisted, running, peers; and its last snapshot.

Pure: snapshots and rules go in, differences come out. Who changed what is asked elsewhere
(``history``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from opslib.node import advice, planes, values
from opslib.node.baseline import OWNERS, Rule
from opslib.node.inherit import Effective
from opslib.node.model import RANK, Difference, NodeCheck, Snapshot, Unknown

_LIGHT = ("pkg/", "os/", "hardware/", "kernel/", "virt/", "limit/", "cpu/", "kubelet-flag/")
"""Where nothing is declared, a change of these is told without alarm."""

LONGEST = 160
"""Characters of a value in a sentence; the planes have it whole."""

_SAVED_BY = {"sysctl.d", "modules-load.d", "cmdline", "fstab"}


@dataclass(frozen=True)
class _Found:
    """What is known of one key while it is looked at."""

    rules: tuple[Rule, ...]
    bad_running: tuple[Rule, ...]
    bad_saved: tuple[Rule, ...]


def check_node(
    own: Snapshot,
    rules: Effective,
    pool: planes.Pool | None = None,
    before: Snapshot | None = None,
) -> NodeCheck:
    """Compare a node with its rules, its files, its pool and an earlier snapshot of its own.

    The pool has the node itself among its members.
    """
    one = _Check(own, rules, pool or planes.Pool([own]), before)
    found = sorted(one.differences(), key=lambda item: (RANK[item.severity], item.key))
    return NodeCheck(
        name=own.name,
        pool=own.pool,
        at=own.path or "this machine",
        baselines=rules.baselines,
        checked=len(rules.rules),
        compared=len(own.running),
        peers=len(one.pool.members) - 1,
        differences=tuple(found),
        unknown=tuple(one.unknown),
        notes=own.notes,
    )


class _Check:
    """One node against everything that it is compared with."""

    def __init__(
        self, own: Snapshot, rules: Effective, pool: planes.Pool, before: Snapshot | None
    ) -> None:
        self.own, self.rules, self.pool, self.before = own, rules, pool, before
        self.unknown: list[Unknown] = []

    def differences(self) -> Iterator[Difference]:
        """Yield one difference per key that disagrees anywhere."""
        by_key = self._by_key()
        self._note_lost()
        keys = {*by_key, *self.own.persisted}
        if len(self.pool.members) > planes.ENOUGH:
            keys |= self.pool.keys
        if self.before:
            keys |= {*self.before.running, *self.before.persisted, *self.own.running}
        for key in sorted(keys):
            found = self._judged(key, by_key.get(key, ()))
            one = self._difference(key, found)
            if one is not None:
                yield one

    def _note_lost(self) -> None:
        """Note what the last snapshot could read and this one cannot."""
        for name, why in self.own.unreadable.items() if self.before else ():
            if self.before and name not in self.before.unreadable:
                self.unknown.append(Unknown(name, why, "as in the last snapshot", ""))

    def _by_key(self) -> dict[str, tuple[Rule, ...]]:
        """Return the rules of each key; a key that is named itself is left out of patterns."""
        named = {rule.key for rule in self.rules.rules if not rule.is_pattern}
        found: dict[str, tuple[Rule, ...]] = {}
        for rule in self.rules.rules:
            if not self._applies(rule):
                continue
            keys = self._matching(rule) - named if rule.is_pattern else {rule.key}
            for key in keys:
                found[key] = (*found.get(key, ()), rule)
            if rule.is_pattern and not keys:
                self._nothing_fits(rule, found)
        return found

    def _nothing_fits(self, rule: Rule, found: dict[str, tuple[Rule, ...]]) -> None:
        """Keep a pattern that fits no key: it may be unreadable, or demand that there is one."""
        head = re.split(r"[*?\[]", rule.key, maxsplit=1)[0]
        for name, why in self.own.unreadable.items():
            if name[-1] == "/" and (head.startswith(name) or name.startswith(head)):
                self._note_unknown(rule.key, (rule,), why)
                return
        if rule.op == "exists" and not rule.optional:
            found[rule.key] = (rule,)

    def _matching(self, rule: Rule) -> set[str]:
        known = [*self.own.running, *self.own.persisted, *self.own.unreadable]
        return {key for key in known if key[-1] != "/" and fnmatchcase(key, rule.key)}

    def _applies(self, rule: Rule) -> bool:
        """Tell whether a rule is for the version of kubelet or kernel that the node has."""
        if rule.since is None:
            return True
        kind, since = rule.since
        keys = ("pkg/kubelet", "kubelet/version") if kind == "kubernetes" else ("kernel/release",)
        has = next((self.own.running[key] for key in keys if key in self.own.running), None)
        return has is None or values.holds("ge", (since,), has)

    def _judged(self, key: str, rules: tuple[Rule, ...]) -> _Found:
        why = self.own.unknown(key) if rules else ""
        if why:
            self._note_unknown(key, rules, why)
        running = self.own.running.get(key)
        bad = () if why else tuple(rule for rule in rules if not rule.holds(key, running))
        saved = self.own.persisted.get(key)
        bad_saved: tuple[Rule, ...] = ()
        if saved is not None:
            value = None if saved.value == "blacklisted" else saved.value
            bad_saved = tuple(rule for rule in rules if not rule.holds(key, value))
        return _Found(rules, bad, bad_saved)

    def _note_unknown(self, key: str, rules: tuple[Rule, ...], why: str) -> None:
        told = "; ".join(rule.told for rule in rules)
        self.unknown.append(Unknown(key, why, told, str(rules[0].origin)))

    def _difference(self, key: str, found: _Found) -> Difference | None:
        disagree: list[str] = []
        what: list[str] = []
        if found.bad_running:
            disagree.append("running")
            what.append(self._said_running(key, found.bad_running))
        if said := self._said_saved(key, found):
            if found.bad_saved or not found.bad_running:  # else the files are the right ones
                disagree.append("persisted")
            what.append(said)
        peers, said = self._said_peers(key)
        if said:
            disagree.append("peers")
            what.append(said)
        before, said = self._said_before(key)
        if said:
            disagree.append("snapshot")
            what.append(said)
        if not disagree:
            return None
        return self._made(key, found, tuple(disagree), "; ".join(what), peers=peers, before=before)

    def _made(
        self,
        key: str,
        found: _Found,
        disagree: tuple[str, ...],
        what: str,
        *,
        peers: str | None,
        before: str | None,
    ) -> Difference:
        saved = self.own.persisted.get(key)
        made = Difference(
            key=key,
            planes=disagree,
            severity=self._severity(key, found),
            what=what,
            todo=self._todo(key, found, disagree, peers),
            persisted=saved.value if saved else None,
            persisted_at=saved.at if saved else "",
            running=self.own.running.get(key),
            peers=peers,
            snapshot=before,
            owner=OWNERS.get(key.partition("/")[0], ""),
        )
        rules = found.bad_running or found.bad_saved or found.rules
        if not rules:
            return made
        worst = min(rules, key=lambda rule: RANK[rule.severity])
        return replace(
            made,
            desired=" and ".join(rule.told for rule in found.rules),
            why=worst.why,
            source=worst.source,
            owner=worst.owner,
            baseline=worst.baseline,
            rule=str(worst.origin),
            rule_line=worst.line,
        )

    def _severity(self, key: str, found: _Found) -> str:
        broken = found.bad_running or found.bad_saved
        if broken:
            return min((rule.severity for rule in broken), key=RANK.__getitem__)
        return "info" if key.startswith(_LIGHT) else "warning"

    def _said_running(self, key: str, rules: tuple[Rule, ...]) -> str:
        value = self.own.running.get(key)
        told = " and ".join(rule.told for rule in rules)
        if value is None:
            return f"it is not there; asked for is {told}"
        return f"it is {_short(value) or 'empty'}; asked for is {told}"

    def _said_saved(self, key: str, found: _Found) -> str:
        saved = self.own.persisted.get(key)
        if saved is None:
            return self._said_lost(key, found)
        if found.bad_saved:
            return f"{saved.at} sets {_short(saved.value)}: so it will be after the next boot"
        if key.startswith("cmdline/") and not planes.boots(key):
            return ""
        running = self.own.running.get(key)
        if self.own.unknown(key) or planes.applied(key, saved, running):
            return ""
        has = "nothing" if running is None else _short(running) or "an empty value"
        return f"{saved.at} sets {_short(saved.value)}, the kernel has {has}"

    def _said_lost(self, key: str, found: _Found) -> str:
        """Say that the command line in force has what the saved one lacks."""
        asked = any(rule.owner == "cmdline" for rule in found.rules)
        saved = any(other.startswith("cmdline/") for other in self.own.persisted)
        if not (asked and saved and key.startswith("cmdline/") and not found.bad_running):
            return ""
        lost = [rule for rule in found.rules if not rule.holds(key, None)]
        return "the saved command line lacks it: it is lost at the next boot" if lost else ""

    def _said_peers(self, key: str) -> tuple[str | None, str]:
        """Return what the pool has, for the table, and a sentence where the node differs."""
        found = None if self.own.unknown(key) else self.pool.most(key)
        if found is None:
            return None, ""
        agrees = _alike(key, self.own.running.get(key), found.value)
        if found.have - agrees < planes.ENOUGH:
            return None, ""
        told = "nothing" if found.value is None else _short(found.value)
        shown = f"{told} on {found.have} of {found.total}"
        if agrees:
            return shown, ""
        return shown, f"{found.have} of {found.total} nodes of the pool have {told}"

    def _said_before(self, key: str) -> tuple[str | None, str]:
        if self.before is None or self.own.unknown(key):
            return None, ""
        was, now = self.before.running.get(key), self.own.running.get(key)
        if not self.before.unknown(key) and not _alike(key, was, now):
            return was, f"it was {_shown(was)} in the last snapshot"
        old, new = self.before.persisted.get(key), self.own.persisted.get(key)
        if (old.value if old else None) != (new.value if new else None):
            told = f"{old.at} set {_short(old.value)}" if old else "no file set it"
            return was, f"when the last snapshot was taken, {told}"
        return was, ""

    def _todo(self, key: str, found: _Found, disagree: tuple[str, ...], peers: str | None) -> str:
        saved = self.own.persisted.get(key)
        broken = found.bad_running or found.bad_saved
        if broken:
            worst = min(broken, key=lambda rule: RANK[rule.severity])
            at = saved.at if saved else ""
            if worst.op == "absent":
                return advice.drop(key, at)
            right = bool(saved) and not found.bad_saved
            owner = "" if worst.owner in _SAVED_BY else worst.owner
            return advice.fix(key, owner, _target(worst), saved_at=at, saved_right=right)
        if "persisted" in disagree and saved:
            return advice.unsaved(key, self.own.running.get(key), saved.value, saved.at)
        if "persisted" in disagree:
            return "put it on the saved command line too"
        if "peers" in disagree and peers:
            return advice.unlike(peers.rpartition(" on ")[0])
        return advice.moved()


def _target(rule: Rule) -> str:
    if rule.op in {"eq", "ge", "le"}:
        return rule.wanted[0]
    words = {"ne": "anything but ", "in": "one of ", "regex": "something like "}
    return words.get(rule.op, "") + ", ".join(rule.wanted)


def _alike(key: str, one: str | None, two: str | None) -> bool:
    if one is None or two is None:
        return one is two
    return planes.alike(key, one, two)


def _shown(value: str | None) -> str:
    return "not there" if value is None else _short(value) or "empty"


def _short(value: str) -> str:
    """Return a value for a sentence: some are as long as a file."""
    text = values.plain(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
