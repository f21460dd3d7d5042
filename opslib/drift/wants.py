"""The field that is looked for, and what may happen to the answer whether it has its value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from opslib.core.model import ResourceKey
from opslib.reconcile.diff import Step, list_steps, show
from opslib.reconcile.fieldpath import Place
from opslib.reconcile.mask import token
from opslib.reconcile.quantity import canonical

# Transitions of "it has the value": from no to no, no to yes, yes to no, yes to yes.
NO_NO, NO_YES, YES_NO, YES_YES = 1, 2, 4, 8


class Effect(NamedTuple):
    """Possible transitions: of a field without a default, and where the value is its default."""

    plain: int
    default: int


LEAVE = Effect(NO_NO | YES_YES, NO_NO | YES_YES)
SET = Effect(NO_YES | YES_YES, NO_YES | YES_YES)
UNSET = Effect(NO_NO | YES_NO, NO_NO | YES_NO)
CAN = Effect(15, 15)
NOTHING = Effect(0, 0)
RESET = Effect(UNSET.plain, SET.plain)
"""It is taken away, and gets its default where it has one."""
TOUCH = Effect(LEAVE.plain, NO_NO | NO_YES | YES_YES)
"""What it is in is written: where that is new, the field gets its default."""

ORDER = "(order)"

# Fields of the server's own kinds that get a value where none is given, and which ("*": any):
# https://github.com/kubernetes/kubernetes/tree/master/pkg/apis (defaults.go of each group),
# and what the server or its admission gives out.
_DEFAULTS = """
replicas=1 minReplicas=1 parallelism=1 completions=1 partition=0 backoffLimit=6|2147483647
revisionHistoryLimit=10 progressDeadlineSeconds=600 minReadySeconds=0 maxSurge=25%|0|1
maxUnavailable=25%|1|0 suspend=False concurrencyPolicy=Allow successfulJobsHistoryLimit=3
failedJobsHistoryLimit=1 completionMode=NonIndexed podReplacementPolicy=* manualSelector=False
podManagementPolicy=OrderedReady whenDeleted=Retain whenScaled=Retain type=* strategy=*
updateStrategy=* rollingUpdate=* persistentVolumeClaimRetentionPolicy=*
imagePullPolicy=Always|IfNotPresent terminationMessagePath=/dev/termination-log
terminationMessagePolicy=File restartPolicy=Always dnsPolicy=ClusterFirst
schedulerName=default-scheduler terminationGracePeriodSeconds=30 securityContext={} resources={}
serviceAccount=* serviceAccountName=* enableServiceLinks=True preemptionPolicy=* priority=*
tolerationSeconds=300 automountServiceAccountToken=True procMount=Default
divisor=0 fieldPath=* apiVersion=*
protocol=TCP sessionAffinity=None internalTrafficPolicy=Cluster externalTrafficPolicy=Cluster
ipFamilyPolicy=SingleStack ipFamilies=* clusterIP=* clusterIPs=* nodePort=* targetPort=* port=*
allocateLoadBalancerNodePorts=True timeoutSeconds=1|10|10800 healthCheckNodePort=* hostPort=*
periodSeconds=10 successThreshold=1 failureThreshold=3 initialDelaySeconds=0 scheme=HTTP path=/
service=* defaultMode=420 mode=* fsType=ext4 readOnly=False recursiveReadOnly=* emptyDir={}
sources=* expirationSeconds=3600 secretName=* volumeMode=Filesystem storageClassName=*
volumeName=* reclaimPolicy=Delete persistentVolumeReclaimPolicy=* volumeBindingMode=Immediate
allowVolumeExpansion=False attachRequired=True podInfoOnMount=False fsGroupPolicy=*
requiresRepublish=False storageCapacity=False seLinuxMount=False volumeLifecycleModes=*
pathType=ImplementationSpecific policyTypes=* apiGroup=* kind=* namespace=* uid=* group=*
version=* matchPolicy=Equivalent reinvocationPolicy=Never sideEffects=* scope=* operator=*
failurePolicy=Fail|Ignore namespaceSelector={} objectSelector={} selector=* template=*
nodeTaintsPolicy=Ignore nodeAffinityPolicy=Honor stabilizationWindowSeconds=* selectPolicy=Max
policies=* behavior=* metrics=* default=* defaultRequest=* max=* min=* conversion=* names=*
listKind=* singular=* served=* storage=* subjects=* metadata={} creationTimestamp=* value=
unhealthyPodEvictionPolicy=IfHealthyBudget globalDefault=False hostNetwork=False hostPID=False
hostIPC=False clientIP=* sessionAffinityConfig=* finalizers=* spec={} caBundle=* rules=* key=*
parameterNotFoundAction=* validationActions=* variables=* messageExpression=* resizePolicy=*
"""
DEFAULTS = {
    name: frozenset(values.split("|"))
    for name, _, values in (word.partition("=") for word in _DEFAULTS.split())
}


@dataclass(frozen=True)
class Want:
    """One field and the value that it has now; ``present`` is False where it has none.

    ``member``: the value is one text of a set of texts. ``secret``: the value is a token.
    ``builtin``: the object is of one of the server's own kinds.
    """

    place: tuple[Step, ...]
    present: bool
    value: Any = None
    member: bool = False
    secret: bool = False
    builtin: bool = True
    api_version: str = ""

    @property
    def reset(self) -> Effect:
        """What taking the field away does."""
        return RESET if self.present else SET

    @property
    def gone(self) -> Effect:
        """What taking away the item of a list that the field is in does."""
        return UNSET if self.present else SET

    @property
    def touch(self) -> Effect:
        """What writing to what the field is in does, where that does not have the field."""
        return TOUCH if self.present else joined(LEAVE, Effect(YES_NO, YES_NO))

    @property
    def may_default(self) -> bool:
        """Whether nobody need have written the value, as it may be the field's default."""
        if not self.present or self.place[:1] == ("metadata",):
            return False
        if not self.builtin:
            return True
        names = [step for step in self.place if isinstance(step, str)]
        if not names or names[0] in {"data", "stringData", "binaryData"}:
            return False
        known = DEFAULTS.get(names[-1], frozenset())
        return "*" in known or str(self.value) in known

    def moved(self, place: tuple[Step, ...]) -> Want:
        return replace(self, place=place)

    def judge(self, value: Any) -> Effect:
        """Return the effect of setting the field to a value (None: taking it away)."""
        if value is None:
            return self.reset
        if not self.present:
            # The server leaves out what is empty or zero, of many fields and not of all.
            return CAN if value in ({}, [], "", 0) else UNSET
        same = self.matches(value)
        return CAN if same is None else SET if same else UNSET

    def matches(self, value: Any) -> bool | None:
        """Tell whether a value that was sent is the one that the field has; None: maybe."""
        if self.member:
            return isinstance(value, list) and self.value in value
        if self.place[-1:] == (ORDER,):
            return self._in_order(value)
        if self.secret:
            return self.value in {value, token(value)}
        return _same(value, self.value, quantity=self._is_quantity)

    @property
    def _is_quantity(self) -> bool:
        words = {"resources", "limits", "requests", "capacity", "hard", "sizeLimit", "divisor"}
        return self.place[:1] != ("metadata",) and not words.isdisjoint(
            step for step in self.place if isinstance(step, str)
        )

    def _in_order(self, value: Any) -> bool | None:
        """Compare the order of a list's items; what it says names only those of both sides."""
        steps = list_steps(value, self.place[:-1]) if isinstance(value, list) else None
        if steps is None:
            return None
        wanted = str(self.value).split(", ")
        names = [show((step,)).strip("[]") for step in steps]
        return [name for name in names if name in wanted] == wanted


def _same(sent: Any, live: Any, *, quantity: bool) -> bool | None:
    if type(sent) is type(live) and sent == live:
        return True
    if isinstance(sent, dict | list) or isinstance(live, dict | list):
        return _same_parts(sent, live, quantity=quantity)
    if isinstance(sent, bool) or isinstance(live, bool):
        return False
    if isinstance(sent, int | float) and isinstance(live, int | float):
        return sent == live
    if quantity and canonical(sent) is not None:
        return canonical(sent) == canonical(live)
    return None if quantity else False


def _same_parts(sent: Any, live: Any, *, quantity: bool) -> bool | None:
    """Compare mappings and lists; the server may have added defaults to what was sent."""
    if isinstance(sent, dict) and isinstance(live, dict):
        parts = [key in live and _same(sent[key], live[key], quantity=quantity) for key in sent]
        return False if False in parts else None
    if isinstance(sent, list) and isinstance(live, list) and len(sent) == len(live):
        parts = [_same(a, b, quantity=quantity) for a, b in zip(sent, live, strict=True)]
        return False if False in parts else None if None in parts else True
    return False


def joined(one: Effect, other: Effect) -> Effect:
    """Return the effect of either of two."""
    return Effect(one.plain | other.plain, one.default | other.default)


def then(first: Effect, second: Effect) -> Effect:
    """Return the effect of one after the other."""
    return Effect(_then(first.plain, second.plain), _then(first.default, second.default))


def _then(first: int, second: int) -> int:
    result = 0
    for start in (0, 1):
        for middle in (0, 1):
            for end in (0, 1):
                if first & _bit(start, middle) and second & _bit(middle, end):
                    result |= _bit(start, end)
    return result


def _bit(start: int, end: int) -> int:
    return 1 << (2 * start + end)


def leaves(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Yield the parts of a value that requests set one by one; lists without keys as a whole."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, (*place, key))
    elif isinstance(value, list) and value and (steps := list_steps(value, place)):
        for step, part in zip(steps, value, strict=True):
            yield from leaves(part, (*place, step))
    else:
        yield place, value


def is_builtin(key: ResourceKey) -> bool:
    """Tell whether a kind is one of the server's own, by its group."""
    return "." not in key.group or key.group.endswith(".k8s.io")
