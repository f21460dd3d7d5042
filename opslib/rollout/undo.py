"""Back to an earlier revision, as a plan that is shown before anything is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from opslib.core.errors import ConflictError, InputError
from opslib.core.model import Origin, Resource
from opslib.kube.client import JSON, Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile.diff import FieldChange, field_changes
from opslib.rollout.describe import manager_of
from opslib.rollout.history import RevisionEntry, history, kept, number_of, template_of
from opslib.rollout.targets import Target, read

Json = dict[str, Any]
_HASH = "pod-template-hash"


@dataclass(frozen=True)
class UndoPlan:
    """What an undo would do. ``changes`` is empty where there is nothing to do.

    ``advice`` says what will happen next, where an app owns the workload.
    """

    target: Target
    from_revision: int
    to_revision: int
    changes: tuple[FieldChange, ...]
    advice: str
    uid: str
    resource_version: str
    template: Json

    def as_dict(self) -> Json:
        return {
            **asdict(self.target),
            "from_revision": self.from_revision,
            "to_revision": self.to_revision,
            "changes": [change.as_dict() for change in self.changes],
            "advice": self.advice,
            "uid": self.uid,
            "resource_version": self.resource_version,
        }


def plan_undo(cluster: Cluster, target: Target, *, to_revision: int = 0) -> UndoPlan:
    """Plan the way back to a revision; 0 is the one before the present, as in kubectl.

    Raises InputError where there is no such revision, or the rollout is paused.
    """
    live = read(cluster, target)
    if live["spec"].get("paused"):
        raise InputError(
            f"you cannot undo a paused {target}: it would stay where it is",
            hint=f"kubectl rollout resume {target.kind.lower()}/{target.name}",
        )
    entries = history(cluster, target)
    current = next((entry for entry in entries if entry.current), None)
    wanted = _wanted(entries, current, to_revision, target)
    items = kept(cluster, target, live)
    item = next(one for one in items if number_of(one, target) == wanted.revision)
    template = _clean(template_of(item, target))
    after = {**live, "spec": {**live["spec"], "template": template}}
    resource = Resource(after, Origin("", 0))
    return UndoPlan(
        target,
        current.revision if current else 0,
        wanted.revision,
        tuple(field_changes(live, after, resource)),
        _advice(manager_of(live), current),
        str(live["metadata"]["uid"]),
        str(live["metadata"]["resourceVersion"]),
        template,
    )


def apply_undo(cluster: Cluster, plan: UndoPlan, *, manager: str = "opslib-undo") -> bool:
    """Write the plan under its lock; False where there is nothing to do.

    Raises ConflictError when the workload changed since it was planned.
    """
    if not plan.changes:
        return False
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": plan.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": plan.resource_version},
        {"op": "replace", "path": "/spec/template", "value": plan.template},
    ]
    kind = JSON.replace("json", "json-patch+json")
    try:
        cluster.request(
            "PATCH",
            plan.target.path,
            query={"fieldManager": manager},
            body=patch,
            content_type=kind,
        )
    except ApiError as error:
        if error.code in {404, 409, 422}:
            raise ConflictError(
                f"{plan.target} changed since the undo was planned: nothing was written",
                where=f"{plan.target.namespace}/{plan.target.name}",
                hint="plan it again",
            ) from error
        raise
    return True


def _wanted(
    entries: list[RevisionEntry], current: RevisionEntry | None, number: int, target: Target
) -> RevisionEntry:
    if number:
        found = next((entry for entry in entries if entry.revision == number), None)
        if found is None:
            known = ", ".join(str(entry.revision) for entry in entries)
            raise InputError(
                f"there is no revision {number} of {target}",
                where="--to-revision",
                expected=f"one of: {known}" if known else None,
            )
        return found
    older = [entry for entry in entries if entry != current]
    if not older:
        raise InputError(
            f"no rollout history found for {target}", hint="there is only one revision"
        )
    return older[-1]


def _clean(template: Json) -> Json:
    """Take off what only a kept revision has: the label of a ReplicaSet, the mark of a patch."""
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != _HASH}
    kept_part = {key: value for key, value in template.items() if key != "$patch"}
    return {**kept_part, "metadata": {**metadata, "labels": labels}}


def _advice(manager: str, current: RevisionEntry | None) -> str:
    if not manager.startswith("opslib-"):
        return ""
    app = manager.removeprefix("opslib-")
    text = f"App {app} applies this from Git: its loop, or its next apply, puts Git's state back. "
    if current and current.commit:
        return text + f"The way back that lasts: git revert {current.commit}"
    return text + "The way back that lasts is a commit."
