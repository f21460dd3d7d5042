"""An app: what is applied from one folder of one repository, under one name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from opslib.core.errors import InputError
from opslib.core.model import Manifest

SYSTEM_NAMESPACE = "opslib-system"
"""Where the kit keeps its own bookkeeping in the cluster: inventories, statuses, leases."""

COMMIT = "opslib.dev/commit"
"""Annotation on each object: the commit that last changed it. Deployments pass it on to
their ReplicaSets, so that the history of a rollout names commits."""

PRUNE = "opslib.dev/prune"
"""Annotation by which an object opts out of being deleted: ``disabled``."""

MOVED_FROM = "opslib.dev/moved-from"
"""Annotation by which an object in Git takes the place of another app's: that app's name.
It is not deleted by the one and taken over by the other, in whichever order they run."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?")


@dataclass(frozen=True)
class App:
    """A name, and the field manager, inventory and lease that follow from it."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} cannot be the name of an app",
                where="--app",
                expected="1 to 53 lower-case letters, digits and dashes, as in a DNS label",
            )

    @property
    def manager(self) -> str:
        """The field manager of this app's writes: no two apps share one."""
        return f"opslib-{self.name}"

    @property
    def inventory(self) -> str:
        return f"inventory-{self.name}"

    @property
    def status(self) -> str:
        return f"status-{self.name}"

    @property
    def trials(self) -> str:
        return f"trials-{self.name}"

    @property
    def lease(self) -> str:
        return f"loop-{self.name}"


def giver_of(manifest: Manifest) -> str:
    """Return the field manager of the app that an object in Git moves away from; "" for none."""
    name = (manifest["metadata"].get("annotations") or {}).get(MOVED_FROM)
    return App(str(name)).manager if name else ""


def app_of(url: str, path: str) -> App:
    """Name an app after its repository and folder: ``payment-platform-production``.

    The folder is part of the name, so that two folders of one repository do not prune
    each other's objects.
    """
    repository = re.sub(r"(\.git)?/*$", "", url).rpartition("/")[2].rpartition(":")[2]
    words = re.sub(r"[^a-z0-9]+", "-", f"{repository} {path}".lower()).strip("-")
    return App(words[:53].strip("-") or "app")
