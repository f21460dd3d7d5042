"""Planes beside Kubernetes objects: machines against their baseline, clouds against Terraform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Origin, ResourceKey
from opslib.drift.model import Difference, Drift, Plane, Unread
from opslib.reconcile.diff import show
from opslib.reconcile.fieldpath import Place

Looked = tuple[tuple[Drift, ...], tuple[Unread, ...]]

_DEEPEST = 50


class Source(Protocol):
    """What finds the differences of one plane; it changes nothing."""

    @property
    def name(self) -> str:
        """What a review calls it, such as ``nodes``."""

    def drifts(self) -> Looked:
        """Return the differences, and what could not be looked at. May raise OpslibError."""


def looked_at(sources: Iterable[Source]) -> tuple[list[Drift], list[Unread], dict[str, str]]:
    """Ask all sources; one that fails is unread and does not hide the others.

    The last is what is said of each plane: how many differences, or why it could not be seen.
    """
    drifts: list[Drift] = []
    unread: list[Unread] = []
    said: dict[str, str] = {}
    for source in sources:
        try:
            found, missed = source.drifts()
        except OpslibError as error:
            unread.append(Unread(source.name, error.what))
            said[source.name] = f"could not be looked at: {error.what}"
            continue
        drifts += found
        unread += missed
        many = "difference" if len(found) == 1 else "differences"
        said[source.name] = f"{len(found)} {many}"
    return drifts, unread, said


@dataclass(frozen=True)
class Baseline:
    """What Git says of one machine: settings by section, such as ``{"sysctl": {...}}``."""

    node: str
    settings: Mapping[str, Any]
    origin: Origin | None = None


@dataclass(frozen=True)
class Nodes:
    """Machines: the settings that a baseline declares, against facts that were measured.

    ``facts`` maps a machine's name to its sections. Only what is declared is compared: a machine
    has a thousand settings that no baseline speaks of.
    """

    baselines: tuple[Baseline, ...]
    facts: Mapping[str, Mapping[str, Any]]
    name: str = "nodes"

    def drifts(self) -> Looked:
        """Return one difference for each setting that is not as declared."""
        found: list[Drift] = []
        unread: list[Unread] = []
        for one in self.baselines:
            facts = self.facts.get(one.node)
            if facts is None:
                unread.append(Unread(f"node {one.node}", "no facts were measured"))
                continue
            for section, declared in one.settings.items():
                if section not in facts:
                    unread.append(Unread(f"{section} of node {one.node}", "it was not measured"))
                    continue
                found += _settings(one, declared, facts[section], (section,))
        return tuple(found), tuple(unread)


def _settings(one: Baseline, declared: Any, live: Any, place: Place) -> Iterator[Drift]:
    if isinstance(declared, Mapping) and isinstance(live, Mapping) and len(place) < _DEEPEST:
        for key, value in declared.items():
            yield from _settings(one, value, live.get(key), (*place, key))
    elif not _same(declared, live):
        kind = Difference.REMOVED if live is None else Difference.CHANGED
        key = ResourceKey("", "Node", "", one.node)
        yield Drift(Plane.NODES, kind, key, show(place), declared, live, one.origin, place=place)


def _same(declared: Any, live: Any) -> bool:
    """Compare as a machine's files do, in which every number is a text."""
    if isinstance(declared, str | int | float) and isinstance(live, str | int | float):
        return " ".join(str(declared).split()) == " ".join(str(live).split())
    return bool(declared == live)


def nodes_of(
    baselines: Mapping[str, Any], facts: Mapping[str, Any], path: str = ""
) -> Nodes:  # fmt: skip
    """Make the plane of two documents, both ``{machine: {section: {setting: value}}}``.

    Raises InputError where one has another form.
    """
    for what, document in (("baseline", baselines), ("facts", facts)):
        for node, sections in document.items():
            if not isinstance(sections, Mapping):
                raise InputError(
                    f"the {what} of {node} is no mapping of sections",
                    where=path or None,
                    expected="{machine: {section: {setting: value}}}",
                )
    origin = Origin(path, 1) if path else None
    rows = tuple(Baseline(node, settings, origin) for node, settings in baselines.items())
    return Nodes(rows, facts)
