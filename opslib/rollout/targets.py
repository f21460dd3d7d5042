"""Which workload is meant: as kubectl's users write it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError
from opslib.kube.client import Cluster

_NAMES = {
    "deployment": "Deployment",
    "deployments": "Deployment",
    "deploy": "Deployment",
    "statefulset": "StatefulSet",
    "statefulsets": "StatefulSet",
    "sts": "StatefulSet",
    "daemonset": "DaemonSet",
    "daemonsets": "DaemonSet",
    "ds": "DaemonSet",
}
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


@dataclass(frozen=True)
class Target:
    """A Deployment, StatefulSet or DaemonSet."""

    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """The URL path of the object."""
        return f"{self.collection}/{self.name}"

    @property
    def collection(self) -> str:
        """The URL path of its kind in its namespace."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/{PLURALS[self.kind]}"

    def __str__(self) -> str:
        return f'{self.kind.lower()} "{self.name}"'


def find_target(cluster: Cluster, text: str, namespace: str) -> Target:
    """Find a workload by "deploy/x", "sts/x", "ds/x" or its bare name.

    Raises InputError for another kind, and for a name that is not there, with near ones.
    """
    word, slash, name = text.partition("/")
    if not slash:
        return _by_name(cluster, text, namespace)
    kind = _NAMES.get(word.split(".")[0].lower())
    if kind is None:
        raise InputError(
            f"{word} has no rollouts",
            where=text,
            expected="deployment/NAME, statefulset/NAME or daemonset/NAME",
        )
    target = Target(kind, namespace, name)
    if cluster.find(target.path) is None:
        raise _absent(cluster, [kind], name, namespace)
    return target


def read(cluster: Cluster, target: Target) -> dict[str, Any]:
    """Return the live workload; InputError where it is gone."""
    live = cluster.find(target.path)
    if live is None:
        raise _absent(cluster, [target.kind], target.name, target.namespace)
    return dict(live)


def selector_of(live: dict[str, Any]) -> str:
    """Return a workload's label selector as a query understands it."""
    selector = live["spec"]["selector"]
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for row in selector.get("matchExpressions") or ():
        values = ",".join(row.get("values") or ())
        parts.append(
            {
                "In": f"{row['key']} in ({values})",
                "NotIn": f"{row['key']} notin ({values})",
                "Exists": row["key"],
                "DoesNotExist": f"!{row['key']}",
            }[row["operator"]]
        )
    return ",".join(parts)


def owned_by(items: list[dict[str, Any]], uid: str) -> list[dict[str, Any]]:
    """Return the objects whose controller has this uid."""
    return [
        item
        for item in items
        if any(o.get("uid") == uid for o in item["metadata"].get("ownerReferences") or ())
    ]


def _by_name(cluster: Cluster, name: str, namespace: str) -> Target:
    found = [
        target
        for kind in PLURALS
        if cluster.find((target := Target(kind, namespace, name)).path) is not None
    ]
    if not found:
        raise _absent(cluster, list(PLURALS), name, namespace)
    if len(found) > 1:
        names = ", ".join(f"{t.kind.lower()}/{name}" for t in found)
        raise InputError(f"{name} is the name of several workloads", expected=f"one of: {names}")
    return found[0]


def _absent(cluster: Cluster, kinds: list[str], name: str, namespace: str) -> InputError:
    known = [
        item["metadata"]["name"]
        for kind in kinds
        for item in cluster.list(Target(kind, namespace, "").collection)[0]
    ]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:5]
    what = kinds[0] if len(kinds) == 1 else "workload"
    return InputError(
        f"there is no {what} {name} in namespace {namespace}",
        where=f"{namespace}/{name}",
        expected=f"one of: {', '.join(near)}" if near else None,
        hint="name another namespace with --namespace",
    )
