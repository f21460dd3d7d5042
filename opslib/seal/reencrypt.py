"""Values sealed anew for the present key; whatever else a file holds stays as it is.

The controller's own answer drops ``template.data`` and the template's labels, so that only
its ciphertexts are taken, and put into the text in the place of the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opslib.core.errors import OpslibError
from opslib.seal import notes
from opslib.seal.edit import SealedFile
from opslib.seal.sealed import Declared, read_sealed

Rotate = Callable[[Mapping[str, Any]], dict[str, str]]
"""Seals the values of a SealedSecret anew: the controller, or private keys and a certificate."""


def renewed_text(data: bytes, path: str, rotate: Rotate) -> str:
    """Return the text of a file with all values of all its SealedSecrets sealed anew.

    Raises OpslibError where one cannot be, and for an answer with other keys than were asked.
    """
    for one in read_sealed(data, path, others=True):
        fresh = _answered(one, rotate(one.manifest))
        file = SealedFile(data, path, f"{one.namespace}/{one.name}")
        file.noting = notes.ANNOTATION in one.annotations
        file.set(fresh)
        data = file.result().encode()
    return data.decode()


def _answered(one: Declared, fresh: dict[str, str]) -> dict[str, str]:
    if fresh.keys() != one.data.keys():
        raise OpslibError(
            "the answer has other keys than the SealedSecret", where=one.place("/spec")
        )
    return fresh
