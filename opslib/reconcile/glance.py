"""A look at the few objects that moved: are they as planned, and how healthy are they?"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opslib.core.model import ResourceKey, Revision
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.reconcile.app import App
from opslib.reconcile.desired import Desired, Target
from opslib.reconcile.health import assess
from opslib.reconcile.live import read_live
from opslib.reconcile.optouts import OptOuts
from opslib.reconcile.plan import Action, Change
from opslib.reconcile.planner import WORKERS, Judge
from opslib.reconcile.wait import HealthOf


@dataclass(frozen=True)
class Wanted:
    """What a plan wanted, without what was live then."""

    revision: Revision
    desired: Desired
    optouts: OptOuts

    @property
    def kinds(self) -> dict[ResourceKey, Kind]:
        """The kind of each declared object."""
        return {target.key: target.kind for target in self.desired.targets}


@dataclass(frozen=True)
class Glance:
    """What was seen: the objects that are not as planned, and the health of each."""

    drift: frozenset[ResourceKey]
    health: tuple[HealthOf, ...]


def glance(
    cluster: Cluster,
    discovery: Discovery,
    app: App,
    wanted: Wanted,
    keys: Iterable[ResourceKey],
) -> Glance:
    """Read these objects and compare them with the revision as a plan would; change nothing.

    What cannot be compared counts as drift, so that a whole plan says why.
    """
    looked = frozenset(keys)
    targets = [target for target in wanted.desired.targets if target.key in looked]
    kinds = {target.key: target.kind for target in targets}
    namespace = discovery.find("v1", "Namespace")
    spaces = {
        ResourceKey("", "Namespace", "", t.key.namespace): namespace
        for t in targets
        if namespace and t.key.namespace
    }
    live = read_live(cluster, {**spaces, **kinds})
    revision, desired = wanted.revision, wanted.desired
    judge = Judge(cluster, app, revision, desired, live, optouts=wanted.optouts)

    def moved(target: Target) -> bool:
        found = judge.target(target)
        return not (isinstance(found, Change) and found.action is Action.UNCHANGED)

    with ThreadPoolExecutor(WORKERS) as pool:
        drifted = list(pool.map(moved, targets))
    drift = frozenset(t.key for t, is_moved in zip(targets, drifted, strict=True) if is_moved)
    assessed = ((key, assess(live.get(key))) for key in kinds)
    return Glance(drift, tuple(HealthOf(key, a.health, a.message) for key, a in assessed))
