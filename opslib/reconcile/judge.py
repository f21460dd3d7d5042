"""What an apply would change of one object: the server is asked, or the outcome is proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opslib.core.errors import ConflictError, OpslibError
from opslib.core.model import Manifest, Resource, ResourceKey
from opslib.kube.apply import Lock, server_side_apply
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.kube.errors import ApiError
from opslib.reconcile.app import COMMIT, MOVED_FROM, App, giver_of
from opslib.reconcile.desired import Desired, Target
from opslib.reconcile.diff import FieldChange, declared_fields, field_changes
from opslib.reconcile.inventory import Inventory
from opslib.reconcile.likeness import shape
from opslib.reconcile.optouts import NOTHING, OptOuts
from opslib.reconcile.ownership import takeover
from opslib.reconcile.plan import Action, Change, Plan, PlanProblem
from opslib.reconcile.problems import problem_of
from opslib.reconcile.proof import unchanged
from opslib.reconcile.prune import apply_managers
from opslib.reconcile.replace import admitted, free_name, immutable, refusal, replaced_fields
from opslib.reconcile.retry import RETRY_SECONDS, passes, retrying
from opslib.reconcile.vaulted import shown
from opslib.seal.vaultaccess import nobody
from opslib.seal.vaultvalues import Values

_TRIES = 8
_NAMESPACE = ("", "Namespace")
_COMMIT_PATH = f'metadata.annotations["{COMMIT}"]'

Memory = dict[ResourceKey, tuple[Manifest, Lock, Change]]
"""What was proven unchanged: the declaration, the version of the live object, the outcome."""


@dataclass(frozen=True)
class Prepared:
    """A plan with what it was made from: needed to apply it, never shown (it has Secrets)."""

    plan: Plan
    app: App
    desired: Desired = field(repr=False)
    live: Mapping[ResourceKey, Manifest] = field(repr=False)
    inventory: Inventory
    kinds: Mapping[ResourceKey, Kind]
    optouts: OptOuts = NOTHING
    confirmed: frozenset[str] = frozenset()
    values: Values = field(default_factory=lambda: Values(nobody), repr=False)

    @property
    def ended(self) -> frozenset[ResourceKey]:
        """Jobs that are declared, have ended, and are gone: nobody waits for them."""
        return frozenset(
            c.key for c in self.plan.changes if c.action is Action.UNCHANGED and not c.uid
        )


class Judge:
    """Decides for one resource at a time what an apply would change."""

    def __init__(
        self,
        cluster: Cluster,
        prepared: Prepared,
        *,
        full: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self._prepared = prepared
        self._inventory = prepared.inventory
        self._cluster = cluster
        self._app = prepared.app
        self._revision = prepared.plan.revision
        self._desired = prepared.desired
        self._live = prepared.live
        self._optouts = prepared.optouts
        self._confirmed = prepared.confirmed
        self._full = full
        self._memory = memory if memory is not None else {}
        self._patience = RETRY_SECONDS

    def target(self, target: Target) -> Change | PlanProblem:
        """Return what would happen to a resource, or why it cannot be applied."""
        try:
            return self._judge(target, self._live.get(target.key))
        except ApiError as error:
            return problem_of(error, target.resource)

    def known(self, target: Target) -> Change | None:
        """Return the change of an object that is provably as it is declared: none.

        The proof of the same version of an object and the same declaration is not made twice.
        """
        live = self._live.get(target.key)
        if live is None or target.provided or self._full:
            return None
        lock, manifest = Lock.of(live), target.resource.manifest
        told = self._memory.get(target.key)
        alone = not self._optouts.notes(target.key, manifest)
        if alone and told and told[0] is manifest and told[1] == lock:
            return told[2]
        if apply_managers(live) != {self._app.manager}:
            return None
        change = self._proven(target, live, self.body(target, self._commit(live), live))
        if change and alone:
            self._memory[target.key] = manifest, lock, change
        return change

    def _proven(self, target: Target, live: Manifest, body: Manifest) -> Change | None:
        if self._full or not unchanged(live, body, self._app.manager):
            return None
        return self._locked(self._change(Action.UNCHANGED, target, ()), target, live)

    def _commit(self, live: Manifest) -> str:
        """Return the commit that is declared: an object is not written for a new one alone."""
        present = (live["metadata"].get("annotations") or {}).get(COMMIT)
        return present or self._revision.commit

    def group(self, target: Target) -> bytes | None:
        """Return what new objects that are alike have in common; None for all others."""
        if self._full or target.provided or target.key in self._live:
            return None
        return shape(target.resource.manifest)

    def like(self, target: Target, answer: Change | PlanProblem) -> Change | None:
        """Return the creation of an object of which one is known that is like it."""
        if isinstance(answer, PlanProblem) or answer.action is not Action.CREATE:
            return None
        return replace(self._creation(target), simulated=answer.simulated)

    def again(self, target: Target) -> tuple[Change, Manifest | None]:
        """Read the object anew and judge it again; raises ApiError as the dry run does."""
        live = self._read(target)
        return self._update(target, live) if live else self._create(target), live

    def _read(self, target: Target) -> Manifest | None:
        path = target.kind.path(target.key.namespace, target.key.name)
        return retrying(lambda: self._cluster.find(path))

    def _judge(self, target: Target, live: Manifest | None) -> Change | PlanProblem:
        if target.provided:
            return self._simulated(target, "its CustomResourceDefinition is created by this plan")
        if live is None:
            missing = self._missing_namespace(target.key)
            if missing is None:
                return self._ended(target) or self._create(target)
            if missing not in self._desired.namespaces:
                return PlanProblem(
                    target.key,
                    target.resource.origin,
                    f"namespace {missing} does not exist",
                    "add a Namespace to the same folder",
                )
            self._try_elsewhere(target)
            return self._simulated(target, f"namespace {missing} is created by this plan")
        if others := apply_managers(live) - {self._app.manager, giver_of(target.resource.manifest)}:
            names = ", ".join(sorted(m.removeprefix("opslib-") for m in others))
            return PlanProblem(
                target.key,
                target.resource.origin,
                f"app {names} applies {target.key} too",
                f"let one app have it: remove it from {names} or from {self._app.name}; where it "
                f"moves, its annotation {MOVED_FROM}: {names} says so",
            )
        return self._update(target, live)

    def _ended(self, target: Target) -> Change | None:
        """Leave a Job alone that this commit has run and that its TTL has cleared away.

        It is no drift: a loop would run it again in each pass. The next commit runs it again.
        https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
        """
        applied = self._inventory
        if applied.commit != self._revision.commit:
            return None
        spec = target.resource.manifest.get("spec") or {}
        cleared = target.key.kind == "Job" and spec.get("ttlSecondsAfterFinished") is not None
        if not cleared or target.key not in applied.objects:
            return None
        change = self._change(Action.UNCHANGED, target, ())
        return replace(change, reason="it ended at this commit and was cleared away by its TTL")

    def _creation(self, target: Target) -> Change:
        return creation(self._prepared, target)

    def _missing_namespace(self, key: ResourceKey) -> str | None:
        if not key.namespace:
            return None
        return None if ResourceKey(*_NAMESPACE, "", key.namespace) in self._live else key.namespace

    def body(self, target: Target, commit: str, live: Manifest | None = None) -> Manifest:
        """Return what is sent: the declared fields, what is left to others, the commit."""
        manifest = self._optouts.adopt(
            target.key, target.resource.manifest, live, self._app.manager
        )
        return with_commit(manifest, commit)

    def _create(self, target: Target) -> Change:
        self._send(target, self.body(target, self._revision.commit), None, force=False)
        return self._creation(target)

    def _simulated(self, target: Target, why: str) -> Change:
        return replace(self._creation(target), simulated=why)

    def _try_elsewhere(self, target: Target) -> None:
        """Let the server check a resource of a missing namespace in ``default``, under a free name.

        Only what is wrong with the object itself counts; what that namespace refuses does not.
        """
        manifest = target.resource.manifest
        name = free_name(target.key.name)
        metadata = {**manifest["metadata"], "namespace": "default", "name": name}
        try:
            self._send(target, {**manifest, "metadata": metadata}, None, force=False)
        except ApiError as error:
            if error.code in {400, 422, 500}:
                raise

    def _update(self, target: Target, live: Manifest) -> Change:
        giver = giver_of(target.resource.manifest)
        for _ in range(_TRIES):
            body = self.body(target, self._commit(live), live)
            if proven := self._proven(target, live, body):
                return proven
            try:
                after = self._send(target, body, Lock.of(live), force=True)
                taken = takeover(after, self._app.manager, giver)
                if taken:
                    after = self._without(target, taken.after, Lock.of(live))
                break
            except ApiError as error:
                if field := immutable(error):
                    return self._replace(target, live, field, error)
                if error.code != 409:
                    raise
            # It moved between the list and the dry run: compare with what it is now.
            found = self._read(target)
            if found is None:
                return self._create(target)
            live = found
        else:
            raise ConflictError(f"{target.key} changes faster than it can be compared")
        sourced, manager = target.sourced, self._app.manager
        before, then = shown(live, sourced, manager), shown(after, sourced, manager)
        fields = field_changes(before, then, _shown(target))
        present = self._commit(live)
        if fields and present != self._revision.commit:
            fields.append(FieldChange(_COMMIT_PATH, present, self._revision.commit))
        moved = bool(taken and giver in taken.managers)
        action = Action.UPDATE if fields or moved else Action.UNCHANGED
        change = self._change(action, target, tuple(fields))
        takeovers = taken.managers if taken and (fields or moved) else ()
        return self._locked(replace(change, takeovers=takeovers), target, live)

    def _replace(self, target: Target, live: Manifest, field: str, error: ApiError) -> Change:
        """Plan to delete and create what cannot be changed in place; raises ``error`` if not."""
        missing = refusal(target.resource, self._confirmed)
        if missing:
            error.hint = missing
            raise error
        body = self.body(target, self._revision.commit)
        made = admitted(self._cluster, target.kind, body, self._app.manager)
        resource = replace(target.resource, manifest=shown(body, target.sourced))
        sourced, manager = target.sourced, self._app.manager
        before, then = shown(live, sourced, manager), shown(made, sourced, manager)
        fields = tuple(replaced_fields(before, then, resource))
        why = f"{field} cannot be changed in place; what Git does not declare of it goes, too"
        change = replace(self._change(Action.REPLACE, target, fields), reason=why)
        return self._locked(change, target, live)

    def _without(self, target: Target, left: Manifest, lock: Lock) -> Manifest:
        """Let the server bring an object into its normal form that has lost fields."""
        metadata = {k: v for k, v in left["metadata"].items() if k != "managedFields"}
        metadata |= {"uid": lock.uid, "resourceVersion": lock.resource_version}
        return retrying(
            lambda: self._cluster.request(
                "PUT",
                target.kind.path(target.key.namespace, target.key.name),
                query={"dryRun": "All", "fieldManager": self._app.manager},
                body={**left, "metadata": metadata},
            )
        )

    def _locked(self, change: Change, target: Target, live: Manifest) -> Change:
        lock = Lock.of(live)
        left = self._optouts.notes(target.key, target.resource.manifest)
        return replace(change, uid=lock.uid, resource_version=lock.resource_version, left_out=left)

    def _send(
        self, target: Target, body: Manifest, lock: Lock | None, *, force: bool
    ) -> dict[str, Any]:
        try:
            return retrying(
                lambda: server_side_apply(
                    self._cluster,
                    target.kind,
                    body,
                    manager=self._app.manager,
                    lock=lock,
                    force=force,
                    dry_run=True,
                ),
                seconds=self._patience,
            )
        except OpslibError as error:
            if passes(error):
                # It did not pass for one: a thousand others do not wait for it one by one.
                self._patience = 0.0
            raise

    @staticmethod
    def _change(action: Action, target: Target, fields: tuple[FieldChange, ...]) -> Change:
        resource = target.resource
        return Change(action, target.key, resource.api_version, resource.origin, fields)


def creation(prepared: Prepared, target: Target) -> Change:
    """Return the change that creates an object as it is declared; nobody is asked."""
    resource = target.resource
    manifest = prepared.optouts.adopt(target.key, resource.manifest, None, prepared.app.manager)
    body = with_commit(manifest, prepared.plan.revision.commit)
    fields = _created(target, body)
    return Change(Action.CREATE, target.key, resource.api_version, resource.origin, fields)


def with_commit(manifest: Manifest, commit: str) -> Manifest:
    """Return the manifest with the annotation that names the commit it comes from."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), COMMIT: commit}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def _shown(target: Target) -> Resource:
    return replace(target.resource, manifest=shown(target.resource.manifest, target.sourced))


def _created(target: Target, body: Manifest) -> tuple[FieldChange, ...]:
    resource = replace(target.resource, manifest=shown(body, target.sourced))
    return tuple(declared_fields(resource))
