"""Is a live object what its manifest asks for: in progress, current, failed, or on its way out.

The words and the order of the rules are those of kstatus
(https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md): deletion,
generation, Stalled and Reconciling, then rules of the built-in kind, then what conditions,
phases and counts say in general. Beyond kstatus: a failure that the controller itself reports
is Failed although it retries, because nobody retries forever at two in the morning.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from opslib.core.clock import now
from opslib.core.model import Manifest
from opslib.reconcile import health_rules
from opslib.reconcile.health_file import NO_RULES, SHIPPED, HealthRules
from opslib.reconcile.health_object import Assessment, Health

__all__ = ["NO_RULES", "SHIPPED", "Assessment", "Health", "HealthRules", "assess", "worst"]


WORST_FIRST = (
    Health.FAILED,
    Health.UNKNOWN,
    Health.NOT_FOUND,
    Health.TERMINATING,
    Health.IN_PROGRESS,
    Health.CURRENT,
)
"""Which state of several names the whole: what needs a person first, what needs time next."""


def assess(
    live: Manifest | None,
    *,
    at: datetime | None = None,
    seen: Manifest | None = None,
    rules: HealthRules = SHIPPED,
) -> Assessment:
    """Say how healthy a live object is; None is one that does not exist.

    ``at`` is the time of the look (now when left out): some states are failures only after
    a while. ``seen`` is the object as it was last seen, for one that is gone now: a Job with
    ttlSecondsAfterFinished is cleared away after it ended, and that is no loss
    (https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/).
    ``rules`` are those of the repository's health.yaml; default: the package's own alone.
    Nothing is raised: an object of an unexpected shape is Unknown.
    """
    moment = at or now()
    if live is None:
        return health_rules.absent(seen, moment)
    try:
        return health_rules.present(live, moment, rules)
    except (TypeError, ValueError, KeyError, AttributeError):
        return Assessment(Health.UNKNOWN, "its status has a shape that its kind does not have")


def worst(assessments: Iterable[Assessment]) -> Assessment:
    """Sum up: the worst state, and how many objects are in which state.

    A single unhealthy object's own sentence is kept. Nothing to assess is Current.
    """
    every = list(assessments)
    if not every:
        return Assessment(Health.CURRENT, "nothing to assess")
    order = sorted(every, key=lambda one: WORST_FIRST.index(one.health))
    if len(every) == 1:
        return order[0]
    counts = {
        health: sum(one.health is health for one in every)
        for health in WORST_FIRST
        if any(one.health is health for one in every)
    }
    parts = ", ".join(f"{count} {health}" for health, count in counts.items())
    first = order[0]
    if first.health is Health.CURRENT:
        return Assessment(Health.CURRENT, f"all {len(every)} are current")
    return Assessment(first.health, f"{parts} of {len(every)}: {first.message}")
