"""Which kinds the API server has, where they live and what can be done with them.

One aggregated request per root (https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery),
so knowing all kinds costs two requests, not one per API version.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from opslib.core.errors import InputError
from opslib.core.model import Manifest, ResourceKey, group_of
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError

_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@dataclass(frozen=True)
class Kind:
    """One kind at one API version, as the server offers it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]
    subresources: frozenset[str] = frozenset()

    @property
    def group(self) -> str:
        return group_of(self.api_version)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        place = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        item = f"/{quote(name, safe='')}" if name else ""
        sub = f"/{subresource}" if subresource else ""
        return f"{root}{place}/{self.plural}{item}{sub}"


class Discovery:
    """The kinds of one API server; read at first use, again after ``refresh``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kinds: dict[tuple[str, str], Kind] | None = None

    def refresh(self) -> None:
        """Forget what is known, as after a CustomResourceDefinition was applied."""
        self._kinds = None

    def all(self) -> dict[tuple[str, str], Kind]:
        """Return every kind by (apiVersion, kind), the server's preferred versions first."""
        if self._kinds is None:
            self._kinds = {(k.api_version, k.kind): k for k in _read(self._cluster)}
        return self._kinds

    def find(self, api_version: str, kind: str) -> Kind | None:
        """Return a kind at exactly this version, or None."""
        return self.all().get((api_version, kind))

    def of(self, manifest: Manifest, where: str) -> Kind:
        """Return the kind of a manifest; ``where`` is its file:line for the error."""
        api_version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
        found = self.find(api_version, kind)
        if found is None:
            raise self.unknown(api_version, kind, where)
        return found

    def preferred(self, group: str, kind: str) -> Kind | None:
        """Return the server's preferred version of a group's kind, or None."""
        return next((k for k in self.all().values() if (k.group, k.kind) == (group, kind)), None)

    def of_key(self, key: ResourceKey) -> Kind | None:
        """Return the kind to reach an object by its identity."""
        return self.preferred(key.group, key.kind)

    def unknown(self, api_version: str, kind: str, where: str) -> InputError:
        """Say that the server does not have a kind, and what is nearest to it."""
        versions = sorted({a for a, k in self.all() if k == kind})
        if versions:
            known = ", ".join(versions)
            hint = f"this server has {kind} as {known}; `opslib upgrade` edits the files"
        else:
            near = difflib.get_close_matches(kind, sorted({k for _, k in self.all()}), n=2)
            hint = "install its CustomResourceDefinition first, or put it into the same folder"
            if near:
                hint += f"; nearest known kinds: {', '.join(near)}"
        return InputError(f"the API server has no {kind} in {api_version}", where=where, hint=hint)


def _read(cluster: Cluster) -> list[Kind]:
    kinds: list[Kind] = []
    for root in ("/api", "/apis"):
        answer = cluster.request("GET", root, accept=_AGGREGATED)
        if "items" in answer:
            kinds += _aggregated(answer)
        else:
            kinds += _one_by_one(cluster, root, answer)
    return kinds


def _aggregated(answer: Any) -> list[Kind]:
    kinds = []
    for group in answer["items"]:
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions", ()):
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for entry in version.get("resources", ()):
                kind = (entry.get("responseKind") or {}).get("kind")
                if kind:
                    subs = frozenset(s["subresource"] for s in entry.get("subresources", ()))
                    kinds.append(
                        Kind(
                            api_version,
                            kind,
                            entry["resource"],
                            entry.get("scope") == "Namespaced",
                            frozenset(entry.get("verbs", ())),
                            subs,
                        )
                    )
    return kinds


def _one_by_one(cluster: Cluster, root: str, answer: Any) -> list[Kind]:
    """Read the older form of discovery, for API servers before 1.27."""
    if root == "/api":
        versions = list(answer["versions"])
    else:
        versions = [v["groupVersion"] for g in answer["groups"] for v in _preferred_first(g)]
    kinds = []
    for api_version in versions:
        try:
            listing = cluster.get(f"{root}/{api_version}")["resources"]
        except ApiError as error:
            # An extension's API server that is down must not hide all other kinds.
            if error.code in {404, 503}:
                continue
            raise
        subs: dict[str, set[str]] = {}
        for entry in listing:
            plural, slash, sub = entry["name"].partition("/")
            if slash:
                subs.setdefault(plural, set()).add(sub)
        kinds += [
            Kind(
                api_version,
                entry["kind"],
                entry["name"],
                entry["namespaced"],
                frozenset(entry["verbs"]),
                frozenset(subs.get(entry["name"], ())),
            )
            for entry in listing
            if "/" not in entry["name"]
        ]
    return kinds


def _preferred_first(group: Any) -> list[Any]:
    preferred = group["preferredVersion"]["groupVersion"]
    return sorted(group["versions"], key=lambda version: version["groupVersion"] != preferred)
