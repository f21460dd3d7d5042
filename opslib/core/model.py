"""The values that pass between rooms: one resource, where it comes from, one revision."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object as JSON: string keys, values as the API server would read them."""


class StandIn(str):
    """A text in the place of a value that is read right before the write; for dry runs only."""

    __slots__ = ()


@dataclass(frozen=True, order=True)
class ResourceKey:
    """What identifies an object across API versions: group, kind, namespace, name."""

    group: str
    kind: str
    namespace: str
    name: str

    def as_dict(self) -> dict[str, str]:
        return {
            "group": self.group,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
        }

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{kind} {place}{self.name}"


@dataclass(frozen=True)
class Origin:
    """Where a resource is declared: a file of the revision and the 1-based line it starts at."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"

    @classmethod
    def parse(cls, text: str | None) -> Origin | None:
        """Read back what ``str`` writes; None for None or "", which stand for no origin."""
        path, _, line = (text or "").rpartition(":")
        return cls(path, int(line)) if path else None


@dataclass(frozen=True)
class Resource:
    """One desired object and where it is declared.

    ``lines`` maps a field's JSON pointer to its 1-based line in ``origin.path``;
    it is empty where the file does not carry the field itself (a rendered overlay).
    """

    manifest: Manifest
    origin: Origin
    lines: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def api_version(self) -> str:
        return str(self.manifest["apiVersion"])

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"].get("namespace") or "")

    @cached_property
    def key(self) -> ResourceKey:
        return key_of(self.manifest)

    def line_of(self, pointer: str) -> int:
        """Return the line of a field, or of its nearest ancestor that has one."""
        while pointer:
            if pointer in self.lines:
                return self.lines[pointer]
            pointer = pointer.rpartition("/")[0]
        return self.origin.line


@dataclass(frozen=True)
class Revision:
    """One commit of a source: where it was fetched from, its id, author and subject.

    ``signed_by`` names who signed it by a trusted key; "" where that was not verified.
    """

    url: str
    ref: str
    commit: str
    author: str = ""
    committed_at: str = ""
    subject: str = ""
    path: str = ""
    signed_by: str = ""

    @property
    def short(self) -> str:
        return self.commit[:12]


def group_of(api_version: str) -> str:
    """Return the API group of an ``apiVersion`` ("" for the core group)."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def key_of(manifest: Manifest) -> ResourceKey:
    """Return the identity of a manifest that has apiVersion, kind and metadata.name."""
    metadata = manifest["metadata"]
    return ResourceKey(
        group_of(str(manifest["apiVersion"])),
        str(manifest["kind"]),
        str(metadata.get("namespace") or ""),
        str(metadata["name"]),
    )
