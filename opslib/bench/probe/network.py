"""Round trips to named targets by TCP connect, beside what the kernel itself measured.

Needs no right and no tool: a connect(2) is one round trip, and a refusal is one too. The kernel's
own time for the same handshake is TCP_INFO's tcpi_rtt (linux/tcp.h, microseconds, byte 68).
"""

from __future__ import annotations

import errno
import random
import socket
import struct
import sys
import time
from array import array
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

from opslib.bench.probe import facts, place, result, run, wal
from opslib.core.errors import InputError

_TCP_INFO, _RTT_AT = 11, 68
ANSWERED, REFUSED, LOST = 0, 1, 2
"""What came of one connect, in the column ``lost``: only the last is a loss."""


@dataclass(frozen=True)
class Target:
    """A named address, resolved once and outside of what is timed."""

    name: str
    family: int
    address: Tuple[Any, ...]


@dataclass(frozen=True)
class Settings:
    """``count`` connects to each target, one each ``interval`` s, of at most ``timeout`` s."""

    count: int = 100
    interval: float = 0.1
    timeout: float = 3.0


def resolve(name: str) -> Target:
    """Return a target from "host:port" or "[v6]:port". Raises InputError that names it."""
    host, colon, port = name.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError("not a target", where=name, expected="host:port, such as 10.0.0.2:2380")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(f"the target's name has no address: {error}", where=name) from None
    family, _, _, _, address = found[0]
    return Target(name, family, tuple(address))


def measure(
    names: Sequence[str],
    settings: Settings = Settings(),  # frozen
    *,
    tell: run.Tell = run.silent,
) -> result.Result:
    """Connect to each target in turn, in a new random order each round."""
    targets = [resolve(name) for name in names]
    if not targets:
        raise InputError("no target is named", expected="host:port, one or more")
    made = result.Maker("network", result.PROBES["network"])
    made.note(started=run.stamp(), settings=settings.__dict__.copy(), place={})
    made.note(facts=facts.read(place.look("/")), targets=[_told(one) for one in targets])
    stop = wal.Stop()
    with run.stoppable(stop):
        for number in range(settings.count):
            began = time.monotonic()
            for at in random.sample(range(len(targets)), len(targets)):
                _keep(made, at, connect(targets[at], settings.timeout))
            tell("connecting", number + 1, settings.count)
            if stop.signal:
                made.failed("stopped", signum=stop.signal)
                break
            time.sleep(max(0.0, settings.interval - (time.monotonic() - began)))
    made.note(ended=run.stamp())
    return made.done()


def _told(target: Target) -> Dict[str, Any]:
    return {"name": target.name, "address": str(target.address[0])}


def _keep(made: result.Maker, target: int, row: Sequence[int]) -> None:
    start, took, kernel, lost = row
    values = {"start_ns": start, "connect_ns": took, "kernel_us": kernel, "target": target}
    values["lost"] = lost
    for name, value in values.items():
        made.columns[name] += array("q", [value])


def connect(target: Target, timeout: float) -> List[int]:
    """Return start, time (ns), the kernel's round trip (us, -1 unknown) and what came of it.

    Raises InputError where there is no way to the target at all.
    """
    clock = time.perf_counter_ns
    with socket.socket(target.family, socket.SOCK_STREAM) as link:
        link.settimeout(timeout)
        before = clock()
        try:
            link.connect(target.address)
        except ConnectionRefusedError:
            return [before, clock() - before, -1, REFUSED]
        except (socket.timeout, TimeoutError):
            return [before, clock() - before, -1, LOST]
        except OSError as error:
            if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET):
                return [before, clock() - before, -1, LOST]
            raise InputError(f"cannot connect: {error.strerror}", where=target.name) from None
        return [before, clock() - before, _kernel_rtt(link), ANSWERED]


def _kernel_rtt(link: socket.socket) -> int:
    if sys.platform != "linux":
        return -1
    try:
        info = link.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 104)
    except OSError:
        return -1
    if len(info) < _RTT_AT + 4:
        return -1
    return int(struct.unpack_from("=I", info, _RTT_AT)[0])
