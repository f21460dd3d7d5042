"""The values of a drift review: one difference, who is behind it, what was decided.

Their form as JSON is in ``encode``.

A review is made in this order, each step a function of the one before::

    plan and live objects -> drifts -> attribution -> onset -> decisions -> a plan, or a commit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from opslib.core.hashes import digest
from opslib.core.model import Origin, ResourceKey, Revision

FORMAT = "opslib.dev/drift-review/v1"


class Plane(StrEnum):
    """Where a difference was found."""

    OBJECTS = "objects"  # Kubernetes objects against the revision
    NODES = "nodes"  # settings of machines against their baseline
    INFRASTRUCTURE = "infrastructure"  # cloud resources against Terraform's state and files
    SECRETS = "secrets"  # live Secrets against their sealed form; told without values


class Difference(StrEnum):
    """What is different."""

    CHANGED = "changed"  # a declared field has another value
    ADDED = "added"  # a field or list item that Git does not declare and somebody set
    REMOVED = "removed"  # a declared field or list item is gone
    MISSING = "missing"  # a declared object is gone
    EXTRA = "extra"  # an object that Git does not have


class Confidence(StrEnum):
    """How sure an attribution is; only the audit log makes one certain."""

    CERTAIN = "certain"  # the request that set this value is in the log, and nothing after it did
    LIKELY = "likely"  # a request fits, but the log does not rule out another
    UPPER_BOUND = "upper bound"  # managedFields only: a manager, not later than; user unknown
    UNKNOWN = "unknown"


class Disposition(StrEnum):
    """What somebody decided about one difference."""

    OPEN = "open"
    REVERT = "revert"
    ADOPT = "adopt"
    IGNORE = "ignore"
    ESCALATE = "escalate"


@dataclass(frozen=True)
class Candidate:
    """A field manager that owns the field, or owned what it is in; times are upper bounds."""

    manager: str
    operation: str = ""
    time: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class Actor:
    """Who sent one request, as the audit log has it; times are RFC 3339 with microseconds."""

    user: str
    groups: tuple[str, ...] = ()
    client: str = ""
    source_ips: tuple[str, ...] = ()
    time: str = ""
    verb: str = ""
    audit_id: str = ""
    uri: str = ""
    impersonated_by: str = ""


@dataclass(frozen=True)
class Attribution:
    """Who is behind one difference, and from where that is known.

    ``person``: False where the actor is a controller or a node, None where that is unknown.
    ``others`` are further actors that set the field before, the newest first.
    """

    confidence: Confidence = Confidence.UNKNOWN
    actor: Actor | None = None
    candidates: tuple[Candidate, ...] = ()
    not_later_than: str = ""
    why: str = ""
    person: bool | None = None
    others: tuple[Actor, ...] = ()

    def sentence(self) -> str:
        """Say it in one sentence, never more than is known."""
        if self.actor and self.confidence in {Confidence.CERTAIN, Confidence.LIKELY}:
            how = "" if self.confidence is Confidence.CERTAIN else "probably "
            by = f" by {self.actor.client}" if self.actor.client else ""
            return f"{how}{self.actor.user}{by}, {self.actor.time}"
        if self.candidates:
            names = " or ".join(dict.fromkeys(one.manager for one in self.candidates))
            until = f", not later than {self.not_later_than}" if self.not_later_than else ""
            return f"manager {names}{until}, user unknown"
        return "unknown"


NOBODY = Attribution()


@dataclass(frozen=True)
class Declared:
    """From Git's side: the commit, author and file:line that introduced the declared value.

    Line 0 stands for the file as a whole, where no line of it holds the value.
    """

    origin: Origin
    commit: str = ""
    author: str = ""
    time: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Fight:
    """Two writers that set one field in turn: who, how often, since when; from three on."""

    writers: tuple[str, ...]
    count: int
    since: str
    until: str


@dataclass(frozen=True)
class Decision:
    """What somebody decided about one drift; ``until`` is the last day of an ignore."""

    disposition: Disposition = Disposition.OPEN
    by: str = ""
    at: str = ""
    reason: str = ""
    until: str = ""


UNDECIDED = Decision()


@dataclass(frozen=True)
class Drift:
    """One difference between desired and live that no plan made.

    ``path`` is written as plans write it ("" for a whole object). ``declared`` and ``live``
    are JSON values with Secrets masked, None where there is none. ``place`` is the same path
    as steps, ``resource_version`` and ``uid`` are of the live object that was compared.
    ``note`` says what a reader has to know, such as an ignore rule that has expired.
    """

    plane: Plane
    difference: Difference
    key: ResourceKey
    path: str = ""
    declared: Any = None
    live: Any = None
    origin: Origin | None = None
    api_version: str = ""
    uid: str = ""
    resource_version: str = ""
    place: tuple[Any, ...] = field(default=(), compare=False)
    note: str = ""
    attribution: Attribution = NOBODY
    git: Declared | None = None
    fight: Fight | None = None
    first_seen: str = ""
    since: str = ""
    decision: Decision = UNDECIDED

    @cached_property
    def id(self) -> str:
        """Name this difference in every review alike, whatever the value is: 12 hex digits."""
        return digest([str(self.plane), self.key.as_dict(), self.path])[:12]


@dataclass(frozen=True)
class Unread:
    """What could not be reviewed, and why: the rest was."""

    what: str
    why: str


@dataclass(frozen=True)
class Review:
    """All drift of one app at one commit; ``explained`` says what differs by right, and why."""

    app: str
    revision: Revision
    server: str
    cluster_uid: str
    taken_at: str
    drifts: tuple[Drift, ...]
    explained: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    warnings: tuple[str, ...] = ()
    objects: int = 0
    audit: str = ""
    planes: Mapping[str, str] = field(default_factory=dict)
