"""The gate of a resumed run: what remains of an approved plan is covered, nothing else is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from opslib import runbook
from opslib.core.clock import now, stamp
from opslib.core.errors import ApprovalError, InputError
from opslib.runbook import approvals, effects, gates, resume
from opslib.runbook.gates import Plan
from opslib.runbook.ledger import Before, Effect, Ledger

WHOLE = Plan("a" * 64, "all", "demo", part_hashes=frozenset({"ground", "1", "2", "3"}))
REST = Plan("b" * 64, "rest", "demo", part_hashes=frozenset({"ground", "2", "3"}))
LESS = Plan("c" * 64, "less", "demo", part_hashes=frozenset({"ground", "3"}))
AGAIN = Plan("d" * 64, "again", "demo", part_hashes=frozenset({"ground", "1"}))
MORE = Plan("e" * 64, "more", "demo", part_hashes=frozenset({"ground", "3", "4"}))
BARE = Plan("f" * 64, "bare", "demo")


class Runs:
    """Runs of one chain, each cut off in an effect and resumed; no kernel, the real ledger."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._gates: dict[str, Any] = {}
        self._number = 0
        self.open: tuple[Effect, ...] = (Effect("work", "begun"),)

    def gate(self, plan: Plan, approve: str = "") -> gates.Approval:
        """Reach the gate in the next run of the chain, and keep what its record says."""
        rows: list[dict[str, Any]] = [{"event": "run-start", "gates": self._gates}]

        def event(name: str, /, **fields: Any) -> None:
            fields.pop("sync", None)
            rows.append({"event": name, **fields})

        before = Before(f"run-{self._number}", self.open, self._gates) if self._number else None
        ledger = Ledger(event, before)
        self._patch.setattr(effects, "own_ledger", lambda: ledger)
        try:
            return runbook.gate(plan, apply=True, approve=approve)
        finally:
            self._number += 1
            self._gates = resume._gates(rows)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Return a chain whose first run had the whole plan approved by its hash."""
    for name in ("OPSLIB_APPROVE", "OPSLIB_APPROVE_FROM", approvals.APPROVERS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/reconcile.ipynb")
    one = Runs(monkeypatch)
    assert one.gate(WHOLE, WHOLE.hash).remains_of == ""
    return one


def test_a_remainder_is_covered_in_words(runs: Runs) -> None:
    """The record names plan, person and run; a later break may leave any part of the whole."""
    for number, plan in enumerate((REST, LESS, AGAIN), start=1):
        one = runs.gate(plan, WHOLE.hash)
        one.require()
        said = one.as_dict()
        assert (said["hash"], said["remains_of"]) == (plan.hash, WHOLE.hash)
        assert (said["status"], said["how"]) == ("approved", "hash")
        assert said["carried_from"] == f"run-{number}"
        words = f"is what remains of plan {WHOLE.hash[:12]}, approved by {gates.person()} (hash)"
        assert words in one.sentence()
    same = runs.gate(WHOLE, WHOLE.hash)
    assert (same.remains_of, same.carried) == ("", "run-4")


@pytest.mark.parametrize("plan", [MORE, BARE])
def test_what_adds_something_is_refused(runs: Runs, plan: Plan) -> None:
    """Exit 2 while an effect is open, also in a later run of the chain; else only what is done."""
    runs.gate(REST)
    with pytest.raises(InputError, match="the plan changed since run run-2") as caught:
        runs.gate(plan)
    assert WHOLE.hash in str(caught.value)
    runs.open = ()
    stale = runs.gate(plan)
    assert stale.status == "stale"
    with pytest.raises(InputError, match="the plan changed"):
        stale.require()


def test_a_record_proves_nothing_where_signatures_count(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What remains has to be signed then, as a plan of its own."""
    monkeypatch.setenv(approvals.APPROVERS, "/somewhere/keys")
    with pytest.raises(ApprovalError, match="not approved"):
        runs.gate(REST)


def test_an_expired_approval_covers_no_remainder(runs: Runs) -> None:
    """What remains may be approved anew; that approval then is of the smaller plan alone."""
    runs._gates["gate"]["expires"] = stamp(now())
    with pytest.raises(ApprovalError, match="not approved"):
        runs.gate(REST)
    assert runs.gate(REST, REST.hash).as_dict()["remains_of"] is None
    assert runs.gate(LESS).as_dict()["remains_of"] == REST.hash
    with pytest.raises(InputError, match="the plan changed"):
        runs.gate(AGAIN)


@pytest.mark.parametrize("parts", [None, {}, "ground", [1], [["ground"]], []])
def test_parts_of_a_hostile_record(runs: Runs, parts: Any) -> None:
    """Parts that are missing or of another form cover nothing."""
    runs._gates["gate"]["parts"] = parts
    with pytest.raises(InputError, match="the plan changed"):
        runs.gate(LESS)


def test_a_plan_too_large_for_a_record_is_covered_whole_only(runs: Runs) -> None:
    """Its parts are not kept; the same plan is still covered."""
    many = frozenset(map(str, range(gates.MOST_PARTS + 1)))
    runs._gates = {}
    large = dataclasses.replace(WHOLE, part_hashes=many)
    runs._number = 0
    runs.gate(large, large.hash)
    assert runs.gate(large).carried == "run-1"
    with pytest.raises(InputError, match="the plan changed"):
        runs.gate(dataclasses.replace(REST, part_hashes=frozenset({"1"})))
