"""Which objects beside the declared ones belong there: of controllers, of the system, of others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.model import Manifest, ResourceKey, group_of
from opslib.drift.reading import read_one
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.kube.errors import ApiError
from opslib.reconcile.app import SYSTEM_NAMESPACE, App
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.judge import Prepared

_CHILDREN: Mapping[str, frozenset[str]] = {
    "ReplicaSet": frozenset({"Deployment"}),
    "Pod": frozenset(
        {"ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController", "Node"}
    ),
    "Job": frozenset({"CronJob"}),
    "PersistentVolumeClaim": frozenset({"StatefulSet", "Pod"}),
    "ResourceClaim": frozenset({"Pod"}),
    "PodDisruptionBudget": frozenset(),
}
"""Of Kubernetes' own kinds: which are made by the controllers of which.
https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/"""

_SYSTEM = frozenset(
    {
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", "openshift-service-ca.crt"),
        ("ConfigMap", "istio-ca-root-cert"),
        ("ServiceAccount", "default"),
    }
)
"""What each namespace has: the first and the last of Kubernetes itself."""

_OPENSHIFT = frozenset({("ServiceAccount", "builder"), ("ServiceAccount", "deployer")})
_ACCOUNT = "kubernetes.io/service-account.name"
_TOKENS = frozenset({"kubernetes.io/service-account-token", "kubernetes.io/dockercfg"})
_KITS_OWN = re.compile(r"(inventory|status|trials|loop)-[a-z0-9-]+")
_ISSUER = re.compile(r"cert-manager\.io/(cluster-)?issuer")


@dataclass(frozen=True)
class Verdict:
    """``quiet``: it belongs there and nobody has to read of it; ``why``: it does, for a reason.

    With neither, it is extra; ``note`` says what a reader should know of it.
    """

    quiet: bool = False
    why: str = ""
    note: str = ""


_QUIET = Verdict(quiet=True)


class Belongs:
    """Judges one object at a time; ``uids`` are those of all objects that were listed."""

    def __init__(
        self,
        cluster: Cluster,
        discovery: Discovery,
        prepared: Prepared,
        uids: Mapping[str, ResourceKey],
    ) -> None:
        self._cluster = cluster
        self._discovery = discovery
        live = {str(m["metadata"].get("uid")): key for key, m in prepared.live.items()}
        self._uids = {**live, **uids}
        of_kind = ("apps", "StatefulSet")
        others = (one for one in uids.values() if (one.group, one.kind) == of_kind)
        # Of those that an operator made, the templates are not known; their names are.
        declared = prepared.desired.keys
        self._stateful = sorted(one for one in others if one not in declared)
        manifests = [target.resource.manifest for target in prepared.desired.targets]
        self._claims = tuple(_claims(manifests))
        self._made = dict(_made(manifests))
        self._inventories: dict[str, frozenset[ResourceKey]] = {}
        self._owners: dict[str, bool] = {}

    def judge(self, key: ResourceKey, metadata: Mapping[str, Any]) -> Verdict:
        """Say whether an object that Git does not have belongs where it is."""
        if self._system(key, metadata):
            return _QUIET
        if metadata.get("deletionTimestamp"):
            return Verdict(why="Git does not have it, and it is being deleted")
        if why := self._explained(key, metadata):
            return Verdict(why=why)
        return self._applied(key, metadata) or self._owned(key, metadata)

    def _system(self, key: ResourceKey, metadata: Mapping[str, Any]) -> bool:
        named = (key.kind, key.name)
        if key.namespace == SYSTEM_NAMESPACE and _KITS_OWN.match(key.name):
            labels = metadata.get("labels") or {}
            return labels.get("app.kubernetes.io/managed-by") == "opslib"
        if named in _SYSTEM:
            return True
        if named in _OPENSHIFT:
            return self._discovery.preferred("route.openshift.io", "Route") is not None
        if (key.namespace, *named) == ("default", "Service", "kubernetes"):
            return True
        return key.kind == "Secret" and self._token(key, metadata)

    def _token(self, key: ResourceKey, metadata: Mapping[str, Any]) -> bool:
        """Tell whether a Secret is the token that the server made for a ServiceAccount.

        The server itself deletes a Secret of this type whose account is not there.
        https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
        """
        account = (metadata.get("annotations") or {}).get(_ACCOUNT)
        made = re.compile(rf"{re.escape(str(account))}-(token|dockercfg)-[a-z0-9]{{5}}")
        if not account or not made.fullmatch(key.name):
            return False
        path = f"/api/v1/namespaces/{key.namespace}/secrets/{key.name}"
        try:
            live = read_one(self._cluster, path)
        except ApiError:
            return False
        return live is None or str(live.get("type")) in _TOKENS

    def _explained(self, key: ResourceKey, metadata: Mapping[str, Any]) -> str:
        labels = metadata.get("labels") or {}
        if key.kind == "Secret" and key.name.startswith("sh.helm.release.v1."):
            return "Helm's record of a release" if labels.get("owner") == "helm" else ""
        if key.kind == "Secret" and (key.namespace, key.name) in self._made:
            return f"it is made for {self._made[key.namespace, key.name]}"
        if key.kind == "PersistentVolumeClaim":
            for namespace, pattern, name in self._claims:
                if namespace == key.namespace and pattern.fullmatch(key.name):
                    return f"it is a volume of StatefulSet {name}"
            for owner in self._stateful:
                volume = re.compile(rf".+-{re.escape(owner.name)}-\d+")
                if owner.namespace == key.namespace and volume.fullmatch(key.name):
                    return f"it is a volume of StatefulSet {owner.name}"
        return ""

    def _applied(self, key: ResourceKey, metadata: Mapping[str, Any]) -> Verdict | None:
        """Judge what an app of the kit applies: it is that app's, if its inventory says so."""
        for entry in metadata.get("managedFields") or ():
            manager = str(entry.get("manager", ""))
            if entry.get("operation") != "Apply" or not manager.startswith("opslib-"):
                continue
            name = manager.removeprefix("opslib-")
            if key in self._inventory(name):
                return _QUIET
            return Verdict(note=f"it was applied as {manager}, whose inventory does not have it")
        return None

    def _inventory(self, name: str) -> frozenset[ResourceKey]:
        if name not in self._inventories:
            try:
                objects = read_inventory(self._cluster, App(name)).objects
            except OpslibError:
                objects = {}
            self._inventories[name] = frozenset(objects)
        return self._inventories[name]

    def _owned(self, key: ResourceKey, metadata: Mapping[str, Any]) -> Verdict:
        """Judge by the object's owners: those that exist and make such objects count."""
        notes = []
        for reference in metadata.get("ownerReferences") or ():
            kind, name = str(reference.get("kind")), str(reference.get("name"))
            group = group_of(str(reference.get("apiVersion", "")))
            if not _makes(group, kind, key):
                notes.append(f"{kind} {name}, its owner, makes no {key.kind}")
            elif self._exists(reference, key.namespace):
                return _QUIET
            else:
                notes.append(f"{kind} {name}, its owner, does not exist")
        return Verdict(note="; ".join(notes))

    def _exists(self, reference: Mapping[str, Any], namespace: str) -> bool:
        """Tell whether an owner is there: it was listed, or it is found by its name."""
        uid = str(reference.get("uid", ""))
        group, kind = group_of(str(reference.get("apiVersion", ""))), str(reference.get("kind"))
        known = self._uids.get(uid)
        if known is not None:
            return (known.group, known.kind) == (group, kind)
        if uid not in self._owners:
            self._owners[uid] = self._there(group, kind, str(reference.get("name")), namespace, uid)
        return self._owners[uid]

    def _there(self, group: str, kind: str, name: str, namespace: str, uid: str) -> bool:
        found = self._discovery.preferred(group, kind)
        if found is None:
            return False
        try:
            live = read_one(self._cluster, found.path(namespace, name))
        except ApiError:
            return True  # it may not be read: what it owns is left out of suspicion
        return live is not None and str(live["metadata"].get("uid")) == uid


def _makes(group: str, kind: str, child: ResourceKey) -> bool:
    """Tell whether an owner may be one that makes such objects; of custom ones nothing is known."""
    if _built_in(group) and _built_in(child.group):
        return kind in _CHILDREN.get(child.kind, frozenset())
    return True


def _built_in(group: str) -> bool:
    return "." not in group or group.endswith(".k8s.io")


def _place(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace") or "")


def _claims(manifests: list[Manifest]) -> Iterator[tuple[str, re.Pattern[str], str]]:
    """Yield where volumes of StatefulSets are and how they are named.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-storage
    """
    for one in manifests:
        if (str(one["kind"]), group_of(str(one["apiVersion"]))) != ("StatefulSet", "apps"):
            continue
        name = str(one["metadata"]["name"])
        for template in (one.get("spec") or {}).get("volumeClaimTemplates") or ():
            volume = str((template.get("metadata") or {}).get("name", ""))
            pattern = re.compile(rf"{re.escape(volume)}-{re.escape(name)}-\d+")
            yield _place(one), pattern, name


def _made(manifests: list[Manifest]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the Secrets that declared objects ask somebody to make: namespace, name, for whom."""
    for one in manifests:
        name = str(one["metadata"]["name"])
        for secret in _secrets(one, name):
            if secret:
                yield (_place(one), str(secret)), f"{one['kind']} {name}"


def _secrets(one: Manifest, name: str) -> list[Any]:
    """Return the names of the Secrets that an object asks for.

    https://cert-manager.io/docs/usage/certificate/ https://external-secrets.io/latest/api/externalsecret/
    https://github.com/bitnami-labs/sealed-secrets https://docs.crossplane.io/latest/managed-resources/
    """
    group = group_of(str(one["apiVersion"]))
    spec = one.get("spec") if isinstance(one.get("spec"), dict) else {}
    part: dict[str, Any] = {
        key: value for key, value in (spec or {}).items() if isinstance(value, dict)
    }
    kind = (group, str(one["kind"]))
    if kind == ("cert-manager.io", "Certificate"):
        return [(spec or {}).get("secretName")]
    if kind == ("external-secrets.io", "ExternalSecret"):
        return [part.get("target", {}).get("name") or name]
    if kind == ("bitnami.com", "SealedSecret"):
        return [name]
    if kind == ("networking.k8s.io", "Ingress"):
        asks = any(map(_ISSUER.fullmatch, one["metadata"].get("annotations") or {}))
        rows = [row for row in (spec or {}).get("tls") or () if isinstance(row, dict)]
        return [row.get("secretName") for row in rows] if asks else []
    return [part.get("writeConnectionSecretToRef", {}).get("name")]
