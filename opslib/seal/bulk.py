"""Many values sealed on two cores: RSA is most of the work, and Python runs it on one.

The second half is sealed by a fork of this process, which has the values already: no value is
sent anywhere, and only ciphertexts come back through a pipe. Where a fork is not safe (threads,
a kernel) or does not end well, this process does all of it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Sealer, encode

MANY = 400
"""Values from which a fork is worth its 20 ms: a value takes a tenth of a millisecond."""

Job = tuple[bytes, Mapping[str, SecretBytes]]
"""The label of a Secret, and its values by key."""


def seal_all(key: RSAPublicKey, jobs: Sequence[Job]) -> list[dict[str, str]]:
    """Return the ciphertexts of each job, by key."""
    total = sum(len(values) for _, values in jobs)
    if total < MANY or len(jobs) < 2 or not _may_fork():
        return _sealed(key, jobs)
    middle = len(jobs) // 2
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(key, jobs[middle:], reader, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        first = _sealed(key, jobs[:middle])
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    rest = _read(answer, len(jobs) - middle) if status == 0 else None
    return first + (rest if rest is not None else _sealed(key, jobs[middle:]))


def _child(key: RSAPublicKey, jobs: Sequence[Job], reader: int, writer: int) -> None:
    """Seal, write, and end at once: nothing of the parent is cleaned up or flushed here."""
    code = 1
    try:
        os.close(reader)
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(_sealed(key, jobs)).encode())
        code = 0
    finally:
        os._exit(code)


def _read(answer: bytes, count: int) -> list[dict[str, str]] | None:
    try:
        found: list[dict[str, str]] = json.loads(answer)
    except ValueError:
        return None
    return found if len(found) == count else None


def _sealed(key: RSAPublicKey, jobs: Sequence[Job]) -> list[dict[str, str]]:
    made = []
    for label, values in jobs:
        sealer = Sealer(key, label)
        made.append({name: encode(sealer.seal(value)) for name, value in values.items()})
    return made


def _may_fork() -> bool:
    """Tell whether a fork is safe here, and there is a core for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    alone = threading.active_count() == 1 and "ipykernel" not in sys.modules
    return cores > 1 and alone
