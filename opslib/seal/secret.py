"""A Secret as it comes in: checked, its values taken into the one object that may hold them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.core.errors import InputError
from opslib.seal import leaks
from opslib.seal.reading import items_of, read_documents
from opslib.seal.secretbytes import SecretBytes
from opslib.source.yamlload import Document

STRIPPED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubecfg.ksonnet.io/last-applied-configuration",
)
MOST_VALUES = 1024 * 1024
"""Bytes of all values of a Secret: https://kubernetes.io/docs/concepts/configuration/secret/"""
_FIELDS = {"apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"}
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_TEXTS = ("name", "namespace", "generateName")


@dataclass(frozen=True)
class Secret:
    """A checked Secret. ``where`` is file:line; ``metadata`` is what the template gets."""

    name: str
    namespace: str
    metadata: dict[str, Any]
    values: dict[str, SecretBytes] = field(repr=False)
    type: str
    immutable: bool | None
    where: str

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.metadata.get("annotations") or {})


def read_secrets(data: bytes, where: str) -> list[Secret]:
    """Read every Secret of an input; Lists are taken apart.

    Raises InputError, with the line, for input without any, and for anything that is no
    proper Secret: a value that is not base64, another kind, a field that no Secret has.
    """
    documents = [item for one in read_documents(data, where) for item in items_of(one)]
    if not documents:
        raise InputError(
            "there is no Secret in the input",
            where=where,
            expected="a Secret in YAML or JSON, in UTF-8",
        )
    return [read_secret(document, where) for document in documents]


def read_secret(document: Document, path: str) -> Secret:
    """Check one document and take its values. Raises InputError; see ``read_secrets``."""
    reader = _Reader(document, path)
    manifest = reader.checked()
    metadata = reader.metadata(manifest)
    values = reader.values(manifest, str(metadata.get("name") or "secret"))
    secret = Secret(
        name=str(metadata.get("name") or ""),
        namespace=str(metadata.get("namespace") or ""),
        metadata=metadata,
        values=values,
        type=reader.text(manifest, "type"),
        immutable=reader.immutable(manifest),
        where=reader.place(""),
    )
    leaks.refuse(_texts(metadata), values, reader.place("/metadata"), secret.name)
    return secret


class _Reader:
    """Reads one document; each complaint names the line of its field."""

    def __init__(self, document: Document, path: str) -> None:
        self._document = document
        self._path = path

    def place(self, pointer: str) -> str:
        lines = self._document.lines
        while pointer and pointer not in lines:
            pointer = pointer.rpartition("/")[0]
        return f"{self._path}:{lines.get(pointer, self._document.line)}"

    def wrong(self, what: str, pointer: str, expected: str, hint: str | None = None) -> InputError:
        return InputError(what, where=self.place(pointer), expected=expected, hint=hint)

    def checked(self) -> dict[str, Any]:
        manifest: Any = self._document.manifest
        if not isinstance(manifest, dict):
            raise self.wrong("this is no Kubernetes object", "", "a Secret (apiVersion: v1)")
        kind, version = manifest.get("kind"), manifest.get("apiVersion")
        if kind == "SealedSecret":
            hint: str | None
            hint = "to renew it: opslib seal --re-encrypt; to edit it: opslib seal set FILE KEY"
            raise self.wrong("this is sealed already", "/kind", "kind: Secret", hint)
        if kind != "Secret" or version != "v1":
            what = f"this is no Secret: kind {_shown(kind)}, apiVersion {_shown(version)}"
            raise self.wrong(what, "/kind", "kind: Secret, apiVersion: v1")
        if odd := sorted(map(str, manifest.keys() - _FIELDS)):
            hint = "did you mean stringData?" if odd[0].lower() == "stringdata" else None
            what = f"a Secret has no field {odd[0]}"
            raise self.wrong(what, f"/{odd[0]}", f"of: {', '.join(sorted(_FIELDS))}", hint)
        return manifest

    def metadata(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the template keeps: who it is, labels, annotations, finalizers."""
        found = manifest.get("metadata")
        if not isinstance(found, dict | None):
            raise self.wrong("metadata is no mapping", "/metadata", "a mapping with a name")
        found = found or {}
        kept: dict[str, Any] = {}
        name: str
        for name in _TEXTS:
            if text := self.text(found, name, "/metadata"):
                kept[name] = text
        for name in ("labels", "annotations"):
            texts = {
                str(key): self.text(found[name], key, f"/metadata/{name}")
                for key in self._mapping(found, name, "/metadata")
                if key not in STRIPPED
            }
            if texts:
                kept[name] = texts
        if finalizers := found.get("finalizers"):
            kept["finalizers"] = finalizers
        return kept

    def values(self, manifest: Mapping[str, Any], name: str) -> dict[str, SecretBytes]:
        """Return the values by key, in the order of the input; stringData wins over data."""
        made: dict[str, SecretBytes] = {}
        for part in ("data", "stringData"):
            for key in self._mapping(manifest, part, ""):
                self._check_key(key, part)
                text = self.text(manifest[part], key, f"/{part}")
                made[key] = SecretBytes(
                    self._decoded(text, key) if part == "data" else text, f"{name}/{key}"
                )
        total = sum(map(len, made.values()))
        if total > MOST_VALUES:
            key = max(made, key=lambda one: len(made[one]))
            part = "data" if key in (manifest.get("data") or {}) else "stringData"
            raise self.wrong(
                f"the values are {total} bytes together, the largest is {key}",
                f"/{part}/{_escaped(key)}",
                f"at most {MOST_VALUES} bytes in one Secret",
                "divide it, or keep the large part elsewhere and only its key in the Secret",
            )
        return made

    def immutable(self, manifest: Mapping[str, Any]) -> bool | None:
        found: Any = manifest.get("immutable")
        if not isinstance(found, bool | None):
            raise self.wrong("immutable is neither true nor false", "/immutable", "true or false")
        return found

    def text(self, mapping: Mapping[Any, Any], key: Any, pointer: str = "") -> str:
        """Return a text; null is an empty one, as the API server has it."""
        found: Any = mapping.get(key)
        if found is None:
            return ""
        if not isinstance(found, str):
            kind = "a mapping or list" if isinstance(found, dict | list) else "a number or switch"
            field_ = f"{pointer}/{_escaped(str(key))}"
            hint = f'put it into quotes: {key}: "…"'
            raise self.wrong(f"the value of {key} is {kind}, not text", field_, "text", hint)
        return found

    def _mapping(self, parent: Mapping[str, Any], name: str, pointer: str) -> dict[Any, Any]:
        found = parent.get(name)
        if not isinstance(found, dict | None):
            raise self.wrong(f"{name} is no mapping", f"{pointer}/{name}", "a mapping of texts")
        return found or {}

    def _check_key(self, key: Any, part: str) -> None:
        if not isinstance(key, str) or not _KEY.fullmatch(key) or key in {".", ".."}:
            what = f"{_shown(key)} cannot be a key of a Secret"
            expected = "letters, digits, -, _ and . ; at most 253"
            raise self.wrong(what, f"/{part}/{_escaped(str(key))}", expected)

    def _decoded(self, text: str, key: str) -> bytes:
        try:
            return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(
                f"the value of {key} is not base64",
                f"/data/{_escaped(key)}",
                "base64 under data, plain text under stringData",
            ) from None


def check_key(key: str) -> str:
    """Return a key's name. Raises InputError where no Secret can have it."""
    if not _KEY.fullmatch(key) or key in {".", ".."}:
        raise InputError(
            f"{_shown(key)} cannot be a key of a Secret",
            where="KEY",
            expected="letters, digits, -, _ and . ; at most 253",
        )
    return key


def _texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for part, word in (("annotations", "annotation"), ("labels", "label")):
        for key, text in (metadata.get(part) or {}).items():
            found[f"the {word} {key}"] = text
    return found


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, str | None) else "no text"
