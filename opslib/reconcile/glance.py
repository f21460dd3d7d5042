"""A look at the few objects that moved: are they as planned, and how healthy are they?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from opslib.core.model import ResourceKey
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.pace import workers
from opslib.reconcile.health import HealthRules, assess
from opslib.reconcile.judge import Judge, Prepared
from opslib.reconcile.live import read_live
from opslib.reconcile.plan import Action, Change, PlanProblem
from opslib.reconcile.wait import HealthOf


@dataclass(frozen=True)
class Wanted:
    """What a plan wanted, without what was live then, and how health is read."""

    prepared: Prepared
    rules: HealthRules

    @property
    def kinds(self) -> dict[ResourceKey, Kind]:
        """The kind of each declared object."""
        return {target.key: target.kind for target in self.prepared.desired.targets}


def wanted_of(prepared: Prepared, rules: HealthRules) -> Wanted:
    """Keep of a plan what a later look needs: nothing that was live, and no changes."""
    plan = replace(prepared.plan, changes=(), warnings=())
    return Wanted(replace(prepared, plan=plan, live={}), rules)


@dataclass(frozen=True)
class Glance:
    """What was seen: the objects that are not as planned, and the health of each."""

    drift: frozenset[ResourceKey]
    health: tuple[HealthOf, ...]


def glance(
    cluster: Cluster,
    discovery: Discovery,
    wanted: Wanted,
    keys: Iterable[ResourceKey],
) -> Glance:
    """Read these objects and compare them with the revision as a plan would; change nothing.

    What cannot be compared counts as drift, so that a whole plan says why.
    """
    looked = frozenset(keys)
    targets = [target for target in wanted.prepared.desired.targets if target.key in looked]
    kinds = {target.key: target.kind for target in targets}
    namespace = discovery.find("v1", "Namespace")
    spaces = {
        ResourceKey("", "Namespace", "", t.key.namespace): namespace
        for t in targets
        if namespace and t.key.namespace
    }
    live = read_live(cluster, {**spaces, **kinds})
    judge = Judge(cluster.paced(), replace(wanted.prepared, live=live))
    with workers() as pool:
        found = {
            t.key: one for t, one in zip(targets, pool.map(judge.target, targets), strict=True)
        }
    drift = frozenset(key for key, one in found.items() if not _as_planned(one))
    # A Job that ended and was cleared away is as planned, and there is nothing to look at.
    there = [key for key, one in found.items() if key in live or not _as_planned(one)]
    assessed = ((key, assess(live.get(key), rules=wanted.rules)) for key in there)
    return Glance(drift, tuple(HealthOf(key, a.health, a.message) for key, a in assessed))


def _as_planned(found: Change | PlanProblem) -> bool:
    return isinstance(found, Change) and found.action is Action.UNCHANGED
