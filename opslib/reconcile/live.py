"""The live objects that a plan needs, with as few requests as they can be had for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from opslib.core.model import Manifest, ResourceKey
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.kube.errors import ApiError
from opslib.kube.pace import workers
from opslib.reconcile.retry import retrying

_GET_AT_MOST = 2
"""Up to so many objects of one kind and namespace are read one by one; more are listed."""


def read_live(cluster: Cluster, wanted: Mapping[ResourceKey, Kind]) -> dict[ResourceKey, Manifest]:
    """Return the live objects among ``wanted``; those that do not exist are left out.

    Each kind names the API version in which the object is read.
    """
    groups: dict[tuple[Kind, str], list[ResourceKey]] = defaultdict(list)
    for key, kind in wanted.items():
        groups[kind, key.namespace].append(key)
    found: dict[ResourceKey, Manifest] = {}
    paced = cluster.paced()
    with workers() as pool:
        jobs = [
            pool.submit(_read, paced, kind, namespace, keys)
            for (kind, namespace), keys in groups.items()
        ]
        for job in jobs:
            found.update(job.result())
    return found


def _read(
    cluster: Cluster, kind: Kind, namespace: str, keys: Iterable[ResourceKey]
) -> dict[ResourceKey, Manifest]:
    by_name = {key.name: key for key in keys}
    if len(by_name) <= _GET_AT_MOST:
        pairs = [(key, _find(cluster, kind.path(namespace, name))) for name, key in by_name.items()]
        return {key: live for key, live in pairs if live is not None}
    try:
        items, _ = retrying(lambda: cluster.list(kind.path(namespace)))
    except ApiError as error:
        if error.code == 404:
            return {}
        raise
    rest = {"apiVersion": kind.api_version, "kind": kind.kind}
    named = ((item["metadata"]["name"], item) for item in items)
    # Items of a list do not repeat apiVersion and kind.
    return {by_name[name]: {**rest, **item} for name, item in named if name in by_name}


def _find(cluster: Cluster, path: str) -> Manifest | None:
    return retrying(lambda: cluster.find(path))
