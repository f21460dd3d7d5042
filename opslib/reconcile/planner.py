"""Make a plan: read what is live, ask the server what would be, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from opslib.core.model import Manifest, ResourceKey, Revision
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.pace import workers
from opslib.reconcile.app import App
from opslib.reconcile.appfile import Leave
from opslib.reconcile.desired import Desired, Target
from opslib.reconcile.inventory import Inventory, namespaces_in_use, read_inventory
from opslib.reconcile.judge import Judge, Memory, Prepared
from opslib.reconcile.likeness import ask
from opslib.reconcile.live import read_live
from opslib.reconcile.moves import STAYING, Moves
from opslib.reconcile.optouts import opt_outs
from opslib.reconcile.plan import Change, Plan, PlanProblem
from opslib.reconcile.prune import PruneLimits, deletions
from opslib.reconcile.vaulted import Asked, settled
from opslib.seal.vaultaccess import Find, nobody
from opslib.seal.vaultvalues import Values

_NAMESPACE = ("", "Namespace")

Lineage = Callable[[str, str], bool]
"""Whether the first commit is an ancestor of the second (or the same)."""


def make_plan(
    cluster: Cluster,
    discovery: Discovery,
    app: App,
    revision: Revision,
    desired: Desired,
    *,
    is_ancestor: Lineage,
    limits: PruneLimits | None = None,
    leave: Sequence[Leave] = (),
    full: bool = False,
    memory: Memory | None = None,
    moves: Callable[[], Moves] = lambda: STAYING,
    vault: Find = nobody,
    warnings: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Prepared:
    """Compare one revision with the cluster by server-side-apply dry runs; change nothing.

    What is provably unchanged (see ``proof``) is not asked of the server, and of new objects
    that are alike (see ``likeness``) only the first, unless ``full``.
    ``moves`` finds what moves to other apps, asked only where something might be deleted.
    ``vault`` is where references to values are proven. None of the values is read, unless
    ``full``, to compare live ones, where the token may.
    ``memory`` is what earlier plans of the same process proved; it is kept up.
    What a resource cannot be applied for is collected in ``Plan.problems``, all of it, with
    file and line. Raises Unreachable and Refused as ``Cluster.request``.
    """
    progress.update("reading the cluster")
    cluster = cluster.paced()
    inventory = read_inventory(cluster, app)
    kinds = _kinds(desired, inventory, discovery)
    live = read_live(cluster, kinds)
    desired, unproven = _settled(app, desired, live, vault, full=full)
    optouts = opt_outs(cluster, discovery, desired, leave)
    limits = limits or PruneLimits()
    prepared = Prepared(
        Plan(app.name, revision, cluster.server, cluster.uid(), ()),
        app,
        desired,
        live,
        inventory,
        kinds,
        optouts,
        limits.confirmed,
        Values(vault),
    )
    judge = Judge(cluster, prepared, full=full, memory=memory)
    changes: list[Change] = []
    problems = list(unproven)
    with workers() as pool:
        jobs = ask(pool, judge, desired.targets)
        for number, job in enumerate(jobs, 1):
            result = job.result()
            (problems if isinstance(result, PlanProblem) else changes).append(result)  # type: ignore[arg-type]  # each list takes its own kind
            progress.update("comparing", number, len(jobs))
    held = _withheld(inventory, revision, is_ancestor, incomplete=bool(problems))
    present = {target.key: live.get(target.key) for target in desired.targets}
    changes += deletions(
        app,
        inventory,
        present,
        live,
        limits,
        withheld=held,
        used=_in_use(cluster, app, inventory, desired),
        moves=moves() if inventory.objects.keys() - desired.keys else STAYING,
    )
    told = (*warnings, *desired.warnings, *optouts.expired)
    plan = replace(prepared.plan, changes=tuple(changes), problems=tuple(problems), warnings=told)
    return replace(prepared, plan=plan)


def _kinds(desired: Desired, inventory: Inventory, discovery: Discovery) -> dict[ResourceKey, Kind]:
    """Return every object that must be read: declared ones, their namespaces, the inventory's."""
    kinds = {target.key: target.kind for target in desired.targets if not target.provided}
    namespace = discovery.find("v1", "Namespace")
    for target in desired.targets:
        if namespace and target.key.namespace:
            kinds.setdefault(ResourceKey(*_NAMESPACE, "", target.key.namespace), namespace)
    for key, version in inventory.objects.items():
        kind = discovery.find(version, key.kind) or discovery.of_key(key)
        if kind:
            kinds.setdefault(key, kind)
    return kinds


def _settled(
    app: App,
    desired: Desired,
    live: Mapping[ResourceKey, Manifest],
    vault: Find,
    *,
    full: bool,
) -> tuple[Desired, list[PlanProblem]]:
    """Return what is desired of Secrets in Vault, now that live ones and Vault were looked at."""
    if not any(target.sourced for target in desired.targets):
        return desired, []
    targets: list[Target] = []
    problems: list[PlanProblem] = []
    warnings = list(desired.warnings)
    with Asked(vault, look=full) as asked:
        for target in desired.targets:
            if target.sourced is None:
                targets.append(target)
                continue
            there = live.get(target.key)
            one = settled(target.resource, target.sourced, there, app.manager, asked)
            targets.append(replace(target, resource=one.resource, sourced=one.sourced))
            problems += [PlanProblem(target.key, *problem) for problem in one.problems]
            warnings += one.warnings
    return Desired(tuple(targets), tuple(warnings)), problems


def _in_use(cluster: Cluster, app: App, inventory: Inventory, desired: Desired) -> dict[str, str]:
    """Return who uses which namespace, where this app may delete one at all."""
    dropped = inventory.objects.keys() - desired.keys
    if not any((key.group, key.kind) == _NAMESPACE for key in dropped):
        return {}
    own = {key.namespace: f"{key} of this app" for key in desired.keys if key.namespace}
    return {**namespaces_in_use(cluster, app), **own}


def _withheld(
    inventory: Inventory, revision: Revision, is_ancestor: Lineage, *, incomplete: bool
) -> str:
    """Return why nothing may be deleted by this plan, "" when deletes are allowed."""
    if incomplete:
        return "nothing is deleted while other resources have problems"
    if not inventory.commit or inventory.commit == revision.commit:
        return ""
    if is_ancestor(inventory.commit, revision.commit):
        return ""
    if is_ancestor(revision.commit, inventory.commit):
        return f"commit {revision.short} is older than what was applied ({inventory.commit[:12]})"
    return f"the last applied commit {inventory.commit[:12]} is not in the history of this revision"
