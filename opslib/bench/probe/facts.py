"""What the machine is: read without root, in well under a second.

What cannot be read is "unreadable", and what is not there is "none": neither is ever "ok".
Beside each rule stands where it comes from.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
import sys
import time
from typing import Any, Dict, List

from opslib.bench.probe import counters, device, place, virt
from opslib.bench.probe.device import UNREADABLE, read_text

_VM = (
    "swappiness",
    "dirty_ratio",
    "dirty_background_ratio",
    "dirty_bytes",
    "dirty_background_bytes",
    "dirty_expire_centisecs",
    "dirty_writeback_centisecs",
)
_JITTERS = 100


def read(where: place.Place) -> Dict[str, Any]:
    """Return the facts of this machine and of the disks under a folder, as JSON values."""
    return {
        "hostname": socket.gethostname(),
        "machine_id": machine_id(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "os": _os_name(),
        "python": platform.python_version(),
        "virtualization": virt.detect(),
        "cpu": cpu(),
        "clock": clock(),
        "memory": memory(),
        "hugepages": hugepages(),
        "writeback": {name: _said(f"/proc/sys/vm/{name}") for name in _VM},
        "queue": {name: device.queue(name) for name in where.disks},
        "cgroup": cgroup(where),
        "pressure": "readable" if counters.pressure("io") else UNREADABLE,
        "ld_preload": os.environ.get("LD_PRELOAD") or "none",
    }


def _said(path: str) -> str:
    text = read_text(path)
    return UNREADABLE if text is None else text


def machine_id() -> str:
    """Return a name for this machine: /etc/machine-id is confidential, its hash is not.

    https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
    """
    text = read_text("/etc/machine-id") or read_text("/proc/sys/kernel/random/boot_id")
    if not text:
        return ""
    return hashlib.sha256(b"opslib.bench " + text.encode()).hexdigest()[:16]


def _os_name() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text("/etc/os-release") or "", re.M)
    return found.group(1) if found else f"{sys.platform} (unreadable)"


def cpu() -> Dict[str, Any]:
    """Return how many CPUs there are, which this process may use, and how they are driven."""
    base = "/sys/devices/system/cpu"
    model = re.search(r"^model name\s*:\s*(.*)", read_text("/proc/cpuinfo") or "", re.M)
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", read_text("/proc/self/status") or "", re.M)
    total = counters.cpu()
    spent = sum(total.values()) if total else 0
    online = _said(f"{base}/online")
    usable = allowed.group(1) if allowed else UNREADABLE
    return {
        "count": os.cpu_count(),
        "model": model.group(1) if model else UNREADABLE,
        "online": online,
        "allowed": usable,
        "pinned": UNREADABLE if UNREADABLE in (online, usable) else online != usable,
        "isolated": _said(f"{base}/isolated") or "none",
        "governor": _present(f"{base}/cpu0/cpufreq/scaling_governor"),
        "smt": _present(f"{base}/smt/active"),
        "steal_percent_since_boot": round(100 * total["steal"] / spent, 3)
        if total and spent
        else UNREADABLE,
        "load": _said("/proc/loadavg"),
    }


def _present(path: str) -> str:
    """Return what a file says; "none" where the kernel does not have it at all."""
    return _said(path) if os.path.exists(path) else "none"


def clock() -> Dict[str, Any]:
    """Return the clock source and what reading it and waking up costs.

    A hidden hypervisor shows in late wake-ups: the overshoot of a sleep of 1 ms. hpet and xen make
    every reading of the clock a slow call.
    """
    base = "/sys/devices/system/clocksource/clocksource0"
    now = time.perf_counter_ns
    reads: List[int] = []
    late: List[int] = []
    for _ in range(_JITTERS):
        before = now()
        reads.append(now() - before)
        before = now()
        time.sleep(0.001)
        late.append(now() - before - 1_000_000)
    return {
        "source": _said(f"{base}/current_clocksource"),
        "available": _said(f"{base}/available_clocksource"),
        "read_ns": sorted(reads)[_JITTERS // 2],
        "late_wakeup_p50_us": sorted(late)[_JITTERS // 2] // 1000,
        "late_wakeup_max_us": max(late) // 1000,
    }


def memory() -> Dict[str, Any]:
    """Return memory and swap in kB, as the kernel counts them."""
    text = read_text("/proc/meminfo") or ""
    found = dict(re.findall(r"^(\w+):\s+(\d+)", text, re.M))
    names = ("MemTotal", "MemAvailable", "SwapTotal", "Dirty", "Writeback")
    return {name: int(found[name]) if name in found else UNREADABLE for name in names}


def hugepages() -> Dict[str, Any]:
    """Return reserved huge pages by size, and how transparent ones are used.

    https://docs.kernel.org/admin-guide/mm/hugetlbpage.html
    """
    base = "/sys/kernel/mm/hugepages"
    try:
        sizes = sorted(os.listdir(base))
    except OSError:
        sizes = []
    out: Dict[str, Any] = {
        size: {name: _said(f"{base}/{size}/{name}") for name in ("nr_hugepages", "free_hugepages")}
        for size in sizes
    }
    for name in ("enabled", "defrag"):
        text = _present(f"/sys/kernel/mm/transparent_hugepage/{name}")
        chosen = re.search(r"\[(\w+)\]", text)
        out[f"transparent_{name}"] = chosen.group(1) if chosen else text
    return out


def cgroup(where: place.Place) -> Dict[str, Any]:
    """Return the limits of this process itself: they are its own, not etcd's.

    Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html ; version 1 does not throttle
    buffered writes at all.
    """
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    names = {
        "cpu": ("cpu.max",) if unified else ("cpu.cfs_quota_us", "cpu.cfs_period_us"),
        "memory": ("memory.max", "memory.high") if unified else ("memory.limit_in_bytes",),
        "io": ("io.max", "io.weight"),
    }
    if not unified:
        names["blkio"] = ("blkio.throttle.write_bps_device", "blkio.throttle.write_iops_device")
        names.pop("io")
    out: Dict[str, Any] = {"version": 2 if unified else 1}
    for controller, files in names.items():
        folders = counters.cgroup_folders(controller)
        for file in files:
            out[file] = _first(folders, file)
    throttled = counters.throttled()
    out["nr_throttled"] = UNREADABLE if throttled is None else throttled
    out["io_limited"] = _limited(out, where)
    return out


def _first(folders: Any, file: str) -> str:
    """Return what the own cgroup says; at the root of version 2 there is no such limit."""
    for folder in folders:
        path = f"{folder}/{file}"
        if os.path.exists(path):
            return _said(path) or "none"
    return "none" if any(os.path.isdir(folder) for folder in folders) else UNREADABLE


def _limited(limits: Dict[str, Any], where: place.Place) -> bool:
    """Tell whether a limit of I/O names a disk under the folder."""
    text = " ".join(str(limits.get(name)) for name in ("io.max", "blkio.throttle.write_bps_device"))
    text += f" {limits.get('blkio.throttle.write_iops_device')}"
    numbers = [_said(f"/sys/class/block/{name}/dev") for name in where.disks]
    return any(re.search(rf"\b{re.escape(number)} ", f"{text} ") for number in numbers)


def of_place(where: place.Place) -> Dict[str, Any]:
    """Return where a folder lies, as the result's ``place``."""
    mount = where.mount
    return {
        "folder": where.folder,
        "filesystem": where.kind,
        "mount_point": mount.point if mount else UNREADABLE,
        "mount_options": list(mount.all_options) if mount else [],
        "source": mount.source if mount else UNREADABLE,
        "device": where.number,
        "layers": [{"name": one.name, "kind": one.kind} for one in where.layers],
        "disks": list(where.disks),
    }
