"""An undisturbed twin of an object: what the server makes of the declaration alone.

It is asked for by a dry run that creates the declared object under a name that is free, so
defaults, the server's normal form and mutating webhooks are its own. Where that is refused (a
kind whose names are not free, a quota that is used up, a port that is taken), a dry run that
replaces the live object by the declared one is asked instead.
https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.model import Manifest
from opslib.kube.apply import Lock, server_side_apply
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.reconcile.diff import named_items
from opslib.reconcile.fieldpath import Place
from opslib.reconcile.mask import scrubbed
from opslib.reconcile.replace import free_name
from opslib.reconcile.retry import retrying

_SECONDS = 5.0
"""For so long a dry run that fails for what passes is repeated; a review does not wait longer."""


@dataclass(frozen=True)
class Twin:
    """What the server made of ``body``; ``manifest`` None where it would not, by ``why``."""

    body: Manifest
    manifest: Manifest | None
    name: str = ""
    why: str = ""


def ask_twin(
    cluster: Cluster, kind: Kind, body: Manifest, live: Manifest | None, manager: str
) -> Twin:
    """Ask the server for the twin of a declared object; nothing is written."""
    name = free_name(str(body["metadata"]["name"]))
    trial = {**body, "metadata": {**body["metadata"], "name": name}}
    try:
        made = retrying(
            lambda: server_side_apply(
                cluster, kind, trial, manager=manager, force=False, dry_run=True
            ),
            seconds=_SECONDS,
        )
    except OpslibError as error:
        refused = scrubbed(error.what, body)
    else:
        return Twin(body, made, name)
    if live is None:
        return Twin(body, None, why=refused)
    try:
        made = retrying(
            lambda: _replaced(cluster, kind, body, Lock.of(live), manager), seconds=_SECONDS
        )
    except OpslibError:
        return Twin(body, None, why=refused)
    return Twin(body, made, str(body["metadata"]["name"]))


def _replaced(
    cluster: Cluster, kind: Kind, body: Manifest, lock: Lock, manager: str
) -> dict[str, Any]:
    metadata = body["metadata"]
    place = kind.path(str(metadata.get("namespace") or ""), str(metadata["name"]))
    locked = {**metadata, "uid": lock.uid, "resourceVersion": lock.resource_version}
    answer = cluster.request(
        "PUT",
        place,
        query={"dryRun": "All", "fieldManager": manager},
        body={**body, "metadata": locked},
    )
    return dict(answer)


def twin_for(twin: Twin, body: Manifest) -> Manifest | None:
    """Return the twin of another object that is like the one that was asked about.

    Both were declared alike but for names and numbers (see ``likeness``): what the server
    added to the one is added to the other, with its name.
    """
    if twin.manifest is None:
        return None
    name = str(body["metadata"]["name"])
    metadata = {**twin.manifest["metadata"], "name": twin.body["metadata"]["name"]}
    made = {**twin.manifest, "metadata": metadata}
    return dict(_Graft(twin.name, name).value(twin.body, made, body, ()))


@dataclass(frozen=True)
class _Graft:
    """Puts what was made of one declaration onto another, part by part."""

    old: str
    new: str

    def value(self, declared: Any, made: Any, other: Any, place: Place) -> Any:
        """Return ``other`` with what ``made`` has beyond ``declared``."""
        if isinstance(declared, dict) and isinstance(made, dict) and isinstance(other, dict):
            return self._mapping(declared, made, other, place)
        if isinstance(declared, list) and isinstance(made, list) and isinstance(other, list):
            return self._items(declared, made, other, place)
        return made if declared == other else other

    def _mapping(
        self, declared: Mapping[str, Any], made: Mapping[str, Any], other: Mapping[str, Any],
        place: Place,
    ) -> dict[str, Any]:  # fmt: skip
        names = dict(zip(declared, other, strict=False))
        found = {
            names[key]: self.value(declared[key], value, other[names[key]], (*place, key))
            for key, value in made.items()
            if key in names
        }
        added = {key: self.renamed(value) for key, value in made.items() if key not in names}
        return {**found, **added}

    def _items(self, declared: list[Any], made: list[Any], other: list[Any], place: Place) -> Any:
        pairs = named_items(declared, made, place)
        if pairs is None:
            if len(declared) != len(made) or len(made) != len(other):
                return other
            return [
                self.value(*three, (*place, index))
                for index, three in enumerate(zip(declared, made, other, strict=True))
            ]
        old, new = pairs
        numbers = {step: index for index, step in enumerate(old)}
        return [
            self.value(old[step], item, other[numbers[step]], (*place, step))
            if step in numbers and numbers[step] < len(other)
            else self.renamed(item)
            for step, item in new.items()
        ]

    def renamed(self, value: Any) -> Any:
        """Return a part that the server added, with the one name in place of the other."""
        if isinstance(value, str):
            return value.replace(self.old, self.new)
        if isinstance(value, dict):
            return {self.renamed(key): self.renamed(one) for key, one in value.items()}
        return [self.renamed(one) for one in value] if isinstance(value, list) else value
