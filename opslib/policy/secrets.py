"""Secrets in Git: Secret objects with values, and what looks like one elsewhere.

Texts name keys and fields only: a value that was found is never repeated.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from opslib.core import secrecy
from opslib.core.model import Resource
from opslib.policy.containers import containers
from opslib.policy.seen import Seen, items, mapping, pointer
from opslib.seal.vaultdoc import is_vault_secret
from opslib.seal.vaultref import parse

_SEAL = "seal it, or keep it in a vault and refer to it; then change the secret: it is known"
_KEY = re.compile(
    r"(?:^|[_.\-])(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key"
    r"|client_?secret|credentials?|connection_?string)$"
)
_HARMLESS = re.compile(r"(?:true|false|yes|no|on|off|none|null|\d{1,4}|/[\w./\-]+)?", re.IGNORECASE)
_REFERENCE = re.compile(r"^(?:\$\(.+\)|\$\{.+\}|\{\{.+\}\}|ref\+.+|vault:.+|<.+>)$", re.DOTALL)
_VALUES = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a password in a URL", re.compile(r"://[^\s/:@]*:[^\s/:@$<{]{3,}@")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})")),
    ("a signed token (JWT)", re.compile(r"\beyJ[\w\-]{10,999}\.eyJ[\w\-]{10,}\.")),
)
_MOST = 128 * 1024
_OPTION = re.compile(r"^--?([A-Za-z][\w.\-]*)=(.+)$", re.DOTALL)


def plain(resource: Resource) -> Iterator[Seen]:
    """Find Secret values in Git, and what looks like a secret in other objects (a warning)."""
    if resource.kind == "Secret" and resource.api_version == "v1":
        yield from _secret(resource)
        return
    seen = set[str]()
    if resource.kind == "SealedSecret":
        yield from _unsealed(resource)
    for field, name in _named(resource):
        seen.add(field)
        yield Seen(
            resource,
            field,
            f"{name} looks like a secret by its name",
            f"move it to a Secret that is sealed; {_SEAL}",
            "warning",
        )
    for field, what in _telling(resource.manifest, ()):
        if field not in seen:
            seen.add(field)
            yield Seen(resource, field, f"the value looks like {what}", _SEAL, "warning")
    if resource.kind == "ConfigMap":
        yield from _scanned(resource, seen)


def _unsealed(resource: Resource) -> Iterator[Seen]:
    """Find values of a SealedSecret that are no ciphertext."""
    from opslib.seal.scan import verified  # noqa: PLC0415  # start-up time

    spec = mapping(resource.manifest.get("spec"))
    for key, value in mapping(spec.get("encryptedData")).items():
        if isinstance(value, str) and value and not verified.sealed(value):
            field = pointer("spec", "encryptedData", key)
            yield Seen(resource, field, f"the value of {key} was never sealed", _SEAL)


def _scanned(resource: Resource, known: set[str]) -> Iterator[Seen]:
    """Find what the leak scan finds in a ConfigMap's texts: documents, base64, settings."""
    text = json.dumps(resource.manifest, default=str)
    if len(text) > _MOST:
        return  # a plan must not wait for it; the scan of the files has no such bound
    from opslib.seal.scan.files import scan_bytes  # noqa: PLC0415  # start-up time
    from opslib.seal.scan.model import KINDS  # noqa: PLC0415  # start-up time

    for one in scan_bytes(text.encode(), "manifest.json").seen:
        if not any(one.key == field or one.key.startswith(f"{field}/") for field in known):
            yield Seen(resource, one.key, KINDS[one.kind].what, _SEAL, "warning")


def unpinned(resource: Resource) -> Iterator[Seen]:
    """Find references to Vault that follow the newest version. What is none is no finding here."""
    if not is_vault_secret(resource.manifest):
        return
    for key, value in mapping(resource.manifest.get("stringData")).items():
        with contextlib.suppress(ValueError):
            if not parse(value).pinned:
                yield Seen(
                    resource,
                    pointer("stringData", key),
                    f"the reference of {key} names no version",
                    "append ?version=N: a change of the secret is a diff then, a revert takes it "
                    "back",
                )


def _secret(resource: Resource) -> Iterator[Seen]:
    secrecy.note_object(resource.manifest)
    for field in ("data", "stringData"):
        values = mapping(resource.manifest.get(field))
        names = sorted(str(name) for name, value in values.items() if value)
        if names:
            coded = " (base64 hides nothing)" if field == "data" else ""
            yield Seen(
                resource,
                f"/{field}",
                f"the Secret's values are in Git{coded}: {', '.join(names)}",
                _SEAL,
            )


def _named(resource: Resource) -> Iterator[tuple[str, str]]:
    """Find values whose key says that they are secret: ConfigMap entries, env, options."""
    if resource.kind == "ConfigMap":
        for key, value in mapping(resource.manifest.get("data")).items():
            if _telling_name(key) and _serious(value):
                yield pointer("data", key), f"the entry {key}"
    for container in containers(resource):
        for number, env in enumerate(items(container.spec.get("env"))):
            name = mapping(env).get("name")
            if _telling_name(name) and _serious(mapping(env).get("value")):
                yield f"{container.field}/env/{number}/value", f"the variable {name}"
        for group in ("command", "args"):
            for number, word in enumerate(items(container.spec.get(group))):
                option = _OPTION.match(word) if isinstance(word, str) else None
                if option and _telling_name(option[1]) and _serious(option[2]):
                    yield f"{container.field}/{group}/{number}", f"the option --{option[1]}"


def _telling(value: Any, path: tuple[object, ...]) -> Iterator[tuple[str, str]]:
    """Walk every text of a manifest and find those that are secrets by their form."""
    if isinstance(value, str):
        for what, pattern in _VALUES:
            if pattern.search(value):
                yield pointer(*path), what
                return
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _telling(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _telling(inner, (*path, number))


def _telling_name(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")
    return _KEY.search(snake) is not None


def _serious(value: Any) -> bool:
    """Tell a likely secret from a switch, a small number, a path or a reference."""
    if not isinstance(value, str) or _HARMLESS.fullmatch(value.strip()):
        return False
    return not _REFERENCE.match(value.strip())
