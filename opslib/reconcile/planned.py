"""A plan of one revision, with all that a person should see beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opslib.policy import Report
from opslib.reconcile.health_file import SHIPPED, HealthRules
from opslib.reconcile.judge import Prepared
from opslib.reconcile.trials import Trials
from opslib.source.render import Rendered


@dataclass(frozen=True)
class Planned:
    """A plan with all that a person should see beside it."""

    prepared: Prepared
    rendered: Rendered
    policy: Report
    waits: tuple[str, ...] = ()
    """Why the apps that this one depends on are not ready; with any, nothing is written."""
    health: HealthRules = SHIPPED
    trials: Trials = field(default_factory=Trials)
    depends_on: tuple[str, ...] = ()

    @property
    def blocking(self) -> tuple[str, ...]:
        """Why this plan cannot be applied, one line each; empty when it can."""
        problems = [f"{p.origin}: {p.key}: {p.message}" for p in self.prepared.plan.problems]
        broken = [f"{f.origin}: {f.key}: {f.message}" for f in self.policy.errors]
        return (*problems, *broken)

    def as_dict(self) -> dict[str, Any]:
        plan = self.prepared.plan.as_dict()
        return {**plan, "policy": self.policy.as_dict(), "waits": list(self.waits)}
