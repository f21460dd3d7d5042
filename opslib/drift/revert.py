"""Revert chosen differences: a plan for just those fields, to be shown and approved by its hash.

What differs and was not chosen keeps its live value. What Git declares is written by server-side
apply, as plans do it; what somebody added is taken out by a JSON patch; an object that Git does
not have is deleted. Everything under the uid and version that were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.hashes import digest
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.commits import shown
from opslib.drift.encode import drift_row
from opslib.drift.model import Drift
from opslib.drift.part import Part, Parts
from opslib.drift.propose import chosen
from opslib.reconcile.mask import scrubbed
from opslib.reconcile.plan import Action, Change, Plan, PlanProblem
from opslib.reconcile.planned import Planned
from opslib.reconcile.prune import BY_NAME_ONLY
from opslib.reconcile.session import Session

FORMAT = "opslib.dev/revert/v1"


@dataclass(frozen=True)
class Revert:
    """A plan that reverts some differences: a subject for the gate.

    ``plan`` holds what is written, and the problems for which nothing is. ``skipped`` says
    which differences are gone already. ``parts`` and ``live`` have Secrets: they are never shown.
    """

    plan: Plan
    drifts: tuple[Drift, ...]
    skipped: tuple[str, ...] = ()
    parts: tuple[Part, ...] = field(default=(), repr=False)
    live: Mapping[ResourceKey, Manifest] = field(default_factory=dict, repr=False)
    planned: Planned | None = field(default=None, repr=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over what an approver sees: differences, commit, cluster, objects and fields."""
        ids = sorted(drift.id for drift in self.drifts)
        return digest({"format": FORMAT, "ids": ids, "plan": self.plan.hash})

    @property
    def summary(self) -> str:
        """One sentence."""
        count, objects = len(self.drifts), len({drift.key for drift in self.drifts})
        what = "1 difference" if count == 1 else f"{count} differences"
        where = "1 object" if objects == 1 else f"{objects} objects"
        return f"Revert {what} of {where} of {self.plan.app} to {self.plan.revision.short}"

    @property
    def target(self) -> str:
        """The app: typed to approve what deletes."""
        return self.plan.app

    @property
    def cluster(self) -> str:
        return self.plan.cluster_uid

    @property
    def destructive(self) -> bool:
        """Whether an object is deleted or replaced."""
        return any(c.action in {Action.DELETE, Action.REPLACE} for c in self.plan.writes)

    @property
    def empty(self) -> bool:
        return self.plan.empty

    @property
    def consequences(self) -> tuple[str, ...]:
        """Say what each answer does, one line for each field or object."""
        lines: list[str] = []
        for change in self.plan.writes:
            lines += _consequences(change)
        lines += [f"cannot be reverted: {p.key}: {p.message}" for p in self.plan.problems]
        return (*lines, *self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "format": FORMAT,
            "hash": self.hash,
            "summary": self.summary,
            "destructive": self.destructive,
            "consequences": list(self.consequences),
            "drifts": [drift_row(drift) for drift in self.drifts],
            "skipped": list(self.skipped),
            "plan": self.plan.as_dict(),
        }


def _consequences(change: Change) -> list[str]:
    key = change.key
    if change.action is Action.DELETE:
        data = ", and the data in it" if (key.group, key.kind) in BY_NAME_ONLY else ""
        return [f"{key} is deleted{data}"]
    if change.action is Action.CREATE:
        return [f"{key} is made again"]
    how = " (the object is deleted and made anew)" if change.action is Action.REPLACE else ""
    return [
        f"{key}: {f.path}: {shown(f.before)} becomes {shown(f.after)}{how}" for f in change.fields
    ]


def plan_revert(
    session: Session, planned: Planned, drifts: Iterable[Drift], ids: Sequence[str]
) -> Revert:
    """Plan to revert the differences of these ids; nothing is written.

    ``planned`` is the plan of the reviewed revision. The objects are read anew, and the API
    server is asked what each write would do. Raises InputError for ids that no difference has.
    """
    every = tuple(drifts)
    picked = chosen(every, ids)
    known = {drift.id for drift in picked}
    parts = Parts(session, planned)
    made: list[Part] = []
    problems: list[PlanProblem] = []
    skipped: list[str] = []
    for key in dict.fromkeys(drift.key for drift in picked):
        mine = tuple(drift for drift in picked if drift.key == key)
        try:
            left = (d.path for d in every if d.key == key and d.path and d.id not in known)
            part = parts.of(mine, frozenset(left))
        except OpslibError as error:
            text = scrubbed(error.what, parts.declared(key) or {})
            problems.append(PlanProblem(key, mine[0].origin, text, error.hint or ""))
            continue
        skipped += [f"{key}: {text}" for text in part.notes]
        if part.change.writes:
            made.append(part)
    prepared = planned.prepared.plan
    plan = Plan(
        prepared.app,
        prepared.revision,
        prepared.server,
        prepared.cluster_uid,
        tuple(part.change for part in made),
        tuple(problems),
    )
    live = {part.change.key: part.live for part in made if part.live is not None}
    return Revert(plan, tuple(picked), tuple(skipped), tuple(made), live, planned)
