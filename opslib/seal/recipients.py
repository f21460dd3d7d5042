"""For whom a value is sealed: clusters of seal.yaml as a commit has it, with certificates."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opslib.core.errors import InputError
from opslib.seal import certificates, fetching, live, pins
from opslib.seal.certificates import Certificate
from opslib.seal.controller import Controller
from opslib.seal.merging import Known
from opslib.seal.pins import Pinned, Pins

if TYPE_CHECKING:
    from opslib.kube.client import Cluster
    from opslib.source.trees import Tree

Connect = Callable[[str], "Cluster"]
"""Connects to the cluster of a context; "" is the one that was asked for, or the current."""
HERE = "the current cluster"


@dataclass(frozen=True)
class Recipient:
    """One cluster: its certificate, the folder of its SealedSecrets ("" is the root).

    ``known`` learns present values, so that equal ones keep their ciphertext. ``connect``
    connects to it.
    """

    name: str
    certificate: Certificate
    folder: str
    pinned: Pinned | None
    connect: Callable[[], Cluster] = field(repr=False)
    known: Known | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, str | bool]:
        return {
            "cluster": self.name,
            "key": self.certificate.fingerprint,
            "folder": self.folder,
            "pinned": self.pinned is not None,
        }


def recipients(
    tree: Tree, folder: str, names: Sequence[str], connect: Connect
) -> tuple[tuple[Recipient, ...], list[str]]:
    """Return the clusters to seal for, and what a person should know of their certificates.

    ``names`` are of seal.yaml, which is looked for in ``folder`` and above it; without any it
    has to pin one cluster, or none: then it is the current one, which is warned of. Raises
    InputError for names that are not pinned, and for certificates that may not be used.
    """
    place = _Place(tree, folder, pins.find_in(tree, folder), connect)
    made = tuple(place.recipient(pinned) for pinned in _chosen(place.pins, names))
    if not place.pins.clusters:
        place.told.append(
            f"{made[0].certificate.fingerprint} is not pinned in Git: whoever answers in the"
            " controller's place reads what is sealed; opslib seal pin NAME"
        )
    return made, place.told


def _chosen(found: Pins, names: Sequence[str]) -> tuple[Pinned | None, ...]:
    if names:
        return tuple(found.cluster(name) for name in dict.fromkeys(names))
    if len(found.clusters) > 1:
        known = ", ".join(one.name for one in found.clusters)
        raise InputError(
            f"{found.file} pins several clusters", where="clusters", expected=f"of: {known}"
        )
    return found.clusters or (None,)


@dataclass
class _Place:
    """A folder of a commit with the pins that count there."""

    tree: Tree
    folder: str
    pins: Pins
    connect: Connect
    told: list[str] = field(default_factory=list)

    def recipient(self, pinned: Pinned | None) -> Recipient:
        """Find the certificate of a cluster, and check it."""

        @functools.cache
        def cluster() -> Cluster:
            return self.connect(pinned.context if pinned else "")

        def controller() -> Controller:
            if pinned is None:
                return Controller(cluster())
            return Controller(cluster(), pinned.namespace, pinned.controller)

        place = pinned.certificate if pinned else ""
        if pinned and place and "://" not in place:
            one = self._in_tree(self._within(place))
            pins.check(one, pinned)
            said = certificates.check_dates(one)
        else:
            one, said = fetching.certificate(place, controller, pinned)
        self.told += [f"{pinned.name}: {text}" if pinned else text for text in said]
        known = None if place else (lambda one: live.values(cluster(), one))
        if pinned is None:
            return Recipient(HERE, one, self.folder, None, cluster, known)
        return Recipient(pinned.name, one, self._folder(pinned), pinned, cluster, known)

    def _folder(self, pinned: Pinned) -> str:
        """Return the folder of a cluster, or the asked one where that is inside of it."""
        own = self._within(pinned.path or ".")
        inside = not own or self.folder == own or self.folder.startswith(f"{own}/")
        return self.folder if inside else own

    def _within(self, path: str) -> str:
        """Return a path of seal.yaml from the repository's root. Raises InputError outside."""
        made = posixpath.normpath(posixpath.join(self.pins.file.parent.as_posix(), path))
        if made.startswith(("..", "/")):
            raise InputError(f"{path} is not in the repository", where=str(self.pins.file))
        return "" if made == "." else made

    def _in_tree(self, path: str) -> Certificate:
        if path not in set(self.tree.files("")):
            raise InputError("the certificate that seal.yaml names is not in Git", where=path)
        return certificates.parse(self.tree.read([path])[path], path)
