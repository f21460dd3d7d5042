"""The order of an apply: what others need comes first; deletes go the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TypeVar

from opslib.core.model import Manifest, ResourceKey

T = TypeVar("T")

_STAGES: tuple[frozenset[str], ...] = (
    frozenset({"CustomResourceDefinition", "Namespace"}),
    frozenset({"StorageClass", "PriorityClass", "RuntimeClass", "IngressClass", "GatewayClass"}),
    frozenset({"ServiceAccount", "Role", "ClusterRole", "ResourceQuota", "LimitRange"}),
    frozenset(
        {
            "RoleBinding",
            "ClusterRoleBinding",
            "ConfigMap",
            "Secret",
            "SealedSecret",
            "PersistentVolume",
        }
    ),
    frozenset({"PersistentVolumeClaim", "Service", "NetworkPolicy", "PodDisruptionBudget"}),
)
_WEBHOOKS = frozenset(
    {
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicyBinding",
        "APIService",
    }
)
WAVE = "opslib.dev/wave"
"""Annotation on an object in Git: a whole number, 0 where it is left out. What is in a later
wave is written when all of the earlier ones is healthy, and deleted before them."""

FIRST = 0
"""The stage of CRDs and Namespaces: the next ones wait until these are established."""


def wave_of(manifest: Manifest) -> int:
    """Return the wave of an object; ValueError where its annotation is no whole number."""
    return int((manifest["metadata"].get("annotations") or {}).get(WAVE) or 0)


def stage_of(key: ResourceKey) -> int:
    """Return the stage of an object: 0 for CRDs and Namespaces, the last for webhooks.

    Workloads and custom resources come after what they read; admission webhooks come last,
    so that they cannot refuse what they themselves are made of.
    """
    if key.kind in _WEBHOOKS:
        return len(_STAGES) + 1
    return next((i for i, kinds in enumerate(_STAGES) if key.kind in kinds), len(_STAGES))


def staged(items: Iterable[T], key: Callable[[T], ResourceKey]) -> list[list[T]]:
    """Split items into stages, each in its first order, the earliest first."""
    ordered = sorted(items, key=lambda item: stage_of(key(item)))
    return [list(group) for _, group in groupby(ordered, lambda item: stage_of(key(item)))]
