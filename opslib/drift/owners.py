"""What managedFields say of a field: which manager may have set it, and no later than when.

A manager's name is chosen by the client, its time is of one second and of its last change of
anything: this corroborates the audit log or contradicts it, and alone it is an upper bound.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opslib.drift.model import Candidate
from opslib.drift.moments import SECOND, Moment, moment_of, shown
from opslib.drift.refute import REPLICAS, entries_of, owners_of
from opslib.drift.track import Track, Write
from opslib.drift.wants import Want
from opslib.reconcile.ownership import paths

BEFORE_FIRST_APPLY = "before-first-apply"
"""The API server's own name for who had the fields before the first apply: whoever wrote to an
object that had no managers, as they were wiped or all of their fields were taken away."""


def candidates_of(entries: Sequence[Mapping[str, Any]], app_manager: str) -> tuple[Candidate, ...]:
    """Return entries as candidates, the newest first, without the app's own applies."""
    ordered = sorted(entries, key=lambda entry: str(entry.get("time")), reverse=True)
    return tuple(
        Candidate(
            str(entry.get("manager") or ""),
            str(entry.get("operation") or ""),
            str(entry.get("time") or ""),
            str(entry.get("subresource") or ""),
        )
        for entry in ordered
        if not is_own(entry, app_manager)
    )


def is_own(entry: Mapping[str, Any], app_manager: str) -> bool:
    """Tell whether an entry is of the app's own applies."""
    return entry.get("manager") == app_manager and entry.get("operation") == "Apply"


def latest(candidates: Sequence[Candidate]) -> str:
    """Return the time that the value was there by: each owner took it when it was there already.

    The times are cut to seconds: the end of that second. "" where none is known.
    """
    times = [moment_of(one.time) for one in candidates]
    known = [time for time in times if time]
    return shown(min(known) + SECOND) if known else ""


def contradictions(track: Track, start: Moment, *, created: bool) -> list[str]:
    """Say what was written to an object and is not in a log that begins at ``start``."""
    if track.live is None or track.wiped:
        return []
    found = []
    for entry in entries_of(track.live):
        at = moment_of(entry.get("time"))
        manager = str(entry.get("manager") or "")
        since = max(start, track.born)
        if at > since and not _explained(track, manager, at // SECOND):
            found.append(f"{manager} wrote at {shown(at)}, which is not in the log")
    generation = track.live["metadata"].get("generation")
    if created and isinstance(generation, int) and generation > track.count:
        found.append(f"of {generation} changes the log has {track.count}")
    return found


def _explained(track: Track, manager: str, second: int) -> bool:
    """Tell whether the log has a write through a manager in a second."""
    if manager == BEFORE_FIRST_APPLY:
        return any(seconds[second] for seconds in track.seconds.values())
    return manager in track.seconds and track.seconds[manager][second] > 0


def changed_it(track: Track, number: int, write: Write) -> bool:
    """Tell whether a write surely changed a field, and did not repeat the value that it had.

    An entry's time moves only when its manager changes something. Where its time is of the one
    write that its manager made in that second, and neither the entry nor the write has
    anything but this field, that write changed it.
    """
    second = write.received // SECOND
    if not write.alone or not write.alone[number] or write.apply or write.done // SECOND != second:
        return False
    if write.manager not in track.seconds or track.seconds[write.manager][second] != 1:
        return False
    entries = [entry for entry in entries_of(track.live) if entry.get("manager") == write.manager]
    return (
        len(entries) == 1
        and entries[0].get("operation") == "Update"
        and moment_of(entries[0].get("time")) // SECOND == second
        and track.trusts(write.received)
        and owners_of(track.live, track.wants[number]) == entries
        and sum(path[-1] != "." for path in paths(entries[0].get("fieldsV1") or {})) == 1
    )


def agrees(track: Track, want: Want, write: Write) -> bool:
    """Tell whether managedFields fit what the log says: that this write set this field.

    Entries of the scale subresource have no time in some versions of the API server.
    """
    if track.wiped or not want.present or not entries_of(track.live):
        return True
    owners = owners_of(track.live, want)
    if not owners and want.place == REPLICAS:
        return True  # writes to the scale subresource may leave it without an owner
    second = write.received // SECOND
    return any(
        entry.get("manager") in {write.manager, BEFORE_FIRST_APPLY}
        and (not entry.get("time") or moment_of(entry["time"]) // SECOND >= second)
        for entry in owners
    )
