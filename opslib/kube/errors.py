"""What the API server says when it refuses, in the terms of the kit's one tree of errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opslib.core.errors import InputError, OpslibError


@dataclass(frozen=True)
class Cause:
    """One entry of ``status.details.causes``: why, at which field."""

    reason: str
    message: str
    field: str


class ApiError(OpslibError):
    """A response of the API server other than 2xx.

    ``code`` is the HTTP status; ``reason`` and ``causes`` are those of the Status object
    (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/),
    ``retry_after`` the seconds that the server asks to wait, if it does.
    """

    kind = "api-error"

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        where: str,
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, where=where)
        self.code = code
        self.reason = reason
        self.causes = causes
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        causes = [{"reason": c.reason, "message": c.message, "field": c.field} for c in self.causes]
        return {**super().as_dict(), "code": self.code, "reason": self.reason, "causes": causes}


class Unreachable(InputError):
    """No API server answers at the address of the kubeconfig."""

    kind = "unreachable"


class Refused(InputError):
    """The API server does not accept these credentials (401), or TLS fails."""

    kind = "unauthorized"


def from_response(code: int, body: Any, *, where: str, retry_after: str | None) -> OpslibError:
    """Turn a Status object (or whatever a proxy sent instead) into an error."""
    status = body if isinstance(body, dict) else {}
    found = status.get("details")
    details = found if isinstance(found, dict) else {}
    causes = tuple(
        Cause(str(c.get("reason", "")), str(c.get("message", "")), str(c.get("field", "")))
        for c in details.get("causes") or ()
    )
    message = str(status.get("message") or f"HTTP {code} without an explanation")
    if code == 401:
        return Refused(
            "the API server does not accept these credentials (401 Unauthorized)",
            where=where,
            hint="renew them: log in again, or check the user of the kubeconfig's context",
        )
    wait = seconds_of(retry_after) or details.get("retryAfterSeconds")
    return ApiError(
        code,
        str(status.get("reason") or "Unknown"),
        message,
        where=where,
        causes=causes,
        retry_after=float(wait) if wait else None,
    )


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for; None where it names none."""
    return float(retry_after) if retry_after and retry_after.isdigit() else None
