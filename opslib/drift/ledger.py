"""What became of each difference: first seen, decided, resolved; the next review starts here.

One file for each app in the state folder, with a part for each cluster. It holds no values.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from opslib.core.clock import human_seconds, now, parse_stamp
from opslib.core.errors import OpslibError
from opslib.core.files import exclusive, private_dir, write_atomic
from opslib.core.settings import state_dir
from opslib.drift.encode import decision_of
from opslib.drift.ignoring import joined
from opslib.drift.model import (
    UNDECIDED,
    Decision,
    Difference,
    Disposition,
    Drift,
    Plane,
    Review,
)

FORMAT = "opslib.dev/drift-ledger/v1"
MOST_EPISODES = 20
"""Earlier times of one difference that are kept."""
MOST_CLOSED = 5000
"""Differences that are kept after they were resolved, the newest ones."""


@dataclass(frozen=True)
class Episode:
    """One time that a difference was there; times are RFC 3339, "" where not (yet) known.

    ``since`` is when it began as the audit log proves, ``how`` what ended it.
    """

    first_seen: str
    since: str = ""
    last_seen: str = ""
    resolved_at: str = ""
    how: str = ""
    decision: Decision = UNDECIDED

    @property
    def open(self) -> bool:
        return not self.resolved_at


@dataclass(frozen=True)
class Entry:
    """One difference and its times, the present or last one first in ``now``."""

    id: str
    what: str
    path: str
    difference: str
    plane: str
    now: Episode
    before: tuple[Episode, ...] = ()


@dataclass(frozen=True)
class Figures:
    """How fast differences of an app are found and settled; seconds, None where none was."""

    detect_seconds: float | None
    detected: int
    resolve_seconds: float | None
    resolved: int
    open: int
    oldest_open_seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Compared:
    """A review beside the last one: ids that are new, that are still there, and that are gone."""

    last_taken_at: str
    new: tuple[str, ...]
    still: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass
class Ledger:
    """The ledger of one app on one cluster. Made by ``open``; each change is written at once."""

    app: str
    cluster: str
    entries: dict[str, Entry] = field(default_factory=dict)
    last_taken_at: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, app: str, cluster: str = "") -> Ledger:
        """Read an app's ledger; an empty one where it has none.

        One that cannot be read is put aside, which ``warnings`` says: a review goes on.
        """
        one = cls(app, cluster)
        one._load()
        return one

    @property
    def path(self) -> Path:
        return state_dir() / "drift" / f"{self.app}.json"

    # -- what happens

    def take(self, review: Review) -> tuple[Review, Compared]:
        """Note a review; return it with times and decisions, and what is new since the last one.

        What an earlier review had and this one has not is resolved, unless it could not be
        looked at, or is ignored until a day that has not passed.
        """
        with self._changing():
            at, last = review.taken_at, self.last_taken_at
            was = {one.id for one in self.entries.values() if one.now.open}
            for drift in review.drifts:
                self._see(drift, at)
            here = {drift.id for drift in review.drifts}
            gone = [one for one in was - here if self._settle(one, review)]
            self.last_taken_at = max(at, last)
        drifts = tuple(self.known(drift) for drift in review.drifts)
        new = tuple(d.id for d in review.drifts if d.id not in was)
        still = tuple(d.id for d in review.drifts if d.id in was)
        return replace(review, drifts=drifts), Compared(last, new, still, tuple(gone))

    def decide(self, drifts: Iterable[Drift], decision: Decision) -> None:
        """Note what was decided on some differences."""
        with self._changing():
            for drift in drifts:
                self._see(drift, drift.first_seen or decision.at)
                entry = self.entries[drift.id]
                self._put(entry, replace(entry.now, decision=decision))

    def resolve(self, drifts: Iterable[Drift], at: str, how: str) -> None:
        """Note that some differences are gone, such as by a revert."""
        with self._changing():
            for drift in drifts:
                entry = self.entries.get(drift.id)
                if entry and entry.now.open:
                    self._put(entry, replace(entry.now, resolved_at=at, how=how))

    # -- what is known

    def known(self, drift: Drift) -> Drift:
        """Return a difference with its times and decision; one that stays open says its age."""
        entry = self.entries.get(drift.id)
        if entry is None or not entry.now.open:
            return drift
        episode = entry.now
        note = joined(drift.note, standing(episode.decision))
        return replace(
            drift,
            first_seen=episode.first_seen,
            since=drift.since or episode.since,
            decision=episode.decision,
            note=note,
        )

    @property
    def open_entries(self) -> tuple[Entry, ...]:
        """Return what is open, the oldest first."""
        found = (one for one in self.entries.values() if one.now.open)
        return tuple(sorted(found, key=lambda one: one.now.since or one.now.first_seen))

    def figures(self, moment: datetime | None = None) -> Figures:
        """Return mean times to detect (since → first seen) and to resolve (→ resolved)."""
        every = [e for one in self.entries.values() for e in (one.now, *one.before)]
        found = [_between(e.since, e.first_seen) for e in every if e.since]
        done = [_between(e.first_seen, e.resolved_at) for e in every if e.resolved_at]
        opened = [e.since or e.first_seen for e in every if e.open]
        oldest = (moment or now()) - parse_stamp(min(opened)) if opened else None
        return Figures(
            fmean(found) if found else None,
            len(found),
            fmean(done) if done else None,
            len(done),
            len(opened),
            oldest.total_seconds() if oldest else None,
        )

    # -- what the above is made of

    def _see(self, drift: Drift, at: str) -> None:
        entry = self.entries.get(drift.id)
        if entry is None:
            fresh = Episode(at, drift.since, at)
            what = (drift.id, str(drift.key), drift.path, str(drift.difference), str(drift.plane))
            self.entries[drift.id] = Entry(*what, fresh)
        elif not entry.now.open:
            before = (entry.now, *entry.before)[:MOST_EPISODES]
            fresh = Episode(at, drift.since, at)
            self.entries[drift.id] = replace(
                entry, difference=str(drift.difference), now=fresh, before=before
            )
        else:
            since = drift.since or entry.now.since
            self._put(entry, replace(entry.now, last_seen=at, since=since))

    def _settle(self, one: str, review: Review) -> bool:
        """Note that a difference is not in a review any more; tell whether it is resolved."""
        entry = self.entries[one]
        if not _looked_at(entry, review):
            return False
        decision = entry.now.decision
        if decision.disposition is Disposition.IGNORE and review.taken_at[:10] <= decision.until:
            return False
        how = "gone" if decision.disposition is Disposition.OPEN else str(decision.disposition)
        self._put(entry, replace(entry.now, resolved_at=review.taken_at, how=how))
        return True

    def _put(self, entry: Entry, episode: Episode) -> None:
        self.entries[entry.id] = replace(entry, now=episode)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Read the file anew, let the block change it, and write it, under a lock."""
        private_dir(self.path.parent)
        with exclusive(self.path.with_suffix(".lock"), f"the ledger of {self.app}", wait=True):
            self._load()
            yield
            self._forget()
            self._save()

    def _forget(self) -> None:
        closed = [one for one in self.entries.values() if not one.now.open]
        closed.sort(key=lambda one: one.now.resolved_at, reverse=True)
        for one in closed[MOST_CLOSED:]:
            del self.entries[one.id]

    def _load(self) -> None:
        mine = self._document().get("clusters", {}).get(self.cluster, {})
        self.last_taken_at = str(mine.get("last_taken_at", ""))
        self.entries = {row["id"]: _entry(row) for row in mine.get("entries", ())}

    def _document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_bytes())
            if found["format"] != FORMAT:
                raise ValueError(found["format"])  # noqa: TRY301  # one place says what is wrong
            for part in found["clusters"].values():
                list(map(_entry, part["entries"]))
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            self._put_aside()
            return {}
        except OSError as error:
            what = f"the ledger cannot be read: {error.strerror}"
            raise OpslibError(what, where=str(self.path)) from None
        document: dict[str, Any] = found
        return document

    def _put_aside(self) -> None:
        aside = self.path.with_suffix(".broken")
        with contextlib.suppress(OSError):
            self.path.replace(aside)
        self.warnings = (f"the ledger could not be read and was put aside as {aside}",)

    def _save(self) -> None:
        document = self._document() or {"format": FORMAT, "app": self.app, "clusters": {}}
        rows = [asdict(one) for one in self.entries.values()]
        document["clusters"][self.cluster] = {"last_taken_at": self.last_taken_at, "entries": rows}
        write_atomic(self.path, json.dumps(document, indent=1, ensure_ascii=False), mode=0o600)


def standing(decision: Decision, moment: datetime | None = None) -> str:
    """Say of a decision that its difference is still there, and for how long; "" without one."""
    if decision.disposition is Disposition.OPEN or not decision.at:
        return ""
    age = ((moment or now()) - parse_stamp(decision.at)).total_seconds()
    by = f" by {decision.by}" if decision.by else ""
    return f"{decision.disposition} was decided {human_seconds(max(0.0, age))} ago{by}: still open"


def _looked_at(entry: Entry, review: Review) -> bool:
    """Tell whether a review would have shown a difference that were still there."""
    if entry.plane != Plane.OBJECTS and entry.plane not in review.planes:
        return False
    if entry.difference == Difference.EXTRA:
        return not review.unread
    return all(entry.what not in gap.what for gap in review.unread)


def _between(start: str, end: str) -> float:
    return max(0.0, (parse_stamp(end) - parse_stamp(start)).total_seconds())


def _entry(row: Mapping[str, Any]) -> Entry:
    before = tuple(map(_episode, row["before"]))
    return Entry(**{**row, "now": _episode(row["now"]), "before": before})


def _episode(row: Mapping[str, Any]) -> Episode:
    return Episode(**{**row, "decision": decision_of(row["decision"])})
