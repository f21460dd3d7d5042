"""What the revision wants of this cluster: resources in the form in which they are sent."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Manifest, Resource, ResourceKey
from opslib.kube.discovery import Discovery, Kind
from opslib.reconcile.app import MOVED_FROM, giver_of
from opslib.reconcile.order import WAVE, wave_of
from opslib.reconcile.vaulted import Sourced, translated
from opslib.seal.vaultdoc import is_vault_secret


@dataclass(frozen=True)
class Target:
    """A resource and the API it is sent to; ``provided``: its CRD is part of the same revision.

    ``sourced``: which of its values come from Vault, if any.
    """

    resource: Resource
    kind: Kind
    provided: bool = False
    wave: int = 0
    sourced: Sourced | None = None

    @property
    def key(self) -> ResourceKey:
        return self.resource.key


@dataclass(frozen=True)
class Desired:
    """All targets of one app in the order of the files, and what was changed on the way."""

    targets: tuple[Target, ...]
    warnings: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[ResourceKey]:
        return frozenset(target.key for target in self.targets)

    @property
    def namespaces(self) -> frozenset[str]:
        """Namespaces that this revision itself declares."""
        return frozenset(k.name for k in self.keys if (k.group, k.kind) == ("", "Namespace"))


def declare(resources: Sequence[Resource], discovery: Discovery, *, namespace: str) -> Desired:
    """Bind each resource to the API server's kinds and bring it into the form that is sent.

    ``namespace`` is where namespaced resources without one go. Raises Problems with file
    and line for kinds that neither the server nor a CRD of the same set has, for a resource
    declared twice and for a VaultSecret that is wrong, and InputError for an empty set:
    nothing at all is never what Git wants.
    """
    if not resources:
        raise InputError("there is nothing to apply", hint="name the folder with --path")
    offered = {(k.api_version, k.kind): k for k in _provided(resources)}
    problems: list[OpslibError] = []
    warnings: list[str] = []
    targets: list[Target] = []
    for declared in resources:
        resource, sourced = declared, None
        if is_vault_secret(declared.manifest):
            try:
                resource, sourced = translated(declared, discovery)
            except InputError as error:
                problems += getattr(error, "problems", [error])
                continue
        kind = discovery.find(resource.api_version, resource.kind)
        provided = kind is None
        kind = kind or offered.get((resource.api_version, resource.kind))
        if kind is None:
            where = str(resource.origin)
            problems.append(discovery.unknown(resource.api_version, resource.kind, where))
            continue
        manifest, notes = _normal(resource, kind, namespace)
        warnings += [f"{resource.origin}: {note}" for note in notes]
        one = replace(resource, manifest=manifest)
        wrong = _wrong_annotations(one)
        problems += wrong
        if not wrong:
            targets.append(Target(one, kind, provided, wave_of(manifest), sourced))
    problems += _duplicates(targets)
    if problems:
        raise Problems(problems)
    return Desired(tuple(targets), tuple(warnings))


def _provided(resources: Iterable[Resource]) -> list[Kind]:
    """Return the kinds that the CustomResourceDefinitions of this set will bring."""
    kinds = []
    for resource in resources:
        if resource.kind != "CustomResourceDefinition":
            continue
        spec = resource.manifest.get("spec") or {}
        names = spec.get("names") or {}
        if not (names.get("kind") and names.get("plural")):
            continue
        kinds += [
            Kind(
                f"{spec.get('group')}/{version.get('name')}",
                str(names["kind"]),
                str(names["plural"]),
                spec.get("scope") == "Namespaced",
                frozenset(),
            )
            for version in spec.get("versions") or ()
            if version.get("served", True)
        ]
    return kinds


def _normal(resource: Resource, kind: Kind, namespace: str) -> tuple[Manifest, list[str]]:
    """Return the manifest as it is sent, and what a person should know about the difference."""
    manifest = dict(resource.manifest)
    metadata = dict(manifest["metadata"])
    notes = []
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace
    elif metadata.pop("namespace", None):
        # An injected namespace would make an identity that never matches the live object.
        notes.append(f"{kind.kind} is cluster-scoped; its metadata.namespace is left out")
    notes += [
        f"metadata.{field} belongs to the server and is left out"
        for field in ("creationTimestamp", "managedFields", "resourceVersion", "uid", "generation")
        if metadata.pop(field, None) is not None
    ]
    if manifest.pop("status", None):
        notes.append("status belongs to the controllers and is left out")
    manifest["metadata"] = metadata
    if (kind.group, kind.kind) == ("", "Secret") and "stringData" in manifest:
        manifest = _secret_data(manifest)
    return manifest, notes


def _wrong_annotations(resource: Resource) -> list[OpslibError]:
    """Return what is wrong with the kit's own annotations, each at its line."""

    def problem(name: str, what: str, expected: str) -> InputError:
        pointer = "/metadata/annotations/" + name.replace("/", "~1")
        where = f"{resource.origin.path}:{resource.line_of(pointer)}"
        return InputError(f"{resource.key}: {what}", where=where, expected=expected)

    found: list[OpslibError] = []
    try:
        wave_of(resource.manifest)
    except (TypeError, ValueError):
        found.append(problem(WAVE, "its wave is no whole number", f'{WAVE}: "1"'))
    try:
        giver_of(resource.manifest)
    except InputError as error:
        found.append(problem(MOVED_FROM, error.what, f"{MOVED_FROM}: the name of an app"))
    return found


def _secret_data(manifest: Manifest) -> Manifest:
    """Turn stringData into data.

    Server-side apply would own the write-only field instead, and a key that Git drops would
    stay in the cluster
    (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data).
    """
    texts = manifest.pop("stringData") or {}
    coded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
    return {**manifest, "data": {**(manifest.get("data") or {}), **coded}}


def _duplicates(targets: Sequence[Target]) -> list[OpslibError]:
    seen: dict[ResourceKey, Target] = {}
    problems: list[OpslibError] = []
    for target in targets:
        first = seen.setdefault(target.key, target)
        if first is not target:
            problems.append(
                InputError(
                    f"{target.key} is declared twice",
                    where=f"{first.resource.origin} and {target.resource.origin}",
                    hint="keep one of them",
                )
            )
    return problems
