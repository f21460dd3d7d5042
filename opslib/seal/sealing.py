"""Secret in, SealedSecret out: scopes, names, templates; as kubeseal does it, and stricter.

Stricter: another kind is refused, so is a scope that flag and annotation say differently, and
metadata that carries a value. https://github.com/bitnami-labs/sealed-secrets#scopes
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from opslib.core import clock
from opslib.core.errors import InputError
from opslib.seal import bulk, notes
from opslib.seal.certificates import Certificate
from opslib.seal.secret import Secret
from opslib.seal.wire import DOMAIN, Scope, label_of, scope_of

API_VERSION = "bitnami.com/v1alpha1"
KIND = "SealedSecret"
MOST_OBJECT = 1_572_864 - 64 * 1024
"""Bytes of a SealedSecret: etcd's --max-request-bytes, less what its status and
managedFields need (https://etcd.io/docs/v3.6/dev-guide/limit/)."""


@dataclass(frozen=True)
class Noting:
    """What the notes say besides the key: the day, who seals, when the value itself is due."""

    today: date = field(default_factory=lambda: clock.now().date())
    by: str = ""
    rotate: date | None = None


@dataclass(frozen=True)
class Options:
    """How to seal. ``scope`` None: as the Secret's annotations say.

    ``namespace`` is what a person asked for ("": nothing), ``default_namespace`` what the
    kubeconfig says; a Secret that names another one than was asked for is refused. ``noting``
    None writes no notes.
    """

    scope: Scope | None = None
    name: str = ""
    namespace: str = ""
    default_namespace: str = "default"
    allow_empty: bool = False
    noting: Noting | None = None


@dataclass(frozen=True)
class Sealed:
    """One SealedSecret, and what a person should know about it."""

    manifest: dict[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = ()


def seal(secrets: Iterable[Secret], certificate: Certificate, options: Options) -> list[Sealed]:
    """Seal Secrets. Raises InputError for the first that cannot be; none is given out then."""
    places = [place_of(secret, options) for secret in secrets]
    jobs = [(place.label, place.secret.values) for place in places]
    ciphertexts = bulk.seal_all(certificate.key, jobs)
    return [
        _sealed(place, data, certificate, options.noting)
        for place, data in zip(places, ciphertexts, strict=True)
    ]


@dataclass(frozen=True)
class Place:
    """A Secret with its scope, name and namespace decided."""

    secret: Secret
    scope: Scope
    name: str
    namespace: str

    @property
    def label(self) -> bytes:
        return label_of(self.scope, self.namespace, self.name)


def place_of(secret: Secret, options: Options) -> Place:
    """Decide name, namespace and scope. Raises InputError where they do not fit together."""
    if not secret.values and not options.allow_empty:
        raise InputError(
            "the Secret has no data",
            where=secret.where,
            expected="values under data or stringData",
            hint="to seal it without any: --allow-empty-data",
        )
    name = options.name or secret.name
    if not name:
        raise InputError("metadata.name is missing", where=secret.where, expected="a name")
    scope = _scope(secret, options.scope)
    namespace = secret.namespace
    if scope is not Scope.CLUSTER:
        if options.namespace and namespace not in {"", options.namespace}:
            raise InputError(
                f"the Secret is of namespace {namespace}, and --namespace says {options.namespace}",
                where=secret.where,
                hint="correct one of them: the value could be unsealed in one place only",
            )
        namespace = namespace or options.namespace or options.default_namespace
        if not namespace:
            raise InputError("the Secret has no namespace", where=secret.where, hint="--namespace")
    return Place(secret, scope, name, namespace)


def who() -> str:
    """Return who seals: the mail address of git's settings, else the name of the login."""
    for setting in ("user.email", "user.name"):
        try:
            done = subprocess.run(
                ["git", "config", "--get", setting],  # noqa: S607  # the user's own git
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            break
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def rotate_after(today: date, seconds: float) -> date:
    """Return the day by which a value is to be rotated."""
    return today + timedelta(seconds=seconds)


def _scope(secret: Secret, asked: Scope | None) -> Scope:
    noted = scope_of(secret.annotations)
    if asked is Scope.STRICT and noted is not Scope.STRICT:
        raise InputError(
            f"--scope says strict, and the Secret's annotations say {noted}",
            where=secret.where,
            hint="leave --scope away, or take the annotation out",
        )
    return asked or noted


def _sealed(
    place: Place, data: dict[str, str], certificate: Certificate, noting: Noting | None
) -> Sealed:
    secret, scope = place.secret, place.scope
    own = {"name": place.name} | ({"namespace": place.namespace} if place.namespace else {})
    annotations = {scope.annotation: "true"} if scope.annotation else {}
    manifest: dict[str, Any] = {"kind": KIND, "apiVersion": API_VERSION}
    if noting and data:
        annotations[notes.ANNOTATION] = notes.write(
            dict.fromkeys(data, note_for(place.label, certificate, noting))
        )
    manifest["metadata"] = own | ({"annotations": annotations} if annotations else {})
    manifest["spec"] = {"template": _template(place, own), "encryptedData": data}
    check_size(manifest, secret.where)
    return Sealed(manifest, tuple(_warnings(secret)))


def note_for(label: bytes, certificate: Certificate, noting: Noting) -> notes.Note:
    """Return the note of a value that is sealed now."""
    return notes.Note(
        certificate.fingerprint, notes.note_label(label), noting.today, noting.by, noting.rotate
    )


def note_again(
    old: notes.Note | None, label: bytes, certificate: Certificate, noting: Noting
) -> notes.Note:
    """Return the note of a value that replaces another: the time until its rotation stays."""
    fresh = note_for(label, certificate, noting)
    if old is None or old.rotate is None or fresh.rotate is not None:
        return fresh
    return replace(fresh, rotate=noting.today + (old.rotate - old.sealed))


def _template(place: Place, own: dict[str, str]) -> dict[str, Any]:
    """Return what the Secret is made from: metadata, type and immutable; no value."""
    secret = place.secret
    metadata = {**secret.metadata, **own}
    annotations = dict(metadata.pop("annotations", None) or {})
    if place.scope is not scope_of(annotations):
        annotations = {k: v for k, v in annotations.items() if k not in SCOPES}
        if place.scope.annotation:
            annotations[place.scope.annotation] = "true"
    if annotations:
        metadata["annotations"] = annotations
    template: dict[str, Any] = {"metadata": metadata}
    if secret.type:
        template["type"] = secret.type
    if secret.immutable is not None:
        template["immutable"] = secret.immutable
    return template


SCOPES = (Scope.NAMESPACE.annotation, Scope.CLUSTER.annotation)


def check_size(manifest: dict[str, Any], where: str) -> None:
    """Raise InputError for a SealedSecret that no cluster can store."""
    data: dict[str, str] = manifest["spec"]["encryptedData"]
    size = sum(len(key) + len(text) + 8 for key, text in data.items())
    if size > MOST_OBJECT:
        largest = max(data, key=lambda key: len(data[key]))
        raise InputError(
            f"the SealedSecret would be {size} bytes, the largest key is {largest}",
            where=where,
            expected=f"at most {MOST_OBJECT} bytes, as etcd takes no larger object",
            hint="divide the Secret: sealing adds a third, and 700 bytes for each key",
        )


def _warnings(secret: Secret) -> Sequence[str]:
    told = []
    for annotation in SCOPES:
        value = secret.annotations.get(annotation)
        if value not in {None, "true"}:
            told.append(
                f'{secret.where}: {annotation} is {value!r}: only "true" counts, so the scope'
                " is not widened"
            )
    if unknown := [
        name
        for name in secret.annotations
        if name.startswith(f"{DOMAIN}/") and name.partition("/")[2] not in _KNOWN
    ]:
        told.append(f"{secret.where}: Sealed Secrets knows no annotation {unknown[0]}")
    return told


_KNOWN = {"namespace-wide", "cluster-wide", "managed", "patch", "skip-set-owner-references"}
