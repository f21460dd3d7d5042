"""The rules behind ``assess``, in the order in which they are asked.

Sources: kstatus (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus) for the
frame and most built-in kinds; where it is blind (failed Pods, images that cannot be pulled,
claims that are lost, load balancers without an address, started Jobs), the API reference of
the kind, named at the rule.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from opslib.core.model import Manifest
from opslib.reconcile import health_generic, health_workloads
from opslib.reconcile.health_custom import judge
from opslib.reconcile.health_file import HealthRules
from opslib.reconcile.health_object import Assessment, Health, Look
from opslib.reconcile.health_words import damning


def absent(seen: Manifest | None, at: datetime) -> Assessment:
    """Assess an object that does not exist (any more)."""
    if seen is None or seen.get("kind") != "Job":
        return Assessment(Health.NOT_FOUND, "it does not exist")
    if (seen.get("spec") or {}).get("ttlSecondsAfterFinished") is None:
        return Assessment(Health.NOT_FOUND, "it does not exist")
    look = Look(seen, at)
    failed = look.condition("Failed", "FailureTarget")
    if failed and failed.true:
        return Assessment(Health.FAILED, f"the job failed before its TTL ended: {failed.text}")
    if not seen.get("metadata", {}).get("uid"):
        return Assessment(Health.NOT_FOUND, "it does not exist")
    return Assessment(Health.CURRENT, "the job ended and was cleared away by its TTL")


def present(live: Manifest, at: datetime, rules: HealthRules) -> Assessment:
    """Assess an object that exists.

    The frame is the same for all kinds and stands above every rule: deletion, generation, the
    conditions of kstatus, and that nothing is Current that reports its own failure. Inside it
    a rule of the repository comes first, then the code for built-in kinds or the package's
    rule for a custom one, then what all kinds have in common.
    """
    look = Look(live, at)
    early = _terminating(look) or _unobserved(look) or _standard(look)
    if early:
        return early
    built_in = _BUILT_IN.get((look.group, look.kind))
    custom = built_in is None and health_generic.is_custom(look)
    rule = rules.find(look.group, look.kind, custom=custom)
    answer = (health_generic.stale(look) or judge(rule, look)) if rule else None
    if answer is None:
        answer = built_in(look) if built_in else health_generic.assess_generic(look)
    return _held_back(look, answer)


def _held_back(look: Look, answer: Assessment) -> Assessment:
    """Let nothing be current that has a condition such as Degraded or Failed which is True."""
    if answer.health is not Health.CURRENT:
        return answer
    for condition in look.conditions:
        if condition.true and damning(condition.kind):
            return Assessment(Health.FAILED, f"{condition.kind}: {condition.text}")
    for condition in look.stale_conditions:
        if condition.true and damning(condition.kind):
            text = f"{condition.kind} is of generation {condition.observed}: {condition.text}"
            return Assessment(Health.IN_PROGRESS, text)
    return answer


def _terminating(look: Look) -> Assessment | None:
    since = look.metadata.get("deletionTimestamp")
    if not since:
        return None
    holders = list(look.metadata.get("finalizers") or ())
    holders += [name for name in look.spec.get("finalizers") or () if look.kind == "Namespace"]
    waits = f", held by {', '.join(map(str, holders))}" if holders else ""
    return Assessment(Health.TERMINATING, f"it is being deleted since {since}{waits}")


def _unobserved(look: Look) -> Assessment | None:
    """Compare the generation with the one that the controller has seen.

    Only an older one counts: some controllers keep a hash there, and an object restored from
    a backup begins again at generation 1.
    """
    observed = look.observed
    if observed is None or observed >= look.generation:
        return None
    text = f"its controller has seen generation {observed}, not yet {look.generation}"
    return Assessment(Health.IN_PROGRESS, text)


def _standard(look: Look) -> Assessment | None:
    """Read the two conditions that kstatus defines for everybody."""
    stalled, reconciling = look.condition("Stalled"), look.condition("Reconciling")
    ready = look.condition("Ready")
    if stalled and stalled.true:
        return Assessment(Health.FAILED, stalled.text)
    if not (reconciling and reconciling.true):
        return None
    # ProgressingWithRetry: the last attempt failed, and another one follows
    # (https://pkg.go.dev/github.com/fluxcd/pkg/apis/meta#ProgressingWithRetryReason).
    if "WithRetry" in reconciling.reason and ready and ready.false:
        return Assessment(Health.FAILED, f"{ready.text} (it is tried again)")
    return Assessment(Health.IN_PROGRESS, reconciling.text)


def _always(look: Look) -> Assessment:
    return Assessment(Health.CURRENT, f"a {look.kind} is current once it exists")


def _claim(look: Look) -> Assessment:
    """https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-claim-v1/."""
    phase = look.text("phase") or "Pending"
    if phase == "Bound":
        return Assessment(Health.CURRENT, "the claim is bound to a volume")
    if phase == "Lost":
        return Assessment(Health.FAILED, "the claim lost its volume; the data is out of reach")
    return Assessment(Health.IN_PROGRESS, f"the claim has no volume yet (phase {phase})")


def _volume(look: Look) -> Assessment:
    phase = look.text("phase") or "Pending"
    if phase == "Failed":
        reason = look.text("message") or look.text("reason") or "its reclaiming failed"
        return Assessment(Health.FAILED, f"the volume failed: {reason}")
    if phase == "Pending":
        return Assessment(Health.IN_PROGRESS, "the volume is not available yet")
    return Assessment(Health.CURRENT, f"the volume is {phase.lower()}")


def _service(look: Look) -> Assessment:
    if look.spec.get("type") != "LoadBalancer":
        return Assessment(Health.CURRENT, "the service is current once it exists")
    if _addresses(look):
        return Assessment(Health.CURRENT, f"the load balancer answers at {_addresses(look)}")
    return Assessment(Health.IN_PROGRESS, "the load balancer has no address yet")


def _ingress(look: Look) -> Assessment:
    if _addresses(look):
        return Assessment(Health.CURRENT, f"the ingress is served at {_addresses(look)}")
    return Assessment(
        Health.IN_PROGRESS, "no ingress controller has published an address for it yet"
    )


def _addresses(look: Look) -> str:
    entries = (look.status.get("loadBalancer") or {}).get("ingress") or ()
    return ", ".join(str(entry.get("ip") or entry.get("hostname") or "?") for entry in entries)


def _namespace(look: Look) -> Assessment:
    if look.text("phase") == "Terminating":
        return Assessment(Health.TERMINATING, "the namespace is being deleted")
    return Assessment(Health.CURRENT, "the namespace is active")


def _budget(look: Look) -> Assessment:
    """Take a budget as current once it is computed: too few pods are the workload's trouble."""
    allowed = look.condition("DisruptionAllowed")
    if allowed and allowed.reason == "SyncFailed":
        return Assessment(Health.FAILED, f"the budget cannot be computed: {allowed.text}")
    if look.observed is None:
        return Assessment(Health.IN_PROGRESS, "the budget is not computed yet")
    count = look.number("disruptionsAllowed")
    return Assessment(Health.CURRENT, f"the budget allows {count} disruptions now")


def _definition(look: Look) -> Assessment:
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/."""
    names, established = look.condition("NamesAccepted"), look.condition("Established")
    if names and names.false:
        return Assessment(Health.FAILED, f"its names are not accepted: {names.text}")
    if established and established.true:
        return Assessment(Health.CURRENT, "the API server serves this kind")
    if established and established.false and established.reason != "Installing":
        return Assessment(Health.FAILED, f"it is not established: {established.text}")
    return Assessment(Health.IN_PROGRESS, "the API server does not serve this kind yet")


def _scaler(look: Look) -> Assessment:
    """Read AbleToScale and ScalingActive.

    Metrics are missing for a while after a start, so that is a failure only when it lasts:
    https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/.
    """
    conditions = [c for c in look.conditions if c.kind in {"AbleToScale", "ScalingActive"}]
    if not conditions:
        return Assessment(Health.IN_PROGRESS, "the autoscaler has not looked at its target yet")
    for condition in conditions:
        if condition.true or condition.reason == "ScalingDisabled":
            continue
        if look.since(condition) < METRICS_SECONDS:
            return Assessment(Health.IN_PROGRESS, condition.text)
        return Assessment(Health.FAILED, f"it cannot scale: {condition.text}")
    replicas = look.number("currentReplicas")
    return Assessment(Health.CURRENT, f"the autoscaler works, at {replicas} replicas")


METRICS_SECONDS = 60.0
"""How long metrics may be missing: the metrics server reads every 15 s and needs two readings."""


def _api_service(look: Look) -> Assessment:
    available = look.condition("Available")
    if available and available.true:
        return Assessment(Health.CURRENT, "the API is served")
    text = available.text if available else "nobody has looked at it yet"
    return Assessment(Health.IN_PROGRESS, f"the API is not served: {text}")


def _signing_request(look: Look) -> Assessment:
    for condition in look.conditions:
        if condition.kind in {"Denied", "Failed"} and condition.status != "False":
            return Assessment(Health.FAILED, f"{condition.kind.lower()}: {condition.text}")
    if look.status.get("certificate"):
        return Assessment(Health.CURRENT, "the certificate is issued")
    return Assessment(Health.IN_PROGRESS, "the certificate is not issued yet")


_BUILT_IN: dict[tuple[str, str], Any] = {
    **health_workloads.RULES,
    ("", "ConfigMap"): _always,
    ("", "Secret"): _always,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("extensions", "Ingress"): _ingress,
    ("policy", "PodDisruptionBudget"): _budget,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("autoscaling", "HorizontalPodAutoscaler"): _scaler,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("certificates.k8s.io", "CertificateSigningRequest"): _signing_request,
}
