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
    ignore:                       # what a drift review does not report, until a day
    - target: {kind: ConfigMap, namespace: production, name: scratch}
      fields: [data]              # left out, or ["*"]: the whole object, also where Git has none
      reason: the support team keeps its notes there
      expires: 2027-03-31

It is read from the folder of the app, and never sent to a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from yaml.nodes import Node, SequenceNode

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin
from opslib.policy.model import Target
from opslib.policy.reading import Reader
from opslib.reconcile.app import App
from opslib.reconcile.fieldpath import ANY, FieldPath, parse_path

APP_FILE = "opslib.yaml"
KIND = "App"
_LEAVE = ("target", "fields", "to", "reason", "expires")
_IGNORE = ("target", "reason", "expires")


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
    """Differences of some objects that a review explains by a reason, until a day.

    Without ``fields`` the whole object is meant: also one that is gone, or not in Git.
    """

    target: Target
    fields: tuple[FieldPath, ...]
    reason: str
    expires: date
    origin: Origin


@dataclass(frozen=True)
class AppFile:
    """What a folder says of its app; nothing where it has no such file."""

    depends_on: tuple[str, ...] = ()
    leave: tuple[Leave, ...] = ()
    depends_at: Origin | None = None
    """Where ``depends_on`` is written."""
    ignore: tuple[Ignore, ...] = ()


def load_appfile(text: str, path: str) -> AppFile:
    """Read an ``opslib.yaml``; raises InputError, or Problems with every mistake and its line."""
    reader = Reader(path, KIND)
    fields = reader.head(text, ("dependsOn", "leave", "ignore"))
    depends = tuple(_names(reader, fields.get("dependsOn")))
    leave = tuple(
        filter(None, (_leave(r, reader) for r in reader.items(fields.get("leave"), "leave")))
    )
    ignored = reader.items(fields.get("ignore"), "ignore")
    ignore = tuple(filter(None, (_ignore(one, reader) for one in ignored)))
    if reader.problems:
        raise Problems(reader.problems)
    node = fields.get("dependsOn")
    return AppFile(depends, leave, reader.origin(node) if depends and node else None, ignore)


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
    known = ("fields", *_IGNORE)
    fields = reader.mapping(node, known, "an entry of ignore")
    missing = [name for name in _IGNORE if name not in fields]
    if missing:
        what = f"an entry of ignore has no {' and no '.join(missing)}"
        reader.wrong(node, what, expected=", ".join(known))
        return None
    expires = reader.date(fields["expires"])
    named = fields.get("fields")
    paths = () if named is None or _everything(reader, named) else tuple(_paths(reader, named))
    reason = reader.sentence(fields["reason"], "an entry of ignore")
    target = reader.target(fields["target"])
    return Ignore(target, paths, reason, expires, reader.origin(node)) if expires else None


def _everything(reader: Reader, node: Node) -> bool:
    """Tell whether the fields of an entry are ``["*"]``: the whole object."""
    items = node.value if isinstance(node, SequenceNode) else []
    return len(items) == 1 and reader.text(items[0]) == ANY


def _paths(reader: Reader, node: Node) -> Iterator[FieldPath]:
    items = reader.items(node, "fields")
    if not items:
        reader.wrong(node, "fields names no field", expected="such as [spec.replicas]")
    for item in items:
        try:
            yield parse_path(reader.text(item) or "")
        except OpslibError as error:
            reader.wrong(item, error.what, expected=error.expected or "")
