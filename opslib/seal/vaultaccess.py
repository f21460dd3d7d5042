"""Which Vault, and who we are to it: from the environment of the process, never from Git.

Whoever may change the address in Git would be sent the pod's own token. The names are those
of Vault's own tools where they have one:

    VAULT_ADDR VAULT_CACERT VAULT_NAMESPACE     where it is
    OPSLIB_VAULT_ROLE                           log in by this role, with a token of the cluster
    OPSLIB_VAULT_AUTH                           at this auth method; default: kubernetes
    OPSLIB_VAULT_JWT                            file of that token; default: the pod's own
    VAULT_TOKEN or ~/.vault-token               a token that somebody got before; without a role
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from opslib.core.errors import InputError
from opslib.seal.secretbytes import SecretBytes

POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
MOST_SECONDS = 600
"""Longest life of a token that reads values."""

SECONDS = 10.0
_MOST_TOKEN = 64 * 1024
_MOUNT = re.compile(r"(?!.*\.\.)[A-Za-z0-9._\-]{1,80}(/[A-Za-z0-9._\-]{1,80}){0,5}")
_ROLE = re.compile(r"[A-Za-z0-9._\-]{1,128}")
_NAMES = (
    "VAULT_ADDR",
    "VAULT_CACERT",
    "VAULT_NAMESPACE",
    "VAULT_TOKEN",
    "OPSLIB_VAULT_ROLE",
    "OPSLIB_VAULT_AUTH",
    "OPSLIB_VAULT_JWT",
    "HOME",
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Access:
    """Address and identity. ``seconds`` is the deadline of one request."""

    address: str
    certificates: str = ""
    namespace: str = ""
    role: str = ""
    mount: str = "kubernetes"
    jwt: Path = POD_TOKEN
    token: SecretBytes | None = field(default=None, repr=False)
    seconds: float = SECONDS

    def read_jwt(self) -> SecretBytes:
        """Read the token of the cluster anew: it is renewed in its file. Raises InputError."""
        return SecretBytes(_one_line(self.jwt, "OPSLIB_VAULT_JWT"), "vault/jwt")


Find = Callable[[], Access | None]
"""What finds the access when it is needed: None where no Vault is named; may raise InputError."""


def nobody() -> Access | None:
    """Find no Vault."""
    return None


def access(environment: Mapping[str, str] | None = None) -> Access | None:
    """Return what the environment says; None where it names no Vault.

    Raises InputError for settings that cannot be used.
    """
    env = os.environ if environment is None else environment
    address = env.get("VAULT_ADDR", "").rstrip("/")
    if not address:
        return None
    _check_address(address)
    role, mount = env.get("OPSLIB_VAULT_ROLE", ""), env.get("OPSLIB_VAULT_AUTH", "kubernetes")
    mount = mount.strip("/").removeprefix("auth/")
    for name, value, form in (
        ("OPSLIB_VAULT_ROLE", role, _ROLE),
        ("OPSLIB_VAULT_AUTH", mount, _MOUNT),
    ):
        if value and not form.fullmatch(value):
            raise InputError(f"{name} is not a name", where=name, expected="letters, digits, -._")
    certificates = env.get("VAULT_CACERT", "")
    if certificates and not Path(certificates).is_file():
        raise InputError("VAULT_CACERT names no file", where=certificates)
    return Access(
        address,
        certificates,
        env.get("VAULT_NAMESPACE", ""),
        role,
        mount,
        Path(env.get("OPSLIB_VAULT_JWT") or POD_TOKEN),
        None if role else _given(env),
    )


def later(environment: Mapping[str, str] | None = None) -> Find:
    """Return what reads the settings as they are now, once somebody needs them.

    Wrong ones are in nobody's way who has no reference to Vault.
    """
    env = os.environ if environment is None else environment
    kept = {name: env[name] for name in _NAMES if name in env}
    return lambda: access(kept)


def needed(found: Access | None, where: str) -> Access:
    """Return the access, or raise InputError that says how to name a Vault."""
    if found is None:
        raise InputError(
            "VAULT_ADDR is not set, so there is no Vault to ask",
            where=where,
            hint="export VAULT_ADDR, and OPSLIB_VAULT_ROLE or VAULT_TOKEN",
        )
    return found


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise InputError(
            "VAULT_ADDR is no address", where="VAULT_ADDR", expected="https://HOST:PORT"
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise InputError(
            "VAULT_ADDR is not encrypted: tokens and values would cross the network in the open",
            where="VAULT_ADDR",
            expected="https:// (http:// to this machine alone)",
        )


def _given(env: Mapping[str, str]) -> SecretBytes | None:
    token = env.get("VAULT_TOKEN", "").strip()
    if not token:
        path = Path(env.get("HOME", "/nonexistent")) / ".vault-token"
        token = _one_line(path, "~/.vault-token") if path.is_file() else ""
    if token and not (token.isascii() and token.isprintable()):
        raise InputError("the token of Vault holds characters that no token has",
                         where="VAULT_TOKEN")  # fmt: skip
    return SecretBytes(token, "vault/token") if token else None


def _one_line(path: Path, where: str) -> str:
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MOST_TOKEN + 1)
        text = data.decode("ascii").strip()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", where=where) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} holds no token", where=where) from None
    if not text or len(data) > _MOST_TOKEN or not text.isprintable():
        raise InputError(f"{path} holds no token", where=where, expected="one line")
    return text
