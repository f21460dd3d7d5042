"""Objects that are alike but for their names: what is true of one of them need not be found again.

A namespace of thousands of objects has few shapes. Two objects have the same mark when they are
the same in all that is looked at (fields, owners of fields, labels), with their names and the
numbers that follow letters in texts put aside. Where nothing in the one has to be looked into,
nothing has to be in the other.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import orjson

from opslib.core.model import Manifest
from opslib.drift.additions import SERVERS_METADATA

_NUMBERS = re.compile(rb"(?<=[A-Za-z-])\d+")
_NAME = re.compile(r"[a-z][a-z0-9.-]{2,}")
"""Names that stand for nothing else in an object, as one letter may."""

_OF_ENTRY = ("manager", "operation", "subresource", "apiVersion", "fieldsV1")


def mark_of(live: Manifest) -> bytes:
    """Return what is equal for objects that are alike."""
    metadata = live["metadata"]
    name = str(metadata["name"])
    told = {key: value for key, value in metadata.items() if key not in SERVERS_METADATA}
    rest = {key: value for key, value in live.items() if key not in {"metadata", "status"}}
    entries = metadata.get("managedFields") or ()
    owned = [[one.get(part) for part in _OF_ENTRY] for one in entries]
    text = orjson.dumps([rest, told, owned])
    if _NAME.fullmatch(name):
        text = text.replace(name.encode(), b"\0")
    return blake2b(_NUMBERS.sub(b"#", text), digest_size=16).digest()
