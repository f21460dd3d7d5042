"""The voice of a loop: its status in the cluster, and one line for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opslib.core.clock import stamp
from opslib.core.errors import OpslibError
from opslib.core.model import ResourceKey, Revision
from opslib.reconcile.health import Health
from opslib.reconcile.plan import Action
from opslib.reconcile.planned import Planned
from opslib.reconcile.seen import Seen
from opslib.reconcile.session import Session
from opslib.reconcile.status import LoopStatus, write_status
from opslib.reconcile.trials import Quarantine
from opslib.reconcile.wait import HealthOf

Say = Callable[[str], None]

LINES, LENGTH = 200, 500
"""Lines of each list in a status, and characters of each line."""


class Reporter:
    """Keeps a loop's status, and says each line once."""

    def __init__(self, session: Session, status: LoopStatus, say: Say) -> None:
        self.status = status
        self._session = session
        self._say = say
        self._told = ""
        self._warned = ""

    def note(self, **changes: Any) -> None:
        """Change fields of the status; ``write`` makes them known."""
        self.status = replace(self.status, **changes)

    def health(self, states: Mapping[ResourceKey, HealthOf]) -> None:
        """Note the objects that are not healthy; an empty mapping says that all are."""
        failed = any(state.health is Health.FAILED for state in states.values())
        first = next((str(state.health) for state in states.values()), str(Health.CURRENT))
        lines = [f"{s.key}: {s.health}: {s.message}" for s in states.values()]
        self.note(health=str(Health.FAILED) if failed else first, unhealthy=few(lines))

    def passed(self, seen: Seen, planned: Planned, phase: str, message: str) -> None:
        """Note what a pass came to; the source's trouble and a quarantine go before the rest."""
        changes, target = planned.prepared.plan.changes, seen.target
        self.health(seen.unhealthy)
        if phase == "synced":
            self.live(target.revision)
        self.note(
            phase=phase,
            message=message,
            drift=few([f"{c.action} {c.key}" for c in changes if c.key in seen.drift]),
            kept=few([f"{c.key}: {c.reason}" for c in changes if c.action is Action.KEEP]),
            source_error=target.trouble,
            quarantined=target.quarantine,
            proposal=None,
            depends_on=planned.depends_on,
        )
        if target.quarantine:
            self._quarantine(target.quarantine)
        if target.trouble:
            self.note(phase="error", message=_joined(target.trouble, self.status.message))
            self.tell(f"error: {target.trouble[:500]}")

    def _quarantine(self, one: Quarantine) -> None:
        """Say that a revision was taken back, and how Git may say so too."""
        state = "returned to" if one.returned_at else "returning to"
        text = f"revision {one.short} is quarantined: {one.reason}; {state} {one.good[:12]}"
        phase = "failed" if self.status.phase == "failed" else "quarantined"
        proposal = self._session.mirror.revert(one.good, one.commit, one.reason)
        self.note(phase=phase, message=_joined(text, self.status.message), proposal=proposal)
        if one.returned_at and text != self._warned:
            self._warned = text
            self.tell(text)
            self.tell(f"to take it back in Git: {' && '.join(proposal.commands)}")
            self.tell(f"to try it again: opslib watch --release {one.short}")

    def live(self, revision: Revision) -> None:
        """Note the commit that is live and healthy, since now if it was another before."""
        if self.status.applied_commit != revision.commit:
            self.note(applied_commit=revision.commit, applied_at=stamp())
        self.note(signed_by=revision.signed_by)

    def unwatched(self, lines: tuple[str, ...]) -> None:
        """Note what could not be watched since the last pass; said when it is news."""
        if lines and lines != self.status.unwatched:
            self.tell(f"not watched, read at each poll only: {'; '.join(lines)}")
        self.note(unwatched=lines)

    def write(self) -> None:
        """Write the status where it can be read; a server that is away does not end the loop."""
        try:
            write_status(self._session.cluster, self._session.app, self.status)
        except OpslibError as error:
            self.tell(f"the status could not be written: {error.what}")

    def tell(self, line: str) -> None:
        """Say one line, unless it was the last one already."""
        if line != self._told:
            self._say(line)
        self._told = line


def few(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the first lines and how many more there are: a ConfigMap holds 1 MiB at most."""
    more = (f"and {len(lines) - LINES} more",) if len(lines) > LINES else ()
    return (*(line[:LENGTH] for line in lines[:LINES]), *more)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
