"""Commits that decide on differences: adopt and ignore, each on a branch for somebody to merge."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.clock import stamp
from opslib.core.model import Revision
from opslib.core.settings import state_dir
from opslib.drift.model import Disposition, Drift
from opslib.drift.propose import Proposal, Refused
from opslib.reconcile.session import Session
from opslib.source.branch import Author, Committed, commit_files, free_branch, hand_over
from opslib.source.history import plain

_SHOWN = 200
"""Characters of a value in a commit's message."""
_VERBS = {Disposition.ADOPT: "Adopt", Disposition.IGNORE: "Ignore"}


@dataclass(frozen=True)
class Order:
    """What is decided, by whom and why, and where the commit goes.

    ``branch`` "": named after the differences. ``push``: also to where the source was fetched
    from. ``folder`` is for the patch file of a source that is no folder. ``until``: a last day.
    """

    disposition: Disposition
    author: Author
    reason: str = ""
    branch: str = ""
    push: bool = False
    folder: Path | None = None
    until: str = ""


@dataclass(frozen=True)
class Adopted:
    """A commit that decides on differences; ``committed`` is None where nothing could be done.

    ``refused`` are those that are not in it, each with the reason.
    """

    disposition: Disposition
    done: tuple[Drift, ...]
    refused: tuple[Refused, ...]
    committed: Committed | None
    message: str
    diff: str
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def next(self) -> str:
        """Say what a person does with it."""
        return self.committed.next if self.committed else "nothing was written"

    def as_dict(self) -> dict[str, Any]:
        made = self.committed
        return {
            "disposition": str(self.disposition),
            "ids": [drift.id for drift in self.done],
            "refused": [one.as_dict() for one in self.refused],
            "branch": made.branch if made else None,
            "commit": made.commit if made else None,
            "base": made.base if made else None,
            "where": made.where if made else None,
            "patch": str(made.patch) if made and made.patch else None,
            "pushed": bool(made and made.pushed),
            "files": list(self.files),
            "diff": self.diff,
            "message": self.message,
            "warnings": list(self.warnings),
            "next": self.next,
        }


def commit_proposal(session: Session, base: Revision, proposal: Proposal, order: Order) -> Adopted:
    """Commit edits that were proposed onto a commit; where there are none nothing is made."""
    made, message = None, ""
    if proposal.files and proposal.done:
        message = message_of(session.app.name, proposal.done, base, order)
        branch = order.branch or free_branch(session.mirror, _branch(proposal.done, order))
        made = commit_files(
            session.mirror, base.commit, proposal.files,
            branch=branch, message=message, author=order.author,
        )  # fmt: skip
        place = order.folder or state_dir() / "patches" / session.app.name
        made = hand_over(session.mirror, made, place, pushing=order.push)
    return Adopted(
        order.disposition,
        proposal.done,
        proposal.refused,
        made,
        message,
        proposal.diff,
        tuple(sorted(proposal.files)),
        proposal.warnings,
    )


def _branch(drifts: Sequence[Drift], order: Order) -> str:
    more = f"-and-{len(drifts) - 1}-more" if len(drifts) > 1 else ""
    return f"opslib/{order.disposition}-{drifts[0].id}{more}"


# -- the message


def message_of(app: str, drifts: Sequence[Drift], base: Revision, order: Order) -> str:
    """Return a commit's message: the differences, who made them, and what was decided."""
    lines = [_subject(_VERBS[order.disposition], drifts), ""]
    for drift in drifts:
        lines += _told(drift)
    decision = str(order.disposition) + (f" until {order.until}" if order.until else "")
    lines.append(f"Decision: {decision}, by {plain(str(order.author))} at {stamp()[:19]}Z")
    if why := plain(order.reason.replace("\n", " ")):
        lines += textwrap.wrap(f"Reason: {why}", 96, subsequent_indent="  ")
    lines += ["", f"Opslib-App: {app}", f"Opslib-Decision: {order.disposition}"]
    lines += [f"Opslib-Drift: {drift.id}" for drift in drifts]
    lines.append(f"Opslib-Base: {base.commit}")
    return "\n".join(lines) + "\n"


def _subject(verb: str, drifts: Sequence[Drift]) -> str:
    keys = list(dict.fromkeys(drift.key for drift in drifts))
    what = plain(str(keys[0]))
    if len(drifts) == 1:
        path = plain(drifts[0].path)
        text = f"{verb} {path} of {what}" if path else f"{verb} {drifts[0].difference}: {what}"
    else:
        where = what if len(keys) == 1 else f"{len(keys)} objects"
        text = f"{verb} {len(drifts)} differences of {where}"
    return text if len(text) <= 100 else f"{text[:99]}…"


def _told(drift: Drift) -> list[str]:
    who = plain(drift.attribution.sentence())
    since = f", since {drift.since[:19]}Z" if drift.since else ""
    if drift.path:
        lines = [
            f"{plain(str(drift.key))}: {plain(drift.path)} ({drift.difference})",
            f"  Git: {shown(drift.declared)}",
            f"  live: {shown(drift.live)}",
        ]
    else:
        lines = [f"{plain(str(drift.key))} ({drift.difference})"]
    return [*lines, f"  by: {who}{since}", ""]


def shown(value: Any) -> str:
    """Return a value on one line, shortened; "absent" for none."""
    if value is None:
        return "absent"
    text = plain(str(value).replace("\n", "⏎"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
