"""The one tree of errors.

::

    OpslibError                exit 1    a step failed
    ├── InputError             exit 2    bad input: settings, files, parameters, addresses
    ├── Unverified             exit 2    a commit that nobody trusted signed, or a replay
    ├── RewrittenHistory       exit 2    a branch that lost what was used of it, a moved tag
    ├── ApprovalError          exit 3    approval missing or denied
    ├── DriftFound             exit 4    check mode found a difference
    ├── ConflictError          exit 1    the live object is not the one that was reviewed
    ├── LockBusy               exit 75   somebody else holds the lock
    ├── DeadlineExceeded       exit 124  a deadline passed
    └── Interrupted            exit 130  stopped by a signal (143 for SIGTERM)

Every error says what is wrong, where, what was expected and what to do, each in
its own field, so that a terminal, a notebook and a JSON document can show the
same thing. Exit codes follow sysexits(3) for 75 and timeout(1) for 124.
"""

from __future__ import annotations

from typing import Any, ClassVar


class OpslibError(Exception):
    """A failure that a person should read.

    ``what`` is one sentence. ``where`` names the file:line, field, object or
    address. ``expected`` says what would have been right; ``hint`` what to do.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "failed"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        rows = [("where", self.where), ("expected", self.expected), ("to do", self.hint)]
        return "\n".join([self.what, *(f"  {name}: {text}" for name, text in rows if text)])

    def as_dict(self) -> dict[str, Any]:
        """Return the error as the JSON object that ``--json`` and result.json carry."""
        return {
            "kind": self.kind,
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class InputError(OpslibError):
    """Bad input: nothing was done."""

    exit_code = 2
    kind = "bad-input"


class ApprovalError(OpslibError):
    """An approval is missing, denied, or of another plan."""

    exit_code = 3
    kind = "denied"


class DriftFound(OpslibError):
    """Check mode found that the cluster is not what Git says."""

    exit_code = 4
    kind = "drift"


class ConflictError(OpslibError):
    """The live object is not the one that was planned for; nothing of it was written."""

    kind = "conflict"


class LockBusy(OpslibError):
    """Another process holds the lock."""

    exit_code = 75
    kind = "lock-busy"


class DeadlineExceeded(OpslibError):
    """A deadline passed before the work was done."""

    exit_code = 124
    kind = "timeout"


class Interrupted(OpslibError):
    """The work was stopped by a signal."""

    exit_code = 130
    kind = "interrupted"

    def __init__(self, what: str, *, signum: int = 2, where: str | None = None) -> None:
        super().__init__(what, where=where)
        self.signum = signum


class Problems(InputError):
    """Several bad inputs found in one pass, so that a person mends them in one go."""

    def __init__(self, problems: list[OpslibError]) -> None:
        first = problems[0]
        count = len(problems)
        title = first.what if count == 1 else f"{count} problems found"
        super().__init__(title, where=first.where if count == 1 else None)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "problems": [p.as_dict() for p in self.problems]}
