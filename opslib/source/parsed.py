"""What the files of a folder held when they were parsed last, by the hash of their bytes.

Most files of a revision are those of the one before, byte for byte: they are not parsed again,
also not by the next process. The store lies beside the mirror, in the same private folder, and
is nothing but a cache: whole, of this very parser, and of exactly those bytes, or not used.
Files with a Secret are never kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from opslib.core.files import write_atomic
from opslib.core.model import Origin, Resource
from opslib.source import scalars, yamlload

WORTH = 32
"""Files below which the store costs more than it saves."""

_SEAL = 64
"""Bytes of the hash at the head of the file (BLAKE2b, RFC 7693)."""

Parse = Callable[[bytes, str], tuple[Resource, ...]]


@functools.cache
def _parser() -> bytes:
    """Return what names this parser: another one may read the same bytes differently."""
    sources = (Path(str(module.__file__)).read_bytes() for module in (yamlload, scalars))
    version = str(yaml.__version__).encode()
    return hashlib.blake2b(b"\0".join([version, *sources])).digest()


class Store:
    """The parsed files of one folder. ``place`` is the store's file."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._known = _load(place)
        self._used: dict[str, Any] = {}
        self._new = False

    def read(self, data: bytes, name: str, parse: Parse) -> tuple[Resource, ...]:
        """Return what a file declares; ``parse`` is asked where it is not known, and may raise."""
        key = hashlib.blake2b(data, digest_size=32).hexdigest()
        documents = self._known.get(key)
        if documents is None:
            found = parse(data, name)
            self._keep(key, found)
            return found
        self._used[key] = documents
        return tuple(
            Resource(manifest, Origin(name, line), lines) for manifest, line, lines in documents
        )

    def _keep(self, key: str, found: tuple[Resource, ...]) -> None:
        self._new = True
        if all(one.kind != "Secret" for one in found):
            self._used[key] = [[one.manifest, one.origin.line, one.lines] for one in found]

    def save(self) -> None:
        """Keep what was used since, for the next time, if anything is new and it is worth it.

        A store that cannot be written (a full disk) is left out: it is only a cache.
        """
        if not self._new or len(self._used) < WORTH:
            return
        with contextlib.suppress(OSError, TypeError):  # values that JSON of 64 bits cannot hold
            payload = orjson.dumps(self._used)
            write_atomic(self._place, _seal(payload) + payload, mode=0o600, sync=False)


def _seal(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=_parser()).digest()


def _load(place: Path) -> Mapping[str, Any]:
    try:
        data = place.read_bytes()
        payload = memoryview(data)[_SEAL:]
        if data[:_SEAL] == _seal(bytes(payload)):
            known: dict[str, Any] = orjson.loads(payload)
            return known
    except (OSError, ValueError):
        pass
    return {}
