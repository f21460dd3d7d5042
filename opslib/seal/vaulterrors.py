"""What Vault answers when it does not give what was asked for, as errors with one cause each."""

from __future__ import annotations

from typing import ClassVar, Literal

from opslib.core.errors import OpslibError

Cause = Literal[
    "absent",
    "deleted",
    "destroyed",
    "version",
    "key",
    "denied",
    "login",
    "token",
    "sealed",
    "standby",
    "slow",
    "gone",
    "answer",
]


class VaultError(OpslibError):
    """Vault did not give what was asked for. ``cause`` is one word for programs."""

    kind = "vault"

    def __init__(
        self,
        what: str,
        cause: Cause,
        *,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, expected=expected, hint=hint)
        self.cause: Cause = cause

    @property
    def away(self) -> bool:
        """Whether the answer is the same whatever is asked for: Vault does not work, or for us."""
        return self.cause in {"login", "token", "sealed", "standby", "slow", "gone", "answer"}

    @property
    def disproves(self) -> bool:
        """Whether Vault answered, and has not what was asked for."""
        return self.cause in {"absent", "deleted", "destroyed", "version", "key"}

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "cause": self.cause}


class VaultSlow(VaultError):
    """Vault did not answer within its time."""

    exit_code: ClassVar[int] = 124


def of_status(status: int, said: str, where: str) -> VaultError:
    """Return the error of an answer that is not 2xx.

    ``said`` are Vault's own words, bounded. https://developer.hashicorp.com/vault/api-docs#http-status-codes
    """
    if status == 403:
        return VaultError(
            "Vault refuses it: permission denied",
            "denied",
            where=where,
            hint="the token's policy does not allow this path; `opslib seal vault policy` "
            "writes the one that does",
        )
    if status == 404:
        return VaultError("Vault has nothing there", "absent", where=where)
    if status == 503 and "sealed" in said:
        return VaultError(
            "Vault is sealed", "sealed", where=where, hint="somebody has to unseal it first"
        )
    if status in {301, 302, 307, 308, 429, 472, 473} and status != 429:
        return VaultError(
            "this Vault is a standby and does not answer itself",
            "standby",
            where=where,
            hint="let VAULT_ADDR name the active one, or the load balancer before it",
        )
    if status == 429:
        return VaultError("Vault answers 429: too many requests", "slow", where=where)
    return VaultError(f"Vault answers {status}{f': {said}' if said else ''}", "answer", where=where)
