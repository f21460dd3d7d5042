"""Objects that Git does not have, in the namespaces of an app, without what belongs there.

What controllers make for the app's own objects is none of them, nor what every namespace has.
Neither is believed because of a name alone: who an object says owns it must be there, and be
something that makes such objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.belongs import Belongs
from opslib.drift.model import Difference, Drift, Plane, Unread
from opslib.drift.reading import read_one
from opslib.kube.client import METADATA, NAMES, Cluster
from opslib.kube.discovery import Discovery, Kind
from opslib.kube.errors import ApiError
from opslib.kube.pace import workers
from opslib.reconcile.diff import comparable
from opslib.reconcile.judge import Prepared
from opslib.reconcile.mask import masked
from opslib.reconcile.retry import retrying

_ONE_BY_ONE = 4
"""More namespaces than these are listed for a kind in one list of the cluster."""
_SECONDS = 5.0
_MANY, _FEW = 100, 50
"""Of a kind of which Git declares many, names are listed; a few others are read one by one."""
MOST_WHOLE = 500
"""So many extra objects are read whole; of more the metadata say enough."""

_QUIET = frozenset(
    {
        ("", "Event"),
        ("events.k8s.io", "Event"),
        ("", "Endpoints"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("coordination.k8s.io", "Lease"),
        ("apps", "ControllerRevision"),
        ("storage.k8s.io", "CSIStorageCapacity"),
    }
)
"""Kinds that controllers write all the time."""
_QUIET_GROUPS = frozenset({"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"})

Row = tuple[ResourceKey, Kind, Mapping[str, Any]]
"""One live object: its identity, the kind it was listed as, its metadata."""


@dataclass
class Beside:
    """What there is beside what Git declares."""

    drifts: list[Drift] = field(default_factory=list)
    explained: list[tuple[str, str, str]] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    live: dict[ResourceKey, Manifest] = field(default_factory=dict)


def namespaces_of(prepared: Prepared) -> tuple[str, ...]:
    """Return the namespaces in which an app declares objects, and those that it declares.

    Those of Kubernetes itself are never the app's own.
    """
    used = {key.namespace for key in prepared.desired.keys} | prepared.desired.namespaces
    return tuple(sorted(name for name in used if name and not name.startswith("kube-")))


def beside(cluster: Cluster, discovery: Discovery, prepared: Prepared) -> Beside:
    """List all kinds in the app's namespaces and return what Git does not have.

    What may not be listed is ``unread``, and the rest is looked at.
    """
    found = Beside()
    rows = _Lists(cluster, discovery, prepared, found).of(namespaces_of(prepared))
    belongs = Belongs(cluster, discovery, prepared, {str(m["uid"]): key for key, _, m in rows})
    inventory, declared = prepared.inventory.objects, prepared.desired.keys
    extra: list[tuple[Row, str]] = []
    for key, kind, metadata in rows:
        if key in declared or key in inventory:
            continue
        verdict = belongs.judge(key, metadata)
        if verdict.why:
            found.explained.append((str(key), "", verdict.why))
        elif not verdict.quiet:
            extra.append(((key, kind, metadata), verdict.note))
    _tell(cluster, found, extra)
    return found


class _Lists:
    """Lists every kind that may hold extra objects."""

    def __init__(
        self, cluster: Cluster, discovery: Discovery, prepared: Prepared, found: Beside
    ) -> None:
        self._cluster = cluster
        self._found = found
        self._kinds = list(_listed(discovery.all().values()))
        self._declared = prepared.desired.keys
        self._counts = Counter((key.group, key.kind) for key in self._declared)

    def of(self, namespaces: tuple[str, ...]) -> list[Row]:
        """Return all objects of these namespaces, each once."""
        wide = len(namespaces) > _ONE_BY_ONE
        rows: dict[str, Row] = {}
        with workers() as pool:
            if wide:
                jobs = [pool.submit(self._wide, kind, namespaces) for kind in self._kinds]
            else:
                jobs = [
                    pool.submit(self._one, kind, name)
                    for kind in self._kinds
                    for name in namespaces
                ]
            for job in jobs:
                # One object may be seen through two API groups: by its uid it is one.
                rows |= {str(row[2]["uid"]): row for row in job.result() if row[2].get("uid")}
        return list(rows.values())

    def _wide(self, kind: Kind, namespaces: tuple[str, ...]) -> list[Row]:
        listed = self._list(kind, "", quietly=True)
        if listed is None:  # no right to list the cluster; one namespace may be allowed
            return [row for name in namespaces for row in self._one(kind, name)]
        wanted = frozenset(namespaces)
        return [row for row in listed if row[0].namespace in wanted]

    def _one(self, kind: Kind, namespace: str) -> list[Row]:
        if self._counts[kind.group, kind.kind] >= _MANY:
            strange = self._strange(kind, namespace)
            if strange is not None and len(strange) < _FEW:
                return self._read(kind, namespace, strange)
        return self._list(kind, namespace) or []

    def _strange(self, kind: Kind, namespace: str) -> list[str] | None:
        """Return the names that Git does not declare; None where they are not to be had.

        Where nearly all are declared, their names are a twentieth of their metadata.
        """
        query = {"includeObject": "None"}
        try:
            table = self._cluster.request("GET", kind.path(namespace), query=query, accept=NAMES)
        except ApiError:
            return None  # the list that follows says why
        columns = [str(one.get("name")) for one in table.get("columnDefinitions") or ()]
        if table.get("kind") != "Table" or "Name" not in columns:
            return None
        at = columns.index("Name")
        names = (str(row["cells"][at]) for row in table.get("rows") or ())
        here = (kind.group, kind.kind, namespace)
        return [name for name in names if ResourceKey(*here, name) not in self._declared]

    def _read(self, kind: Kind, namespace: str, names: list[str]) -> list[Row]:
        found: list[Row] = []
        for name in names:
            try:
                live = read_one(self._cluster, kind.path(namespace, name))
            except ApiError as error:
                self._found.unread.append(Unread(f"{_name(kind)} {namespace}/{name}", error.what))
                continue
            if live:
                found.append((_key(kind, live["metadata"]), kind, live["metadata"]))
        return found

    def _list(self, kind: Kind, namespace: str, *, quietly: bool = False) -> list[Row] | None:
        refused: list[str] = []
        reader = self._cluster.lenient(lambda _, why: refused.append(why))
        path = kind.path(namespace)
        try:
            items, _ = retrying(lambda: reader.list(path, accept=METADATA), seconds=_SECONDS)
        except ApiError as error:
            if error.code in {404, 405}:  # gone since, or nothing to be listed
                return []
            refused = [error.what]
        if not refused:
            return [(_key(kind, item["metadata"]), kind, item["metadata"]) for item in items]
        if not quietly:
            place = f" in {namespace}" if namespace else ""
            self._found.unread.append(Unread(f"{_name(kind)}{place}", refused[0]))
        return None


def _listed(kinds: Iterable[Kind]) -> Iterator[Kind]:
    """Yield the kinds whose objects are in namespaces, each in one version."""
    seen: set[tuple[str, str]] = set()
    for kind in kinds:
        one = (kind.group, kind.kind)
        if not kind.namespaced or "list" not in kind.verbs or one in seen:
            continue
        seen.add(one)
        if one not in _QUIET and kind.group not in _QUIET_GROUPS:
            yield kind


def _name(kind: Kind) -> str:
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def _key(kind: Kind, metadata: Mapping[str, Any]) -> ResourceKey:
    namespace, name = (str(metadata.get(part, "")) for part in ("namespace", "name"))
    return ResourceKey(kind.group, kind.kind, namespace, name)


def _tell(cluster: Cluster, found: Beside, extra: list[tuple[Row, str]]) -> None:
    """Read the extra objects and make a drift of each."""
    with workers() as pool:
        whole = list(pool.map(lambda one: _read(cluster, one[0]), extra[:MOST_WHOLE]))
    for number, ((key, kind, metadata), note) in enumerate(extra):
        live = whole[number] if number < len(whole) else None
        if live is None:
            shell = {"apiVersion": kind.api_version, "kind": kind.kind}
            live = {**shell, "metadata": dict(metadata)}
        found.live[key] = live
        found.drifts.append(
            Drift(
                Plane.OBJECTS,
                Difference.EXTRA,
                key,
                live=comparable(masked(live)),
                api_version=kind.api_version,
                uid=str(metadata["uid"]),
                resource_version=str(live["metadata"].get("resourceVersion", "")),
                note=note,
            )
        )


def _read(cluster: Cluster, row: Row) -> Manifest | None:
    key, kind, metadata = row
    path = kind.path(key.namespace, key.name)
    try:
        live = read_one(cluster, path)
    except ApiError:
        return None  # listing is allowed, reading one is not
    return live if live and live["metadata"]["uid"] == metadata["uid"] else None
