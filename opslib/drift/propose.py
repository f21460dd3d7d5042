"""Edits of Git that make differences its own, each proven by rendering; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Manifest, Resource, ResourceKey
from opslib.drift import kustomized
from opslib.drift.edit import adopted, cleaned
from opslib.drift.ground import Candidates, Edits, Ground
from opslib.drift.layers import dependents
from opslib.drift.model import Difference, Drift, Plane
from opslib.drift.plainly import amended, new_file, removed
from opslib.policy import DEFAULT, Policy, check
from opslib.reconcile.app import COMMIT
from opslib.reconcile.mask import LAST_APPLIED
from opslib.source.filediff import diff_of
from opslib.source.trees import Overlay, Tree
from opslib.source.yamledit import same
from opslib.source.yamltree import CannotEdit
from opslib.source.yamlwrite import Layout, lines_of

MOST_TRIES = 40
"""Edits of a kustomization that are rendered for one difference: 0.1 s each."""
MOST_DEPENDENTS = 10

_BESIDE = frozenset({"Namespace", "ResourceQuota", "LimitRange"})
_MASK = "<masked "
_OWN_NOTES = frozenset({LAST_APPLIED, COMMIT})
_ORDER = {
    Difference.CHANGED: 0,
    Difference.REMOVED: 1,
    Difference.ADDED: 2,
    Difference.EXTRA: 3,
    Difference.MISSING: 4,
}


@dataclass(frozen=True)
class Refused:
    """A difference that Git was not made to say, and why; its value is the drift's."""

    drift: Drift
    why: str

    def as_dict(self) -> dict[str, Any]:
        drift = self.drift
        return {"id": drift.id, "object": str(drift.key), "path": drift.path, "why": self.why,
                "declared": drift.declared, "live": drift.live}  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """What would be written: the new contents of files (None: removed), and for which drifts.

    ``diff`` is for people and ``git apply``; values of Secrets are left out of it.
    """

    files: Mapping[str, bytes | None]
    done: tuple[Drift, ...]
    refused: tuple[Refused, ...] = ()
    diff: str = ""
    warnings: tuple[str, ...] = ()


def propose(
    base: Tree,
    folder: str,
    drifts: Iterable[Drift],
    live: Mapping[ResourceKey, Manifest],
    *,
    namespace: str = "default",
    policy: Policy = DEFAULT,
) -> Proposal:
    """Find the smallest edits of a folder after which it renders what is live on those fields.

    ``live`` are the objects as the API server has them. What cannot be proven is refused with
    the reason, and the rest is done. Raises as ``render`` where the folder cannot be rendered.
    """
    first = ground = Ground.of(Overlay(base), folder, namespace)
    done: list[Drift] = []
    refused: list[Refused] = []
    for drift in sorted(drifts, key=_rank):
        try:
            ground = _adopt(ground, drift, live.get(drift.key))
        except CannotEdit as error:
            where = f" (line {error.line})" if error.line else ""
            refused.append(Refused(drift, f"{error.what}{where}"))
        else:
            done.append(drift)
    warnings = (*_findings(first, ground, policy), *_dependents(first, ground))
    files = ground.tree.changes
    return Proposal(files, tuple(done), tuple(refused), diff_of(base, files), warnings)


def _rank(drift: Drift) -> tuple[Any, ...]:
    last = drift.place[-1] if drift.place else ""
    number = last if isinstance(last, int) else 0
    back = -number if drift.difference is Difference.REMOVED else number
    return drift.key, _ORDER[drift.difference], back, drift.path


def _adopt(ground: Ground, drift: Drift, live: Manifest | None) -> Ground:
    """Return the folder after the first edit that is proven; raises CannotEdit with the reason."""
    _refuse(drift, live)
    if drift.difference is Difference.EXTRA:
        return _extra(ground, drift, live)
    resource = ground.find(drift.key)
    if resource is None:
        raise CannotEdit("the newest commit does not declare this object any more")
    if drift.difference is Difference.MISSING:
        return _first(ground, _removals(ground, resource, drift), resource.manifest, None, [])
    wanted = adopted(resource.manifest, drift, live)
    if same(wanted, resource.manifest):
        raise CannotEdit("the newest commit says so already")
    if not ground.kustomized:
        return ground.proven(amended(ground.tree, resource, wanted), resource.manifest, wanted)
    if reason := kustomized.no_layer(ground):
        raise reason
    search = kustomized.Search(ground, resource, drift, live)
    try:
        return _first(ground, search.fields(), resource.manifest, wanted, search.reasons)
    except CannotEdit as error:
        raise _explained(search, error) from None


def _explained(search: kustomized.Search, error: CannotEdit) -> CannotEdit:
    """Say what a person would want to know first."""
    generators = [
        entry
        for layer in search.layers
        for entry in layer.entries("configMapGenerator")
        if isinstance(entry, dict) and str(entry.get("name")) in search.resource.name
    ]
    if search.resource.kind == "ConfigMap" and search.original is None and generators:
        return CannotEdit(
            "a configMapGenerator names it by its content: with other content it is another object"
        )
    return error


def _first(
    ground: Ground,
    candidates: Candidates,
    old: Manifest | None,
    new: Manifest | None,
    reasons: list[str],
) -> Ground:
    """Return the folder after the first edit that is proven; raises CannotEdit with the reason."""
    tried: list[Edits] = []
    for edits in candidates:
        if edits in tried:
            continue
        tried.append(edits)
        try:
            return ground.proven(edits, old, new)
        except CannotEdit as error:
            reasons.append(error.what)
        if len(tried) >= MOST_TRIES:
            break
    # What else would change says more than that an edit led to something else.
    told = sorted(dict.fromkeys(reasons), key=lambda one: "change" in one or "gone" in one)
    why = f": {told[-1]}" if told else ""
    what = "it cannot be proven which line rules it"
    if old is None:
        what = "the kustomization would make another object of it"
    raise CannotEdit(f"{what} ({len(tried)} edits tried{why})")


def _removals(ground: Ground, resource: Resource, drift: Drift) -> Candidates:
    if ground.kustomized:
        yield from kustomized.Search(ground, resource, drift).gone()
    else:
        yield removed(ground.tree, resource)


def _extra(ground: Ground, drift: Drift, live: Manifest | None) -> Ground:
    if live is None:
        raise CannotEdit("the object is not there any more")
    if ground.find(drift.key):
        raise CannotEdit("the newest commit declares this object already")
    manifest = cleaned(live)
    if ground.kustomized:
        if reason := kustomized.no_layer(ground):
            raise reason
        return _first(ground, kustomized.added(ground, manifest), None, manifest, [])
    text = "\n".join(lines_of(manifest, 0, layout=Layout())) + "\n"
    return ground.proven({new_file(ground, manifest): text.encode()}, None, manifest)


def _refuse(drift: Drift, live: Manifest | None) -> None:
    """Raise CannotEdit for what never belongs into Git."""
    if drift.plane is not Plane.OBJECTS:
        raise CannotEdit(f"differences of {drift.plane} are not declared by manifests")
    if (drift.key.group, drift.key.kind) == ("", "Secret"):
        whole = drift.difference is Difference.EXTRA
        values = drift.place[:1] in (("data",), ("stringData",)) or drift.path.startswith(
            ("data", "stringData")
        )
        if whole or values:
            raise CannotEdit("a Secret's values are never written to Git: seal them, or revert")
    if _masked(drift.live):
        raise CannotEdit("its value is secret, and never written to Git")
    path = ("metadata", "annotations")
    if drift.place[:2] == path and drift.place[2:3] and drift.place[2] in _OWN_NOTES:
        raise CannotEdit("this annotation is a tool's own note, which Git does not keep")
    if drift.place[:2] in (("metadata", "ownerReferences"), ("metadata", "deletionTimestamp")):
        raise CannotEdit("this names an object or a moment of this cluster only")
    if live and drift.difference is Difference.EXTRA and live["metadata"].get("deletionTimestamp"):
        raise CannotEdit("it is being deleted")


def _masked(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_masked, value.values()))
    if isinstance(value, list):
        return any(map(_masked, value))
    return isinstance(value, str) and _MASK in value


# -- what else a person should see


def _findings(before: Ground, after: Ground, policy: Policy) -> list[str]:
    """Return what the policy holds against the edit and did not hold against what was there.

    Looked at are the objects that change, and those that rules see beside others.
    """
    if before is after:
        return []
    was = {one.key: one.manifest for one in before.resources}
    changed = {one.key for one in after.resources if not same(was.get(one.key), one.manifest)}
    known = {(f.rule, f.key, f.message) for f in check(_part(before, changed), policy).findings}
    found = check(_part(after, changed), policy).findings
    return [
        f"policy: {f.severity} [{f.rule}] {f.key}: {f.message}"
        for f in found
        if f.severity != "info" and (f.rule, f.key, f.message) not in known
    ]


def _part(ground: Ground, keys: set[ResourceKey]) -> list[Resource]:
    return [one for one in ground.resources if one.key in keys or one.kind in _BESIDE]


def _dependents(before: Ground, after: Ground) -> list[str]:
    """Name the folders that build on this one and change with it."""
    if not before.kustomized or before is after:
        return []
    told = []
    users = dependents(before.tree, before.folder)
    for folder in users[:MOST_DEPENDENTS]:
        try:
            was = Ground.of(before.tree, folder, before.namespace)
            now = Ground.of(after.tree, folder, before.namespace)
        except OpslibError as error:
            told.append(f"{folder} builds on this folder and cannot be rendered: {error.what}")
            continue
        old = {one.key: one.manifest for one in was.resources}
        new = {one.key: one.manifest for one in now.resources}
        keys = [key for key in {**old, **new} if not same(old.get(key), new.get(key))]
        if keys:
            told.append(f"{folder} builds on this folder, so there {_named(keys)} changes, too")
    if len(users) > MOST_DEPENDENTS:
        told.append(f"{len(users) - MOST_DEPENDENTS} more folders build on this one")
    return told


def _named(keys: list[ResourceKey]) -> str:
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(map(str, keys[:2])) + more


def chosen(drifts: Iterable[Drift], ids: Iterable[str]) -> list[Drift]:
    """Return the drifts of these ids (8 digits at least), in their order.

    Raises InputError for an id that none has, or several.
    """
    every = list(drifts)
    found: dict[str, Drift] = {}
    for one in ids:
        fitting = [drift for drift in every if drift.id.startswith(one)] if len(one) >= 8 else []
        if len(fitting) != 1:
            raise InputError(
                f"{one!r} is the id of no difference of this review",
                where="ids",
                hint="opslib drift list shows them; a review that is older may have others",
            )
        found[fitting[0].id] = fitting[0]
    if not found:
        raise InputError("no difference is named", where="ids")
    return list(found.values())
