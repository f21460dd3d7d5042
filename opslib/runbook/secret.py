"""Secret parameters: given by reference, resolved in the kernel, shown and recorded as references.

In the parameters cell::

    from opslib.runbook import Secret

    db_password: Secret = "env:DB_PASSWORD"  # or file:/path, or vault:MOUNT/PATH#KEY

and below it, after ``p = runbook.load(globals())``: ``p.db_password.reveal()``.
"""

from __future__ import annotations

import os
import re
import stat
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from opslib.core import secrecy
from opslib.core.errors import InputError
from opslib.seal.secretbytes import SecretBytes

FORMS = "a reference to the secret: env:NAME, file:/path or vault:MOUNT/PATH#KEY"
_REFERENCE = re.compile(
    r"env:(?P<env>[A-Za-z_][A-Za-z0-9_]*)"
    r"|file:(?P<file>(?:/|~/)[^\0\r\n]+)"
    r"|vault:(?P<mount>[\w.\-]+)/(?P<path>[\w.\-/]+)#(?P<key>[\w.\-]+)"
)
_VAULT_SECONDS = 10
_MOST_BYTES = 1 << 20


class Secret:
    """One secret value by its reference. Only ``reveal`` gives the value.

    Text, repr, format, JSON, copies and pickles hold the reference alone. It is no str on
    purpose: whatever joins, logs or stores it by accident gets the reference.
    """

    __slots__ = ("_held", "reference")

    def __init__(self, reference: str) -> None:
        """Take a reference. Raises ValueError, without repeating the text, for anything else."""
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise ValueError("it is not a reference")
        self.reference = reference
        self._held: SecretBytes | None = None

    def reveal(self) -> str:
        """Return the value: the variable, the file's text without the newline at its end, the key.

        It is noted as secret before it is returned. Raises InputError when it is not there.
        """
        return self.held().reveal().decode()

    def held(self) -> SecretBytes:
        """Return the object that holds the value, without handing the value out; see ``reveal``."""
        if self._held is None:
            self._held = SecretBytes(_resolved(self.reference), self.reference)
            self._held.reveal()  # noted, so that whoever prints it later leaves a mask
        return self._held

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __str__(self) -> str:
        return f"{secrecy.OPEN}{self.reference}{secrecy.CLOSE}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash((Secret, self.reference))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.reference,)

    def __iter__(self) -> NoReturn:
        raise TypeError("a Secret is no text; use .reveal() where the value is needed")


def is_reference(value: object) -> bool:
    """Tell whether a text has the form of a reference."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def has_secret(annotation: Any) -> bool:
    """Tell whether a type is Secret or is made of it (Secret | None, list[Secret])."""
    return annotation is Secret or any(has_secret(one) for one in typing.get_args(annotation))


def secrets_in(value: Any) -> Iterator[Secret]:
    """Yield the secrets in a parameter's value."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from secrets_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from secrets_in(one)


def note_plain(value: Any, name: str) -> None:
    """Note what was given by value where a reference was asked: it must not be recorded."""
    if isinstance(value, str) and not is_reference(value):
        secrecy.note(value, name)
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            note_plain(one, name)


def _resolved(reference: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    parts = match.groupdict() if match else {}
    if name := parts.get("env"):
        return _from_environment(name)
    if path := parts.get("file"):
        return _from_file(Path(path).expanduser())
    return _from_vault(reference, str(parts["mount"]), str(parts["path"]), str(parts["key"]))


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise InputError(
            f"the variable {name} is not set, or empty",
            where=f"env:{name}",
            hint=f"export {name} before the run, from a vault or a file that only you can read",
        )
    return value


def _from_file(path: Path) -> str:
    where = f"file:{path}"
    try:
        with open(path, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(_MOST_BYTES + 1)
        text = data.decode().rstrip("\r\n")
    except OSError as error:
        raise InputError(
            f"the secret's file cannot be read: {error.strerror}", where=where
        ) from None
    except UnicodeDecodeError:
        raise InputError("the secret's file is not text (UTF-8)", where=where) from None
    if not stat.S_ISREG(mode) or len(data) > _MOST_BYTES or not text:
        raise InputError("the secret's file is empty, no plain file, or above 1 MiB", where=where)
    if mode & 0o077:
        warnings.warn(
            f"others than its owner may read {path} (mode {stat.S_IMODE(mode):04o}); "
            f"to do: chmod 600 {path}",
            stacklevel=2,
        )
    return text


def _from_vault(reference: str, mount: str, path: str, key: str) -> str:
    """Read one key of a secret of Vault's KV version 2.

    https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
    """
    address = os.environ.get("VAULT_ADDR", "")
    if not address:
        raise InputError(
            "VAULT_ADDR is not set, so there is no Vault to ask",
            where=reference,
            hint="export VAULT_ADDR and VAULT_TOKEN (or log in with `vault login`)",
        )
    import hvac  # noqa: PLC0415  # with requests 0.1 s, for those who use Vault
    from requests import RequestException  # noqa: PLC0415  # what hvac lets through

    client = hvac.Client(url=address, timeout=_VAULT_SECONDS)
    secrecy.note(client.token, "vault/token")
    try:
        answer = client.secrets.kv.v2.read_secret_version(
            path=path, mount_point=mount, raise_on_deleted_version=True
        )
        values = answer["data"]["data"]
    except hvac.exceptions.Forbidden:
        raise _vault(
            "Vault refuses to show it", reference, "check VAULT_TOKEN and its policies"
        ) from None
    except hvac.exceptions.InvalidPath:
        raise _vault("Vault has no such secret", reference, "check mount and path") from None
    except (hvac.exceptions.VaultError, RequestException, KeyError, TypeError, ValueError) as error:
        text = f"Vault does not answer as it should ({type(error).__name__})"
        raise _vault(text, reference, "check VAULT_ADDR, VAULT_CACERT and the server") from None
    for name, value in values.items():
        secrecy.note(value if isinstance(value, str) else None, f"{path}/{name}")
    if not isinstance(values.get(key), str) or not values[key]:
        known = ", ".join(sorted(values))
        raise _vault(f"the secret has no text under {key}", reference, f"its keys: {known}")
    return str(values[key])


def _vault(what: str, reference: str, hint: str) -> InputError:
    return InputError(what, where=reference, hint=hint)
