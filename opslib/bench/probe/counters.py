"""What the machine did meanwhile: CPU and steal, pressure, this process, the disks.

Steal: /proc/stat (man 5 proc), in ticks of which sysconf tells how many a second has. Pressure:
https://docs.kernel.org/accounting/psi.html , the totals in microseconds, which can be subtracted.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, Dict, Mapping, Optional, Tuple

from opslib.bench.probe import device

_TICKS = os.sysconf("SC_CLK_TCK")
_CPU = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_PRESSURE = re.compile(r"^(some|full) .*total=(\d+)", re.M)


def snapshot(disks: Tuple[str, ...]) -> Dict[str, Any]:
    """Return all counters now. A group that cannot be read is None."""
    return {
        "mono_ns": time.perf_counter_ns(),
        "wall": time.time(),
        "cpu": cpu(),
        "throttled": throttled(),
        "pressure_cpu": pressure("cpu"),
        "pressure_io": pressure("io"),
        "own_cpu_s": time.process_time(),
        "own_wait_s": own_wait(),
        "own_written": own_written(),
        "disk": device.counters(disks) if disks else None,
    }


def cpu() -> Optional[Dict[str, float]]:
    """Return seconds of all CPUs together since boot, by what they were spent on."""
    words = (device.read_text("/proc/stat") or "").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    return {name: int(word) / _TICKS for name, word in zip(_CPU, words[1:])}


def pressure(name: str) -> Optional[Dict[str, int]]:
    """Return the microseconds that some and all tasks have waited, or None without PSI."""
    found = dict(_PRESSURE.findall(device.read_text(f"/proc/pressure/{name}") or ""))
    return {key: int(value) for key, value in found.items()} or None


def own_written() -> Optional[int]:
    """Return the bytes that this process caused to be written to a disk."""
    found = re.search(r"^write_bytes: (\d+)", device.read_text("/proc/self/io") or "", re.M)
    return int(found.group(1)) if found else None


def own_wait() -> Optional[float]:
    """Return the seconds that this thread was ready and waited for a CPU.

    https://docs.kernel.org/scheduler/sched-stats.html , /proc/<pid>/schedstat, the second number.
    """
    words = (device.read_text("/proc/thread-self/schedstat") or "").split()
    return int(words[1]) / 1e9 if len(words) == 3 else None


def throttled() -> Optional[int]:
    """Return how often this process's cgroup was throttled for its CPU limit."""
    for folder in cgroup_folders("cpu"):
        text = device.read_text(f"{folder}/cpu.stat")
        found = re.search(r"^nr_throttled (\d+)", text or "", re.M)
        if found:
            return int(found.group(1))
    return None


def cgroup_folders(controller: str) -> Tuple[str, ...]:
    """Return where this process's cgroup may be: version 2, then version 1's controller."""
    out = []
    for line in (device.read_text("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        path = path if path != "/" else ""
        if number == "0" and not names:
            out.append(f"/sys/fs/cgroup{path}")
        elif controller in names.split(","):
            # In a container the path is the host's, and the mount shows the own one at its root.
            out += [f"/sys/fs/cgroup/{controller}{path}", f"/sys/fs/cgroup/{controller}"]
    return tuple(out)


def between(first: Mapping[str, Any], last: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what happened between two snapshots: seconds, percent of all CPUs, counts.

    ``disk_*`` are counts of the disks by everybody. None is "unreadable".
    """
    seconds = (last["mono_ns"] - first["mono_ns"]) / 1e9
    out: Dict[str, Any] = {"seconds": round(seconds, 6)}
    out["wall_step_s"] = round(last["wall"] - first["wall"] - seconds, 3)
    out.update(_cpu_share(first["cpu"], last["cpu"]))
    for name in ("pressure_cpu", "pressure_io"):
        out[name] = _waited(first[name], last[name], seconds)
    out["own_cpu_percent"] = _share(last["own_cpu_s"] - first["own_cpu_s"], seconds)
    waited = (first["own_wait_s"], last["own_wait_s"])
    out["own_wait_percent"] = None if None in waited else _share(waited[1] - waited[0], seconds)
    for name in ("own_written", "throttled"):
        out[name] = _less(last[name], first[name])
    for name in ("reads", "writes", "write_sectors", "read_sectors", "flushes", "flush_ms"):
        before, after = (one["disk"] or {} for one in (first, last))
        out[f"disk_{name}"] = _less(after.get(name), before.get(name))
    return out


def _less(last: Optional[int], first: Optional[int]) -> Optional[int]:
    return None if last is None or first is None else last - first


def _share(part: float, whole: float) -> Optional[float]:
    return round(100 * part / whole, 3) if whole > 0 else None


def _cpu_share(
    first: Optional[Mapping[str, float]], last: Optional[Mapping[str, float]]
) -> Dict[str, Optional[float]]:
    if first is None or last is None:
        return {"busy_percent": None, "steal_percent": None, "iowait_percent": None}
    spent = {name: last[name] - first[name] for name in _CPU}
    whole = sum(spent.values())
    idle = spent["idle"] + spent["iowait"]
    return {
        "busy_percent": _share(whole - idle - spent["steal"], whole),
        "steal_percent": _share(spent["steal"], whole),
        "iowait_percent": _share(spent["iowait"], whole),
    }


def _waited(
    first: Optional[Mapping[str, int]], last: Optional[Mapping[str, int]], seconds: float
) -> Optional[float]:
    """Return the percent of the time in which some task waited."""
    if first is None or last is None:
        return None
    return _share((last["some"] - first["some"]) / 1e6, seconds)
