"""Who may set by right what Git does not declare: the server and its controllers at their work.

A rule names the kind, the field, and who sets it; never the manager alone, which is whatever a
client calls itself. Where a value can be checked, it is. Whatever no rule explains is compared
with an undisturbed twin of the object, which shows defaults and webhooks (see ``twins``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opslib.core.model import Manifest, ResourceKey
from opslib.drift.additions import Addition, Owner
from opslib.reconcile.fieldpath import Place

_KCM = "kube-controller-manager"
_CLOUD = "cloud-controller-manager"
_UNKNOWN = frozenset({"", "before-first-apply"})
"""Owners of what nobody is known to have set: the second is made up by the server for an object
whose managedFields were wiped (https://github.com/kubernetes/kubernetes/issues/99003)."""

ANY = "*"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Check = Callable[[Any, Manifest], bool]
"""Whether a value is what this rule explains, given the live object."""


def _always(value: Any, live: Manifest) -> bool:
    del value, live
    return True


@dataclass(frozen=True)
class Rule:
    """One field that is set by right.

    ``kinds`` are "Kind" or "Kind.group" (ANY: all). ``path`` is a place from the root, in which
    ANY is any one step and "…" at the end whatever is below. ``managers`` are those of which one
    must own the field, and no other; of none, nobody may; ANY: it does not matter.
    """

    kinds: tuple[str, ...]
    path: tuple[str, ...]
    managers: tuple[str, ...]
    why: str
    check: Check = _always


def _number(value: Any, live: Manifest) -> bool:
    del live
    return str(value).isdecimal()


def _own_name(value: Any, live: Manifest) -> bool:
    return bool(value == live["metadata"].get("name"))


def _own_uid(value: Any, live: Manifest) -> bool:
    return bool(value == live["metadata"].get("uid"))


def _going(value: Any, live: Manifest) -> bool:
    held = value in ("foregroundDeletion", "orphan")
    return held and bool(live["metadata"].get("deletionTimestamp"))


def _is(*values: str) -> Check:
    def check(value: Any, live: Manifest) -> bool:
        del live
        return value in values

    return check


def _aggregated(value: Any, live: Manifest) -> bool:
    del value
    return bool(live.get("aggregationRule"))


_TOKEN_VOLUME = re.compile(r"(?:kube-api-access|default-token)-[a-z0-9]{5}")


def _token(value: Any, live: Manifest) -> bool:
    del live
    return isinstance(value, dict) and bool(_TOKEN_VOLUME.fullmatch(str(value.get("name", ""))))


def _token_mount(value: Any, live: Manifest) -> bool:
    del live
    at = isinstance(value, dict) and value.get("mountPath")
    return at == "/var/run/secrets/kubernetes.io/serviceaccount"


_META = ("metadata", "annotations")
_BINDS = "a volume was bound to it"
_ALLOCATED = "the server allocates it"
_JOB = "the server gives each Job its own"
_PODS_OF_JOBS = ("Job.batch",)
_STORAGE = ("PersistentVolumeClaim", "PersistentVolume")
_ACCOUNT = "the server mounts the token of the pod's ServiceAccount"

RULES: tuple[Rule, ...] = (
    # https://kubernetes.io/docs/reference/labels-annotations-taints/
    Rule(
        ("Deployment.apps",),
        (*_META, "deployment.kubernetes.io/revision"),
        (_KCM,),
        "the controller counts the revisions of a rollout",
        _number,
    ),
    Rule(
        ("DaemonSet.apps",),
        (*_META, "deprecated.daemonset.template.generation"),
        (ANY,),
        "the server counts the generations of the template",
        _number,
    ),
    Rule(
        ("Namespace",),
        ("metadata", "labels", "kubernetes.io/metadata.name"),
        (ANY,),
        "the server labels each Namespace with its name",
        _own_name,
    ),
    Rule(
        ("Namespace",),
        ("spec", "finalizers", ANY),
        (ANY,),
        "the server empties a Namespace before it goes",
        _is("kubernetes"),
    ),
    Rule((ANY,), ("metadata", "finalizers", ANY), (ANY,), "it is being deleted", _going),
    # https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
    Rule(
        _STORAGE,
        ("metadata", "finalizers", ANY),
        (ANY,),
        "the server protects storage that is in use",
        _is("kubernetes.io/pv-protection", "kubernetes.io/pvc-protection"),
    ),
    Rule(("PersistentVolumeClaim",), ("spec", "volumeName"), (_KCM,), _BINDS),
    Rule(("PersistentVolumeClaim",), ("spec", "storageClassName"), (_KCM,), "the default class"),
    Rule(("PersistentVolume",), ("spec", "claimRef", "…"), (_KCM,), _BINDS),
    *(
        Rule(_STORAGE, (*_META, name), who, _BINDS)
        for name, who in (
            ("pv.kubernetes.io/bind-completed", (_KCM,)),
            ("pv.kubernetes.io/bound-by-controller", (_KCM,)),
            ("volume.beta.kubernetes.io/storage-provisioner", (_KCM,)),
            ("volume.kubernetes.io/storage-provisioner", (_KCM,)),
            ("volume.kubernetes.io/selected-node", ("kube-scheduler",)),
        )
    ),
    # https://kubernetes.io/docs/concepts/services-networking/service/
    Rule(
        ("Service",),
        ("metadata", "finalizers", ANY),
        (_KCM, _CLOUD),
        "the load balancer is removed before the Service goes",
        _is("service.kubernetes.io/load-balancer-cleanup"),
    ),
    Rule(("Service",), ("spec", "clusterIP"), (), _ALLOCATED),
    Rule(("Service",), ("spec", "clusterIPs", "…"), (), _ALLOCATED),
    Rule(("Service",), ("spec", "healthCheckNodePort"), (), _ALLOCATED),
    Rule(("Service",), ("spec", "ports", ANY, "nodePort"), (), _ALLOCATED),
    # https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-labels
    Rule(_PODS_OF_JOBS, ("spec", "selector", "…"), (), _JOB),
    *(
        Rule(_PODS_OF_JOBS, (*above, name), (ANY,), _JOB, check)
        for above in (("spec", "template", "metadata", "labels"), ("metadata", "labels"))
        for name, check in (
            ("controller-uid", _own_uid),
            ("batch.kubernetes.io/controller-uid", _own_uid),
            ("job-name", _own_name),
            ("batch.kubernetes.io/job-name", _own_name),
        )
    ),
    Rule(
        _PODS_OF_JOBS,
        (*_META, "batch.kubernetes.io/job-tracking"),
        (ANY,),
        _JOB,
    ),
    # https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
    Rule(
        ("ClusterRole.rbac.authorization.k8s.io",),
        ("rules", "…"),
        ("clusterrole-aggregation-controller", _KCM),
        "the rules are aggregated from other ClusterRoles",
        _aggregated,
    ),
    Rule(("Pod",), ("spec", "nodeName"), (), "the scheduler placed the pod"),
    Rule(("Pod",), ("spec", "volumes", ANY), (ANY,), _ACCOUNT, _token),
    *(
        Rule(("Pod",), ("spec", part, ANY, "volumeMounts", ANY), (ANY,), _ACCOUNT, _token_mount)
        for part in ("containers", "initContainers")
    ),
    # https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-last-applied-configuration
    Rule(
        (ANY,),
        (*_META, LAST_APPLIED),
        (ANY,),
        "kubectl apply keeps a copy of its manifest there, which nothing reads but itself",
    ),
)


def _by_kind() -> Mapping[str, tuple[Rule, ...]]:
    names = {kind for rule in RULES for kind in rule.kinds}
    return {name: tuple(r for r in RULES if {name, ANY} & set(r.kinds)) for name in names}


_BY_KIND = _by_kind()


def why(key: ResourceKey, live: Manifest, one: Addition, *, wiped: bool = False) -> str:
    """Return why an addition is there by right; "" where no rule says so.

    ``wiped``: the object has lost its managedFields, so that a missing owner says nothing.
    """
    kind = f"{key.kind}.{key.group}" if key.group else key.kind
    for rule in _rules_at(kind, one.place):
        if _by(rule, one.owners, wiped=wiped) and rule.check(one.value, live):
            return rule.why
    return _finalizer(key, live, one)


@lru_cache(maxsize=8192)
def _rules_at(kind: str, place: Place) -> tuple[Rule, ...]:
    """Return the rules for a field of a kind; thousands of objects have the same ones."""
    rules = _BY_KIND.get(kind, _BY_KIND[ANY])
    return tuple(rule for rule in rules if _fits(rule.path, place))


def _fits(path: tuple[str, ...], place: Place) -> bool:
    if path[-1] == "…":
        path = path[:-1]
        place = place[: len(path)]
    if len(path) != len(place):
        return False
    return all(want in {ANY, have} for want, have in zip(path, place, strict=True))


def _by(rule: Rule, owners: frozenset[Owner], *, wiped: bool) -> bool:
    names = {owner.manager for owner in owners} - _UNKNOWN
    if ANY in rule.managers or (wiped and not names):
        return True
    return bool(names) and names <= set(rule.managers) if rule.managers else not names


def _finalizer(key: ResourceKey, live: Manifest, one: Addition) -> str:
    """Explain the finalizer by which a custom resource's own controller holds it.

    Its name is of the resource's API group, and who set it also writes the resource's status
    (https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/).
    """
    if one.place[:2] != ("metadata", "finalizers") or key.group.count(".") < 1:
        return ""
    if key.group.endswith(".k8s.io"):
        return ""
    home = ".".join(key.group.split(".")[-2:])
    host = str(one.value).partition("/")[0]
    writers = {
        str(entry.get("manager"))
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("subresource") == "status"
    }
    names = {owner.manager for owner in one.owners}
    if names and names <= writers and (host == home or host.endswith(f".{home}")):
        return f"the controller of {key.group} cleans up before it goes"
    return ""
