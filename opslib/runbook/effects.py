"""Effects that happen once: ``runbook.once(name, effect)``, also when the run was cut off.

A step that reads may run again; one that changes something may not. The beginning and the end
of an effect are events of the record, on disk before the effect starts and before the notebook
goes on, so that a resumed run (``opslib run --resume``) knows what happened.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opslib.core.errors import ApprovalError, InputError
from opslib.runbook import channel, facts
from opslib.runbook.ledger import Ledger

if TYPE_CHECKING:
    from opslib.runbook.gates import Approval

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")
_MAX_RESULT = 1_000_000
_locks: dict[str, int] = {}


def once(
    name: str,
    effect: Callable[[], Any],
    *,
    idempotent: bool = False,
    look: Callable[[], Any] | None = None,
    under: Approval | None = None,
) -> Any:
    """Run an effect, keep its result in the record, and return it as JSON data.

    In a resumed run an effect that ended returns its stored result and is not run. One that
    began without an end is run again only if it is ``idempotent``. Else ``look``, if given,
    tells whether it happened: it returns the result, or None for no. Else the run stops
    (ApprovalError) and asks for a decision: ``--redo NAME`` or ``--skip NAME``. In
    JupyterLab an effect that ran already under the same plan is asked about first.

    ``under`` is the approval that the effect needs: it is required unless the effect ended
    before. ``name`` is unique in the runbook. The result must not be a secret: it is recorded.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name an effect", expected="letters, digits and . _ : / -, at most 100"
        )
    _hold()
    if under is not None and not ask("effect-known", name=name)["done"]:
        under.require()
    fields = {"name": name, "idempotent": idempotent, "look": look is not None}
    answer = ask("effect-begin", **fields)
    if answer["do"] == "look" and look is not None:
        found = facts.to_plain(look(), name)
        if found is not None:
            ask("effect-end", name=name, result=found, how="found")
            return found
        answer = ask("effect-begin", **fields, again=True)
    if answer["do"] == "again":
        if not _again(name, str(answer["at"])):
            return answer["result"]
        answer = ask("effect-begin", **fields, again=True)
    return answer["result"] if answer["do"] == "stored" else _run(name, effect)


def _run(name: str, effect: Callable[[], Any]) -> Any:
    try:
        raw = effect()
    except Exception as error:
        ask("effect-failed", name=name, error=f"{type(error).__name__}: {error}"[:2000])
        raise
    try:
        result = _kept(raw, name)
    except InputError:
        ask("effect-end", name=name, result=None, how="done, its result cannot be kept")
        raise
    ask("effect-end", name=name, result=result)
    return result


def _kept(raw: Any, name: str) -> Any:
    result = facts.to_plain(raw, name)
    if len(repr(result)) > _MAX_RESULT:
        raise InputError("the result is too large to be kept", where=name, expected="at most 1 MB")
    return result


def _again(name: str, at: str) -> bool:
    """Ask the person whether an effect that ran is to run again."""
    if not facts.context().interactive:
        raise ApprovalError(f"{name} ran already, at {at}", hint="nobody is here to say: again")
    text = f"{name} ran already at {at[11:19]} UTC under this plan. Type 'again' to run it again: "
    return input(text).strip().lower() == "again"


def ask(kind: str, **fields: Any) -> dict[str, Any]:
    """Ask the runner of this kernel; without one, this session's own ledger."""
    if facts.inside_run() and channel.available():
        return channel.call(kind, **fields)
    return own_ledger().handle(kind, fields)


@functools.cache
def own_ledger() -> Ledger:
    """Return the ledger of a kernel without a runner."""
    from opslib.runbook import live  # noqa: PLC0415  # it uses the ledger's events

    return Ledger(live.event, alone=facts.context().interactive)


def _hold() -> None:
    """Hold a lock until this kernel dies, so that nobody resumes its run while it still works.

    On Linux it dies with its runner (see ``launcher``), elsewhere about a second later.
    """
    folder = facts.context().folder
    if folder is None or str(folder) in _locks:
        return
    path = facts.effects_lock(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _locks[str(folder)] = handle
