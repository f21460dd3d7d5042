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
    ignore:                       # differences that a drift review does not tell for a while
    - target: {kind: ConfigMap, namespace: production, name: flags}
      fields: [data.beta]         # without fields, or with ["*"]: the whole object
      reason: the beta runs until the end of the quarter (CHG-1)
      expires: 2027-03-31

It is read from the folder of the app, and never sent to a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from yaml.nodes import Node

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin, ResourceKey
from opslib.policy.model import Target
from opslib.policy.reading import Reader
from opslib.reconcile.app import App
from opslib.reconcile.fieldpath import FieldPath, parse_path

APP_FILE = "opslib.yaml"
KIND = "App"
_LEAVE = ("target", "fields", "to", "reason", "expires")
_IGNORE = ("target", "reason", "expires")
_ALL = "*"


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
class Ignore:
    """Differences that a review takes for explained, until a day, for a reason.

    ``fields`` are paths; what lies below one counts, too. Without any the rule is for the
    whole object: all of its fields, that it is missing, and that Git does not have it.
    """

    target: Target
    fields: tuple[FieldPath, ...]
    reason: str
    expires: date
    origin: Origin

    def covers(self, key: ResourceKey, path: str) -> bool:
        """Tell whether a difference is meant: ``path`` as plans print it, "": the whole object."""
        if not self.target.matches(key):
            return False
        return not self.fields or any(one.reaches(path) for one in self.fields)

    def holds(self, day: date) -> bool:
        """Tell whether the rule holds on a day: ``expires`` is the last one."""
        return day <= self.expires

    @property
    def why(self) -> str:
        """Return the sentence that stands behind the difference in a review."""
        return f"is ignored until {self.expires}: {self.reason} ({self.origin})"

    @property
    def over(self) -> str:
        """Return what is said of a difference whose rule has ended."""
        return f"it was ignored until {self.expires}: {self.reason} ({self.origin})"


@dataclass(frozen=True)
class AppFile:
    """What a folder says of its app; nothing where it has no such file."""

    depends_on: tuple[str, ...] = ()
    leave: tuple[Leave, ...] = ()
    ignore: tuple[Ignore, ...] = ()
    depends_at: Origin | None = None
    """Where ``depends_on`` is written."""


def load_appfile(text: str, path: str) -> AppFile:
    """Read an ``opslib.yaml``; raises InputError, or Problems with every mistake and its line."""
    reader = Reader(path, KIND)
    fields = reader.head(text, ("dependsOn", "leave", "ignore"))
    depends = tuple(_names(reader, fields.get("dependsOn")))
    leave = tuple(
        filter(None, (_leave(r, reader) for r in reader.items(fields.get("leave"), "leave")))
    )
    ignore = tuple(
        filter(None, (_ignore(r, reader) for r in reader.items(fields.get("ignore"), "ignore")))
    )
    if reader.problems:
        raise Problems(reader.problems)
    node = fields.get("dependsOn")
    return AppFile(depends, leave, ignore, reader.origin(node) if depends and node else None)


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


def _ignore(node: Node, reader: Reader) -> Ignore | None:
    fields = reader.whole(node, _IGNORE, "an entry of ignore", optional=("fields",))
    if fields is None:
        return None
    named = fields.get("fields")
    every = named is None or [reader.text(n) for n in reader.items(named, "fields")] == [_ALL]
    paths = () if every or named is None else tuple(_paths(reader, named))
    expires = reader.date(fields["expires"])
    reason = reader.sentence(fields["reason"], "an entry of ignore")
    target = reader.target(fields["target"])
    return Ignore(target, paths, reason, expires, reader.origin(node)) if expires else None


def _paths(reader: Reader, node: Node) -> Iterator[FieldPath]:
    items = reader.items(node, "fields")
    if not items:
        reader.wrong(node, "fields names no field", expected="such as [spec.replicas]")
    for item in items:
        try:
            yield parse_path(reader.text(item) or "")
        except OpslibError as error:
            reader.wrong(item, error.what, expected=error.expected or "")
