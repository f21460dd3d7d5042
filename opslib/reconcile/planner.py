"""Make a plan: read what is live, ask the server what would be, compare."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from opslib.core.errors import ConflictError, OpslibError
from opslib.core.model import Manifest, Origin, Resource, ResourceKey, Revision
from opslib.core.progress import SILENT, Progress
from opslib.kube.apply import Lock, server_side_apply
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.errors import ApiError
from opslib.reconcile.app import COMMIT, App
from opslib.reconcile.desired import Desired, Target
from opslib.reconcile.diff import FieldChange, declared_fields, field_changes
from opslib.reconcile.inventory import Inventory, read_inventory
from opslib.reconcile.live import read_live
from opslib.reconcile.mask import masked, scrubbed
from opslib.reconcile.optouts import NOTHING, OptOuts, opt_outs
from opslib.reconcile.ownership import takeover
from opslib.reconcile.plan import Action, Change, Plan, PlanProblem
from opslib.reconcile.proof import unchanged
from opslib.reconcile.prune import PruneLimits, apply_managers, deletions
from opslib.reconcile.retry import RETRY_SECONDS, passes, retrying

WORKERS = 4
"""Dry runs at once: two cores of an API server are saturated by four writers."""

_TRIES = 4
_NAMESPACE = ("", "Namespace")
_COMMIT_PATH = f'metadata.annotations["{COMMIT}"]'

Lineage = Callable[[str, str], bool]
"""Whether the first commit is an ancestor of the second (or the same)."""


@dataclass(frozen=True)
class Prepared:
    """A plan with what it was made from: needed to apply it, never shown (it has Secrets)."""

    plan: Plan
    app: App
    desired: Desired
    live: Mapping[ResourceKey, Manifest]
    inventory: Inventory
    kinds: Mapping[ResourceKey, Kind]
    optouts: OptOuts = NOTHING


def make_plan(
    cluster: Cluster,
    discovery: Discovery,
    app: App,
    revision: Revision,
    desired: Desired,
    *,
    is_ancestor: Lineage,
    limits: PruneLimits | None = None,
    full: bool = False,
    warnings: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Prepared:
    """Compare one revision with the cluster by server-side-apply dry runs; change nothing.

    What is provably unchanged (see ``proof``) is not asked of the server, unless ``full``.
    What a resource cannot be applied for is collected in ``Plan.problems``, all of it, with
    file and line. Raises Unreachable and Refused as ``Cluster.request``.
    """
    progress.update("reading the cluster")
    inventory = read_inventory(cluster, app)
    kinds = _kinds(desired, inventory, discovery)
    live = read_live(cluster, kinds)
    optouts = opt_outs(cluster, discovery, desired)
    judge = Judge(cluster, app, revision, desired, live, optouts=optouts, full=full)
    changes: list[Change] = []
    problems: list[PlanProblem] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(judge.target, target) for target in desired.targets]
        for number, job in enumerate(jobs, 1):
            result = job.result()
            (problems if isinstance(result, PlanProblem) else changes).append(result)  # type: ignore[arg-type]  # each list takes its own kind
            progress.update("comparing", number, len(jobs))
    held = _withheld(inventory, revision, is_ancestor, incomplete=bool(problems))
    present = {target.key: live.get(target.key) for target in desired.targets}
    changes += deletions(app, inventory, present, live, limits or PruneLimits(), withheld=held)
    plan = Plan(
        app.name,
        revision,
        cluster.server,
        cluster.uid(),
        tuple(changes),
        tuple(problems),
        (*warnings, *desired.warnings),
    )
    return Prepared(plan, app, desired, live, inventory, kinds, optouts)


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


class Judge:
    """Decides for one resource at a time what an apply would change."""

    def __init__(
        self,
        cluster: Cluster,
        app: App,
        revision: Revision,
        desired: Desired,
        live: Mapping[ResourceKey, Manifest],
        *,
        optouts: OptOuts,
        full: bool = False,
    ) -> None:
        self._cluster = cluster
        self._app = app
        self._revision = revision
        self._desired = desired
        self._live = live
        self._optouts = optouts
        self._full = full
        self._patience = RETRY_SECONDS

    def target(self, target: Target) -> Change | PlanProblem:
        """Return what would happen to a resource, or why it cannot be applied."""
        try:
            return self._judge(target, self._live.get(target.key))
        except ApiError as error:
            return problem_of(error, target.resource)

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
                return self._create(target)
            if missing not in self._desired.namespaces:
                return PlanProblem(
                    target.key,
                    target.resource.origin,
                    f"namespace {missing} does not exist",
                    "add a Namespace to the same folder",
                )
            self._try_elsewhere(target)
            return self._simulated(target, f"namespace {missing} is created by this plan")
        if others := apply_managers(live) - {self._app.manager}:
            names = ", ".join(sorted(m.removeprefix("opslib-") for m in others))
            return PlanProblem(
                target.key,
                target.resource.origin,
                f"app {names} applies {target.key} too",
                f"let one app have it: remove it from {names} or from {self._app.name}",
            )
        return self._update(target, live)

    def _missing_namespace(self, key: ResourceKey) -> str | None:
        if not key.namespace:
            return None
        return None if ResourceKey(*_NAMESPACE, "", key.namespace) in self._live else key.namespace

    def body(self, target: Target, commit: str, live: Manifest | None = None) -> Manifest:
        """Return what is sent: the declared fields, what is left to others, the commit."""
        manifest = self._optouts.adopt(target.key, target.resource.manifest, live)
        return with_commit(manifest, commit)

    def _create(self, target: Target) -> Change:
        body = self.body(target, self._revision.commit)
        self._send(target, body, None, force=False)
        return self._change(Action.CREATE, target, _created(target.resource, body))

    def _simulated(self, target: Target, why: str) -> Change:
        body = self.body(target, self._revision.commit)
        fields = _created(target.resource, body)
        return replace(self._change(Action.CREATE, target, fields), simulated=why)

    def _try_elsewhere(self, target: Target) -> None:
        """Let the server check a resource of a missing namespace in ``default``, under a free name.

        Only what is wrong with the object itself counts; what that namespace refuses does not.
        """
        manifest = target.resource.manifest
        name = f"{target.key.name[:40].rstrip('-.')}-{secrets.token_hex(4)}"
        metadata = {**manifest["metadata"], "namespace": "default", "name": name}
        try:
            self._send(target, {**manifest, "metadata": metadata}, None, force=False)
        except ApiError as error:
            if error.code in {400, 422, 500}:
                raise

    def _update(self, target: Target, live: Manifest) -> Change:
        present = (live["metadata"].get("annotations") or {}).get(COMMIT)
        for _ in range(_TRIES):
            body = self.body(target, present or self._revision.commit, live)
            if not self._full and unchanged(live, body, self._app.manager):
                return self._locked(self._change(Action.UNCHANGED, target, ()), target, live)
            try:
                after = self._send(target, body, Lock.of(live), force=True)
                taken = takeover(after, self._app.manager)
                if taken:
                    after = self._without(target, taken.after, Lock.of(live))
                break
            except ApiError as error:
                if error.code != 409:
                    raise
            # It moved between the list and the dry run: compare with what it is now.
            found = self._read(target)
            if found is None:
                return self._create(target)
            live = found
            present = (live["metadata"].get("annotations") or {}).get(COMMIT)
        else:
            raise ConflictError(f"{target.key} changes faster than it can be compared")
        fields = field_changes(masked(live), masked(after), _shown(target.resource))
        if fields and present and present != self._revision.commit:
            fields.append(FieldChange(_COMMIT_PATH, present, self._revision.commit))
        action = Action.UPDATE if fields else Action.UNCHANGED
        change = self._change(action, target, tuple(fields))
        takeovers = taken.managers if taken and fields else ()
        return self._locked(replace(change, takeovers=takeovers), target, live)

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


def with_commit(manifest: Manifest, commit: str) -> Manifest:
    """Return the manifest with the annotation that names the commit it comes from."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), COMMIT: commit}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def _shown(resource: Resource) -> Resource:
    return replace(resource, manifest=masked(resource.manifest))


def _created(resource: Resource, body: Manifest) -> tuple[FieldChange, ...]:
    return tuple(declared_fields(_shown(replace(resource, manifest=body))))


_STEP = re.compile(r"[^.\[\]]+")
_UNDECLARED = re.compile(r"\.([\w.\[\]\"=,/-]+): field not declared in schema")
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')


def problem_of(error: OpslibError, resource: Resource) -> PlanProblem:
    """Turn the server's refusal into a problem at the line of the field that it names."""
    origin = resource.origin
    message = scrubbed(error.what, resource.manifest)
    fields = [cause.field for cause in error.causes] if isinstance(error, ApiError) else []
    fields += _UNDECLARED.findall(message) + _UNKNOWN.findall(message)
    for field in fields:
        pointer = "/" + "/".join(_STEP.findall(field))
        line = resource.line_of(pointer)
        if line != origin.line:
            origin = Origin(origin.path, line)
            break
    return PlanProblem(resource.key, origin, message, _hint(error))


def _hint(error: OpslibError) -> str:
    if not isinstance(error, ApiError):
        return error.hint or ""
    if error.code == 403:
        return "grant this right to the user of the kubeconfig, or use another context"
    if "immutable" in error.what:
        return (
            "the field cannot be changed in place: give the object another name, or delete it first"
        )
    if error.code == 409:
        return "another field manager owns this field: remove it from one of the two"
    if error.code in {400, 422, 500}:
        return "mend the file; `kubectl explain` describes the fields of a kind"
    return ""
