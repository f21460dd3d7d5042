"""The references of a repository: found in files, and checked against Vault without a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin, Resource
from opslib.seal.reading import MOST, items_of, read_documents, read_file
from opslib.seal.sealed import in_folder
from opslib.seal.vaultclient import Vault
from opslib.seal.vaultdoc import KIND, VaultSecret, is_vault_secret, read
from opslib.seal.vaulterrors import VaultError
from opslib.seal.vaultproof import Prover
from opslib.seal.vaultref import Reference


@dataclass(frozen=True)
class Found:
    """One finding: what is wrong with a reference, where, and what to do."""

    severity: Literal["error", "warning"]
    cause: str
    where: str
    subject: str
    reference: str
    what: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        return vars(self).copy()

    def __str__(self) -> str:
        text = f"{self.where}: {self.severity} [{self.cause}] {self.subject}: {self.what}"
        return f"{text}\n  to do: {self.hint}" if self.hint else text


def in_paths(
    paths: Iterable[Path], unread: Callable[[InputError], None]
) -> tuple[list[VaultSecret], list[OpslibError]]:
    """Return the VaultSecrets of files and folders, and what is wrong with others.

    A file that does not name the kind is not parsed; one that cannot be read is told to
    ``unread``. Raises InputError for a path that is not there.
    """
    found: list[VaultSecret] = []
    wrong: list[OpslibError] = []
    for start in paths:
        if not start.exists():
            raise InputError("there is no such file or folder", where=str(start))
        for path in in_folder(start):
            if path.stat().st_size > MOST:
                continue
            data = read_file(path)
            if KIND.encode() not in data:
                continue
            try:
                resources = list(_resources(data, str(path)))
            except InputError as error:
                unread(error)
                continue
            for one in resources:
                try:
                    found.append(read(one))
                except Problems as several:
                    wrong += several.problems
    return found, wrong


def _resources(data: bytes, path: str) -> Iterable[Resource]:
    for document in (item for one in read_documents(data, path) for item in items_of(one)):
        if not is_vault_secret(document.manifest):
            continue
        metadata = document.manifest.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not name:
            raise InputError("a VaultSecret has no metadata.name", where=f"{path}:{document.line}")
        yield Resource(document.manifest, Origin(path, document.line), document.lines)


def places_of(secrets: Iterable[VaultSecret]) -> dict[Reference, list[tuple[str, str]]]:
    """Return every reference with the places that name it: file:line, and the Secret's key."""
    found: dict[Reference, list[tuple[str, str]]] = {}
    for one in secrets:
        namespace = f"{one.resource.namespace}/" if one.resource.namespace else ""
        for key, reference in one.references.items():
            subject = f"{namespace}{one.resource.name} {key}"
            found.setdefault(reference, []).append((one.place_of(key), subject))
    return found


def check(secrets: Sequence[VaultSecret], vault: Vault) -> list[Found]:
    """Prove every reference of a repository; return what is wrong, in the order of the files.

    Raises VaultError where it is Vault itself that does not answer: nothing is known then.
    """
    prover = Prover(vault)
    found: list[Found] = []
    for reference, places in places_of(secrets).items():
        rows = list(_of_reference(reference, prover))
        for where, subject in places:
            found += [
                Found(severity, cause, where, subject, str(reference), what, hint)
                for severity, cause, what, hint in rows
            ]
    return sorted(found, key=lambda one: _place(one.where))


def _of_reference(
    reference: Reference, prover: Prover
) -> Iterable[tuple[Literal["error", "warning"], str, str, str]]:
    newest = ""
    try:
        proven = prover.prove(reference)
        newest = f"?version={proven.newest}"
        if proven.ends:
            what = f"version {proven.reference.version} will be deleted at {proven.ends}"
            yield "warning", "ends", what, ""
    except VaultError as error:
        if error.away:
            raise
        what = f"{error.what}; expected {error.expected}" if error.expected else error.what
        yield "error", error.cause, what, error.hint or ""
    if not reference.pinned:
        hint = f"append {newest or '?version=N'}: another value is a diff then, and not a surprise"
        yield "warning", "unpinned", "the reference names no version", hint


def _place(where: str) -> tuple[str, int]:
    path, _, line = where.rpartition(":")
    return path, int(line) if line.isdecimal() else 0
