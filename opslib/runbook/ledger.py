"""Which effects of a run were begun and finished, and which gates it passed.

The runner keeps it and answers the kernel (see ``channel``); each entry is an event of the
record, on disk before the answer. In a session without a runner the kernel keeps one itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import ApprovalError, InputError, OpslibError

BEGUN, FAILED, DONE = "begun", "failed", "done"
PARTS = "parts"
"""Where a gate's approval keeps the hashes of its plan's parts (see ``gates.Subject``)."""


@dataclass(frozen=True)
class Effect:
    """One effect: begun, failed (it raised; what it did of its work is not known), or done.

    ``result`` is JSON data; ``plan`` the hash of the plan it was done under, "" without a gate.
    """

    name: str
    state: str
    at: str = ""
    result: Any = None
    plan: str = ""
    error: str = ""


@dataclass(frozen=True)
class Before:
    """What an interrupted run left: its effects, its gates' last approvals by name, its id.

    ``redo`` and ``skip`` are effects without an end for which a person has decided.
    """

    run_id: str = ""
    effects: tuple[Effect, ...] = ()
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    redo: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()


Event = Callable[..., None]


class Ledger:
    """Answers what a kernel asks before and after each effect, and at a gate.

    ``alone``: kept by the kernel of a person's session, where each plan has effects of its own.
    """

    def __init__(self, event: Event, before: Before | None = None, *, alone: bool = False) -> None:
        self.event = event
        self.before = before or Before()
        self.alone = alone
        self.plan = ""
        self.changed = False
        self._effects = {self._key(one.name, one.plan): one for one in self.before.effects}
        self._redo = set(self.before.redo)
        self._parts: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def handle(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Answer one call."""
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "effect-known": self._known,
            "gate": self._gate,
            "approval": self._approval,
            "effect-begin": self._begin,
            "effect-end": self._end,
            "effect-failed": self._failed,
        }
        if kind not in answers:
            raise OpslibError(f"the runner knows no call {kind!r}")
        with self._lock:
            return answers[kind](**fields)

    def open(self) -> list[str]:
        """Return the names of the effects that began and did not end."""
        return sorted({one.name for one in self._effects.values() if one.state != DONE})

    def as_list(self) -> list[dict[str, Any]]:
        """Return the effects as JSON data."""
        return [asdict(one) for one in self._effects.values()]

    def _key(self, name: str, plan: str) -> tuple[str, str]:
        return name, plan if self.alone else ""

    def _known(self, name: str) -> dict[str, Any]:
        known = self._effects.get(self._key(name, self.plan))
        return {"done": known is not None and known.state == DONE}

    def _gate(self, name: str, plan: str, parts: Sequence[str] = ()) -> dict[str, Any]:
        """Note the plan at a gate; return what the interrupted run had approved there.

        It covers this plan where both are the same, or this one is what remains of it.
        """
        self.plan, self._parts[name] = plan, list(parts)
        known = self.before.gates.get(name)
        if known is None or known.get("status") != "approved":
            return {"approved": None, "run_id": self.before.run_id}
        approved = _approved_plan(known)
        covered = approved == plan or _remains(parts, known)
        if not covered:
            self.changed = True
            if names := self.open():
                raise InputError(
                    f"the plan changed since run {self.before.run_id}, in which"
                    f" {', '.join(names)} began and did not end",
                    where=f"gate {name}",
                    expected=f"plan {approved}, or what remains of it; now it is {plan}",
                    hint="start a new run: it plans what is left",
                )
        shown = {key: value for key, value in known.items() if key != PARTS}
        answer = {"approved": shown, "plan": approved, "covered": covered}
        return {**answer, "run_id": self.before.run_id}

    def _approval(self, name: str, approval: dict[str, Any]) -> dict[str, Any]:
        """Note how a gate stands, with the parts of the plan that was approved there.

        Of what remains of a plan it is that plan: the next break may leave other parts of it.
        """
        fields: dict[str, Any] = {"name": name, "approval": approval}
        if approval.get("status") == "approved":
            known = self.before.gates.get(name, {}) if approval.get("remains_of") else {}
            fields[PARTS] = known.get(PARTS) or self._parts.get(name, [])
        self.event("gate", sync=True, **fields)
        return {}

    def _begin(
        self, name: str, *, idempotent: bool, look: bool, again: bool = False
    ) -> dict[str, Any]:
        """Say what is to be done about an effect: run, stored, look, or again (a question)."""
        key = self._key(name, self.plan)
        known = self._effects.get(key)
        if known is not None and known.state == DONE:
            if self.alone and not again:
                return {"do": "again", "at": known.at, "result": known.result}
            if not self.alone:
                self.event("effect-reused", name=name)
                return {"do": "stored", "result": known.result}
        elif known is not None and (answer := self._unfinished(known, idempotent, look, again)):
            return answer
        if self.changed:
            raise InputError(
                f"the plan changed since run {self.before.run_id}, and {name} did not begin in it",
                where=f"effect {name}",
                hint="start a new run: it plans what is left",
            )
        self._effects[key] = Effect(name, BEGUN, stamp(), plan=self.plan)
        self.event("effect-begin", sync=True, name=name, plan=self.plan, again=known is not None)
        return {"do": "run"}

    def _unfinished(
        self, known: Effect, idempotent: bool, look: bool, again: bool
    ) -> dict[str, Any] | None:
        """Decide about an effect that began without an end; None: run it (again)."""
        name = known.name
        if name in self.before.skip:
            self._store(name, None, "skipped")
            return {"do": "stored", "result": None}
        if name in self._redo or idempotent or again:
            self._redo.discard(name)
            return None
        if look:
            return {"do": "look"}
        what = f"it failed: {known.error}" if known.state == FAILED else "it was cut off"
        raise ApprovalError(
            f"effect {name} began at {known.at} and has no end: {what}",
            where=f"effect {name}",
            expected="a decision: nobody but you can tell whether it happened",
            hint=f"look, then resume with  --redo {name}  or  --skip {name}",
        )

    def _end(self, name: str, result: Any, how: str = "done") -> dict[str, Any]:
        self._store(name, result, how)
        return {}

    def _store(self, name: str, result: Any, how: str) -> None:
        self._effects[self._key(name, self.plan)] = Effect(name, DONE, stamp(), result, self.plan)
        self.event("effect-end", sync=True, name=name, result=result, plan=self.plan, how=how)

    def _failed(self, name: str, error: str) -> dict[str, Any]:
        one = Effect(name, FAILED, stamp(), plan=self.plan, error=error)
        self._effects[self._key(name, self.plan)] = one
        self.event("effect-failed", sync=True, name=name, error=error, plan=self.plan)
        return {}


def _approved_plan(known: Mapping[str, Any]) -> str:
    return str(known.get("remains_of") or known.get("hash"))


def _remains(parts: Sequence[str], known: Mapping[str, Any]) -> bool:
    """Tell whether a plan is what remains of an approved one; one without parts never is."""
    approved = known.get(PARTS)
    return bool(parts) and isinstance(approved, list) and set(parts) <= set(map(str, approved))


def effects_of(rows: Iterable[Any]) -> tuple[Effect, ...]:
    """Read effects back from JSON data; what is not one is left out."""
    names = set(Effect.__dataclass_fields__)
    found = [
        Effect(**row)
        for row in rows
        if isinstance(row, dict) and set(row) == names and isinstance(row["name"], str)
    ]
    return tuple(one for one in found if one.state in {BEGUN, FAILED, DONE})
