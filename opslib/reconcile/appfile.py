"""The file by which a folder says how its app is handled: ``opslib.yaml``, kind App.

    apiVersion: opslib.dev/v1alpha1
    kind: App
    dependsOn: [platform]         # apps that must be applied whole and healthy first
    leave:                        # fields that others set by right
    - target: {kind: Deployment, namespace: production, name: web}
      fields: [spec.replicas]
      to: KEDA
      reason: it is scaled by the length of its queue
      expires: 2027-03-31         # the last day on which this holds

It is read from the folder of the app, and never sent to a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from yaml.nodes import Node

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin
from opslib.policy.model import Target
from opslib.policy.reading import Reader
from opslib.reconcile.app import App
from opslib.reconcile.fieldpath import FieldPath, parse_path

APP_FILE = "opslib.yaml"
KIND = "App"
_LEAVE = ("target", "fields", "to", "reason", "expires")


@dataclass(frozen=True)
class Leave:
    """Fields of some objects that are left to somebody else, until a day, for a reason."""

    target: Target
    fields: tuple[FieldPath, ...]
    to: str
    reason: str
    expires: date
    origin: Origin

    @property
    def why(self) -> str:
        """Return the sentence that stands behind the field in a plan."""
        return f"is left to {self.to} until {self.expires}: {self.reason} ({self.origin})"


@dataclass(frozen=True)
class AppFile:
    """What a folder says of its app; nothing where it has no such file."""

    depends_on: tuple[str, ...] = ()
    leave: tuple[Leave, ...] = ()
    depends_at: Origin | None = None
    """Where ``depends_on`` is written."""


def load_appfile(text: str, path: str) -> AppFile:
    """Read an ``opslib.yaml``; raises InputError, or Problems with every mistake and its line."""
    reader = Reader(path, KIND)
    fields = reader.head(text, ("dependsOn", "leave"))
    depends = tuple(_names(reader, fields.get("dependsOn")))
    leave = tuple(
        filter(None, (_leave(r, reader) for r in reader.items(fields.get("leave"), "leave")))
    )
    if reader.problems:
        raise Problems(reader.problems)
    node = fields.get("dependsOn")
    return AppFile(depends, leave, reader.origin(node) if depends and node else None)


def _names(reader: Reader, node: Node | None) -> Iterator[str]:
    for item in reader.items(node, "dependsOn"):
        name = reader.text(item) or ""
        try:
            yield App(name).name
        except InputError as error:
            reader.wrong(item, error.what, expected=error.expected or "")


def _leave(node: Node, reader: Reader) -> Leave | None:
    fields = reader.whole(node, _LEAVE, "an entry of leave")
    if fields is None:
        return None
    expires = reader.date(fields["expires"])
    paths = tuple(_paths(reader, fields["fields"]))
    to = (reader.text(fields["to"]) or "").strip()
    if not to:
        reader.wrong(fields["to"], "to names who sets these fields", expected="such as KEDA")
    reason = reader.sentence(fields["reason"], "an entry of leave")
    target = reader.target(fields["target"])
    return Leave(target, paths, to, reason, expires, reader.origin(node)) if expires else None


def _paths(reader: Reader, node: Node) -> Iterator[FieldPath]:
    items = reader.items(node, "fields")
    if not items:
        reader.wrong(node, "fields names no field", expected="such as [spec.replicas]")
    for item in items:
        try:
            yield parse_path(reader.text(item) or "")
        except OpslibError as error:
            reader.wrong(item, error.what, expected=error.expected or "")
