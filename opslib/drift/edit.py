"""What an object in Git has to say so that a difference is gone: values, without files.

``adopted`` makes the object that is wanted; the rooms below find the edit of a file that leads
there (``plainly``, ``kustomized``), and the proof is the rendering.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from opslib.core.model import Manifest, Resource, ResourceKey, key_of
from opslib.drift.model import Difference, Drift
from opslib.reconcile.app import COMMIT
from opslib.reconcile.diff import SERVER_METADATA, Step, find_step, list_steps
from opslib.reconcile.fieldpath import Place, parse_path, places, value_at
from opslib.reconcile.mask import LAST_APPLIED
from opslib.source.yamledit import same
from opslib.source.yamltree import CannotEdit

ORDER = "(order)"


def names_of(items: list[Any], path: tuple[Any, ...]) -> list[Any] | None:
    """Return what names each item of a list, as plans do; None where nothing does."""
    if not items:
        return []
    return list(list_steps(items, tuple(path)) or ()) or None


def place_of(drift: Drift, *manifests: Manifest | None) -> Place:
    """Return the steps of a drift's path; found again in an object where they were not kept.

    Raises CannotEdit where none of the objects has such a field.
    """
    if drift.place or not drift.path:
        return tuple(drift.place)
    text = drift.path.removesuffix(f" {ORDER}")
    path = parse_path(text)
    for manifest in manifests:
        found = places(manifest, path) if manifest else []
        if len(found) == 1:
            return found[0] if text == drift.path else (*found[0], ORDER)
    raise CannotEdit(f"{drift.path} is in neither form of the object")


def adopted(manifest: Manifest, drift: Drift, live: Manifest | None) -> Manifest:
    """Return the object with this one field as it is live."""
    place = place_of(drift, live, manifest)
    wanted = copy.deepcopy(manifest)
    if place[-1] == ORDER:
        reorder(wanted, place[:-1], live)
    elif drift.difference is Difference.REMOVED:
        take_out(wanted, place)
    else:
        there, value = value_at(live, place) if live else (False, None)
        value = copy.deepcopy(value if there else drift.live)
        set_at(wanted, place, value, live, new=drift.difference is Difference.ADDED)
    return wanted


def take_out(manifest: Manifest, place: Place) -> None:
    """Remove a field that is there; what it was in stays, empty."""
    there, parent = value_at(manifest, place[:-1])
    key = find_step(parent, place[-1]) if there else None
    if key is None:
        raise CannotEdit("Git does not have this field")
    del parent[key]


def set_at(
    manifest: Manifest, place: Place, value: Any, live: Manifest | None, *, new: bool = False
) -> None:
    """Set a field, and make what it is in where that is missing.

    ``new``: an item of a list that is named by its number is put in, not written over.
    """
    node: Any = manifest
    for depth, step in enumerate(place[:-1]):
        key = find_step(node, step)
        if key is None or node[key] is None:
            key = _make(node, step, key, place[: depth + 1], live)
            node[key] = _empty(step, place[depth + 1])
        node = node[key]
    step, key = place[-1], find_step(node, place[-1])
    if isinstance(step, int) and key is not None and new:
        # What is declared at this number has its place behind it.
        node.insert(key, value)
        return
    node[_make(node, step, key, place, live)] = value


def _empty(step: Step, following: Step) -> Any:
    if isinstance(step, tuple):
        return dict(step)
    return {} if isinstance(following, str) else []


def _make(node: Any, step: Step, key: Any, place: Place, live: Manifest | None) -> Any:
    """Return the key of a new entry; in a list it is made at its place in the live one."""
    if isinstance(node, dict):
        if not isinstance(step, str):
            raise CannotEdit("Git has a mapping where the cluster has a list")
        return step
    if not isinstance(node, list) or isinstance(step, str):
        raise CannotEdit("Git has another kind of value here")
    if key is not None:
        return key
    number = len(node) if isinstance(step, int) else _rank(node, step, place, live)
    node.insert(number, None)
    return number


def _rank(items: list[Any], step: Step, place: Place, live: Manifest | None) -> int:
    """Return where in Git's list an item goes: behind the one that it follows in the live list."""
    there, beside = value_at(live, place[:-1]) if live else (False, None)
    steps = list_steps(beside, place[:-1]) if there and isinstance(beside, list) else None
    if not steps or step not in steps:
        return len(items)
    for before in reversed(steps[: steps.index(step)]):
        key = find_step(items, before)
        if isinstance(key, int):
            return key + 1
    return 0


def reorder(manifest: Manifest, place: Place, live: Manifest | None) -> None:
    """Bring the items of a list into the order that they have live."""
    there, items = value_at(manifest, place)
    found, wanted = value_at(live, place) if live else (False, None)
    steps = list_steps(wanted, place) if found and isinstance(wanted, list) else None
    mine = list_steps(items, place) if there and isinstance(items, list) else None
    if not steps or not mine:
        raise CannotEdit("the order of the list cannot be told")
    by_step = dict(zip(mine, items, strict=True))
    shared = iter([step for step in steps if step in by_step])
    items[:] = [by_step[next(shared)] if step in steps else by_step[step] for step in mine]


# -- whole objects

_NOTES = frozenset({LAST_APPLIED, COMMIT, "deployment.kubernetes.io/revision"})
_BOUND = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
_ALLOCATED: dict[str, tuple[tuple[str, ...], ...]] = {
    "Service": (("spec", "clusterIP"), ("spec", "clusterIPs"), ("spec", "healthCheckNodePort")),
    "PersistentVolumeClaim": (("spec", "volumeName"),),
    "PersistentVolume": (("spec", "claimRef"),),
    "ServiceAccount": (("secrets",),),
    "Pod": (("spec", "nodeName"),),
    "Namespace": (("spec",),),
}
"""What the server or a controller fills in, by kind: not what somebody wants."""
_JOB = frozenset(
    {
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
        "job-name",
        "batch.kubernetes.io/job-name",
    }
)


def cleaned(live: Manifest) -> Manifest:
    """Return a live object as a file would declare it: without what the server keeps about it."""
    one = copy.deepcopy({key: value for key, value in live.items() if key != "status"})
    metadata = one["metadata"]
    for name in (*SERVER_METADATA, "ownerReferences", "deletionTimestamp",
                 "deletionGracePeriodSeconds", "generateName"):  # fmt: skip
        metadata.pop(name, None)
    notes = metadata.get("annotations") or {}
    _drop(metadata, "annotations", [k for k in notes if k in _NOTES or k.startswith(_BOUND)])
    for path in _ALLOCATED.get(str(one["kind"]), ()):
        _forget(one, path)
    if one["kind"] == "Namespace":
        _drop(metadata, "labels", ["kubernetes.io/metadata.name"])
    if one["kind"] == "Job":
        _clean_job(one)
    order = ("apiVersion", "kind", "metadata")
    return {**{key: one[key] for key in order}, **one}


def _clean_job(job: Manifest) -> None:
    spec = job.get("spec") or {}
    if not spec.get("manualSelector"):
        spec.pop("selector", None)
        for metadata in (job["metadata"], (spec.get("template") or {}).get("metadata") or {}):
            _drop(metadata, "labels", _JOB)


def _drop(metadata: dict[str, Any], name: str, keys: Sequence[str] | frozenset[str]) -> None:
    values = metadata.get(name) or {}
    left = {key: value for key, value in values.items() if key not in keys}
    if left:
        metadata[name] = left
    else:
        metadata.pop(name, None)


def _forget(manifest: Manifest, path: tuple[str, ...]) -> None:
    there, parent = value_at(manifest, path[:-1])
    if not there or not isinstance(parent, dict):
        return
    headless = path[-1] in {"clusterIP", "clusterIPs"} and parent.get(path[-1]) in (
        "None",
        ["None"],
    )
    if not headless:
        parent.pop(path[-1], None)


# -- the proof


def same_key(one: ResourceKey, other: ResourceKey, namespace: str) -> bool:
    """Tell whether an object in Git is this live one: Git may leave the namespace out."""
    plain = (one.group, one.kind, one.name) == (other.group, other.kind, other.name)
    return plain and other.namespace in {one.namespace or namespace, ""}


def disproof(
    before: Sequence[Resource],
    after: Sequence[Resource],
    old: Manifest | None,
    new: Manifest | None,
) -> str:
    """Return why an edit is none that was wanted; "" where it is: it changed this and no more.

    ``old`` is the object as it was rendered (None for a new one), ``new`` as it has to be
    (None: gone).
    """
    was = {one.key: one.manifest for one in before}
    now = {one.key: one.manifest for one in after}
    wanted = dict(was)
    if old is not None:
        del wanted[key_of(old)]
    if new is not None:
        wanted[key_of(new)] = new
    for key in [*wanted, *now]:
        if key not in now:
            return f"{key} would be gone, too"
        if key not in wanted:
            return f"{key} would be there"
        if not same(wanted[key], now[key]):
            mine = new is not None and wanted[key] is new
            return "the rendered object would be another one" if mine else f"{key} would change too"
    return ""
