"""Apps that wait for one another: a circle of ``dependsOn``, named where it can be known.

Each app only names those before it. What those name in turn is in the app files of the same
commit, and in the cluster: the folder that an app was applied from, and what its loop says.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Sequence

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Revision
from opslib.kube.client import Cluster
from opslib.reconcile.app import App, app_of
from opslib.reconcile.appfile import APP_FILE, AppFile, load_appfile
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.status import find_status
from opslib.source.mirror import Mirror
from opslib.source.snapshot import clean_path

Says = Callable[[str], Sequence[str]]
"""The apps that an app of this name depends on; none where that is not known."""


def circle(start: str, says: Says) -> tuple[str, ...]:
    """Return the shortest way from an app back to itself, both ends named; () for none.

    Asks about each app once.
    """
    before: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for other in says(name):
            if other == start:
                return _way(start, name, before)
            if other not in before:
                before[other] = name
                waiting.append(other)
    return ()


def _way(start: str, last: str, before: dict[str, str]) -> tuple[str, ...]:
    way = [start]
    while last != start:
        way.append(last)
        last = before[last]
    return (start, *reversed(way))


def spelled(way: Sequence[str]) -> str:
    """Return a circle as one line."""
    return " -> ".join(way)


class Folders:
    """The app files of one commit, read as they are asked for.

    A folder's app has the name that it has without ``--app``, but for ``app`` itself, whose
    folder and file are known.
    """

    def __init__(self, mirror: Mirror, revision: Revision, app: App, own: AppFile) -> None:
        self._mirror = mirror
        self._commit = revision.commit
        self._read: dict[str, AppFile] = {clean_path(revision.path): own}
        self._named = self._names() if own.depends_on else {}
        self._named[app.name] = clean_path(revision.path)

    def _names(self) -> dict[str, str]:
        """Return the folder of each app; a name that two folders share says nothing."""
        found: dict[str, list[str]] = {}
        for path in self._mirror.files(self._commit):
            folder, file = posixpath.split(path)
            if file == APP_FILE and folder not in self._read:
                found.setdefault(app_of(self._mirror.url, folder).name, []).append(folder)
        return {name: folders[0] for name, folders in found.items() if len(folders) == 1}

    def says(self, name: str) -> Sequence[str]:
        """Return what the app of this name depends on, by its file in this commit."""
        return self.at(self._named[name]).depends_on if name in self._named else ()

    def at(self, folder: str) -> AppFile:
        """Return what a folder says of its app; what it says wrong is its own app's business."""
        if folder not in self._read:
            path = posixpath.join(folder, APP_FILE)
            try:
                text = self._mirror.read(self._commit, path).decode("utf-8", errors="replace")
                self._read[folder] = load_appfile(text, path)
            except OpslibError:
                self._read[folder] = AppFile()
        return self._read[folder]

    def origins(self, names: Sequence[str]) -> str:
        """Return where each of these apps says what it depends on."""
        return ", ".join(str(self.at(self._named[name]).depends_at) for name in names)


def refuse_circle(folders: Folders, app: App) -> None:
    """Raise InputError where this commit can never be applied from nothing: apps wait for it."""
    if way := circle(app.name, folders.says):
        raise InputError(
            f"apps depend on each other in a circle: {spelled(way)}"
            if way[1] != app.name
            else f"app {app.name} depends on itself",
            where=folders.origins(way[:-1]),
            expected="an order in which each app can be applied",
            hint="take one of them out of a dependsOn",
        )


def in_cluster(cluster: Cluster, folders: Folders, url: str) -> Says:
    """Return what is known of any app of a cluster: by this commit, and by what it left there.

    An app that came from another folder of the repository ``url`` is looked up in this commit;
    what it says elsewhere is known from its loop. Whatever cannot be read says nothing.
    """

    def says(name: str) -> Sequence[str]:
        found = list(folders.says(name))
        try:
            status = find_status(cluster, App(name))
            inventory = read_inventory(cluster, App(name))
            found += status.depends_on if status else ()
            places = {(inventory.url, inventory.path)}
            if status:
                places.add((status.url, status.path))
            for _, path in sorted(place for place in places if place[0] == url):
                found += folders.at(clean_path(path)).depends_on
        except (OpslibError, KeyError, TypeError, ValueError):
            # Another app's record that somebody spoiled is not in this one's way.
            found = list(folders.says(name))
        return list(dict.fromkeys(found))

    return says
