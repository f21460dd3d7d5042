"""Rules on whole objects: removed API versions, a quota in each namespace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opslib.core.model import Resource
from opslib.policy.containers import pod_spec
from opslib.policy.seen import Seen
from opslib.source.removed import removed_in


def removed(resources: Sequence[Resource], version: str) -> Iterator[Seen]:
    """Find objects of API versions that the cluster no longer serves, or soon will not."""
    for resource in resources:
        removal = removed_in(resource.api_version, resource.kind)
        if removal is None:
            continue
        gone = removal.gone_in(version)
        what = "is not served since" if gone else "will not be served from"
        if removal.replacement:
            fix = f"run `opslib upgrade`, which makes it {removal.replacement}"
        else:
            fix = "nothing replaces it: take it out of Git"
        yield Seen(
            resource,
            "/apiVersion",
            f"{removal.api_version} {removal.kind} {what} Kubernetes {removal.version}",
            f"{fix}; see {removal.source}",
            "error" if gone else "warning",
        )


def quota(resources: Sequence[Resource], version: str) -> Iterator[Seen]:
    """Ask for a ResourceQuota in every namespace that is declared or used."""
    del version
    having = {_place(r) for r in resources if r.kind == "ResourceQuota"}
    first: dict[str, tuple[Resource, str]] = {}
    for resource in resources:  # the declaration of a namespace is the best place to tell
        if resource.kind == "Namespace" and resource.api_version == "v1":
            first.setdefault(resource.name, (resource, "/metadata/name"))
    for resource in resources:
        if resource.namespace or pod_spec(resource) is not None:
            first.setdefault(_place(resource), (resource, "/metadata/namespace"))
    for name, (resource, field) in first.items():
        if name not in having and not name.startswith("kube-"):
            yield Seen(
                resource,
                field,
                f"the namespace {name} has no ResourceQuota",
                f"add a ResourceQuota in {name} with requests.cpu, requests.memory, limits.cpu,"
                " limits.memory and pods",
            )


def _place(resource: Resource) -> str:
    """Return an object's namespace; kubectl puts an object without one into default."""
    return resource.namespace or "default"
