"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Collection, Iterable

LOOPBACK = "127.0.0.1"

_RANGE = range(20000, 30000)
"""Below the ports that Linux and macOS hand out to clients, where a free one stays free:
https://docs.kernel.org/networking/ip-sysctl.html (ip_local_port_range, from 32768)."""

_random = random.SystemRandom()


def pick(count: int, avoid: Collection[int] = ()) -> list[int]:
    """Return ``count`` distinct free ports, none of them in ``avoid``."""
    found: list[int] = []
    while len(found) < count:
        port = _random.choice(_RANGE)
        if port not in found and port not in avoid and is_free(port):
            found.append(port)
    return found


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now, on the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def still_taken(wanted: Iterable[int], *, seconds: float) -> list[int]:
    """Return those ports that somebody still listens on after a while given for letting go."""
    deadline = time.monotonic() + seconds
    left = list(wanted)
    while left := [port for port in left if not is_free(port)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left
