"""Fields that are left to others on purpose.

An autoscaler's replicas, injected certificates, and what the app's own file names with a
reason and an end.

What is left to others keeps its live value. Where the app owns such a field, it is declared
with that value, under the lock of the object that was read: to leave it out would remove it
wherever the app alone owned it, and a Deployment without replicas has one. Where the app does
not own it, it is not declared. Git's value counts only when the object is made.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from opslib.core.clock import now
from opslib.core.model import Manifest, ResourceKey, group_of
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.appfile import Leave
from opslib.reconcile.desired import Desired
from opslib.reconcile.diff import show
from opslib.reconcile.fieldpath import (
    FieldPath,
    Place,
    drop,
    owns,
    parse_path,
    places,
    put,
    value_at,
)
from opslib.reconcile.retry import retrying

SCALER = ("autoscaling", "HorizontalPodAutoscaler")
_ONE_BY_ONE = 4
"""More namespaces than these are asked for their autoscalers in one list of the cluster."""

_REPLICAS = parse_path("spec.replicas")

_INJECTORS = {
    "cert-manager.io/inject-ca-from": "cert-manager",
    "cert-manager.io/inject-ca-from-secret": "cert-manager",
    "cert-manager.io/inject-apiserver-ca": "cert-manager",
    "service.beta.openshift.io/inject-cabundle": "the service CA operator",
}
"""Annotations that ask somebody to fill in a certificate authority.
https://cert-manager.io/docs/concepts/ca-injector/
https://docs.openshift.com/container-platform/latest/security/certificates/service-serving-certificate.html
"""

_BUNDLES = {
    "MutatingWebhookConfiguration": parse_path("webhooks[*].clientConfig.caBundle"),
    "ValidatingWebhookConfiguration": parse_path("webhooks[*].clientConfig.caBundle"),
    "CustomResourceDefinition": parse_path("spec.conversion.webhook.clientConfig.caBundle"),
    "APIService": parse_path("spec.caBundle"),
}


@dataclass(frozen=True)
class OptOuts:
    """Who else sets which fields: the autoscaler by the object it scales, and the app's rules."""

    scalers: Mapping[ResourceKey, str] = field(default_factory=dict)
    rules: tuple[Leave, ...] = ()
    expired: tuple[str, ...] = ()

    def adopt(
        self, key: ResourceKey, manifest: Manifest, live: Manifest | None, manager: str
    ) -> Manifest:
        """Return the manifest with the live value of each field that is left to others."""
        found = self._found(key, manifest)
        if live is None or not found:
            return manifest
        manifest = copy.deepcopy(manifest)
        for place, _ in found:
            there, value = value_at(live, place)
            if there and owns(live, manager, place):
                put(manifest, place, value)
            elif value_at(manifest, place)[0]:
                drop(manifest, place)
        return manifest

    def notes(self, key: ResourceKey, manifest: Manifest) -> tuple[str, ...]:
        """Say which declared fields are left to whom."""
        return tuple(f"{show(place)} {why}" for place, why in self._found(key, manifest))

    def _found(self, key: ResourceKey, manifest: Manifest) -> list[tuple[Place, str]]:
        return [
            (place, why)
            for path, why in self._paths(key, manifest)
            for place in places(manifest, path)
        ]

    def _paths(self, key: ResourceKey, manifest: Manifest) -> Iterable[tuple[FieldPath, str]]:
        if key in self.scalers:
            yield _REPLICAS, f"is left to HorizontalPodAutoscaler {self.scalers[key]}"
        if key.kind in _BUNDLES:
            asked = (manifest["metadata"].get("annotations") or {}).keys() & _INJECTORS.keys()
            if asked:
                yield _BUNDLES[key.kind], f"is left to {_INJECTORS[min(asked)]}, which injects it"
        for rule in self.rules:
            if rule.target.matches(key):
                yield from ((path, rule.why) for path in rule.fields)


NOTHING = OptOuts()


def opt_outs(
    cluster: Cluster,
    discovery: Discovery,
    desired: Desired,
    rules: Iterable[Leave] = (),
    *,
    today: date | None = None,
) -> OptOuts:
    """Find the autoscalers of the desired objects, declared or live, and the rules that hold.

    A rule past its last day does not hold any more; ``expired`` says so.
    """
    scaled = {
        t.key for t in desired.targets if "replicas" in (t.resource.manifest.get("spec") or {})
    }
    declared = [t.resource.manifest for t in desired.targets if _is_scaler(t.key)]
    kind = discovery.preferred(*SCALER)
    live: list[dict[str, Any]] = []
    if kind and scaled:
        namespaces = sorted({key.namespace for key in scaled})
        for namespace in namespaces if len(namespaces) <= _ONE_BY_ONE else [""]:
            items, _ = retrying(lambda where=namespace: cluster.list(kind.path(where)))  # type: ignore[misc]  # bound per pass
            live += items
    day = today or now().date()
    every = tuple(rules)
    return OptOuts(
        {key: name for key, name in scaled_by((*live, *declared)) if key in scaled},
        tuple(rule for rule in every if rule.expires >= day),
        tuple(_over(rule) for rule in every if rule.expires < day),
    )


def _over(rule: Leave) -> str:
    fields = ", ".join(map(str, rule.fields))
    return (
        f"{rule.origin}: {fields} of {rule.target} counts as drift again: "
        f"it was left to {rule.to} until {rule.expires}"
    )


def _is_scaler(key: ResourceKey) -> bool:
    return (key.group, key.kind) == SCALER


def scaled_by(scalers: Iterable[Manifest]) -> Iterable[tuple[ResourceKey, str]]:
    """Yield what each autoscaler scales, and the name of the autoscaler."""
    for one in scalers:
        reference = (one.get("spec") or {}).get("scaleTargetRef") or {}
        metadata = one["metadata"]
        yield (
            ResourceKey(
                group_of(str(reference.get("apiVersion", ""))),
                str(reference.get("kind", "")),
                str(metadata.get("namespace", "")),
                str(reference.get("name", "")),
            ),
            str(metadata["name"]),
        )
