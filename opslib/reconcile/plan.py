"""A plan: what an apply would do, as a value that can be shown, hashed, saved and approved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from opslib.core.errors import InputError
from opslib.core.hashes import digest
from opslib.core.model import Origin, ResourceKey, Revision
from opslib.reconcile.diff import FieldChange

FORMAT = "opslib.dev/plan/v1"


class Action(StrEnum):
    """What is done to one object."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"  # deleted and created: a field of it cannot be changed in place
    DELETE = "delete"
    UNCHANGED = "unchanged"
    KEEP = "keep"  # Git no longer has it, and it is not deleted: ``reason`` says why


@dataclass(frozen=True)
class Change:
    """One resource's part of a plan.

    ``uid`` and ``resource_version`` are those of the live object that was read ("" where
    there is none). ``simulated`` says why the server could not be asked for the result.
    ``reason`` is why an object is kept or replaced. ``takeovers`` are managers
    whose fields become the app's own, so that what Git does not declare goes; ``left_out``
    says which declared fields are left to whom.
    """

    action: Action
    key: ResourceKey
    api_version: str
    origin: Origin | None = None
    fields: tuple[FieldChange, ...] = ()
    uid: str = ""
    resource_version: str = ""
    simulated: str = ""
    reason: str = ""
    takeovers: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether this change sends anything to the cluster."""
        return self.action not in {Action.UNCHANGED, Action.KEEP}

    def approved_part(self) -> dict[str, Any]:
        """Return what an approver sees of this change.

        All of it but resourceVersions, which move with every status update, and line numbers.
        """
        return {
            "action": str(self.action),
            "key": self.key.as_dict(),
            "api_version": self.api_version,
            "uid": self.uid,
            "fields": [[f.path, f.before, f.after] for f in self.fields],
            "reason": self.reason if self.action is Action.KEEP else "",
            "takeovers": list(self.takeovers),
            "left_out": list(self.left_out),
        }

    def same_as(self, other: Change) -> bool:
        """Tell whether another change would be approved by whoever approved this one.

        A takeover that is done already is none that has to be approved again.
        """
        if not set(other.takeovers) <= set(self.takeovers):
            return False
        return self.approved_part() == replace(other, takeovers=self.takeovers).approved_part()

    def as_dict(self) -> dict[str, Any]:
        return {
            "action": str(self.action),
            **self.key.as_dict(),
            "api_version": self.api_version,
            "origin": str(self.origin) if self.origin else None,
            "fields": [field.as_dict() for field in self.fields],
            "uid": self.uid,
            "resource_version": self.resource_version,
            "simulated": self.simulated,
            "reason": self.reason,
            "takeovers": list(self.takeovers),
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Change:
        return cls(
            Action(row["action"]),
            ResourceKey(row["group"], row["kind"], row["namespace"], row["name"]),
            row["api_version"],
            Origin.parse(row["origin"]),
            tuple(FieldChange.from_dict(field) for field in row["fields"]),
            row["uid"],
            row["resource_version"],
            row["simulated"],
            row["reason"],
            tuple(row["takeovers"]),
            tuple(row["left_out"]),
        )


@dataclass(frozen=True)
class PlanProblem:
    """Why one resource cannot be applied: said by the server in a dry run, with file:line."""

    key: ResourceKey
    origin: Origin | None
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        origin = str(self.origin) if self.origin else None
        row = {"object": str(self.key), "origin": origin, "message": self.message}
        return {**row, "hint": self.hint}


@dataclass(frozen=True)
class Plan:
    """All changes of one app at one commit, against one cluster."""

    app: str
    revision: Revision
    server: str
    cluster_uid: str
    changes: tuple[Change, ...]
    problems: tuple[PlanProblem, ...] = ()
    warnings: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """SHA-256 over what an approver sees: commit, cluster, objects, fields, deletes."""
        return digest(
            {
                "format": FORMAT,
                "app": self.app,
                "commit": self.revision.commit,
                "path": self.revision.path,
                "cluster": self.cluster_uid,
                "changes": [c.approved_part() for c in self.changes if c.action != "unchanged"],
            }
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many changes there are of each action."""
        return {str(a): sum(c.action is a for c in self.changes) for a in Action}

    @property
    def writes(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.writes)

    @property
    def empty(self) -> bool:
        """Whether the cluster is what Git says, as far as this app goes."""
        return not self.writes and not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "hash": self.hash,
            "app": self.app,
            "revision": asdict(self.revision),
            "server": self.server,
            "cluster_uid": self.cluster_uid,
            "counts": self.counts,
            "changes": [change.as_dict() for change in self.changes],
            "problems": [problem.as_dict() for problem in self.problems],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Read a plan back; InputError for another format or a hash that does not match."""
        if document.get("format") != FORMAT:
            raise InputError("this is not a plan of this version", expected=f'"format": "{FORMAT}"')
        if document.get("problems"):
            raise InputError("this plan has problems and cannot be applied")
        plan = cls(
            document["app"],
            Revision(**document["revision"]),
            document["server"],
            document["cluster_uid"],
            tuple(Change.from_dict(row) for row in document["changes"]),
            warnings=tuple(document["warnings"]),
        )
        if plan.hash != document.get("hash"):
            raise InputError("this plan was changed after it was written: its hash does not match")
        return plan
