"""The values of an apply: read from Vault before its first write, in memory, then forgotten."""

from __future__ import annotations

from collections.abc import Mapping

from opslib.seal.secretbytes import SecretBytes
from opslib.seal.vaultaccess import Find, needed
from opslib.seal.vaultclient import Vault
from opslib.seal.vaulterrors import VaultError
from opslib.seal.vaultref import Reference


class Values:
    """Values by reference. All that is asked for is there before one of it is used."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._found: dict[Reference, SecretBytes] = {}

    def obtain(self, wanted: Mapping[Reference, str]) -> None:
        """Read what is not there yet, each version of a secret once, and give the token back.

        ``wanted`` maps references, with their versions, to file:line. Raises VaultError, and
        InputError where no Vault is named, with that place; nothing is kept then.
        """
        missing = {one: place for one, place in wanted.items() if one not in self._found}
        if not missing:
            return
        access = needed(self._find(), next(iter(missing.values())))
        found: dict[Reference, SecretBytes] = {}
        with Vault(access) as vault:
            secrets: dict[tuple[str, int], dict[str, SecretBytes]] = {}
            for one, place in missing.items():
                version = one.secret, one.version
                if version not in secrets:
                    secrets[version] = _read(vault, one, place)
                if one.key not in secrets[version]:
                    raise VaultError(f"there is no key {one.key} any more", "key",
                                     where=f"{place}: {one}")  # fmt: skip
                found[one] = secrets[version][one.key]
        self._found |= found

    def of(self, reference: Reference) -> SecretBytes | None:
        """Return a value that was obtained; None where it was not."""
        return self._found.get(reference)

    def forget(self) -> None:
        """Let go of all values."""
        self._found.clear()


def _read(vault: Vault, one: Reference, place: str) -> dict[str, SecretBytes]:
    try:
        found = vault.values(one)
    except VaultError as error:
        error.where = f"{place}: {error.where or one}"
        raise
    if not found:
        raise VaultError("the version is deleted or destroyed", "deleted", where=f"{place}: {one}")
    return found
