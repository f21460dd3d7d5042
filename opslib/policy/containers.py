"""Rules on containers, in every kind that has a pod template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opslib.core.model import Resource, group_of
from opslib.policy.model import Severity
from opslib.policy.seen import Seen, items, mapping, pointer

_SERVING = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Pod"}
_BUILT_IN = {"", "apps", "extensions"}
_TEMPLATES = (
    ("spec", "template", "spec"),  # Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, ...
    ("spec", "jobTemplate", "spec", "template", "spec"),  # CronJob
    ("template", "spec"),  # PodTemplate
)
_RESOURCES = ("cpu", "memory")
_MOVING = {"dev", "develop", "edge", "main", "master", "nightly", "stable", "test"}


@dataclass(frozen=True)
class Container:
    """A container of a pod template: its manifest, its JSON pointer, and whether it is an init."""

    spec: dict[str, Any]
    field: str
    init: bool
    pod: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.spec.get("name") or self.field.rpartition("/")[2])


def pod_spec(resource: Resource) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """Return an object's pod spec and the way to it, or None when it starts no pods."""
    if resource.kind == "Pod" and not group_of(resource.api_version):
        return mapping(resource.manifest.get("spec")), ("spec",)
    for path in _TEMPLATES:
        value: Any = resource.manifest
        for step in path:
            value = mapping(value).get(step)
        if isinstance(value, dict) and isinstance(value.get("containers"), list):
            return value, path
    return None


def containers(resource: Resource) -> Iterator[Container]:
    """Walk the containers and init containers of an object."""
    found = pod_spec(resource)
    if found is None:
        return
    pod, path = found
    for group in ("initContainers", "containers"):
        for number, spec in enumerate(items(pod.get(group))):
            if isinstance(spec, dict):
                field = pointer(*path, group, number)
                yield Container(spec, field, init=group == "initContainers", pod=pod)


def limits(resource: Resource) -> Iterator[Seen]:
    """Ask for CPU and memory limits, of the container or of its pod."""
    return _resources(resource, "limits", "limit")


def requests(resource: Resource) -> Iterator[Seen]:
    """Ask for CPU and memory requests, of the container or of its pod."""
    return _resources(resource, "requests", "request")


def _resources(resource: Resource, field: str, word: str) -> Iterator[Seen]:
    # Resources of the whole pod: https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/
    for container in containers(resource):
        own = mapping(mapping(container.spec.get("resources")).get(field))
        pod = mapping(mapping(container.pod.get("resources")).get(field))
        missing = [n for n in _RESOURCES if own.get(n) is None and pod.get(n) is None]
        if missing:
            what = " and ".join(missing)
            yield Seen(
                resource,
                f"{container.field}/resources/{field}",
                f"container {container.name} has no {what} {word}",
                f"set resources.{field}.{f' and resources.{field}.'.join(missing)}",
            )


def readiness(resource: Resource) -> Iterator[Seen]:
    """Ask for a readiness probe where traffic arrives: containers with ports, or else any one."""
    if not _serves(resource):
        return
    everyone = [c for c in containers(resource) if not c.init]
    taking = [c for c in everyone if items(c.spec.get("ports"))]
    if not taking and any(c.spec.get("readinessProbe") for c in everyone):
        return
    for container in taking or everyone[:1]:
        if not container.spec.get("readinessProbe"):
            yield Seen(
                resource,
                f"{container.field}/readinessProbe",
                f"container {container.name} has no readiness probe",
                "add readinessProbe with an httpGet, grpc, tcpSocket or exec that answers only"
                " when it can serve",
            )


def liveness(resource: Resource) -> Iterator[Seen]:
    """Ask for a liveness probe in what runs for ever."""
    if not _serves(resource):
        return
    for container in containers(resource):
        if not container.init and not container.spec.get("livenessProbe"):
            yield Seen(
                resource,
                f"{container.field}/livenessProbe",
                f"container {container.name} has no liveness probe",
                "add livenessProbe, slower and more patient than the readiness probe, and"
                " independent of other services",
            )


def _serves(resource: Resource) -> bool:
    return resource.kind in _SERVING and group_of(resource.api_version) in _BUILT_IN


def image(resource: Resource) -> Iterator[Seen]:
    """Ask for a tag that does not move; a digest satisfies always."""
    for container in containers(resource):
        name = container.spec.get("image")
        if isinstance(name, str) and name and (found := _moving(name)):
            what, at_most = found
            yield Seen(
                resource,
                f"{container.field}/image",
                f"the image of container {container.name} {what}",
                "name the version, image:1.4.2, or best the digest, image:1.4.2@sha256:...",
                at_most,
            )


def _moving(name: str) -> tuple[str, Severity] | None:
    # The form of a reference: https://github.com/distribution/reference/blob/main/reference.go
    reference, _, digest = name.partition("@")
    if digest:
        return None
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    if not colon or not tag:
        return "has no tag, which means latest", "error"
    if tag == "latest":
        return "has the tag latest, which moves", "error"
    if tag.lower() in _MOVING:
        return "has a tag that sounds like a branch and may move", "warning"
    return None
