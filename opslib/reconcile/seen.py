"""What the last pass found: all that is kept between two passes, and no live object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from opslib.core.clock import now
from opslib.core.model import ResourceKey
from opslib.reconcile.apply import Applied
from opslib.reconcile.glance import Wanted, wanted_of
from opslib.reconcile.health import Health, HealthRules, assess
from opslib.reconcile.judge import Prepared
from opslib.reconcile.target import Target
from opslib.reconcile.wait import HealthOf


@dataclass
class Seen:
    """A target as it was left, and how its objects are since.

    ``settled``: nothing was left to do. ``day`` counts because exceptions end on one.
    """

    target: Target
    wanted: Wanted
    settled: bool
    day: date
    drift: frozenset[ResourceKey] = frozenset()
    unhealthy: dict[ResourceKey, HealthOf] = field(default_factory=dict)

    def holds_for(self, target: Target) -> bool:
        """Whether a pass for this target would find what the last one found, if nothing moved."""
        return self.settled and (self.target, self.day) == (target, now().date())

    def update(self, keys: Iterable[ResourceKey], states: Iterable[HealthOf]) -> bool:
        """Take in the health of objects that were looked at; whether any of it is news."""
        before = dict(self.unhealthy)
        for key in keys:
            self.unhealthy.pop(key, None)
        self.unhealthy |= _unhealthy(states)
        return self.unhealthy != before

    @property
    def decided(self) -> bool:
        """Whether a trial that was under way is at its end, for better or for worse."""
        states = {one.health for one in self.unhealthy.values()}
        return not self.settled and (not states or Health.FAILED in states)


def look_back(
    target: Target, prepared: Prepared, rules: HealthRules, applied: Applied | None, phase: str
) -> Seen:
    """Sum up a pass. Health is that after the apply, else of what the plan read."""
    states = applied.health if applied else ()
    if not states:
        live = prepared.live
        keys = (t.key for t in prepared.desired.targets if t.key not in prepared.ended)
        looked = ((key, assess(live.get(key), rules=rules)) for key in keys)
        states = tuple(HealthOf(key, one.health, one.message) for key, one in looked)
    return Seen(
        target,
        wanted_of(prepared, rules),
        phase in {"synced", "drifted"},
        now().date(),
        frozenset(c.key for c in prepared.plan.writes) if phase == "drifted" else frozenset(),
        _unhealthy(states),
    )


def _unhealthy(states: Iterable[HealthOf]) -> dict[ResourceKey, HealthOf]:
    return {one.key: one for one in states if one.health is not Health.CURRENT}
