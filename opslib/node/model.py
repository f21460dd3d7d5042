"""The values of a node check: snapshots, differences, and what a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opslib.core.model import Revision

PLANES = ("running", "persisted", "peers", "snapshot")
"""Where a difference shows: in the kernel, in the files, beside the pool, since the snapshot."""

RANK = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Kept:
    """What a file of the machine sets: the value, file:line, whether systemd lets it fail."""

    value: str
    at: str
    may_fail: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What one machine was set to. ``path`` is its file ("" for a machine that was just read).

    ``lines`` maps (section, key) to the line of the file, for whoever asks who changed it.
    """

    name: str
    pool: str
    running: Mapping[str, str]
    persisted: Mapping[str, Kept]
    unreadable: Mapping[str, str]
    notes: tuple[str, ...] = ()
    path: str = ""
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict, repr=False, compare=False)

    def unknown(self, key: str) -> str:
        """Say why a key that is not there may be there all the same; "" where it is not.

        The list of loaded modules says nothing of their parameters, which are in /sys.
        """
        if key in self.running:
            return ""
        for name, why in self.unreadable.items():
            if name == "module/" and key.count("/") > 1 and "block/" not in self.unreadable:
                continue
            if key == name or key.startswith(name if name[-1] == "/" else name + "."):
                return why
        return ""


@dataclass(frozen=True)
class Told:
    """A commit that brought a value: which one, who, when, and the value before ("": unknown).

    With ``after`` it is the last commit whose snapshot had another value, ``before``: what
    changed it came later, and nobody has committed that yet.
    """

    commit: str
    author: str
    when: str
    subject: str
    at: str
    before: str = ""
    after: bool = False

    @classmethod
    def of(cls, revision: Revision, at: str, before: str = "", *, after: bool = False) -> Told:
        return cls(
            revision.commit,
            revision.author,
            revision.committed_at,
            revision.subject,
            at,
            before,
            after,
        )

    def as_dict(self) -> dict[str, str | bool]:
        return {
            "commit": self.commit,
            "author": self.author,
            "when": self.when,
            "subject": self.subject,
            "at": self.at,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True)
class Difference:
    """One key of one node that is not as it should be, with all four planes side by side.

    ``planes`` names those that disagree. Values are None where there is nothing. ``declared``
    is the commit of the rule, ``changed`` the one whose snapshot brought the running value.
    """

    key: str
    planes: tuple[str, ...]
    severity: str
    what: str
    todo: str
    desired: str | None = None
    persisted: str | None = None
    persisted_at: str = ""
    running: str | None = None
    peers: str | None = None
    snapshot: str | None = None
    why: str = ""
    source: str = ""
    owner: str = ""
    baseline: str = ""
    rule: str = ""
    rule_line: int = 0
    declared: Told | None = None
    changed: Told | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "key": self.key,
            "planes": list(self.planes),
            "severity": self.severity,
            "what": self.what,
            "todo": self.todo,
            "desired": self.desired,
            "persisted": self.persisted,
            "persisted_at": self.persisted_at,
            "running": self.running,
            "peers": self.peers,
            "snapshot": self.snapshot,
            "why": self.why,
            "source": self.source,
            "owner": self.owner,
            "baseline": self.baseline,
            "rule": self.rule,
            "declared": self.declared.as_dict() if self.declared else None,
            "changed": self.changed.as_dict() if self.changed else None,
        }


@dataclass(frozen=True)
class Unknown:
    """A key that a rule names and that could not be read: it is not known to be right."""

    key: str
    why: str
    desired: str
    rule: str

    def as_dict(self) -> dict[str, str]:
        return {"key": self.key, "why": self.why, "desired": self.desired, "rule": self.rule}


@dataclass(frozen=True)
class NodeCheck:
    """What was found on one node."""

    name: str
    pool: str
    at: str
    baselines: tuple[str, ...]
    checked: int
    compared: int
    peers: int
    differences: tuple[Difference, ...]
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        if self.differences:
            return "drift"
        return "clean but for what could not be read" if self.unknown else "clean"

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "pool": self.pool,
            "at": self.at,
            "verdict": self.verdict,
            "baselines": list(self.baselines),
            "rules": self.checked,
            "facts": self.compared,
            "peers": self.peers,
            "differences": [one.as_dict() for one in self.differences],
            "unknown": [one.as_dict() for one in self.unknown],
            "notes": list(self.notes),
        }
