"""What of a review is looked at first, and which of its differences are alike.

The order: what opens or closes a door, then what runs, then the rest; in each what people
did, then what nobody knows, then what programs did; the newest first, for at night the last
change is the likely cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from opslib.core.clock import human_age, now, parse_stamp
from opslib.core.model import ResourceKey
from opslib.drift.model import Confidence, Difference, Disposition, Drift, Plane


class Weight(IntEnum):
    """Why a difference matters; the smaller the more."""

    SECURITY = 0
    RUNS = 1
    FIGHT = 2
    OBJECT = 3
    SPEC = 4
    LABELS = 5


WEIGHTS = {
    Weight.SECURITY: "security",
    Weight.RUNS: "what runs",
    Weight.FIGHT: "two writers",
    Weight.OBJECT: "not in Git",
    Weight.SPEC: "settings",
    Weight.LABELS: "labels",
}

# Kinds that say who may do what, what may reach what, or what is let in.
_SECURITY_KINDS = frozenset(
    {
        *("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount", "Secret"),
        *("NetworkPolicy", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "SealedSecret"),
        *("CertificateSigningRequest", "APIService", "PodSecurityPolicy"),
    }
)
_SECURITY = re.compile(
    r"securityContext|\bhost(?:Network|PID|IPC|Path|Port)\b|\bprivileged\b|\bcapabilities\b"
    r"|serviceAccount|automountServiceAccountToken|imagePullSecrets|pod-security\.kubernetes\.io"
    r"|\btls\b|caBundle|externalIPs|loadBalancerSourceRanges"
)
_RUNS = re.compile(
    r"\bimage\b|\bcommand\b|\bargs\b|\benv(?:From)?\b|containers\[[^]]*\]$|initContainers"
    r"|\bsuspend\b|\bpaused\b|\bselector\b|[pP]robe\b"
)
_LABELS = re.compile(r"metadata\.(?:labels|annotations|finalizers|ownerReferences)\b")


def weight(one: Drift) -> Weight:
    """Return why a difference matters."""
    if one.plane is Plane.SECRETS or one.key.kind in _SECURITY_KINDS or _SECURITY.search(one.path):
        return Weight.SECURITY
    if one.difference is Difference.MISSING or _RUNS.search(one.path):
        return Weight.RUNS
    if one.key.kind == "ConfigMap" and one.path.startswith(("data", "binaryData")):
        return Weight.RUNS
    if one.fight:
        return Weight.FIGHT
    if one.difference is Difference.EXTRA:
        return Weight.OBJECT
    return Weight.LABELS if _LABELS.match(one.path) else Weight.SPEC


def ordered(drifts: Iterable[Drift]) -> list[Drift]:
    """Return differences, those to look at first first; what somebody decided about last."""
    by_time = sorted(drifts, key=lambda one: moment(one)[0], reverse=True)
    return sorted(by_time, key=_rank)


def _rank(one: Drift) -> tuple[bool, int, int]:
    person = {True: 0, None: 1, False: 2}[one.attribution.person]
    return is_decided(one), weight(one), person


def is_decided(one: Drift) -> bool:
    """Tell whether somebody's answer still holds; a difference that came back needs a new one."""
    return one.decision.disposition not in {Disposition.OPEN, Disposition.REVERT}


def moment(one: Drift) -> tuple[str, str]:
    """Return when a difference began as far as is known, and the words before that time.

    ("", "") where nothing is known. Only the audit log proves an onset.
    """
    told = one.attribution
    sure = told.confidence in {Confidence.CERTAIN, Confidence.LIKELY}
    if one.since:
        return one.since, ""
    if told.actor and sure and told.actor.time:
        return told.actor.time, ""
    if told.not_later_than:
        return told.not_later_than, "not later than"
    return (one.first_seen, "first seen") if one.first_seen else ("", "")


def when(one: Drift) -> str:
    """Say since when: the age, and the time; an upper bound says that it is one."""
    time, _ = moment(one)
    return f"{ago(one)} ({time[:16].replace('T', ' ')}Z)" if time else "unknown"


def ago(one: Drift) -> str:
    """Say how long ago a difference began: 5 hours ago, or 3 months ago or before."""
    time, how = moment(one)
    if not time:
        return "unknown"
    text = f"{age(time)} ago" if age(time) else time
    return {"not later than": f"{text} or before", "first seen": f"seen {text}"}.get(how, text)


def named(key: ResourceKey) -> str:
    """Name an object as people do, without its API group."""
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"


def age(time: str) -> str:
    """Return how long ago a time is; "" for what is no time."""
    try:
        return human_age(max(0.0, (now() - parse_stamp(time)).total_seconds()))
    except ValueError:
        return ""


def who(one: Drift) -> str:
    """Name who did it in a few words, never more than is known."""
    told = one.attribution
    if told.actor and told.confidence in {Confidence.CERTAIN, Confidence.LIKELY}:
        text = told.actor.user
        if told.actor.impersonated_by:
            text = f"{told.actor.impersonated_by} as {text}"
        text += f" by {told.actor.client.split(' ')[0]}" if told.actor.client else ""
        return text if told.confidence is Confidence.CERTAIN else f"probably {text}"
    if told.candidates:
        names = " or ".join(dict.fromkeys(one.manager for one in told.candidates))
        return f"user unknown; manager {names}"
    return "unknown"


def kind_of_actor(one: Drift) -> str:
    """Say whether a person did it: person, program or unknown."""
    return {True: "person", False: "program", None: "unknown"}[one.attribution.person]


@dataclass(frozen=True)
class Group:
    """Differences that are alike: the same field of objects of one kind, in the same way."""

    drifts: tuple[Drift, ...]

    @property
    def first(self) -> Drift:
        return self.drifts[0]

    @property
    def objects(self) -> tuple[ResourceKey, ...]:
        return tuple(dict.fromkeys(one.key for one in self.drifts))

    def __len__(self) -> int:
        return len(self.drifts)


def grouped(drifts: Sequence[Drift], *, alike_from: int) -> list[Group]:
    """Return groups in order; each difference by itself where there are fewer than that many."""
    in_order = ordered(drifts)
    if len(in_order) < alike_from:
        return [Group((one,)) for one in in_order]
    found: dict[Any, list[Drift]] = {}
    for one in in_order:
        found.setdefault(_likeness(one), []).append(one)
    return [Group(tuple(each)) for each in found.values()]


def _likeness(one: Drift) -> tuple[Any, ...]:
    kind = (one.plane, one.key.group, one.key.kind)
    return (*kind, one.difference, one.path, one.attribution.person, one.decision.disposition)
