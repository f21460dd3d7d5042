"""Revisions on trial and in quarantine: a ConfigMap beside the app's inventory.

It outlives the loop, and every loop of the app reads the same. A revision is on trial from
before its first write until it is whole and healthy, or failed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opslib.core.errors import ConflictError, InputError, OpslibError
from opslib.core.model import ResourceKey
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile.app import SYSTEM_NAMESPACE, App
from opslib.reconcile.inventory import make_namespace

FORMAT = "opslib.dev/trials/v1"
KEPT = 20
"""Quarantined revisions that are remembered; the oldest is forgotten first."""

_TRIES = 5
_COLLECTION = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
Keys = frozenset[ResourceKey]


@dataclass(frozen=True)
class Trial:
    """A revision that is being applied.

    ``since`` is when its first write began (RFC 3339, UTC). ``excused`` are objects that were
    not healthy before it and that it does not change: they are not its fault.
    """

    commit: str
    since: str
    excused: Keys = frozenset()


@dataclass(frozen=True)
class Quarantine:
    """A revision that failed and is not applied again until it is released.

    ``good`` is the revision that was returned to, at ``returned_at`` ("" until that is done).
    """

    commit: str
    since: str
    reason: str
    good: str
    returned_at: str = ""

    @property
    def short(self) -> str:
        return self.commit[:12]


@dataclass(frozen=True)
class Trials:
    """What is known of an app's revisions since the last good one.

    ``created`` are objects that were absent before a revision on trial declared them, and
    ``adopted`` those that were there, of somebody else: a return deletes only the former.
    """

    trial: Trial | None = None
    quarantines: tuple[Quarantine, ...] = ()
    created: Keys = frozenset()
    adopted: Keys = frozenset()
    resource_version: str = field(default="", compare=False)

    @property
    def pending(self) -> Trial | None:
        """The revision that waits for its verdict; one in quarantine has it already."""
        one = self.trial
        return one if one and not self.quarantined(one.commit) else None

    def quarantined(self, commit: str) -> Quarantine | None:
        """Return the quarantine of a commit, or None."""
        return next((one for one in self.quarantines if one.commit == commit), None)

    def tried(self, trial: Trial, *, created: Keys, adopted: Keys) -> Trials:
        """Note that a revision goes on trial, and which objects are new with it.

        One in quarantine may go on trial by hand; it has to be returned from once more then.
        """
        return replace(
            self._returned_at(trial.commit, ""),
            trial=trial,
            created=(self.created - adopted) | created,
            adopted=(self.adopted - created) | adopted,
        )

    def failed(self, quarantine: Quarantine) -> Trials:
        """Move a revision from trial into quarantine."""
        others = tuple(one for one in self.quarantines if one.commit != quarantine.commit)
        return replace(self, trial=None, quarantines=(*others, quarantine)[-KEPT:])

    def returned(self, commit: str, at: str) -> Trials:
        """Note that the last good revision is whole and healthy again after this one."""
        return self._returned_at(commit, at).dropped()

    def dropped(self) -> Trials:
        """Note that nothing is on trial any more, without a verdict."""
        return replace(self, trial=None)

    def _returned_at(self, commit: str, at: str) -> Trials:
        rows = (replace(q, returned_at=at) if q.commit == commit else q for q in self.quarantines)
        return replace(self, quarantines=tuple(rows))

    def released(self, commit: str) -> Trials:
        """Let a quarantined revision be tried again."""
        return replace(
            self, quarantines=tuple(one for one in self.quarantines if one.commit != commit)
        )

    def settled(self, over: Callable[[str], bool], declared: Keys) -> Trials:
        """Note that a revision is good: nothing is on trial, and what it is ``over`` is history.

        What was adopted and is not declared stays noted: it never was the app's own.
        """
        left = tuple(one for one in self.quarantines if not over(one.commit))
        adopted = self.adopted - declared
        return replace(self, trial=None, quarantines=left, created=frozenset(), adopted=adopted)


def read_trials(cluster: Cluster, app: App) -> Trials:
    """Return an app's trials; OpslibError for ones that cannot be read."""
    live = cluster.find(f"{_COLLECTION}/{app.trials}")
    if live is None:
        return Trials()
    try:
        document = json.loads(live["data"]["trials"])
        if document["format"] != FORMAT:
            raise ValueError(document["format"])  # noqa: TRY301  # one place says what is wrong
        return _read(document, str(live["metadata"]["resourceVersion"]))
    except (KeyError, ValueError, TypeError) as error:
        raise OpslibError(
            "the app's list of quarantined revisions cannot be read",
            where=f"ConfigMap {SYSTEM_NAMESPACE}/{app.trials}",
            hint="somebody edited it: delete it, and every quarantine of the app is released",
        ) from error


def change_trials(cluster: Cluster, app: App, change: Callable[[Trials], Trials]) -> Trials:
    """Read, change and write an app's trials under their version; return what they are then.

    Nothing is sent when nothing changes. Raises ConflictError when others write all the time.
    """
    for _ in range(_TRIES):
        old = read_trials(cluster, app)
        new = change(old)
        if new == old:
            return old
        try:
            return _write(cluster, app, new)
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
            if error.code == 404:
                make_namespace(cluster)
    raise ConflictError(
        "the list of quarantined revisions changes faster than it can be written",
        where=f"ConfigMap {SYSTEM_NAMESPACE}/{app.trials}",
    )


def release(cluster: Cluster, app: App, commit: str) -> Quarantine:
    """Release a quarantined revision, named by 7 or more digits of its commit.

    Raises InputError where no such revision is in quarantine, naming those that are.
    """
    known = read_trials(cluster, app).quarantines
    found = [one for one in known if len(commit) >= 7 and one.commit.startswith(commit.lower())]
    if len(found) != 1:
        names = ", ".join(one.short for one in known)
        raise InputError(
            f"app {app.name} has no revision {commit[:40]!r} in quarantine",
            where="--release",
            expected=f"one of: {names}" if names else "nothing: no revision is in quarantine",
        )
    change_trials(cluster, app, lambda trials: trials.released(found[0].commit))
    return found[0]


def _write(cluster: Cluster, app: App, trials: Trials) -> Trials:
    document = {
        "format": FORMAT,
        "trial": trials.trial and {**vars(trials.trial), "excused": _rows(trials.trial.excused)},
        "quarantines": [vars(one) for one in trials.quarantines],
        "created": _rows(trials.created),
        "adopted": _rows(trials.adopted),
    }
    metadata = {
        "name": app.trials,
        "namespace": SYSTEM_NAMESPACE,
        "labels": {"app.kubernetes.io/managed-by": "opslib", "opslib.dev/app": app.name},
    }
    data = {"trials": json.dumps(document, separators=(",", ":"))}
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap"}
    if trials.resource_version:
        metadata["resourceVersion"] = trials.resource_version
        place = f"{_COLLECTION}/{app.trials}"
        live = cluster.request("PUT", place, body={**body, "metadata": metadata, "data": data})
    else:
        live = cluster.request(
            "POST", _COLLECTION, body={**body, "metadata": metadata, "data": data}
        )
    return replace(trials, resource_version=str(live["metadata"]["resourceVersion"]))


def _rows(keys: Iterable[ResourceKey]) -> list[list[str]]:
    return [[key.group, key.kind, key.namespace, key.name] for key in sorted(keys)]


def _keys(rows: Iterable[Iterable[str]]) -> Keys:
    return frozenset(ResourceKey(*map(str, row)) for row in rows)


def _read(document: Mapping[str, Any], version: str) -> Trials:
    trial = document["trial"]
    return Trials(
        trial and Trial(str(trial["commit"]), str(trial["since"]), _keys(trial["excused"])),
        tuple(Quarantine(**row) for row in document["quarantines"]),
        _keys(document["created"]),
        _keys(document["adopted"]),
        version,
    )
