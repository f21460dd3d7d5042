"""What is wrong with a sealed value, in one word, one sentence and one thing to do."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opslib.seal.sealed import Declared
from opslib.seal.wire import Scope

Severity = Literal["error", "warning", "info"]


class Cause(enum.StrEnum):
    """Why a value would not unseal, or what else a person should know of it."""

    NAME = "name"
    NAMESPACE = "namespace"
    SCOPE = "scope"
    PLACE = "place"
    KEY = "key"
    TRUNCATED = "truncated"
    EDITED = "edited"
    NOT_BASE64 = "not-base64"
    PLAINTEXT = "plaintext"
    SWAPPED = "swapped"
    COPIED = "copied"
    FORM = "form"
    STALE = "stale"
    DUE = "due"
    UNNOTED = "unnoted"


@dataclass(frozen=True)
class Finding:
    """One thing about one value (``key`` "" for the whole object); ``where`` is file:line."""

    cause: Cause
    severity: Severity
    where: str
    subject: str
    key: str
    what: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        return {name: str(value) for name, value in vars(self).items()}

    def __str__(self) -> str:
        what = f"{self.subject} {self.key}: {self.what}" if self.key else self.what
        text = f"{self.where}: {self.severity}: {self.cause}: {what}"
        return f"{text}\n    to do: {self.hint}" if self.hint else text


def about(
    one: Declared,
    key: str,
    cause: Cause,
    what: str,
    hint: str = "",
    *,
    severity: Severity = "error",
) -> Finding:
    """Return a finding about a value at its line."""
    where = one.place_of(key) if key else one.place("/spec")
    subject = str(one)
    return Finding(
        cause, severity, where, subject, key, what if key else f"{subject}: {what}", hint
    )


def of_label(one: Declared, key: str, noted: str, how: str) -> list[Finding]:
    """Compare the label a value was sealed under with the one it would be unsealed under.

    ``noted`` is as notes write it; ``how`` says how it is known. Returns nothing where they agree.
    """
    scope = _scope_of(noted)
    if scope is not one.scope:
        return [about(one, key, Cause.SCOPE, *_of_scope(one, scope, how))]
    namespace, _, name = noted.partition("/")
    found: list[Finding] = []
    if scope is not Scope.CLUSTER and namespace != one.namespace:
        found.append(_of_namespace(one, key, namespace, how))
    if scope is Scope.STRICT and name != one.name:
        found.append(
            about(
                one,
                key,
                Cause.NAME,
                f"it was sealed for the name {name} ({how}), and the object is called {one.name}",
                f"call it {name} again, or seal its values anew for {one.name}",
            )
        )
    return found


def _of_namespace(one: Declared, key: str, namespace: str, how: str) -> Finding:
    if not one.namespace:
        return about(
            one,
            key,
            Cause.NAMESPACE,
            f"the file names no namespace, and it unseals in {namespace} only ({how})",
            f"write metadata.namespace: {namespace}, unless a kustomization sets it",
            severity="warning",
        )
    return about(
        one,
        key,
        Cause.NAMESPACE,
        f"it was sealed for the namespace {namespace} ({how}), and the object is in"
        f" {one.namespace}",
        f"move it back, or seal its values anew for {one.namespace}",
    )


def _scope_of(noted: str) -> Scope:
    if noted == "*":
        return Scope.CLUSTER
    return Scope.STRICT if "/" in noted else Scope.NAMESPACE


def _of_scope(one: Declared, scope: Scope, how: str) -> tuple[str, str]:
    what = f"it was sealed {scope} ({how}), and the object's annotations say {one.scope}"
    odd = one.annotations.get(scope.annotation) if scope.annotation else None
    there = one.template_metadata.get("annotations") or {}
    if odd not in {None, "true"}:
        what += f'; {scope.annotation} is {str(odd)[:20]!r}, and only "true" counts'
    elif scope.annotation and isinstance(there, dict) and there.get(scope.annotation) == "true":
        what += "; the annotation stands in spec.template only, where it does not count"
    if not scope.annotation:
        hint = f"take {one.scope.annotation} out of metadata.annotations, or seal the values anew"
    else:
        hint = f'write {scope.annotation}: "true" under metadata.annotations, or seal them anew'
    return what, hint


def worst(found: Sequence[Finding]) -> Severity:
    """Return the highest severity; info for nothing."""
    for severity in ("error", "warning"):
        if any(one.severity == severity for one in found):
            return "error" if severity == "error" else "warning"
    return "info"
