"""What of the inventory Git no longer has, and whether it may be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opslib.core.model import Manifest, ResourceKey
from opslib.reconcile.app import PRUNE, App
from opslib.reconcile.inventory import Inventory
from opslib.reconcile.moves import STAYING, Moves
from opslib.reconcile.plan import Action, Change

BY_NAME_ONLY = frozenset(
    {
        ("", "Namespace"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("apps", "StatefulSet"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)
"""Kinds that hold data, or everything in them: deleted only when confirmed by name."""


@dataclass(frozen=True)
class PruneLimits:
    """How much one plan may delete unasked, and which objects were confirmed by name.

    ``count`` objects and ``percent`` of the inventory at most; one object is always within
    the percentage. ``confirmed`` holds texts such as ``"ConfigMap production/old"``, and
    ``spared`` those of objects that a failed revision found and took over: never deleted
    unless confirmed. ``new`` came with revisions since the last good one: the percentage is
    not of them, so that a plan after a break, when the inventory holds them already, deletes
    no more than the one before it.
    """

    count: int = 10
    percent: float = 20
    confirmed: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()


def deletions(
    app: App,
    inventory: Inventory,
    desired: Mapping[ResourceKey, Manifest | None],
    live: Mapping[ResourceKey, Manifest],
    limits: PruneLimits,
    *,
    withheld: str = "",
    used: Mapping[str, str] | None = None,
    moves: Moves = STAYING,
) -> list[Change]:
    """Return a delete, or a keep with its reason, for each object that Git no longer has.

    ``desired`` maps what Git has to its live object; ``live`` has the candidates' objects:
    one that is gone already needs no change. ``withheld`` is a reason to delete nothing;
    ``used`` says of a namespace who still has objects in it, ``moves`` what goes to another app.
    """
    candidates = [key for key in inventory.objects if key not in desired and key in live]
    uids = {str(m["metadata"]["uid"]): key for key, m in desired.items() if m}
    in_use = used or {}
    reasons = {key: _kept(app, key, live[key], uids, limits, used=in_use) for key in candidates}
    for key in candidates:
        if not reasons[key] and (place := moves.where(key)):
            reasons[key] = f"it moves to the app of {place}"
    free = [key for key in candidates if not reasons[key]]
    unconfirmed = [key for key in free if str(key) not in limits.confirmed]
    asked = set(unconfirmed)
    counted = [k for k in inventory.objects if str(k) not in limits.new or k in asked]
    if over := _over(len(unconfirmed), len(counted), limits):
        reasons.update(dict.fromkeys(unconfirmed, over))
    return [
        _change(key, inventory.objects[key], live[key], withheld or reasons[key])
        for key in sorted(candidates)
    ]


def _change(key: ResourceKey, version: str, live: Manifest, reason: str) -> Change:
    metadata = live["metadata"]
    action = Action.KEEP if reason else Action.DELETE
    return Change(
        action,
        key,
        version,
        uid=str(metadata["uid"]),
        resource_version=str(metadata["resourceVersion"]),
        reason=reason,
    )


def _over(deletes: int, total: int, limits: PruneLimits) -> str:
    share = 100 * deletes / max(1, total)
    if deletes > limits.count or (deletes > 1 and share > limits.percent):
        return (
            f"{deletes} of {total} objects ({share:.0f} %) would be deleted; the limits are "
            f"{limits.count} and {limits.percent:g} %: name each by --prune 'KIND NAMESPACE/NAME', "
            "or raise --prune-count and --prune-percent"
        )
    return ""


def _kept(
    app: App,
    key: ResourceKey,
    live: Manifest,
    uids: Mapping[str, ResourceKey],
    limits: PruneLimits,
    *,
    used: Mapping[str, str],
) -> str:
    """Return why an object must not be deleted; "" when it may be."""
    metadata = live["metadata"]
    managers = apply_managers(live)
    others = sorted(m.removeprefix("opslib-") for m in managers if m != app.manager)
    owners = [f"{o.get('kind')} {o.get('name')}" for o in metadata.get("ownerReferences") or ()]
    same = uids.get(str(metadata["uid"]))
    opted_out = (metadata.get("annotations") or {}).get(PRUNE) == "disabled"
    system = key.kind == "Namespace" and (key.name == "default" or key.name.startswith("kube-"))
    user = used.get(key.name, "") if (key.group, key.kind) == ("", "Namespace") else ""
    unnamed = (key.group, key.kind) in BY_NAME_ONLY and str(key) not in limits.confirmed
    spared = str(key) in limits.spared - limits.confirmed
    reasons = (
        (same, f"it is the same object as {same}, which Git has"),
        (metadata.get("deletionTimestamp"), "it is being deleted already"),
        (opted_out, f"its annotation {PRUNE} says disabled"),
        (others, f"app {', '.join(others)} applies it too"),
        (app.manager not in managers, f"no field of it belongs to {app.manager} any more"),
        (owners, f"{', '.join(owners)} owns it"),
        (user, f"{user} is in this namespace"),
        (system, "this namespace is never deleted"),
        (spared, f"it was there before a revision that failed took it over: --prune '{key}'"),
        (unnamed, f"a {key.kind} is deleted only when named: --prune '{key}'"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def apply_managers(live: Manifest) -> frozenset[str]:
    """Return the apps' field managers that server-side apply this object."""
    entries = live["metadata"].get("managedFields") or ()
    return frozenset(
        str(entry.get("manager"))
        for entry in entries
        if entry.get("operation") == "Apply" and str(entry.get("manager", "")).startswith("opslib-")
    )
