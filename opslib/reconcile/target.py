"""Which revision a pass is for: the source's head, or the last good one in its place."""

from __future__ import annotations

from dataclasses import dataclass

from opslib.core.errors import OpslibError
from opslib.core.model import Revision
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.session import Session
from opslib.reconcile.trials import Quarantine, read_trials
from opslib.source.mirror import RewrittenHistory
from opslib.source.verify import Unverified


@dataclass(frozen=True)
class Target:
    """A revision, and why it is not the source's head where it is not.

    ``trouble`` is what is wrong with the source or its head; ``quarantine`` is the head's.
    """

    revision: Revision
    trouble: str = ""
    quarantine: Quarantine | None = None

    @property
    def commit(self) -> str:
        return self.revision.commit


def choose(session: Session, head: Revision) -> Target:
    """Return the head, or the last good revision where the head is in quarantine.

    Raises InputError when the mirror no longer has that revision.
    """
    quarantine = read_trials(session.cluster, session.app).quarantined(head.commit)
    if quarantine is None:
        return Target(head)
    good = read_inventory(session.cluster, session.app).commit or quarantine.good
    if good == head.commit:  # somebody applied it by hand, and it was healthy
        return Target(head)
    return Target(session.pinned(good), quarantine=quarantine)


def without_source(session: Session, error: OpslibError) -> Target:
    """Return what goes on while the source cannot be had: what is on trial, or the last good one.

    Raises ``error`` where there is nothing of the kind.
    """
    word = "refused" if isinstance(error, Unverified | RewrittenHistory) else "unavailable"
    return _instead(session, f"source {word}", error)


def without_head(session: Session, head: Revision, error: OpslibError) -> Target:
    """Return what goes on while the head cannot be applied, as ``without_source``.

    Raises ``error`` also where the head is that already, or was written in part.
    """
    instead = _instead(session, f"revision {head.short} cannot be applied", error)
    if instead.commit == head.commit:
        raise error
    return instead


def _instead(session: Session, why: str, error: OpslibError) -> Target:
    """Return a revision from the mirror: one on trial is not taken back before its verdict."""
    trials = read_trials(session.cluster, session.app)
    inventory = read_inventory(session.cluster, session.app)
    good, mirror = inventory.commit, session.mirror
    begun = trials.pending.commit if trials.pending else ""
    # Begun by a loop that verified nothing, or by a signature that counts no more: taken back.
    commit = begun if begun and session.vouched(begun) else good
    moved = good and (inventory.url, inventory.path) != (mirror.url, mirror.source.path)
    if not commit or moved:
        raise error
    try:
        revision = session.pinned(commit)
    except OpslibError:
        raise error from None
    name = "last good commit" if commit == good else "the revision on trial"
    text = f"{why}: reconciling {name} {revision.short}: {one_line(error)}"
    last = trials.quarantines[-1] if trials.quarantines and not trials.pending else None
    return Target(revision, text, last if last and last.good == good else None)


def one_line(error: Exception) -> str:
    """Return an error's whole text in one line of at most 2,000 characters."""
    return " ".join(str(error).split())[:2000]
