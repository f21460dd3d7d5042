"""Health of live objects: the rules of kstatus, and the places where it is blind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.model import Manifest, group_of
from opslib.reconcile.health import (
    NO_RULES,
    SHIPPED,
    Assessment,
    Health,
    HealthRules,
    assess,
    worst,
)
from opslib.reconcile.health_file import load_health_rules

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
APPS, BATCH, CORE = "apps/v1", "batch/v1", "v1"
P, C, F, T = Health.IN_PROGRESS, Health.CURRENT, Health.FAILED, Health.TERMINATING


def ago(seconds: float) -> str:
    """Return the stamp of a moment before NOW."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def make(
    api_version: str,
    kind: str,
    status: Any = None,
    *,
    spec: dict[str, Any] | None = None,
    age: float = 3600,
    **metadata: Any,
) -> Manifest:
    """Build a live object."""
    meta = {"name": "x", "creationTimestamp": ago(age), "generation": 1, **metadata}
    live: Manifest = {"apiVersion": api_version, "kind": kind, "metadata": meta}
    if spec is not None:
        live["spec"] = spec
    if status is not None:
        live["status"] = status
    return live


def cond(kind: str, status: str = "True", reason: str = "", message: str = "", **more: Any) -> Any:
    """Build a condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message, **more}


def deploy(want: int = 3, /, **status: Any) -> Manifest:
    """Build a Deployment: finished, unless ``status`` says otherwise."""
    done = cond("Progressing", "True", "NewReplicaSetAvailable")
    counts = dict.fromkeys(
        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), want
    )
    base = {"observedGeneration": 1, "conditions": [cond("Available"), done], **counts, **status}
    return make(APPS, "Deployment", base, spec={"replicas": want, "progressDeadlineSeconds": 600})


def with_spec(live: Manifest, **more: Any) -> Manifest:
    """Return a copy with further fields in its spec."""
    return {**live, "spec": {**live.get("spec", {}), **more}}


def stateful(status: dict[str, Any], **spec: Any) -> Manifest:
    """Build a StatefulSet of three, with all replicas there and ready."""
    counts = dict.fromkeys(("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"), 3)
    base = {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "a", **counts}
    return make(APPS, "StatefulSet", {**base, **status}, spec={"replicas": 3, **spec})


def daemon(status: dict[str, Any], **spec: Any) -> Manifest:
    """Build a DaemonSet on two nodes, finished unless ``status`` says otherwise."""
    fields = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberReady",
    )
    base = {"observedGeneration": 1, **dict.fromkeys(fields, 2)}
    return make(APPS, "DaemonSet", {**base, **status}, spec=spec)


def pod(phase: str, *conditions: Any, age: float = 3600, **status: Any) -> Manifest:
    """Build a Pod."""
    return make(CORE, "Pod", {"phase": phase, "conditions": list(conditions), **status}, age=age)


def waits(reason: str, message: str = "") -> dict[str, Any]:
    """Build the status of containers of which one waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "app", "state": state}]}


ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
LATE = {"lastTransitionTime": ago(300)}
EARLY = {"lastTransitionTime": ago(3)}
UNSCHEDULABLE = cond("PodScheduled", "False", "Unschedulable", "0/3 nodes are available")
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
LB = {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}

BUILT_IN: dict[str, tuple[Manifest, Health, str]] = {
    "deployment done": (deploy(), C, "all 3 replicas"),
    "deployment without status": (make(APPS, "Deployment", spec={"replicas": 0}), P, "not looked"),
    "deployment half updated": (deploy(updatedReplicas=1), P, "1 of 3 replicas are updated"),
    "deployment old pods left": (deploy(replicas=4), P, "1 old replicas"),
    "deployment not available": (deploy(availableReplicas=2), P, "2 of 3 replicas are available"),
    "deployment deadline": (
        deploy(conditions=[cond("Progressing", "False", "ProgressDeadlineExceeded", "timed out")]),
        F,
        "timed out",
    ),
    "deployment not complete": (
        deploy(conditions=[cond("Available"), cond("Progressing", "True", "ReplicaSetUpdated")]),
        P,
        "not complete",
    ),
    "deployment paused midway": (with_spec(deploy(updatedReplicas=0), paused=True), P, "paused"),
    "deployment paused and whole": (with_spec(deploy(), paused=True), C, "paused"),
    "deployment scaled to none": (deploy(0), C, "all 0 replicas"),
    "quota keeps pods out": (
        deploy(replicas=0, conditions=[cond("ReplicaFailure", message="exceeded quota", **LATE)]),
        F,
        "exceeded quota",
    ),
    "quota only just now": (
        deploy(replicas=0, conditions=[cond("ReplicaFailure", message="exceeded quota", **EARLY)]),
        P,
        "exceeded quota",
    ),
    "statefulset done": (stateful({}), C, "updated and ready"),
    "statefulset one missing": (stateful({"replicas": 2}), P, "2 of 3 replicas are there"),
    "statefulset not ready": (stateful({"readyReplicas": 1}), P, "1 of 3 replicas are ready"),
    "statefulset updating": (
        stateful({"updateRevision": "b", "updatedReplicas": 1}),
        P,
        "1 of 3 replicas are updated",
    ),
    "statefulset partition done": (
        stateful({"updateRevision": "b", "updatedReplicas": 1}, **PARTITION),
        C,
        "1 of them",
    ),
    "statefulset partition open": (
        stateful({"updateRevision": "b", "updatedReplicas": 0}, **PARTITION),
        P,
        "0 of 1 replicas are updated",
    ),
    "statefulset OnDelete old": (
        stateful({"updateRevision": "b", "updatedReplicas": 0}, **ON_DELETE),
        C,
        "3 run an older revision",
    ),
    "statefulset OnDelete unready": (stateful({"readyReplicas": 0}, **ON_DELETE), P, "0 of 3"),
    "daemonset done": (daemon({}), C, "all 2 pods"),
    "daemonset no status": (make(APPS, "DaemonSet", {}), P, "not looked"),
    "daemonset updating": (daemon({"updatedNumberScheduled": 1}), P, "1 of 2 pods are updated"),
    "daemonset OnDelete old": (
        daemon({"updatedNumberScheduled": 0}, **ON_DELETE),
        C,
        "2 run an older revision",
    ),
    "daemonset unready": (daemon({"numberReady": 0}), P, "0 of 2 pods are ready"),
    "replicaset short": (
        make(APPS, "ReplicaSet", {"fullyLabeledReplicas": 1}, spec={"replicas": 2}),
        P,
        "1 of 2",
    ),
    "replicaset shrinking": (
        make(
            APPS,
            "ReplicaSet",
            dict.fromkeys(
                ("replicas", "fullyLabeledReplicas", "availableReplicas", "readyReplicas"), 2
            ),
            spec={"replicas": 1},
        ),
        P,
        "1 replicas are still to end",
    ),
    "pod ready": (pod("Running", cond("Ready")), C, "ready"),
    "pod completed": (pod("Succeeded"), C, "completed"),
    "pod evicted": (pod("Failed", reason="Evicted", message="low on disk"), F, "low on disk"),
    "pod unschedulable for long": (pod("Pending", UNSCHEDULABLE), F, "0/3 nodes"),
    "pod unschedulable since now": (pod("Pending", UNSCHEDULABLE, age=5), P, "0/3 nodes"),
    "pod gated": (pod("Pending", cond("PodScheduled", "False", "SchedulingGated")), P, "gates"),
    "pod crash loop": (
        pod("Running", cond("Ready", "False"), **waits("CrashLoopBackOff", "back-off 5m0s")),
        F,
        "container app: CrashLoopBackOff: back-off",
    ),
    "pod image": (pod("Pending", **waits("ImagePullBackOff")), F, "ImagePullBackOff"),
    "pod image, first try": (pod("Pending", **waits("ErrImagePull")), F, "ErrImagePull"),
    "pod creating": (pod("Pending", **waits("ContainerCreating")), P, "starting"),
    "pod warming up": (pod("Running", cond("Ready", "False")), P, "not ready yet"),
    "pod never restarts": (
        with_spec(
            pod(
                "Running",
                containerStatuses=[{"name": "a", "state": {"terminated": {"exitCode": 3}}}],
            ),
            restartPolicy="Never",
        ),
        F,
        "exit code 3",
    ),
    "claim bound": (make(CORE, "PersistentVolumeClaim", {"phase": "Bound"}), C, "bound"),
    "claim pending": (make(CORE, "PersistentVolumeClaim", {"phase": "Pending"}), P, "no volume"),
    "claim lost": (make(CORE, "PersistentVolumeClaim", {"phase": "Lost"}), F, "lost its volume"),
    "volume failed": (
        make(CORE, "PersistentVolume", {"phase": "Failed", "message": "no plugin"}),
        F,
        "no plugin",
    ),
    "service": (make(CORE, "Service", {"loadBalancer": {}}, spec={}), C, ""),
    "balancer without address": (make(CORE, "Service", {}, spec=LB), P, "no address"),
    "balancer with address": (make(CORE, "Service", ADDRESS, spec=LB), C, "192.0.2.7"),
    "ingress without address": (make("networking.k8s.io/v1", "Ingress", {}), P, "address"),
    "ingress with address": (make("networking.k8s.io/v1", "Ingress", ADDRESS), C, "192.0.2.7"),
    "job not started": (make(BATCH, "Job", {}), P, "not started"),
    "job started": (make(BATCH, "Job", {"startTime": ago(9), "active": 1}), P, "1 active"),
    "job complete": (make(BATCH, "Job", {"conditions": [cond("Complete")]}), C, "complete"),
    "job failed": (
        make(BATCH, "Job", {"conditions": [cond("Failed", message="reached its limit")]}),
        F,
        "reached its limit",
    ),
    "job suspended": (make(BATCH, "Job", {}, spec={"suspend": True}), C, "suspended"),
    "cronjob unused": (make(BATCH, "CronJob", {}), C, "not scheduled"),
    "cronjob suspended": (make(BATCH, "CronJob", spec={"suspend": True}), C, "suspended"),
    "cronjob missed": (make(BATCH, "CronJob", {"lastScheduleTime": ago(9)}), C, "not succeeded"),
    "budget fresh": (make("policy/v1", "PodDisruptionBudget"), P, "not computed"),
    "budget without room": (
        make("policy/v1", "PodDisruptionBudget", {"observedGeneration": 1}),
        C,
        "0 disruptions",
    ),
    "budget broken": (
        make(
            "policy/v1",
            "PodDisruptionBudget",
            {"conditions": [cond("DisruptionAllowed", "False", "SyncFailed", "no scale")]},
        ),
        F,
        "no scale",
    ),
    "crd fresh": (make(*CRD), P, "does not serve"),
    "crd served": (make(*CRD, {"conditions": [cond("Established")]}), C, "serves"),
    "crd names taken": (
        make(*CRD, {"conditions": [cond("NamesAccepted", "False", "X", "is in use")]}),
        F,
        "in use",
    ),
    "crd installing": (
        make(*CRD, {"conditions": [cond("Established", "False", "Installing")]}),
        P,
        "",
    ),
    "namespace": (make(CORE, "Namespace", {"phase": "Active"}), C, "active"),
    "hpa fresh": (make("autoscaling/v2", "HorizontalPodAutoscaler"), P, "not looked"),
    "hpa works": (
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"currentReplicas": 2, "conditions": [cond("AbleToScale"), cond("ScalingActive")]},
        ),
        C,
        "2 replicas",
    ),
    "hpa without metrics": (
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"conditions": [cond("ScalingActive", "False", "FailedGetResourceMetric", **LATE)]},
        ),
        F,
        "cannot scale",
    ),
    "hpa warming up": (
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"conditions": [cond("ScalingActive", "False", "FailedGetResourceMetric", **EARLY)]},
        ),
        P,
        "FailedGetResourceMetric",
    ),
    "hpa off at zero": (
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"conditions": [cond("ScalingActive", "False", "ScalingDisabled", **LATE)]},
        ),
        C,
        "",
    ),
    "config map": (make(CORE, "ConfigMap"), C, "exists"),
    "role": (make("rbac.authorization.k8s.io/v1", "Role", age=0), C, ""),
    "network policy, new": (make("networking.k8s.io/v1", "NetworkPolicy", age=0), C, ""),
}

CR = ("example.dev/v1", "Widget")


def widget(*conditions: Any, **status: Any) -> Manifest:
    """Build a custom resource of a kind that nobody knows."""
    return make(*CR, {"conditions": list(conditions), **status} if conditions else status)


GENERIC: dict[str, tuple[Manifest, Health, str]] = {
    "ready": (widget(cond("Ready")), C, "Ready is True"),
    "not ready, no reason": (widget(cond("Ready", "False")), P, "Ready is False"),
    "not known": (widget(cond("Ready", "Unknown", "Checking")), P, "Checking"),
    "not ready, error": (widget(cond("Ready", "False", "ConfigError", "bad key")), F, "bad key"),
    "not ready, says failed": (widget(cond("Ready", "False", "X", "Failed to bind")), F, "bind"),
    "not ready, not found": (widget(cond("Ready", "False", "SecretNotFound")), F, "Secret"),
    "not ready, waits": (widget(cond("Ready", "False", "WaitingForDatabase")), P, "Waiting"),
    "not ready, phase failed": (widget(cond("Ready", "False"), phase="Failed"), F, "phase"),
    "stalled": (widget(cond("Ready"), cond("Stalled", message="stuck")), F, "stuck"),
    "reconciling": (widget(cond("Ready"), cond("Reconciling", message="step 2")), P, "step 2"),
    "reconciling again": (
        widget(
            cond("Reconciling", "True", "ProgressingWithRetry"),
            cond("Ready", "False", "Failed", "no such tag"),
        ),
        F,
        "no such tag",
    ),
    "not stalled": (widget(cond("Ready"), cond("Stalled", "False", "Failed")), C, ""),
    "degraded": (widget(cond("Available"), cond("Degraded", message="1 down")), F, "1 down"),
    "ready, sync error": (
        widget(cond("Ready"), cond("Synced", "False", "ReconcileError", "denied")),
        F,
        "denied",
    ),
    "fetch failed": (widget(cond("FetchFailed", message="timeout")), F, "timeout"),
    "paused": (widget(cond("Paused", message="by hand")), C, "by hand"),
    "available, still rolling": (
        widget(cond("Available"), cond("Progressing", "True", "Rolling", "2 of 3")),
        P,
        "2 of 3",
    ),
    "available, rolled": (
        widget(cond("Available"), cond("Progressing", "True", "NewReplicaSetAvailable")),
        C,
        "",
    ),
    "complete but failed": (widget(cond("Complete", "True", "JobFailed")), F, "JobFailed"),
    "conditions of yesterday": (
        make(
            *CR,
            {"conditions": [cond("Ready", observedGeneration=1)]},
            generation=2,
        ),
        P,
        "generation 1",
    ),
    "route accepted": (widget(parents=[{"conditions": [cond("Accepted")]}]), C, "met"),
    "route refused": (
        widget(
            parents=[
                {"conditions": [cond("Accepted")]},
                {"conditions": [cond("ResolvedRefs", "False", "X", "no such backend")]},
            ]
        ),
        F,
        "no such backend",
    ),
    "route unseen": (widget(parents=[{"conditions": []}]), P, "parent"),
    "phase ready": (widget(phase="Ready"), C, "phase is Ready"),
    "phase in capitals": (widget(state="ROLLING_UPDATE_FAILED"), F, "FAILED"),
    "phase creating": (widget(status="Creating"), P, "Creating"),
    "phase unknown": (widget(phase="Unknown"), Health.UNKNOWN, "Unknown"),
    "service runs": (make("example.dev/v1", "Database", {"phase": "Running"}), C, "Running"),
    "backup runs": (make("example.dev/v1", "Backup", {"phase": "Running"}), P, "Running"),
    "nested state": (widget(operation={"state": "Failed", "message": "disk"}), F, "disk"),
    "unhealthy flag": (widget(healthy=False), F, "false"),
    "ready flag": (widget(ready=False), P, "false"),
    "error message": (widget(errorMessage="quota"), F, "quota"),
    "too few replicas": (widget(replicas=3, readyReplicas=1), P, "1 of 3"),
    "enough replicas": (widget(replicas=3, readyReplicas=3), C, "3 of 3"),
    "severity error": (widget(cond("Ready", "False", severity="Error")), F, "Ready is False"),
    "severity info": (widget(cond("Ready", "False", severity="Info")), P, "Ready is False"),
    "status in lower case": (widget(cond("Ready", "true")), C, "Ready"),
    "Ready of yesterday": (
        make(
            *CR,
            {"conditions": [cond("Ready", observedGeneration=1), cond("Synced")]},
            generation=2,
        ),
        P,
        "generation 1",
    ),
    "failed and paused": (
        with_spec(widget(cond("Ready", "False", "Failed", "no disk")), paused=True),
        P,
        "no disk",
    ),
    "degraded and paused": (with_spec(widget(cond("Degraded")), paused=True), P, "paused"),
    "paused and ready": (with_spec(widget(cond("Ready")), suspend=True), C, "Ready"),
    "one member failed": (
        widget(cond("Ready"), shards=[{"phase": "Running"}, {"phase": "Failed"}]),
        F,
        "one of its shards",
    ),
    "one past run failed": (widget(cond("Ready"), runs=[{"phase": "Failed"}]), C, "Ready"),
    "last backup failed": (widget(phase="Running", lastBackupStatus="Failed"), C, "Running"),
    "a worse word beside": (widget(phase="Bound", volumeStatus="Failed"), F, "volumeStatus"),
    "another cloud has it not": (widget(state="NotFound"), Health.NOT_FOUND, "NotFound"),
    "health in colours": (widget(health="yellow"), P, "yellow"),
    "warning": (widget(state="Warning", reason="no route"), F, "no route"),
    "silent and held": (make(*CR, finalizers=["dev/keep"]), P, "no controller"),
    "silent and young": (make(*CR, age=2), P, "no controller"),
    "silent and old": (make(*CR), C, ""),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_kinds(name: str) -> None:
    """Each built-in kind is judged by its own fields, and the sentence says which."""
    live, health, words = BUILT_IN[name]
    answer = assess(live, at=NOW)
    assert (answer.health, words in answer.message) == (health, True), answer


@pytest.mark.parametrize("name", GENERIC)
def test_unknown_kinds(name: str) -> None:
    """A kind nobody knows is judged by its conditions, phases, flags and counts."""
    live, health, words = GENERIC[name]
    answer = assess(live, at=NOW)
    assert (answer.health, words in answer.message) == (health, True), answer


def test_deletion_comes_first() -> None:
    """An object that is being deleted is Terminating, whatever else it says, and by whom held."""
    live = make(*CR, {"phase": "Ready"}, deletionTimestamp=ago(60), finalizers=["dev/keep"])
    answer = assess(live, at=NOW)
    assert answer.health is T
    assert "dev/keep" in answer.message


@pytest.mark.parametrize(
    ("observed", "health"), [(1, P), (2, C), (3, C), ("1", P), ("2", C), ("7bcd5c", C), (None, C)]
)
def test_generation(observed: Any, health: Health) -> None:
    """An older observed generation is work in progress; one that is a hash or newer is not."""
    live = make(*CR, {"observedGeneration": observed, "phase": "Ready"}, generation=2)
    assert assess(live, at=NOW).health is health


def test_absent() -> None:
    """What does not exist is NotFound."""
    assert assess(None).health is Health.NOT_FOUND


def test_job_cleared_away_by_its_ttl_is_no_loss() -> None:
    """A Job seen alive that vanished by its TTL is Current; Failed when it was seen to fail."""
    spec = {"ttlSecondsAfterFinished": 5}
    seen = make(BATCH, "Job", {"active": 1}, spec=spec, uid="u1")
    assert assess(None, seen=seen).health is C
    broken = make(BATCH, "Job", {"conditions": [cond("Failed")]}, spec=spec, uid="u1")
    assert assess(None, seen=broken).health is F
    assert assess(None, seen=make(BATCH, "Job", spec=spec)).health is Health.NOT_FOUND
    assert assess(None, seen=make(BATCH, "Job", uid="u1")).health is Health.NOT_FOUND
    assert assess(None, seen=make(APPS, "Deployment", uid="u1")).health is Health.NOT_FOUND


def test_waits_have_an_end() -> None:
    """An unschedulable pod and a silent custom resource change their health with time."""
    waiting = pod("Pending", UNSCHEDULABLE, age=0)
    assert assess(waiting, at=NOW + timedelta(seconds=14)).health is P
    assert assess(waiting, at=NOW + timedelta(seconds=15)).health is F
    silent = make(*CR, age=0)
    assert assess(silent, at=NOW + timedelta(seconds=9)).health is P
    assert assess(silent, at=NOW + timedelta(seconds=10)).health is C


@pytest.mark.parametrize(
    "live",
    [
        {},
        {"apiVersion": "apps/v1", "kind": "Deployment", "status": []},
        make(APPS, "Deployment", {"observedGeneration": 1}, spec={"replicas": "three"}),
        make(CORE, "Pod", {"containerStatuses": ["x"], "phase": "Running"}),
        make(*CR, {"conditions": "broken"}),
        make(*CR, {"conditions": [None, 3, {"status": "True"}]}),
    ],
)
def test_odd_shapes_do_not_raise(live: Manifest) -> None:
    """An object of an unexpected shape gets an answer, not an exception."""
    assert assess(live, at=NOW).message


FIELDS = (
    *(f for k in BUILT_IN.values() for f in k[0].get("status") or {}),
    "conditions",
    "type",
    "status",
    "reason",
    "phase",
    "ingress",
    "state",
    "waiting",
    "spec",
    "parents",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from(["True", "Failed", "", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = [
    (APPS, "Deployment"),
    (APPS, "StatefulSet"),
    (APPS, "DaemonSet"),
    (CORE, "Pod"),
    (CORE, "Service"),
    (BATCH, "Job"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    CRD,
    CR,
]


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), status=JSON, spec=JSON)
def test_any_status_gets_an_answer(kind: tuple[str, str], status: Any, spec: Any) -> None:
    """Whatever a status holds, the answer is an assessment with a sentence on one line."""
    answer = assess({**make(*kind, status), "spec": spec}, at=NOW)
    assert isinstance(answer.health, Health)
    assert answer.message
    assert "\n" not in answer.message


NEVER = (
    "Degraded",
    "Failed",
    "Stalled",
    "CreateFailed",
    "ReplicaFailure",
    "SyncError",
    "HasErrors",
)
PHASES = st.sampled_from(["", "Ready", "Running", "Succeeded", "Active", "Bound", "Creating", "x"])
GENERATION = st.none() | st.integers(0, 4)
CONDITION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["Ready", "Available", "Healthy", "Synced", "Complete", "Paused", "Progressing", "X"]
        ),
        "status": st.sampled_from(["True", "False", "Unknown", "true", ""]),
        "reason": st.sampled_from(["", "Succeeded", "Paused", "Failed", "NotReady"]),
    },
    optional={"observedGeneration": GENERATION, "message": st.text(max_size=8)},
)
STATUS = st.fixed_dictionaries(
    {"conditions": st.lists(CONDITION, max_size=4), "phase": PHASES},
    optional={
        "observedGeneration": GENERATION,
        "replicas": st.integers(0, 3),
        "readyReplicas": st.integers(0, 3),
        "updatedReplicas": st.integers(0, 3),
        "availableReplicas": st.integers(0, 3),
        "healthy": st.booleans(),
        "loadBalancer": st.just({"ingress": [{"ip": "192.0.2.1"}]}),
    },
)
SPEC = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "suspend": st.booleans(),
        "type": st.sampled_from(["LoadBalancer", "ClusterIP"]),
    },
)
ANY_KIND = [
    *KINDS,
    (CORE, "ConfigMap"),
    (CORE, "PersistentVolumeClaim"),
    (BATCH, "CronJob"),
    ("networking.k8s.io/v1", "Ingress"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("metrics.keptn.sh/v1", "Analysis"),
]
ALL_CURRENT = load_health_rules(
    "apiVersion: opslib.dev/v1alpha1\nkind: HealthRules\nrules:\n"
    + "".join(
        f"  - {{group: '{group_of(api)}', kind: {kind}, current: 'true'}}\n"
        for api, kind in ANY_KIND
    ),
    "health.yaml",
)
RULES = st.sampled_from([SHIPPED, NO_RULES, ALL_CURRENT])


BAD = st.fixed_dictionaries(
    {"type": st.sampled_from(NEVER), "status": st.sampled_from(["True", "true"])},
    optional={"observedGeneration": GENERATION, "message": st.text(max_size=8)},
)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(ANY_KIND),
    status=STATUS,
    spec=SPEC,
    bad=st.tuples(st.integers(0, 4), BAD),
    rules=RULES,
)
def test_never_current_where_degraded_is_true(
    kind: tuple[str, str],
    status: dict[str, Any],
    spec: dict[str, Any],
    bad: tuple[int, dict[str, Any]],
    rules: HealthRules,
) -> None:
    """No kind is current with Degraded, Failed, Stalled or the like True, whatever else it says.

    Neither other conditions, phases, counts, generations, a pause, nor a rule that calls
    everything current change that.
    """
    status["conditions"].insert(*bad)
    live = {**make(*kind, status, generation=3), "spec": spec}
    assert assess(live, at=NOW, rules=rules).health is not C


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(ANY_KIND),
    status=STATUS,
    spec=SPEC,
    observed=st.sampled_from([0, 1, 2, "0", "2"]),
    rules=RULES,
)
def test_never_current_before_the_controller_has_seen_it(
    kind: tuple[str, str],
    status: dict[str, Any],
    spec: dict[str, Any],
    observed: Any,
    rules: HealthRules,
) -> None:
    """No kind is current while its controller has seen an older generation only."""
    status["observedGeneration"] = observed
    live = {**make(*kind, status, generation=3), "spec": spec}
    assert assess(live, at=NOW, rules=rules).health is not C


@settings(max_examples=150, deadline=None)
@given(
    status=STATUS,
    spec=SPEC,
    summary=st.sampled_from(["Ready", "Available", "Healthy"]),
    observed=st.integers(0, 2),
    rules=RULES,
)
def test_never_current_by_a_summary_of_yesterday(
    status: dict[str, Any],
    spec: dict[str, Any],
    summary: str,
    observed: int,
    rules: HealthRules,
) -> None:
    """No custom resource is current whose Ready speaks of an older generation."""
    stale = cond(summary, observedGeneration=observed)
    others = [c for c in status["conditions"] if c["type"] != summary]
    status["conditions"] = [*others, stale]
    live = {**make(*CR, status, generation=3), "spec": spec}
    assert assess(live, at=NOW, rules=rules).health is not C


def test_worst() -> None:
    """The sum of many names the worst state, counts each, and keeps the worst one's sentence."""
    ok, busy = Assessment(C, "fine"), Assessment(P, "1 of 3")
    bad = Assessment(F, "no image")
    assert worst([]).health is C
    assert worst([busy]) == busy
    assert worst([ok, ok]) == Assessment(C, "all 2 are current")
    total = worst(iter([ok, busy, bad, ok]))
    assert total.health is F
    assert total.message == "1 Failed, 1 InProgress, 2 Current of 4: no image"
    assert worst([busy, Assessment(Health.NOT_FOUND, "gone")]).health is Health.NOT_FOUND
