"""The gate: nothing is applied but the plan that somebody approved, by its hash.

In a runbook::

    approval = runbook.gate(plan_view(planned), apply=p.mode == "apply", approve=p.approve)
    forms.approval(approval)          # JupyterLab: plan, consequences and hash, with a button

    if approval.wanted:               # the next cell: a button does not hold up the cells below
        approval.require()

Headless, the approval comes by hash (the parameter, ``opslib run --approve``), by a file or a
signed commit (``--approve-from``, see ``approvals``), or in advance by a parameter, which
never covers a destructive plan. Every doubt is a refusal: exit code 3.
"""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from opslib.core.clock import now, parse_stamp, stamp
from opslib.core.errors import ApprovalError, InputError
from opslib.runbook import approvals, effects, facts
from opslib.runbook.approvals import Grant, problem_of

IN_ADVANCE = "in-advance"
MOST_PARTS = 20_000
"""Parts of a plan that a record keeps, 67 bytes each; of a larger one no remainder is covered."""
_PREFIX = re.compile(r"[0-9a-f]{12,64}")


class Subject(Protocol):
    """What a gate has to know of a plan.

    ``hash`` is its SHA-256 over all that an approver sees; ``summary`` one sentence;
    ``target`` the name of what is changed (typed to approve a destructive plan);
    ``consequences`` one line each; ``destructive``: something is deleted or replaced;
    ``empty``: nothing would be written; ``cluster``: the uid of the cluster, "" without one.
    It may have ``part_hashes``, a frozenset of texts: of what it consists of and of what it
    stands on (commit, cluster). A plan whose every part is one of an approved plan is what
    remains of that one. Without any, an approval covers the whole plan only.
    """

    @property
    def hash(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def consequences(self) -> tuple[str, ...]: ...
    @property
    def destructive(self) -> bool: ...
    @property
    def empty(self) -> bool: ...
    @property
    def cluster(self) -> str: ...


@dataclass(frozen=True)
class Plan:
    """A Subject, for whoever has no class of their own."""

    hash: str
    summary: str
    target: str
    consequences: tuple[str, ...] = ()
    destructive: bool = False
    empty: bool = False
    cluster: str = ""
    part_hashes: frozenset[str] = frozenset()


@dataclass
class Approval:
    """The state of one gate. ``wanted``: the run is to apply; ``reason``: why not approved."""

    subject: Subject
    runbook: str
    wanted: bool
    interactive: bool
    name: str = "gate"
    grant: Grant | None = None
    reason: str = ""
    carried: str = ""
    needless: bool = False
    stale: bool = False

    @property
    def given(self) -> bool:
        """Whether the plan may be applied."""
        return self.wanted and (self.grant is not None or self.needless)

    @property
    def remains_of(self) -> str:
        """The hash of the approved plan of which this one is what remains; "" for a whole one."""
        return self.grant.plan if self.grant and self.grant.plan != self.subject.hash else ""

    @property
    def signed_only(self) -> bool:
        """Whether a form cannot approve, because only signatures count here."""
        return approvals.approvers().on

    def approve(self, typed: str = "") -> str:
        """Take the approval of the person at the form; return why not, or "".

        For a destructive plan ``typed`` has to be the target's name.
        """
        if self.signed_only:
            return "only signed approvals count here: opslib approve RECORD --sign KEY"
        if self.subject.destructive and typed.strip() != self.subject.target:
            return f"this plan deletes: type the target's name, {self.subject.target}"
        self.grant = Grant(self.subject.hash, "form", person(), stamp())
        self.reason = ""
        self._tell()
        return ""

    def require(self) -> None:
        """Raise ApprovalError unless this plan is approved. Call it before the first effect."""
        if self.given:
            self._check_age()
            return
        if not self.wanted:
            raise ApprovalError("this run only plans: nothing may be applied")
        if self.stale:
            raise InputError(self.reason, where=self.subject.target, hint="start a new run")
        hint = f"approve this plan: {self.subject.hash}"
        if self.interactive:
            hint = "approve it in the form above, then run this cell again"
        raise ApprovalError(
            self.reason or "this plan is not approved yet", where=self.subject.target, hint=hint
        )

    def _check_age(self) -> None:
        if self.grant and self.grant.expires and parse_stamp(self.grant.expires) <= now():
            raise ApprovalError(f"the approval expired at {self.grant.expires}")

    def as_dict(self) -> dict[str, Any]:
        """Return the gate as result.json carries it under "approval"."""
        grant = self.grant
        return {
            "status": self.status,
            "hash": self.subject.hash,
            "target": self.subject.target,
            "cluster": self.subject.cluster or None,
            "destructive": self.subject.destructive,
            "how": grant.how if grant else None,
            "by": grant.by or None if grant else None,
            "at": grant.at or None if grant else None,
            "expires": grant.expires or None if grant else None,
            "signed_by": grant.signed_by or None if grant else None,
            "source": grant.source or None if grant else None,
            "carried_from": self.carried or None,
            "remains_of": self.remains_of or None,
            "reason": self.reason or None,
        }

    @property
    def status(self) -> str:
        """One word: planned, needless, approved, stale, pending (a form waits) or denied."""
        if not self.wanted:
            return "planned"
        if self.grant:
            return "approved"
        if self.needless or self.stale:
            return "stale" if self.stale else "needless"
        return "pending" if self.interactive else "denied"

    def _tell(self) -> None:
        """Put the state into the record: as data for result.json, as a sentence for people."""
        effects.ask("approval", name=self.name, approval=self.as_dict())
        if not facts.in_kernel():
            return
        from IPython.display import display  # noqa: PLC0415  # only a kernel has it

        text = self.sentence()
        shown = f"<div class='opslib-approval'>{html.escape(text)}</div>"
        bundle = {facts.APPROVAL_MIME: self.as_dict(), "text/plain": text, "text/html": shown}
        display(bundle, raw=True)

    def sentence(self) -> str:
        """Say how the gate stands."""
        short = self.subject.hash[:12]
        grant = self.grant
        match self.status:
            case "planned":
                return f"Only planned, nothing is written. To apply, approve {self.subject.hash}"
            case "stale":
                return f"{self.reason}; what was begun under it is done, and nothing new may begin."
            case "needless":
                return f"Plan {short} writes nothing: no approval is needed."
            case "approved" if grant:
                return f"Plan {short} {self._whose(grant)}."
            case "pending":
                return f"Plan {short} waits for an approval: {self.reason}"
        return f"Plan {short} denied: {self.reason}"

    def _whose(self, grant: Grant) -> str:
        who = grant.signed_by or grant.by
        given = f"approved by {who} ({grant.how}) at {grant.at[:19]}Z"
        if not self.remains_of:
            return given
        return f"is what remains of plan {grant.plan[:12]}, {given}; run {self.carried} began it"


def gate(
    subject: Subject,
    *,
    apply: bool,
    approve: str = "",
    in_advance: bool = False,
    name: str = "gate",
) -> Approval:
    """Decide whether a plan may be applied; the answer is in the record either way.

    ``apply`` is whether this run wants to apply at all. ``approve`` is the hash of the plan
    (12 digits at least) or an approval's source (a file, ``commit:…``). ``in_advance``
    approves a plan that deletes nothing whatever it is. In JupyterLab what is still
    missing can be given in a form. Headless, raises ApprovalError where it is.
    """
    where = facts.context()
    one = Approval(subject, _runbook(where), apply, where.interactive, name)
    if apply:
        try:
            one.grant = _carried(one)
            if one.grant is None and not one.stale:
                one.grant = _granted(one, approve, in_advance=in_advance)
            one.needless = one.grant is None and subject.empty and not one.stale
            one.reason = one.reason or ("" if one.given else "this plan was not approved")
        except ApprovalError as error:
            one.reason = error.what + (f" ({error.where})" if error.where else "")
    one._tell()  # noqa: SLF001  # of this module
    if apply and not where.interactive and not one.stale:
        one.require()
    return one


def _carried(one: Approval) -> Grant | None:
    """Return the approval of this plan in the run that this one resumes, if it still holds.

    It covers the same plan, and what remains of it: the ledger compares. A record is only a
    file: where signatures are required it approves nothing.
    """
    found: frozenset[str] = getattr(one.subject, "part_hashes", frozenset())
    parts = sorted(found) if len(found) <= MOST_PARTS else []
    answer = effects.ask("gate", name=one.name, plan=one.subject.hash, parts=parts)
    known = answer["approved"]
    if known is None:
        return None
    if not answer["covered"]:
        # The ledger let this pass: what began under the approved plan has ended.
        one.stale, one.carried = True, str(answer["run_id"])
        one.reason = f"the plan changed since it was approved in run {one.carried}"
        return None
    fields = {name: str(known.get(name) or "") for name in ("how", "by", "at", "expires", "source")}
    expired = fields["expires"] and parse_stamp(fields["expires"]) <= now()
    if one.signed_only or expired:
        return None
    one.carried = str(answer["run_id"])
    return Grant(str(answer["plan"]), **fields)


def _granted(one: Approval, approve: str, *, in_advance: bool) -> Grant | None:
    """Return the grant that covers the plan, None when none was given. Raises ApprovalError."""
    words = [
        approve,
        os.environ.get("OPSLIB_APPROVE", ""),
        os.environ.get("OPSLIB_APPROVE_FROM", ""),
    ]
    for word in words:
        if not word:
            continue
        grant = _by_hash(one, word) if _PREFIX.fullmatch(word) else approvals.from_source(word)
        problem = problem_of(
            grant,
            plan=one.subject.hash,
            runbook=one.runbook,
            cluster=one.subject.cluster,
            target=one.subject.target,
        )
        if problem:
            raise approvals.refused(problem, grant.source or f"approve {word}")
        return grant
    return _in_advance(one) if in_advance and not one.subject.empty else None


def _by_hash(one: Approval, word: str) -> Grant:
    if one.signed_only:
        raise approvals.refused("only signed approvals count here", f"approve {word}")
    if not one.subject.hash.startswith(word):
        raise approvals.refused(f"it is of another plan; this is {one.subject.hash}", word)
    return Grant(one.subject.hash, "hash", person(), stamp())


def _in_advance(one: Approval) -> Grant:
    if one.signed_only:
        raise approvals.refused("only signed approvals count here", IN_ADVANCE)
    if one.subject.destructive:
        raise approvals.refused("this plan deletes: that is approved by its hash only", IN_ADVANCE)
    return Grant(one.subject.hash, IN_ADVANCE, person(), stamp())


def person() -> str:
    """Return who sits here: JupyterHub's user, else that of the system."""
    from opslib.runbook.manifest import user  # noqa: PLC0415  # only where somebody approves

    return os.environ.get("JUPYTERHUB_USER") or user()


def _runbook(where: facts.Context) -> str:
    """Return the name of the running runbook; "" where nothing says it."""
    if where.folder is None:
        return Path(os.environ.get("JPY_SESSION_NAME", "")).stem
    try:
        found = json.loads((where.folder / "result.json").read_bytes())
        return str(found["runbook"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the run's own record cannot be read: {error}") from None
