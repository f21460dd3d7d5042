"""Secrets whose values are in Vault: what a plan says of them, and what is sent in the end.

A plan never reads a value. Each Secret names, in an annotation, the reference that each of its
keys was written from; as long as that is the one in Git, and the key still belongs to the app
(somebody who writes it takes it over, see managedFields), the live value is what Git wants. A key
whose reference is another, or that somebody wrote, is shown by its reference, sent to dry runs
as a stand-in, and read from Vault right before the first write of an apply.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Manifest, Origin, Resource, StandIn
from opslib.kube.discovery import Discovery
from opslib.reconcile.mask import masked
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.vaultaccess import Find, needed
from opslib.seal.vaultclient import Vault
from opslib.seal.vaultcompile import (
    EXTERNAL,
    EXTERNAL_KINDS,
    OPERATOR,
    OPERATOR_KIND,
    external_secret,
    static_secret,
)
from opslib.seal.vaultdoc import ANNOTATION, VaultSecret, noted, place, read, read_noted
from opslib.seal.vaulterrors import VaultError
from opslib.seal.vaultproof import Proven, Prover
from opslib.seal.vaultref import Reference
from opslib.seal.vaultvalues import Values

# What dry runs are sent in place of values: so short that nobody masks it in what is shown.
_STAND_IN = StandIn(base64.b64encode(b"vault").decode())
# The API server wants JSON under these keys (pkg/apis/core/validation, ValidateSecret).
_JSON_KEYS = frozenset({".dockerconfigjson", ".dockercfg"})
_JSON_STAND_IN = StandIn(base64.b64encode(b"{}").decode())
_STAND_INS = frozenset({_STAND_IN, _JSON_STAND_IN})


@dataclass(frozen=True)
class Sourced:
    """The keys of one declared object that come from Vault.

    ``references`` are Git's, ``wanted`` those, with versions, whose values have to be read
    before it can be written. ``resolved``: by this kit; else an operator in the cluster does.
    """

    references: Mapping[str, Reference]
    resolved: bool = True
    wanted: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def floating(self) -> bool:
        """Whether something of it follows the newest version."""
        return not all(reference.pinned for reference in self.references.values())


def translated(resource: Resource, discovery: Discovery) -> tuple[Resource, Sourced]:
    """Return the object that a VaultSecret stands for, on this cluster.

    The Secret itself; or what the operator that is installed resolves, unless the document
    says who does. Raises InputError or Problems with file and line.
    """
    one = read(resource)
    through, api = _through(one, discovery)
    if through == OPERATOR:
        return _compiled(one, static_secret(one)), Sourced(one.references, resolved=False)
    if through == EXTERNAL:
        return _compiled(one, external_secret(one, api)), Sourced(one.references, resolved=False)
    return _secret(one), Sourced(one.references)


def _through(one: VaultSecret, discovery: Discovery) -> tuple[str, str]:
    """Return who resolves a document, and the API version for it."""
    served = [api for api, kind in EXTERNAL_KINDS if discovery.find(api, kind)]
    external = (served or [EXTERNAL_KINDS[0][0]])[0]
    operator = discovery.find(*OPERATOR_KIND) is not None
    if one.through:
        return one.through, external
    if operator and not (served and one.external and not one.operator):
        return OPERATOR, ""
    return (EXTERNAL, external) if served else ("opslib", "")


def _compiled(one: VaultSecret, manifest: Manifest) -> Resource:
    lines = {k: v for k, v in one.resource.lines.items() if k.startswith("/metadata")}
    return Resource(manifest, one.resource.origin, lines)


def _secret(one: VaultSecret) -> Resource:
    """Return the Secret with stand-ins for its values; each field knows its line in the file."""
    source = one.resource
    metadata = dict(source.manifest["metadata"])
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        ANNOTATION: noted(one.references),
    }
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": one.type,
        "data": {key: _stand_in(key) for key in one.references},
    }
    if one.immutable is not None:
        manifest["immutable"] = one.immutable
    lines = {
        pointer.replace("/stringData", "/data", 1)
        if pointer.startswith("/stringData")
        else pointer: line
        for pointer, line in source.lines.items()
    }
    return Resource(manifest, source.origin, lines)


def _stand_in(key: str) -> str:
    return _JSON_STAND_IN if key in _JSON_KEYS else _STAND_IN


@dataclass(frozen=True)
class Settled:
    """What is known of one declared Secret once the live one and Vault were looked at."""

    resource: Resource
    sourced: Sourced
    problems: tuple[tuple[Origin, str, str], ...] = ()
    warnings: tuple[str, ...] = ()


class Asked:
    """Asks Vault for proofs during one plan; one that does not work is asked once.

    ``look``: where the token may, live values are compared with Vault's, too.
    """

    def __init__(self, find: Find, *, look: bool = False) -> None:
        self._find = find
        self._look = look
        self._values: dict[tuple[str, int], dict[str, SecretBytes]] = {}
        self._vault: Vault | None = None
        self._prover: Prover | None = None
        self._away: OpslibError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._vault:
            self._vault.close()

    def prove(self, reference: Reference, where: str) -> Proven:
        """Prove a reference. Raises VaultError, and InputError where no Vault is named."""
        if self._away is not None:
            raise self._away
        try:
            if self._prover is None:
                self._vault = Vault(needed(self._find(), where))
                self._prover = Prover(self._vault)
            return self._prover.prove(reference)
        except VaultError as error:
            if error.away:
                self._away = error
            raise
        except InputError as error:
            self._away = error
            raise

    def is_value(self, reference: Reference, coded: str) -> bool:
        """Tell whether a live value, in base64, is Vault's; yes where that cannot be known."""
        if not self._look or self._vault is None:
            return True
        place = reference.secret, reference.version
        if place not in self._values:
            try:
                self._values[place] = self._vault.values(reference)
            except VaultError as error:
                self._look = error.cause == "denied"
                self._values[place] = {}
        value = self._values[place].get(reference.key)
        try:
            plain = base64.b64decode(coded, validate=True)
        except ValueError:
            return False
        return value is None or value == SecretBytes(plain, "live")


def settled(
    resource: Resource, sourced: Sourced, live: Manifest | None, manager: str, asked: Asked
) -> Settled:
    """Compare the references of a declared object with those that the live one was written from.

    What cannot be proven is a problem where it would have to be written, and a warning where
    the cluster has it already: a Vault that is away changes nothing and stops nothing. For
    what an operator resolves it is one only where Vault says that there is no such value.
    """
    there = written(live, manager) if live and sourced.resolved else {}
    now: dict[str, Reference] = {}
    problems: list[tuple[Origin, str, str]] = []
    warnings: list[str] = []
    for key, reference in sourced.references.items():
        line = resource.line_of(f"/data/{key.replace('~', '~0').replace('/', '~1')}")
        origin = Origin(resource.origin.path, line)
        before = there.get(key)
        kept = before if before and _follows(reference, before) else None
        try:
            proven = asked.prove(reference, str(origin))
            now[key] = proven.reference
            if proven.ends:
                warnings.append(f"{origin}: {proven.reference}: Vault deletes it at {proven.ends}")
        except OpslibError as error:
            now[key] = kept or reference
            what = f"{key}: {error.what}"
            disproven = isinstance(error, VaultError) and error.disproves
            if kept or not (sourced.resolved or disproven):
                warnings.append(f"{origin}: {what}; " + _stays(kept))
            else:
                problems.append((origin, f"{what} ({reference})", error.hint or ""))
    if not sourced.resolved:
        return Settled(resource, sourced, tuple(problems), tuple(warnings))
    data = (live or {}).get("data") or {}
    wanted = {
        key: one
        for key, one in now.items()
        if there.get(key) != one or not asked.is_value(one, str(data[key]))
    }
    manifest = _with(resource.manifest, now, wanted, live)
    made = replace(resource, manifest=manifest)
    return Settled(made, replace(sourced, wanted=wanted), tuple(problems), tuple(warnings))


def _stays(kept: Reference | None) -> str:
    return f"the cluster keeps what it has, version {kept.version}" if kept else "it is not proven"


def _follows(reference: Reference, before: Reference) -> bool:
    """Tell whether what a key was written from is still what Git says."""
    return before == reference or (not reference.pinned and before.at(0) == reference)


def _with(
    manifest: Manifest,
    now: Mapping[str, Reference],
    wanted: Mapping[str, Reference],
    live: Manifest | None,
) -> Manifest:
    """Return the Secret as it is declared now: live values where they are right, else stand-ins."""
    there = (live or {}).get("data") or {}
    data = {key: _stand_in(key) if key in wanted else there[key] for key in now}
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {**metadata["annotations"], ANNOTATION: noted(now)}
    return {**manifest, "metadata": metadata, "data": data}


def written(manifest: Manifest, manager: str) -> dict[str, Reference]:
    """Return the references that keys of a live Secret were written from, as far as that holds.

    The annotation and the key must both be the manager's own by server-side apply.
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    owned: Mapping[str, Any] = {}
    for entry in manifest["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            owned = entry.get("fieldsV1") or {}
    annotations = (owned.get("f:metadata") or {}).get("f:annotations") or {}
    if f"f:{ANNOTATION}" not in annotations:
        return {}
    keys = owned.get("f:data") or {}
    data = manifest.get("data") or {}
    found = read_noted(manifest)
    return {key: one for key, one in found.items() if f"f:{key}" in keys and key in data}


def shown(manifest: Manifest, sourced: Sourced | None, manager: str = "") -> Manifest:
    """Return a Secret as people may see it: values by reference where they come from one.

    ``manager``: whose a live object's fields must be for that; "" for what is declared.
    """
    clean = masked(manifest)
    if sourced is None or not sourced.resolved or not isinstance(clean.get("data"), dict):
        return clean
    found = written(manifest, manager) if manager else read_noted(manifest)
    real = manifest["data"]
    named = {
        key: f"<{one}>"
        for key, one in found.items()
        if key in real and not _untrue(key, one, sourced, real)
    }
    return {**clean, "data": {**clean["data"], **named}}


def _untrue(key: str, one: Reference, sourced: Sourced, data: Mapping[str, Any]) -> bool:
    """Tell whether a live value is not that of the reference that is noted for it."""
    return sourced.wanted.get(key) == one and str(data[key]) not in _STAND_INS


def wanted_by(targets: Iterable[tuple[Resource, Sourced | None]]) -> dict[Reference, str]:
    """Return the references whose values have to be read, each with its file:line."""
    return {
        reference: place(resource, f"/data/{key}")
        for resource, sourced in targets
        if sourced is not None
        for key, reference in sourced.wanted.items()
    }


def filled(manifest: Manifest, sourced: Sourced | None, values: Values) -> Manifest:
    """Return the object as it is sent: values in place of stand-ins.

    Raises OpslibError where one is missing: nothing is written then.
    """
    if sourced is None or not sourced.wanted:
        return manifest
    data = dict(manifest.get("data") or {})
    for key, reference in sourced.wanted.items():
        if not isinstance(data.get(key), StandIn):
            continue
        value = values.of(reference)
        if value is None:
            raise OpslibError("its value was not read from Vault", where=str(reference))
        data[key] = value.used_by(lambda plain: base64.b64encode(plain).decode())
    return {**manifest, "data": data}
