"""Talking to Vault: one request, one deadline, one cause when it fails; short tokens only."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote

from opslib.core import secrecy
from opslib.core.errors import InputError
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.vaultaccess import MOST_SECONDS, Access
from opslib.seal.vaulterrors import VaultError, VaultSlow, of_status
from opslib.seal.vaultref import Reference

_T = TypeVar("_T")
_MOST = 8 * 1024 * 1024
"""Bytes of one answer. Vault's own limit of a request, and so of a secret, is 32 MiB; a
Secret of Kubernetes holds 1 MiB."""
_SAID = 200
_RENEW = 0.8
"""Part of a token's life after which another one is taken."""


class Vault:
    """A connection to Vault. Logs in when first needed; ``close`` gives the token back."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._adapter: Any = None
        self._until = 0.0
        self._own = False
        self._short = False
        self._hopeless = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Revoke the token that was got by a login, and close the connection."""
        if self._adapter is None:
            return
        if self._own and self._adapter.token:
            with contextlib.suppress(VaultError):
                self._once("POST", "auth/token/revoke-self", "the token")
        self._adapter.close()
        self._adapter, self._own, self._short, self._until = None, False, False, 0.0

    def metadata(self, reference: Reference) -> dict[str, Any]:
        """Return the metadata of a secret: its versions, and no value.

        https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-metadata
        """
        return self._data(reference.api("metadata"), str(reference))

    def subkeys(self, reference: Reference) -> frozenset[str]:
        """Return the names of the keys of one version, and no value.

        https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-subkeys
        """
        path = f"{reference.api('subkeys')}?version={reference.version}&depth=1"
        return frozenset(_mapping(self._data(path, str(reference)).get("subkeys")))

    def values(self, reference: Reference) -> dict[str, SecretBytes]:
        """Return all values of one version; each is noted as secret.

        Texts as they are, everything else as JSON, as Vault's own operator does. Raises
        VaultError with the cause ``token`` where the token lives longer than ten minutes.
        """
        self.need_short()
        path = f"{reference.api('data')}?version={reference.version}"
        found = _mapping(self._data(path, str(reference)).get("data"))
        made = {}
        for key, value in found.items():
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            secrecy.note(text, f"{reference.path}/{key}")
            made[key] = SecretBytes(text, f"{reference.path}/{key}")
        return made

    def policy(self, name: str) -> str:
        """Return the text of a policy (https://developer.hashicorp.com/vault/api-docs/system/policies)."""
        found = self._data(f"sys/policies/acl/{quote(name, safe='')}", f"policy {name}")
        return str(found.get("policy") or "")

    def need_short(self) -> None:
        """Raise VaultError where the token lives longer than one that reads values may."""
        self._ready()
        if self._short:
            return
        told = self._data("auth/token/lookup-self", "the token")
        left = told.get("ttl")
        if not isinstance(left, int) or not 0 < left <= MOST_SECONDS:
            raise _long_lived(left, "VAULT_TOKEN", "log in by OPSLIB_VAULT_ROLE")
        self._short = True

    # -- requests

    def _data(self, path: str, where: str) -> dict[str, Any]:
        return _mapping(self._request("GET", path, where).get("data"))

    def _request(self, method: str, path: str, where: str) -> dict[str, Any]:
        """Send a request; with a token that ended meanwhile, once more with another one."""
        self._ready()
        try:
            return self._once(method, path, where)
        except VaultError as error:
            if error.cause != "denied" or not self._own or self._hopeless or self._alive():
                raise
        self._login()
        try:
            return self._once(method, path, where)
        except VaultError as error:
            # Its policy shows no token itself: a refusal is a refusal from now on.
            self._hopeless = error.cause == "denied"
            raise

    def _alive(self) -> bool:
        try:
            self._once("GET", "auth/token/lookup-self", "the token")
        except VaultError as error:
            return error.cause != "denied"
        return True

    def _ready(self) -> None:
        if self._adapter is None:
            self._adapter = _adapter(self.access)
        if self.access.role:
            if time.monotonic() >= self._until:
                self._login()
        elif not self._adapter.token:
            if self.access.token is None:
                raise InputError(
                    "there is no token for Vault",
                    where=self.access.address,
                    hint="set OPSLIB_VAULT_ROLE (a pod logs in with its own token) or VAULT_TOKEN",
                )
            self._adapter.token = self.access.token.reveal().decode()

    def _login(self) -> None:
        """Log in with the cluster's token: the JWT and the Kubernetes method ask alike.

        https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login
        """
        access, where = self.access, f"auth/{self.access.mount} role {self.access.role}"
        body = {"role": access.role, "jwt": access.read_jwt().reveal().decode()}
        self._adapter.token = None
        try:
            found = self._once("POST", f"auth/{access.mount}/login", where, body)
        except VaultError as error:
            if error.away:
                raise
            raise VaultError(
                "Vault does not let us in",
                "login",
                where=where,
                expected="a role that is bound to this service account, namespace and audience",
                hint=error.what.partition(": ")[2] or None,
            ) from None
        auth = _mapping(found.get("auth"))
        token, seconds = auth.get("client_token"), auth.get("lease_duration")
        if not isinstance(token, str) or not token:
            raise VaultError("Vault's answer to the login has no token", "answer", where=where)
        secrecy.note(token, "vault/token")
        self._adapter.token, self._own = token, True
        if not isinstance(seconds, int) or not 0 < seconds <= MOST_SECONDS:
            self.close()
            raise _long_lived(seconds, where, f"vault write {where.replace(' role ', '/role/')} …")
        self._until = time.monotonic() + seconds * _RENEW
        self._short = True

    def _once(
        self, method: str, path: str, where: str, body: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        adapter, seconds = self._adapter, self.access.seconds
        place = f"{where} at {self.access.address}"

        def send() -> tuple[int, bytes]:
            return _send(adapter, method, f"/v1/{path}", body, seconds)

        status, data = _within(seconds, send, place)
        answer = _json(data)
        if 200 <= status < 300:
            if answer is None and data:
                raise VaultError("the answer is not JSON: is this Vault?", "answer", where=place)
            return answer or {}
        if status == 404 and answer and answer.get("data"):
            return answer  # a version that was deleted: its metadata says so
        raise of_status(status, _said(answer), place)


def _adapter(access: Access) -> Any:
    from hvac.adapters import RawAdapter  # noqa: PLC0415  # with requests 0.1 s, for its users

    return RawAdapter(
        base_uri=access.address,
        verify=access.certificates or True,
        timeout=access.seconds,
        allow_redirects=False,  # requests would take the token along to wherever it leads
        namespace=access.namespace or None,
    )


def _send(
    adapter: Any, method: str, url: str, body: Mapping[str, str] | None, seconds: float
) -> tuple[int, bytes]:
    """Send one request and read its answer, bounded."""
    options: dict[str, Any] = {"stream": True, "timeout": seconds, "raise_exception": False}
    if body is not None:
        options["json"] = body
    with adapter.request(method, url, **options) as response:
        data = bytearray()
        for part in response.iter_content(64 * 1024):
            data += part
            if len(data) > _MOST:
                raise ValueError("too long")  # told in _within
        return int(response.status_code), bytes(data)


def _within(seconds: float, work: Callable[[], _T], where: str) -> _T:
    """Do the work in a thread, so that an answer that drips is no longer waited for than others.

    The exceptions of requests quote addresses and headers: none is passed on.
    """
    import requests  # noqa: PLC0415  # as above

    done: list[_T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001  # looked at below, in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="vault")
    thread.start()
    thread.join(seconds)
    if done:
        return done[0]
    error = failed[0] if failed else None
    if error is None or isinstance(error, requests.Timeout):
        raise VaultSlow(f"Vault did not answer within {seconds:g} s", "slow", where=where)
    if isinstance(error, requests.exceptions.SSLError):
        raise VaultError("Vault's certificate is not trusted", "gone", where=where,
                         hint="name its authority by VAULT_CACERT")  # fmt: skip
    if isinstance(error, requests.RequestException | OSError):
        why = "the connection ended in between" if _broke(error) else "nobody answers there"
        raise VaultError(f"Vault cannot be reached: {why}", "gone", where=where,
                         hint="see whether it runs, and whether VAULT_ADDR names it")  # fmt: skip
    if isinstance(error, ValueError):
        raise VaultError("Vault's answer is too long, or none", "answer", where=where)
    raise error


def _broke(error: Exception) -> bool:
    return "RemoteDisconnected" in repr(error) or "Incomplete" in repr(error)


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _said(answer: dict[str, Any] | None) -> str:
    """Return Vault's own words, in one line."""
    errors = (answer or {}).get("errors")
    words = " ".join(str(one) for one in errors) if isinstance(errors, list) else ""
    return " ".join(words.split())[:_SAID]


def _long_lived(seconds: Any, where: str, hint: str) -> VaultError:
    lives = f"{seconds} s" if isinstance(seconds, int) and seconds else "for ever"
    return VaultError(
        f"the token lives {lives}; one that reads values lives {MOST_SECONDS} s at most",
        "token",
        where=where,
        expected="token_ttl=10m or less on the role",
        hint=hint,
    )
