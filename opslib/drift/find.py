"""Find every difference between what Git declares and what is live, and nothing else.

What was changed, removed or deleted of what Git declares is in the plan. What was added is not:
a forced dry run leaves alone what others own. So what others own is compared with what others may
own (``noise``), and whatever that does not explain with an undisturbed twin (``weigh``). Objects
that Git does not have are looked for in the app's namespaces (``extras``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.additions import Addition, foreign
from opslib.drift.alike import mark_of
from opslib.drift.extras import beside
from opslib.drift.ignoring import Rule, ignoring, joined, rules_of
from opslib.drift.model import Drift, Unread
from opslib.drift.noise import why
from opslib.drift.scalers import Scalers
from opslib.drift.secrets import sealed_drifts
from opslib.drift.tell import Teller, by_plan, without_commit
from opslib.drift.weigh import Defaults, Scale, Suspect, Weighed, is_wiped
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.kube.pace import workers
from opslib.reconcile.desired import Target
from opslib.reconcile.diff import show
from opslib.reconcile.fieldpath import Place, value_at
from opslib.reconcile.judge import Prepared
from opslib.reconcile.likeness import ask
from opslib.reconcile.plan import Action, Change, PlanProblem
from opslib.reconcile.planned import Planned
from opslib.reconcile.repofiles import appfile_at
from opslib.reconcile.session import Session

_LEFT = " is left to "
Explained = tuple[str, str, str]
"""What differs by right: the object, the path, and why."""


@dataclass(frozen=True)
class Found:
    """What a comparison found; ``live`` are all objects that were looked at, also foreign ones.

    ``objects`` is how many Git declares. Live objects hold Secrets: they are never shown.
    """

    drifts: tuple[Drift, ...]
    explained: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    objects: int = 0
    warnings: tuple[str, ...] = ()
    live: Mapping[ResourceKey, Manifest] = field(default_factory=dict, repr=False)


def find(
    planned: Planned,
    session: Session,
    *,
    rules: Sequence[Rule] | None = None,
    forbidden: Mapping[str, str] | None = None,
) -> Found:
    """Compare a revision, as it was planned, with what is live; change nothing.

    ``rules`` are those of an app's file that hold for this review; default: those of the
    planned revision. ``forbidden`` are paths that the plan could not read, and why (see
    ``Cluster.lenient``): what is there is unread, not gone. Raises Unreachable and Refused.
    """
    prepared = planned.prepared
    if rules is None:
        rules = rules_of(appfile_at(session.mirror, prepared.plan.revision))
    finder = _Finder(session.cluster.paced(), session, prepared, forbidden or {})
    finder.from_plan()
    finder.weigh()
    more = beside(session.cluster.paced(), session.discovery, prepared)
    sealed, closed = sealed_drifts(session.cluster, session.discovery, prepared)
    kept, ignored = ignoring([*finder.drifts, *more.drifts, *sealed], rules)
    told = [(str(drift.key), drift.path, reason) for drift, reason in ignored]
    return Found(
        tuple(sorted(kept, key=lambda one: (one.key, one.path))),
        grouped([*finder.explained, *more.explained, *told]),
        (*finder.unread, *more.unread, *closed),
        len(prepared.desired.targets),
        tuple(finder.warnings),
        {**prepared.live, **more.live},
    )


def grouped(explained: Iterable[Explained]) -> tuple[str, ...]:
    """Say each reason once for each field: of which object, and of how many others."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, path, reason in explained:
        found[reason, path].append(key)
    lines = []
    for (reason, path), keys in found.items():
        names = list(dict.fromkeys(keys))
        more = f" and {len(names) - 1} others" if len(names) > 1 else ""
        what = f"{path} of {names[0]}{more}" if path else f"{names[0]}{more}"
        lines.append(f"{what}: {reason}")
    return tuple(lines)


@dataclass
class _Alike:
    """Objects of one mark: whether the first one is quiet, what explains it, and the others."""

    quiet: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)
    others: list[tuple[Target, Manifest]] = field(default_factory=list)


class _Finder:
    """Collects what is found, step by step."""

    def __init__(
        self, cluster: Cluster, session: Session, prepared: Prepared, forbidden: Mapping[str, str]
    ) -> None:
        self._cluster = cluster
        self._prepared = prepared
        self._manager = prepared.app.manager
        self._forbidden = forbidden
        self._tell = Teller(prepared, forbidden)
        self._targets = {target.key: target for target in prepared.desired.targets}
        self._scalers = Scalers(cluster, session.discovery, prepared)
        self._suspects: dict[ResourceKey, Suspect] = {}
        self._quiet: list[tuple[Target, Manifest, tuple[Place, ...], _Alike]] = []
        self._alike: dict[bytes, _Alike] = {}
        self._refused: dict[Kind, tuple[str, list[ResourceKey]]] = {}
        self._unasked: list[PlanProblem] = []
        self.drifts: list[Drift] = []
        self.explained: list[Explained] = []
        self.unread: list[Unread] = []
        self.warnings: list[str] = []
        place = f"/configmaps/{prepared.app.inventory}"
        reason = next((why for path, why in forbidden.items() if path.endswith(place)), "")
        self._no_inventory = bool(reason)
        if reason:
            self.unread.append(Unread("the app's inventory", reason))

    # -- what the plan tells

    def from_plan(self) -> None:
        """Take over what the plan shows, and note whom to look into."""
        plan = self._prepared.plan
        waiting = []
        for change in plan.changes:
            target = self._targets.get(change.key)
            if target is None:
                self._undeclared(change)
            elif change.action is Action.CREATE:
                if self._hidden(target):
                    continue
                if self._was_applied(change.key):
                    self.drifts.append(self._tell.missing(target, change.simulated))
                else:
                    waiting.append(change.key)
            else:
                self._present(change, target)
        for problem in plan.problems:
            self._unplanned(problem)
        if waiting:
            self.warnings.append(f"not applied yet: {_few(waiting)}")
        if self._unasked:
            first = self._unasked[0]
            keys = [problem.key for problem in self._unasked]
            self.warnings.append(f"no plan can be made of {_few(keys)}: {first.message}")

    def _was_applied(self, key: ResourceKey) -> bool:
        """Tell whether an object was there once: what never was is not gone."""
        inventory = self._prepared.inventory
        if key in inventory.objects or inventory.commit == self._prepared.plan.revision.commit:
            return True
        # Where the inventory may not be read, the objects that are there speak for the others.
        return self._no_inventory and any(
            not is_wiped(live, self._manager) for live in self._prepared.live.values()
        )

    def _hidden(self, target: Target) -> bool:
        """Note a declared object that may not be read: whether it is there is not known."""
        key, kind = target.key, target.kind
        if key in self._prepared.live:
            return False
        paths = (kind.path(key.namespace), kind.path(key.namespace, key.name))
        reason = next((self._forbidden[one] for one in paths if one in self._forbidden), None)
        if reason is not None:
            self.unread.append(Unread(str(key), reason))
        return reason is not None

    def _undeclared(self, change: Change) -> None:
        word = "it is kept" if change.action is Action.KEEP else "the next apply deletes it"
        self.explained.append((str(change.key), "", joined("Git no longer has it", word,
                                                           change.reason)))  # fmt: skip

    def _present(self, change: Change, target: Target) -> None:
        """Take over the fields of a change; what is left over goes on the scale."""
        live = self._prepared.live.get(change.key)
        if live is None:
            return  # a Job that ended and was cleared away
        for note in change.left_out:
            path, left, reason = note.partition(_LEFT)
            self.explained.append((str(change.key), path, f"{left}{reason}".strip()))
        if not change.fields and not change.left_out:
            self._unchanged(target, live)
            return
        covered: list[Place] = []
        found: list[Addition] = []
        for field_change in change.fields:
            one = without_commit(field_change)
            if one is None:
                continue
            if by_plan(one, self._tell.body(target, live)):
                covered.append(one.place)
                self.drifts.append(self._tell.field(target, change, one))
            elif one.after is None:
                found.append(Addition(one.place, one.before))
        self._look(target, live, found, covered)

    def _unchanged(self, target: Target, live: Manifest) -> None:
        """Look into an object that is as it is declared; of alike ones only into the first."""
        mark = mark_of(live)
        known = self._alike.get(mark)
        if known is None:
            known = self._alike[mark] = _Alike()
            told = len(self.explained)
            self._look(target, live, alike=known)
            known.told = [(path, reason) for _, path, reason in self.explained[told:]]
        elif known.quiet:
            known.others.append((target, live))
            key = str(target.key)
            self.explained += [(key, path, reason) for path, reason in known.told]
        else:
            self._look(target, live)

    def _unplanned(self, problem: PlanProblem) -> None:
        """Compare an object of which no plan could be made with its twin, all of it."""
        target = self._targets[problem.key]
        live = self._prepared.live.get(problem.key)
        if live is None:
            if self._hidden(target):
                return
            if self._was_applied(problem.key):
                note = "" if self._no_inventory else problem.message
                self.drifts.append(self._tell.missing(target, note))
            else:
                self.unread.append(Unread(str(problem.key), problem.message))
            return
        self._unasked.append(problem)
        self._look(target, live, whole=True)

    # -- what no plan shows

    def _look(
        self,
        target: Target,
        live: Manifest,
        found: Iterable[Addition] = (),
        covered: Iterable[Place] = (),
        *,
        whole: bool = False,
        alike: _Alike | None = None,
    ) -> None:
        """Explain by rules what others own; what they do not explain goes on the scale."""
        since = live["metadata"].get("deletionTimestamp")
        if since:
            self.drifts.append(self._tell.going(target, str(since)))
        left = list(found)
        alone = bool(since)
        for one in foreign(live, self._manager):
            reason = why(target.key, live, one)
            if not reason:
                alone = True  # whether Git declares it, or an autoscaler sets it, is its own
                reason = self._scalers.why(target.key, live, one)
            if reason:
                self.explained.append((str(target.key), show(one.place), reason))
            elif not value_at(self._tell.body(target, live), one.place)[0]:
                left.append(one)
        wiped = is_wiped(live, self._manager)
        if wiped and self._was_applied(target.key):
            self.warnings.append(
                f"{target.key}: the entry of {self._manager} in its managedFields was removed: "
                "who owns what of it cannot be told"
            )
        if left or wiped or whole:
            body = self._tell.body(target, live)
            suspect = Suspect(target, body, live, tuple(left), tuple(covered), whole=whole)
            self._suspects[target.key] = suspect
            return
        one_alike = alike or _Alike()
        one_alike.quiet = not alone
        self._quiet.append((target, live, tuple(covered), one_alike))

    def weigh(self) -> None:
        """Weigh all suspects, then whatever has something that nobody owns and is no default."""
        scale = Scale(self._cluster, self._manager, self._scalers.why)
        defaults = Defaults()
        with workers() as pool:
            jobs = ask(pool, scale, list(self._suspects.values()))
            for job in jobs:
                weighed = job.result()
                defaults.learn(weighed.asked)
                self._take(weighed)
        for target, live, covered, alike in self._quiet:
            if self._unowned(target, live, covered, scale, defaults):
                for other, its in alike.others:
                    self._unowned(other, its, (), scale, defaults)
        for trouble, keys in self._refused.values():
            self.warnings.append(f"what nobody owns of {_few(keys)} was not checked: {trouble}")

    def _unowned(
        self,
        target: Target,
        live: Manifest,
        covered: tuple[Place, ...],
        scale: Scale,
        defaults: Defaults,
    ) -> bool:
        """Weigh an object if something in it has no owner and is no known default; tell whether."""
        if not defaults.strange(target.key, live):
            return False
        if target.kind in self._refused:
            self._refused[target.kind][1].append(target.key)
            return True
        body = self._tell.body(target, live)
        weighed = scale.target(Suspect(target, body, live, covered=covered))
        defaults.learn(weighed.asked)
        self._take(weighed)
        if weighed.trouble:
            self._refused[target.kind] = weighed.trouble, [target.key]
        return True

    def _take(self, weighed: Weighed) -> None:
        suspect = weighed.suspect
        for one, reason in weighed.by_right:
            self.explained.append((str(suspect.key), show(one.place), reason))
        note = ""
        if weighed.trouble and weighed.drifts:
            note = f"not compared with an undisturbed object: {weighed.trouble}"
        self.drifts += [self._tell.added(suspect, one, note) for one in weighed.drifts]
        if suspect.whole:
            self.drifts += self._tell.removed(weighed)


def _few(keys: Sequence[ResourceKey]) -> str:
    return str(keys[0]) + (f" and {len(keys) - 1} others" if len(keys) > 1 else "")
