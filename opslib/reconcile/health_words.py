"""What controllers mean by the words in conditions, reasons and phases.

Names are read word by word ("ProgressDeadlineExceeded" is progress, deadline, exceeded), so
that kinds nobody has seen before are understood by the vocabulary that controllers share.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


def vocabulary(text: str) -> frozenset[str]:
    """Return the words of a text, as a set."""
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_BAD = vocabulary(
    "aborted backoff broken canceled cancelled corrupt corrupted crash crashed crashing "
    "crashloop dead degraded denied err erroneous error errored errors evicted exceeded "
    "expired fail failed failing failure failures fatal faulted forbidden impaired "
    "inconsistent incorrect invalid killed lost misconfigured mismatch missing noncompliant "
    "offline overlapped red refused rejected stalled stuck terminal throwable timeout "
    "unauthorized uncontrolled unhealthy unreachable unrecoverable unresolvable "
    "unschedulable unsuccessful unsupported violation warning"
)
_BUSY = vocabulary(
    "acquiring activating allocating applying attaching binding booting bootstrapping "
    "building cloning configuring connecting creating deleting deploying detaching "
    "downloading draining expanding finalising finalizing growing importing incomplete "
    "initialising initializing initiating installing joining launching migrating ongoing "
    "partial partially pending preparing processing progress progressing promoting "
    "provisioning queued rebalancing rebooting reconciling recovering registering reloading "
    "removing renewing replicating reprocessing rerun resizing resolving restarting "
    "restoring resuming rolling rotating scaling scheduled scheduling shrinking starting "
    "submitted syncing terminating unavailable unpacking unready updating upgrading "
    "uploading validating verifying waiting yellow"
)
_IDLE = vocabulary("disabled hibernated idle paused stopped suspended")
_GOOD = vocabulary(
    "accepted active alive applied approved attached available bootstrapped bound complete "
    "completed compliant configured connected created deployed done enabled established "
    "exists finished fresh fulfilled green healthy imported initialized installed issued "
    "known nominal normal ok online operational optimal passed programmed promoted protected "
    "provisioned ready reconciled released resolved running satisfied serving settled stable "
    "started steady succeeded success successful successfully synced synchronized up updated "
    "valid verified"
)
_BAD_PAIRS = frozenset(
    [("not", word) for word in ("found", "allowed", "permitted", "supported")]
    + [("non", "compliant"), ("already", "exists")]
)
_POSITIVE_AFTER_NOT = _GOOD | frozenset({"progressing"})


class Sense(Enum):
    """What a word says about the object that carries it."""

    BAD = "bad"
    BUSY = "busy"
    IDLE = "idle"
    GOOD = "good"
    NONE = "none"


@lru_cache(maxsize=4096)
def _split(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(text))


def words(text: str) -> list[str]:
    """Split CamelCase, snake_case, kebab-case and sentences into lower-case words."""
    return list(_split(text))


def sense(text: str) -> Sense:
    """Say what a reason or a phase means; the worst word decides.

    "not" turns a good word into work in progress (NotReady), and "not found", "not allowed"
    and the like into a failure; "no errors" is no failure.
    """
    seen: set[Sense] = set()
    before = ""
    for word in words(text):
        seen.add(_sense_of(word, before))
        before = word
    for worst in (Sense.BAD, Sense.BUSY, Sense.IDLE, Sense.GOOD):
        if worst in seen:
            return worst
    return Sense.NONE


def _sense_of(word: str, before: str) -> Sense:
    if (before, word) in _BAD_PAIRS:
        return Sense.BAD
    if before == "not" and word in _POSITIVE_AFTER_NOT:
        return Sense.BUSY
    if before in {"no", "not", "non", "without"}:
        return Sense.NONE
    for meaning, known in (
        (Sense.BAD, _BAD),
        (Sense.BUSY, _BUSY),
        (Sense.IDLE, _IDLE),
        (Sense.GOOD, _GOOD),
    ):
        if word in known:
            return meaning
    return Sense.NONE


_ABNORMAL_LAST = vocabulary(
    "conflict degraded denied error errors failed failure failures invalid stalled terminal "
    "unhealthy"
)
_DAMNING_LAST = vocabulary(
    "degraded error errors failed failure failures stalled terminal unhealthy"
)
_ABNORMAL_WHOLE = frozenset({"dangling", "notready", "invalidspec", "nonstructuralschema"})
_BUSY_LAST = vocabulary(
    "creating deploying initializing installing issuing migrating progressing provisioning "
    "reconciling restarting rollingout scaling starting unpacking updating upgrading"
)
_DONE_LAST = vocabulary("available complete completed expected reconciled success succeeded")
_GOOD_LAST = vocabulary(
    "accepted applied available complete compliant configured deployed established healthy "
    "initialized installed programmed promoted provisioned ready reconciled scheduled "
    "succeeded synced synchronized"
)
_FINITE = vocabulary(
    "analysis backup build evaluation execution experiment job migration restore run snapshot "
    "task test workflow"
)
_PAST_LAST = [
    [word]
    for word in vocabulary("attempts backups executions history jobs operations revisions runs")
]
_FAILURE_FIRST = re.compile(
    r"(failed|failure|error|errors|unable|cannot|could not|invalid)\b", re.IGNORECASE
)


def abnormal(kind: str) -> bool:
    """Whether a condition of this type is bad when it is True (Degraded, FetchFailed, NotReady)."""
    parts = words(kind)
    return bool(parts) and (
        parts[-1] in _ABNORMAL_LAST or "".join(parts) in _ABNORMAL_WHOLE or parts[0] == "invalid"
    )


@lru_cache(maxsize=1024)
def damning(kind: str) -> bool:
    """Whether a condition of this type, when True, keeps any object from being current."""
    parts = words(kind)
    return bool(parts) and parts[-1] in _DAMNING_LAST


def busy(kind: str) -> bool:
    """Whether a condition of this type means work in progress when it is True."""
    parts = words(kind)
    return bool(parts) and (parts[-1] in _BUSY_LAST or parts in (["pending"], ["in", "progress"]))


def done(reason: str) -> bool:
    """Whether a reason of such a condition means that the work is over.

    A Deployment's Progressing stays True with NewReplicaSetAvailable after a rollout:
    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment
    """
    parts = words(reason)
    return bool(parts) and parts[-1] in _DONE_LAST


def positive(kind: str) -> bool:
    """Whether a condition of this type has to be True for the object to be well."""
    parts = words(kind)
    return bool(parts) and parts[-1] in _GOOD_LAST


def finite(kind: str) -> bool:
    """Whether objects of this kind come to an end, so that "running" is work in progress."""
    parts = words(kind)
    return bool(parts) and parts[-1] in _FINITE


def complains(message: str) -> bool:
    """Whether a message begins by saying that something failed."""
    return bool(_FAILURE_FIRST.match(message.strip()))


def idle(kind: str) -> bool:
    """Whether a condition of this type means that somebody stopped the object on purpose."""
    return kind.lower() in {"paused", "suspended", "suspend", "disabled", "hibernated"}


def past(field: str) -> bool:
    """Whether a field of this name tells what was, not what is."""
    parts = words(field)
    return parts[:1] in (["last"], ["previous"], ["past"]) or parts[-1:] in _PAST_LAST
