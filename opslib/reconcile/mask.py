"""Secret values never leave the process: what is shown of them is a token.

The token says whether two values are the same without saying which: an HMAC under a key
of this user on this machine, so that nobody can try guesses against a plan or a record.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from opslib.core import secrecy
from opslib.core.files import exclusive, private_dir, write_atomic
from opslib.core.model import Manifest
from opslib.core.settings import state_dir

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MASKED_FIELDS = ("data", "stringData")


def is_secret(manifest: Manifest) -> bool:
    """Tell whether an object is a core Secret."""
    return manifest.get("kind") == "Secret" and manifest.get("apiVersion") == "v1"


def masked(manifest: Manifest) -> Manifest:
    """Return a Secret with tokens for its values; any other object as it is.

    The annotation in which kubectl keeps the whole last manifest is masked too.
    """
    if not is_secret(manifest):
        return manifest
    secrecy.note_object(manifest)
    clean = dict(manifest)
    for field in _MASKED_FIELDS:
        values = clean.get(field)
        if values is None:
            continue
        # Malformed data fails closed: the whole field becomes one token.
        clean[field] = (
            {key: token(value) for key, value in values.items()}
            if isinstance(values, dict)
            else token(values)
        )
    metadata = dict(clean.get("metadata") or {})
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and LAST_APPLIED in annotations:
        hidden = token(annotations[LAST_APPLIED])
        metadata["annotations"] = {**annotations, LAST_APPLIED: hidden}
        clean["metadata"] = metadata
    return clean


def scrubbed(text: str, manifest: Manifest) -> str:
    """Return a message of the API server without any value of the Secret that it is about."""
    if not is_secret(manifest):
        return text
    for value in sorted(_values(manifest), key=len, reverse=True):
        if value:
            text = text.replace(value, "<masked>")
    return text


def token(value: Any) -> str:
    """Return ``<masked 0f3a…>``: equal for equal values on this machine, and nothing more."""
    mac = hmac.new(_key(), repr(value).encode(), hashlib.sha256)
    return f"<masked {mac.hexdigest()[:10]}>"


def _values(manifest: Manifest) -> Iterator[str]:
    for field in _MASKED_FIELDS:
        values = manifest.get(field)
        for value in values.values() if isinstance(values, dict) else [values]:
            if not isinstance(value, str):
                continue
            yield value
            with contextlib.suppress(ValueError):
                yield base64.b64decode(value, validate=True).decode(errors="replace")


@cache
def _key() -> bytes:
    path = private_dir(state_dir()) / "mask.key"
    with exclusive(path.with_suffix(".lock"), "the masking key", wait=True):
        if not path.exists():
            write_atomic(path, os.urandom(32), mode=0o600)
        return path.read_bytes()
