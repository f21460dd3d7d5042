"""Tables for runbooks: pandas frames with one row per thing that a person looks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from opslib.core.model import Revision
    from opslib.policy import Report
    from opslib.reconcile.wait import HealthOf
    from opslib.rollout import EventView, RevisionEntry
    from opslib.runbook.parameters import Schema
    from opslib.runbook.records import RecordSummary
    from opslib.runbook.schedule import Schedule
    from opslib.source.render import Rendered


def revisions(entries: Sequence[Revision]) -> pd.DataFrame:
    """Return commits, newest first: commit, when, author, subject."""
    rows = [(e.short, e.committed_at, e.author, e.subject) for e in entries]
    return pd.DataFrame(rows, columns=["commit", "committed", "author", "subject"])


def resources(rendered: Rendered) -> pd.DataFrame:
    """Return what a revision declares: kind, namespace, name, API version, file and line."""
    rows = [(r.kind, r.namespace, r.name, r.api_version, str(r.origin)) for r in rendered.resources]
    names = ["kind", "namespace", "name", "apiVersion", "declared at"]
    return pd.DataFrame(rows, columns=names)


def findings(report: Report) -> pd.DataFrame:
    """Return policy findings, the gravest first."""
    rank = {"error": 0, "warning": 1, "info": 2}
    rows = sorted(
        (
            (str(f.severity), f.rule, str(f.origin), f.message, f.fix, _excused(f))
            for f in report.findings
        ),
        key=lambda row: rank.get(row[0], 3),
    )
    names = ["severity", "rule", "declared at", "what", "to do", "exception"]
    return pd.DataFrame(rows, columns=names)


def _excused(finding: Any) -> str:
    exception = finding.exception
    return f"until {exception.expires}: {exception.reason}" if exception else ""


def health(states: Iterable[HealthOf | Mapping[str, str]]) -> pd.DataFrame:
    """Return the health of each object, the worst first; states or their ``as_dict()``."""
    rank = {"Failed": 0, "NotFound": 1, "Unknown": 2, "Terminating": 3, "InProgress": 4}
    found = [one if isinstance(one, Mapping) else one.as_dict() for one in states]
    rows = [(one["object"], one["health"], one["message"]) for one in found]
    rows.sort(key=lambda row: rank.get(row[1], 9))
    return pd.DataFrame(rows, columns=["object", "health", "message"])


def events(entries: Sequence[EventView], limit: int = 15) -> pd.DataFrame:
    """Return the newest events, oldest first: time (UTC), type, reason, object, count, message."""
    rows = [
        (e.time[11:19], e.type, e.reason, e.object, e.count, e.message) for e in entries[-limit:]
    ]
    names = ["time", "type", "reason", "object", "count", "message"]
    return pd.DataFrame(rows, columns=names)


def history(entries: Iterable[RevisionEntry]) -> pd.DataFrame:
    """Return the revisions of a workload: number, whether it is live, images, commit, pods."""
    rows = [
        (
            e.revision,
            ("", "now")[e.current],
            e.images,
            e.commit[:12],
            e.replicas,
            e.change_cause,
        )
        for e in entries
    ]
    names = ["revision", "live", "images", "commit", "pods", "change cause"]
    return pd.DataFrame(rows, columns=names)


def records(entries: Iterable[Any], columns: Sequence[str]) -> pd.DataFrame:
    """Return one row per entry from its ``as_dict()``, with these columns only."""
    return pd.DataFrame([e.as_dict() for e in entries], columns=list(columns))


def parameters(schema: Schema) -> pd.DataFrame:
    """Return a runbook's parameters: name, type, default, help."""
    rows = [
        (one.name, one.type, "required" if one.required else repr(one.default), one.help)
        for one in schema.parameters
    ]
    return pd.DataFrame(rows, columns=["parameter", "type", "default", "help"])


def record_list(entries: Iterable[RecordSummary]) -> pd.DataFrame:
    """Return records as given: when, runbook, outcome, how long, where."""
    rows = [
        (one.started[:19], one.runbook, one.outcome, one.seconds, str(one.folder))
        for one in entries
    ]
    return pd.DataFrame(rows, columns=["started", "runbook", "outcome", "seconds", "folder"])


def schedules(entries: Iterable[Schedule]) -> pd.DataFrame:
    """Return schedules: runbook, when, in which zone, the next runs there."""
    rows = [
        (
            one.name,
            one.cron,
            one.timezone,
            ", ".join(f"{run:%a %d %b %H:%M}" for run in one.next_runs()),
            one.missed,
        )
        for one in entries
    ]
    names = ["runbook", "when", "zone", "next runs", "missed runs"]
    return pd.DataFrame(rows, columns=names)


def mappings(rows: Sequence[Any]) -> pd.DataFrame:
    """Return mappings as rows; their keys are the columns."""
    return pd.DataFrame(list(rows))
