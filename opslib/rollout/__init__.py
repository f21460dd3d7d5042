"""Rollouts: how far, why not further, what before, and back. Nothing here prints."""

from opslib.rollout.describe import (
    Description,
    EventView,
    PodView,
    describe,
    describe_selector,
    explain,
)
from opslib.rollout.history import RevisionEntry, history
from opslib.rollout.logs import LogLine, logs
from opslib.rollout.status import Verdict, status
from opslib.rollout.targets import Target, find_target
from opslib.rollout.timeline import TimelineRow, timeline
from opslib.rollout.undo import UndoPlan, apply_undo, plan_undo

__all__ = [
    "Description",
    "EventView",
    "LogLine",
    "PodView",
    "RevisionEntry",
    "Target",
    "TimelineRow",
    "UndoPlan",
    "Verdict",
    "apply_undo",
    "describe",
    "describe_selector",
    "explain",
    "find_target",
    "history",
    "logs",
    "plan_undo",
    "status",
    "timeline",
]
