"""Too good to be true: is it a disk, did the flushes reach it, can it be that fast.

A finding that is ``grave`` means that the latencies are not those of a disk: such a run never
passes. One that is not is a thing to know. Nothing here says "excellent".
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterator, List, Optional

from opslib.bench.probe import place
from opslib.bench.probe.result import Result

FLOOR_US = 20.0
"""No disk takes less: a PCIe round trip and a write into a protected cache (NVMe with power-loss
protection) is 20 us and more; persistent memory is exempt."""

HOST_CACHE_US = 60.0
"""A virtual or networked disk that answers faster did not leave the host's memory."""

FEWEST_PER_SYNC = 0.5
"""Each fdatasync needs a write and, with a volatile cache, a flush of its own. Half of one is
beyond what counting at the edges of a block can lose (https://docs.kernel.org/block/stat.html)."""

CPU_WAIT = 10.0
"""Percent of the time: what a tenth more or less does to a verdict is within any interval."""

_NO_BARRIER = {"nobarrier", "barrier=0", "barrier=off", "nobarriers"}
_FAR = ("virtio", "xen", "hyper-v", "network")


@dataclass(frozen=True)
class Finding:
    """Something that makes a latency hard to believe, or that could not be proven."""

    code: str
    grave: bool
    what: str

    def as_dict(self) -> Dict[str, Any]:
        return asdict(self)


def _grave(code: str, what: str) -> Finding:
    return Finding(code, grave=True, what=what)


def _note(code: str, what: str) -> Finding:
    return Finding(code, grave=False, what=what)


def findings(run: Result) -> List[Finding]:
    """Return what speaks against a run, the grave first."""
    where = run.document["place"]
    found = [*_file_system(where), *_layers(where), *_preloaded(run), *_clock(run)]
    if run.samples:
        found += [*_reached(run), *_floor(run), *_waited(run)]
    return sorted(found, key=lambda one: not one.grave)


def _file_system(where: Dict[str, Any]) -> Iterator[Finding]:
    kind, options = str(where.get("filesystem")), set(where.get("mount_options") or ())
    if kind in place.IN_MEMORY:
        yield _grave("memory", f"the folder is on {kind}: memory, not a disk")
    if kind in place.OVERLAYS:
        more = ", mounted volatile: it drops every sync" if "volatile" in options else ""
        yield _grave("overlay", f"the folder is on {kind}, a container's own layer{more}")
    if kind in place.OVER_NETWORK or kind.startswith("fuse"):
        what = f"{kind}: what the other side does with a sync cannot be seen from here"
        yield _note("unproven", what)
    off = sorted(options & _NO_BARRIER)
    if off:
        yield _grave("no-barrier", f"mounted with {', '.join(off)}: syncs do not flush")


def _layers(where: Dict[str, Any]) -> Iterator[Finding]:
    for layer in where.get("layers") or ():
        name, kind = str(layer.get("name")), str(layer.get("kind"))
        if kind.startswith(("zram", "memory")):
            yield _grave("memory", f"{name} is {kind}")
        elif kind.startswith("loop"):
            yield _note("loop", f"{name} is {kind}: measured is both together")


def _clock(run: Result) -> Iterator[Finding]:
    steps = [float(one.get("wall_step_s") or 0) for one in run.document["blocks"]]
    moved = [one for one in steps if abs(one) >= 1]
    if moved:
        what = (
            f"the clock was set by {sum(moved):+.0f} s meanwhile: times of day are off, latencies"
        )
        yield _note("clock", f"{what} are not, they are of a clock that nobody sets")


def _preloaded(run: Result) -> Iterator[Finding]:
    libraries = str((run.document.get("facts") or {}).get("ld_preload") or "")
    if "eatmydata" in libraries:
        yield _grave("preload", "libeatmydata is loaded: it drops every sync")
    elif libraries not in ("", "none", "unreadable"):
        yield _note("preload", f"a library is loaded before libc: {libraries[:120]}")


def _reached(run: Result) -> Iterator[Finding]:
    flushes, writes = (per_sync(run, f"disk_{name}") for name in ("flushes", "writes"))
    cache = {
        str(one.get("write_cache"))
        for one in ((run.document.get("facts") or {}).get("queue") or {}).values()
    }
    if writes is None:
        what = "the disk's counters are unreadable: whether a sync reaches it is not proven"
        yield _note("unproven", what)
        return
    if writes < FEWEST_PER_SYNC:
        what = f"the disk saw {writes:.2f} writes for each fdatasync: they are swallowed above it"
        yield _grave("swallowed", what)
    if flushes is None:
        what = "this kernel does not count flushes: whether a sync reaches the medium is not proven"
        yield _note("unproven", what)
    elif flushes < FEWEST_PER_SYNC and "write back" in cache:
        what = f"the disk saw {flushes:.2f} flushes for each fdatasync although it has a volatile"
        yield _grave("swallowed", f"{what} write cache: they are swallowed on the way")
    elif flushes < FEWEST_PER_SYNC:
        what = "the disk says that its cache is not volatile, so the kernel sends no flushes:"
        yield _note("write-through", f"{what} power-loss protection, or a host that does not tell")


def per_sync(run: Result, counter: str) -> Optional[float]:
    """Return how much of a counter each fdatasync caused, the median over the blocks.

    What others did to the disk is in it: it can only make a run look more honest, and a block in
    which they did much does not count more than the others.
    """
    ratios = []
    for block in run.document["blocks"]:
        count, done = block.get("samples"), block.get(counter)
        if done is None:
            return None
        if count:
            ratios.append(done / count)
    return statistics.median(ratios) if ratios else None


def cpu_wait(run: Result) -> Optional[float]:
    """Return the percent of the time in which the probe waited for a CPU, not for the disk."""
    told = [one.get("own_wait_percent") for one in run.document["blocks"]]
    known = [float(one) for one in told if one is not None]
    return statistics.mean(known) if known else None


def _waited(run: Result) -> Iterator[Finding]:
    share = cpu_wait(run)
    if share is not None and share >= CPU_WAIT and run.probe == "wal":
        what = f"in {share:.0f} % of the time the probe waited for a CPU: the disk is faster than"
        yield _note(
            "cpu",
            f"{what} this; how long etcd waits is up to its own CPUs; --realtime leaves it out",
        )


def _floor(run: Result) -> Iterator[Finding]:
    half = statistics.median(run.columns["sync_ns"]) / 1000
    kinds = [str(one.get("kind")) for one in run.document["place"].get("layers") or ()]
    if any(kind == "persistent memory" for kind in kinds):
        return
    if half < FLOOR_US:
        what = f"half of all syncs took under {half:.1f} us: no disk answers in {FLOOR_US:.0f} us"
        yield _grave("implausible", what)
    elif half < HOST_CACHE_US and any(mark in kind for kind in kinds for mark in _FAR):
        what = f"half of all syncs took under {half:.0f} us on a disk that is not in this machine:"
        yield _grave("host-cache", f"{what} a cache of the host answers, not the medium")
