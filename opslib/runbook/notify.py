"""Tell people how a run ended: by apprise, to targets that are named and never written down.

A message for a setting is on disk, under the setting's name, before it is sent, and goes once
the target took it (see ``outbox``); no address is kept (see ``targets``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.clock import human_seconds
from opslib.core.errors import InputError
from opslib.runbook import outbox
from opslib.runbook.folder import HTML, RESULT
from opslib.runbook.outbox import Flushed, flush
from opslib.runbook.outcome import EXIT_CODES, Outcome
from opslib.runbook.reading import read_object
from opslib.runbook.targets import NAME, Message, Target, client, target_of

__all__ = ["NAME", "Flushed", "Message", "Notifier", "Target", "flush", "notifier", "refused"]

OUTCOMES = tuple(one.value for one in EXIT_CODES)
DEFAULT_ON = tuple(one for one in OUTCOMES if one != Outcome.OK.value)
_LONGEST = 1000


@dataclass(frozen=True)
class Notifier:
    """The targets and outcomes of one run, checked before it starts."""

    targets: tuple[Target, ...]
    outcomes: frozenset[str]

    def tell(self, folder: Path) -> list[str]:
        """Send what became of the run whose record is in ``folder``; return one line per target.

        The text is that of result.json on disk, which is redacted. Never raises for a target.
        """
        message = message_of(folder)
        outcome = str(read_object(folder / RESULT).get("outcome"))
        return self.send(message, outcome)

    def send(self, message: Message, outcome: str) -> list[str]:
        """Send a message when its outcome is one of the chosen."""
        if outcome not in self.outcomes:
            return []
        return [line for one in self.targets if (line := outbox.tell(one, message))]


def notifier(targets: Sequence[str], on: Sequence[str] = ()) -> Notifier:
    """Check targets (names of settings, or addresses) and outcomes; raises InputError."""
    chosen = tuple(on) or DEFAULT_ON
    for one in chosen:
        if one not in (*OUTCOMES, "all"):
            raise InputError(
                f"{one} is no outcome",
                where="--notify-on",
                expected=f"some of {', '.join(OUTCOMES)}, or all",
            )
    found = tuple(target_of(one) for one in targets)
    for target in found:
        client(target)
    return Notifier(found, frozenset(OUTCOMES if "all" in chosen else chosen))


def message_of(folder: Path) -> Message:
    """Return what to say of a finished record: what happened, to what, how long, where it is."""
    result = read_object(folder / RESULT)
    report, parameters = result.get("report") or {}, result.get("parameters") or {}
    outcome, error = str(result.get("outcome")), result.get("error") or {}
    target = report.get("cluster") if isinstance(report, dict) else None
    if isinstance(target, dict):
        target = target.get("server")
    shown = ", ".join(f"{name}={_short(value, 60)}" for name, value in parameters.items())
    rows = [
        ("What", _short(error.get("message") or "", _LONGEST) if error else ""),
        ("Target", _short(target, 200) if target else ""),
        ("Parameters", _short(shown, 400)),
        ("Started", str(result.get("started"))),
        ("Took", human_seconds(float(result.get("seconds") or 0))),
        ("Run", str(result.get("run_id"))),
        ("Record", str(folder / HTML)),
    ]
    body = "\n".join(f"{name}: {text}" for name, text in rows if text)
    grade = "success" if outcome == Outcome.OK.value else "failure"
    return Message(f"{result.get('runbook')}: {outcome}", body, grade, str(result.get("run_id")))


def refused(runbook: str, reason: str) -> Message:
    """Return what to say of a run that could not start: there is no record."""
    return Message(
        f"{Path(runbook).stem}: not started",
        f"What: {_short(reason, _LONGEST)}\nRecord: none, nothing was run",
        "failure",
    )


def _short(value: Any, width: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
