"""The document that holds references to Vault in Git, and the Secret that it stands for.

    apiVersion: opslib.dev/v1
    kind: VaultSecret
    metadata: {name: db, namespace: shop}    # of the Secret; labels and annotations too
    type: Opaque
    stringData:
      password: ref+vault://kv/team/app#password?version=7

It is no Secret on purpose: whoever scans or reads the repository sees that it holds no value,
and a cluster refuses it where nobody resolves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Manifest, Resource, ResourceKey, key_of
from opslib.seal.vaultref import FORM, Reference, parse

API_VERSION = "opslib.dev/v1"
KIND = "VaultSecret"
ANNOTATION = "opslib.dev/vault"
"""On the Secret: which reference each key was written from, one line a key. No value, no hash."""

MOST_KEYS = 500
THROUGH = ("opslib", "VaultSecretsOperator", "ExternalSecrets")

_FIELDS = (
    "apiVersion",
    "kind",
    "metadata",
    "type",
    "immutable",
    "stringData",
    "through",
    "vaultSecretsOperator",
    "externalSecrets",
)
_OPERATOR = ("vaultAuthRef", "refreshAfter")
_EXTERNAL = ("secretStoreRef", "refreshInterval")
_STORE = ("kind", "name")
_STORES = ("SecretStore", "ClusterSecretStore")
# https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?(/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?")
_DURATION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?[smh]")


@dataclass(frozen=True)
class VaultSecret:
    """One document. ``through`` says who resolves it; "" is left to what the cluster has."""

    resource: Resource
    references: Mapping[str, Reference]
    type: str = "Opaque"
    immutable: bool | None = None
    through: str = ""
    operator: Mapping[str, str] = field(default_factory=dict)
    external: Mapping[str, Any] = field(default_factory=dict)

    def place_of(self, key: str) -> str:
        """Return file:line of a reference."""
        return place(self.resource, f"/stringData/{_escaped(key)}")


def is_vault_secret(manifest: Any) -> bool:
    """Tell whether a document means to be one."""
    return (
        isinstance(manifest, dict)
        and manifest.get("kind") == KIND
        and manifest.get("apiVersion") == API_VERSION
    )


def object_key(manifest: Manifest) -> ResourceKey:
    """Return the identity of what a document of Git stands for in the cluster."""
    key = key_of(manifest)
    if is_vault_secret(manifest):
        return ResourceKey("", "Secret", key.namespace, key.name)
    return key


def place(resource: Resource, pointer: str) -> str:
    """Return file:line of a field, or of its nearest ancestor that has one."""
    return f"{resource.origin.path}:{resource.line_of(pointer)}"


def read(resource: Resource) -> VaultSecret:
    """Read a document. Raises Problems with every mistake and its line; no value is repeated."""
    reader = _Reader(resource)
    made = reader.whole()
    if reader.problems:
        raise Problems(reader.problems)
    return made


class _Reader:
    """Reads one document and collects what is wrong with it."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.manifest = resource.manifest
        self.problems: list[OpslibError] = []

    def wrong(self, pointer: str, what: str, *, expected: str = "", hint: str = "") -> None:
        where = place(self.resource, pointer)
        name = self.resource.key.name[:80]
        text = f"{KIND} {name}: {what}"
        self.problems.append(
            InputError(text, where=where, expected=expected or None, hint=hint or None)
        )

    def whole(self) -> VaultSecret:
        manifest = self.manifest
        self.known(manifest, _FIELDS, "")
        annotations = manifest["metadata"].get("annotations") or {}
        if ANNOTATION in annotations:
            what = f"the annotation {ANNOTATION} is written by opslib, not by hand"
            self.wrong(f"/metadata/annotations/{_escaped(ANNOTATION)}", what)
        immutable = manifest.get("immutable")
        if not isinstance(immutable, bool | None):
            self.wrong("/immutable", "immutable is not true or false")
        return VaultSecret(
            self.resource,
            dict(self.references()),
            self.text("type", r"[-./A-Za-z0-9]{1,253}", "the type of a Secret") or "Opaque",
            immutable if isinstance(immutable, bool) else None,
            self.through(),
            self.operator(),
            self.external(),
        )

    def known(self, value: Any, names: tuple[str, ...], pointer: str) -> bool:
        """Tell whether a value is a mapping; keys of it that nobody knows are wrong."""
        if not isinstance(value, dict):
            self.wrong(pointer, f"{pointer.strip('/')} is not a mapping", expected=", ".join(names))
            return False
        for name in value:
            if name in names:
                continue
            close = get_close_matches(str(name), names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else ""
            if name == "data":
                hint = "references go under stringData; data holds base64, which is no reference"
            self.wrong(
                f"{pointer}/{_escaped(str(name))}",
                f"there is no field {str(name)[:60]!r} here",
                expected=", ".join(names),
                hint=hint,
            )
        return True

    def text(self, name: str, form: str, what: str) -> str:
        value = self.manifest.get(name)
        if value is None:
            return ""
        if isinstance(value, str) and re.fullmatch(form, value):
            return value
        self.wrong(f"/{name}", f"{name} is not {what}")
        return ""

    def references(self) -> Iterator[tuple[str, Reference]]:
        values = self.manifest.get("stringData")
        example = "stringData: {password: ref+vault://kv/team/app#password?version=7}"
        if not isinstance(values, dict) or not values:
            self.wrong("/stringData", "it has no references", expected=example)
            return
        if len(values) > MOST_KEYS:
            self.wrong("/stringData", f"it has {len(values)} keys, more than {MOST_KEYS}")
            return
        for key, value in values.items():
            pointer = f"/stringData/{_escaped(key)}"
            if not _DATA_KEY.fullmatch(key) or key in {".", ".."}:
                self.wrong(pointer, "a key has characters that no Secret allows", expected="-._a-z")
                continue
            try:
                yield key, parse(value)
            except ValueError as error:
                # The text may be a password: it is in Git now, and not shown here too.
                hint = ""
                if not str(value).startswith("ref+"):
                    hint = "a value does not belong into Git: keep it in Vault, and change it there"
                self.wrong(pointer, f"{key}: {error}", expected=FORM, hint=hint)

    def through(self) -> str:
        value = self.manifest.get("through")
        if value is not None and value not in THROUGH:
            self.wrong("/through", "through names nobody who resolves references",
                       expected=", ".join(THROUGH))  # fmt: skip
            return ""
        return str(value or "")

    def operator(self) -> dict[str, str]:
        value = self.manifest.get("vaultSecretsOperator")
        pointer = "/vaultSecretsOperator"
        if value is None or not self.known(value, _OPERATOR, pointer):
            return {}
        found = {}
        for name, form in (("vaultAuthRef", _NAME), ("refreshAfter", _DURATION)):
            if name in value and self.fits(value[name], form, f"{pointer}/{name}"):
                found[name] = str(value[name])
        return found

    def external(self) -> dict[str, Any]:
        value = self.manifest.get("externalSecrets")
        pointer = "/externalSecrets"
        if value is None or not self.known(value, _EXTERNAL, pointer):
            return {}
        found: dict[str, Any] = {}
        every = value.get("refreshInterval")
        if every is not None and self.fits(every, _DURATION, f"{pointer}/refreshInterval"):
            found["refreshInterval"] = str(every)
        store, at = value.get("secretStoreRef"), f"{pointer}/secretStoreRef"
        if store is not None and self.known(store, _STORE, at):
            kind = store.get("kind", "SecretStore")
            if kind not in _STORES:
                self.wrong(f"{at}/kind", "there is no such kind of store",
                           expected=" or ".join(_STORES))  # fmt: skip
            elif self.fits(store.get("name"), _NAME, f"{at}/name"):
                found["secretStoreRef"] = {"kind": str(kind), "name": str(store["name"])}
        return found

    def fits(self, value: Any, form: re.Pattern[str], pointer: str) -> bool:
        if isinstance(value, str) and form.fullmatch(value):
            return True
        name = pointer.rpartition("/")[2]
        what = "a duration, such as 1h" if form is _DURATION else "a name"
        self.wrong(pointer, f"{name} is missing, or not {what}", expected=what)
        return False


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def noted(references: Mapping[str, Reference]) -> str:
    """Return the annotation's text: which reference each key was written from."""
    return "".join(f"{key}={references[key]}\n" for key in sorted(references))


def read_noted(manifest: Manifest) -> dict[str, Reference]:
    """Read the annotation of a live Secret; a line that is none is left out."""
    annotations = manifest["metadata"].get("annotations") or {}
    text = annotations.get(ANNOTATION)
    found = {}
    for line in str(text or "").splitlines()[:MOST_KEYS]:
        key, sign, reference = line.partition("=")
        try:
            if sign:
                found[key] = parse(reference)
        except ValueError:
            continue
    return found
