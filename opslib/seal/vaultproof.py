"""Proof that a reference leads to a value, without the value: from metadata and subkeys alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from opslib.core.clock import now
from opslib.seal.vaultclient import Vault
from opslib.seal.vaulterrors import VaultError
from opslib.seal.vaultref import Reference

_T = TypeVar("_T")
_NAMED = 12
"""Names of keys that a message lists at most."""


@dataclass(frozen=True)
class Proven:
    """What Vault says of a reference that leads to a value.

    ``reference`` names the version that it leads to now; ``newest`` is the newest one.
    ``ends`` is the moment at which Vault will delete it; "" where it stays.
    """

    reference: Reference
    newest: int
    ends: str = ""


class Prover:
    """Asks Vault about references, about each secret and each version once."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._metadata: dict[str, Mapping[str, Any] | VaultError] = {}
        self._keys: dict[tuple[str, int], frozenset[str] | VaultError] = {}

    def prove(self, reference: Reference) -> Proven:
        """Return where a reference leads to; VaultError, with the cause, where to nothing."""
        found = self._of_secret(reference)
        newest = found.get("current_version")
        newest = newest if isinstance(newest, int) else 0
        pinned = reference if reference.pinned else reference.at(newest)
        version = (found.get("versions") or {}).get(str(pinned.version))
        if not isinstance(version, dict):
            oldest = max(1, int(found.get("oldest_version") or 0))
            raise VaultError(
                f"version {pinned.version} of {pinned.secret} does not exist"
                if newest
                else f"{pinned.secret} has no version",
                "version",
                where=str(reference),
                expected=f"version {oldest} to {newest}" if newest else None,
            )
        ends = _live(reference, pinned, version)
        keys = self._of_version(pinned)
        if pinned.key not in keys:
            names = sorted(keys)
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise VaultError(
                f"version {pinned.version} of {pinned.secret} has no key {pinned.key}",
                "key",
                where=str(reference),
                expected=f"one of: {', '.join(names[:_NAMED])}{more}" if names else None,
            )
        return Proven(pinned, newest, ends)

    def _of_secret(self, reference: Reference) -> Mapping[str, Any]:
        known = self._metadata.get(reference.secret)
        if known is None:
            try:
                known = self._vault.metadata(reference)
            except VaultError as error:
                known = _absent(error, reference) if error.cause == "absent" else error
                if known.away:
                    raise
            self._metadata[reference.secret] = known
        return _or_refused(known, reference)

    def _of_version(self, reference: Reference) -> frozenset[str]:
        place = reference.secret, reference.version
        known = self._keys.get(place)
        if known is None:
            try:
                known = self._vault.subkeys(reference)
            except VaultError as error:
                if error.away:
                    raise
                known = error
            self._keys[place] = known
        return _or_refused(known, reference)


def _or_refused(known: _T | VaultError, reference: Reference) -> _T:
    """Return what is known of a secret; what was refused once is refused for each reference."""
    if isinstance(known, VaultError):
        raise VaultError(known.what, known.cause, where=str(reference), expected=known.expected,
                         hint=known.hint)  # fmt: skip
    return known


def _absent(error: VaultError, reference: Reference) -> VaultError:
    return VaultError(
        f"there is no secret {reference.secret}",
        error.cause,
        where=error.where,
        expected="a path of a mount of KV version 2",
    )


def _live(reference: Reference, pinned: Reference, version: Mapping[str, Any]) -> str:
    """Raise VaultError for a version that is destroyed or deleted; return when it will be."""
    name = f"version {pinned.version} of {pinned.secret}"
    if version.get("destroyed"):
        raise VaultError(f"{name} is destroyed", "destroyed", where=str(reference),
                         hint="pin a version that is there; no one can bring it back")  # fmt: skip
    ends = str(version.get("deletion_time") or "")
    if ends and _moment(ends) <= now():
        raise VaultError(f"{name} is deleted", "deleted", where=str(reference),
                         hint="pin another one, or `vault kv undelete` it")  # fmt: skip
    return ends


def _moment(text: str) -> datetime:
    """Read a time as Vault writes it, with nanoseconds; what is none has passed."""
    try:
        found = datetime.fromisoformat(text.partition(".")[0].rstrip("Z"))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found.replace(tzinfo=UTC)
