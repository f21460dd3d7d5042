"""From a folder down to the disks that hold it: mount, file system, block devices, their counters.

All of it is read from /proc and /sys without root; what cannot be read is None, never a guess.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

UNREADABLE = "unreadable"
_ESCAPE = re.compile(r"\\([0-7]{3})")

# /sys/block/<disk>/stat, https://docs.kernel.org/block/stat.html : flushes since Linux 5.5.
_STAT = [
    "reads",
    "reads_merged",
    "read_sectors",
    "read_ms",
    "writes",
    "writes_merged",
    "write_sectors",
    "write_ms",
    "in_flight",
    "busy_ms",
    "queue_ms",
    "discards",
    "discards_merged",
    "discard_sectors",
    "discard_ms",
    "flushes",
    "flush_ms",
]
_QUEUE = [
    "scheduler",
    "write_cache",
    "fua",
    "rotational",
    "nr_requests",
    "wbt_lat_usec",
    "nomerges",
    "io_poll",
    "logical_block_size",
    "physical_block_size",
    "max_sectors_kb",
    "stable_writes",
    "discard_max_bytes",
]


def read_text(path: str, limit: int = 65536) -> Optional[str]:
    """Return what a small file of the kernel says, stripped; None where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(limit).decode("utf-8", "replace").strip()
    except OSError:
        return None


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    device: str
    root: str
    point: str
    options: str
    kind: str
    source: str
    super_options: str

    @property
    def all_options(self) -> Tuple[str, ...]:
        words = f"{self.options},{self.super_options}".split(",")
        return tuple(dict.fromkeys(word for word in words if word))


def mounts(text: Optional[str] = None) -> List[Mount]:
    """Return the mounts of this process (man 5 proc, mountinfo), or of such a text."""
    source = read_text("/proc/self/mountinfo", 1 << 22) if text is None else text
    found = []
    for line in (source or "").splitlines():
        left, dash, right = line.partition(" - ")
        first, second = left.split(" "), right.split(" ")
        if dash and len(first) >= 6 and len(second) >= 3:
            root, point = _unescaped(first[3]), _unescaped(first[4])
            found.append(Mount(first[2], root, point, first[5], *second[:3]))
    return found


def _unescaped(word: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), word)


def mount_of(folder: str, table: Optional[List[Mount]] = None) -> Optional[Mount]:
    """Return the mount that a folder lies on: the last one mounted at the longest prefix."""
    real = os.path.realpath(folder)
    best: Optional[Mount] = None
    for one in mounts() if table is None else table:
        inside = one.point in ("/", real) or real.startswith(one.point + "/")
        if inside and (best is None or len(one.point) >= len(best.point)):
            best = one
    return best


def device_number(folder: str, mount: Optional[Mount]) -> str:
    """Return major:minor of what holds the folder; btrfs tells another number by stat(2)."""
    number = os.stat(folder).st_dev
    own = f"{os.major(number)}:{os.minor(number)}"
    if os.path.exists(f"/sys/dev/block/{own}"):
        return own
    if mount and mount.source.startswith("/dev/"):
        try:
            real = os.stat(mount.source).st_rdev
        except OSError:
            return own
        return f"{os.major(real)}:{os.minor(real)}"
    return own


@dataclass(frozen=True)
class Layer:
    """One block device of the stack: its name and what it is."""

    name: str
    kind: str


def stack(number: str) -> Tuple[Layer, ...]:
    """Return the block devices from the file system's own down to the disks, each once."""
    path = os.path.realpath(f"/sys/dev/block/{number}")
    if not os.path.isdir(path):
        return ()
    found: Dict[str, Layer] = {}
    _descend(path, found, 0)
    return tuple(found.values())


def _descend(path: str, found: Dict[str, Layer], depth: int) -> None:
    name = os.path.basename(path)
    if name in found or depth > 16:
        return
    partition = os.path.exists(f"{path}/partition")
    found[name] = Layer(name, "partition" if partition else _kind(name, path))
    if partition:
        _descend(os.path.dirname(path), found, depth + 1)
        return
    try:
        below = sorted(os.listdir(f"{path}/slaves"))
    except OSError:
        below = []
    for one in below:
        _descend(os.path.realpath(f"{path}/slaves/{one}"), found, depth + 1)


def _kind(name: str, path: str) -> str:
    if name.startswith("dm-"):
        uuid = read_text(f"{path}/dm/uuid") or ""
        return {"LVM": "lvm", "CRYPT": "dm-crypt", "mpath": "multipath"}.get(
            uuid.split("-")[0], "device-mapper"
        )
    for start, kind in (
        ("nvme", "nvme"),
        ("md", "software raid"),
        ("loop", "loop: a file of another file system"),
        ("zram", "zram: compressed memory"),
        ("ram", "memory"),
        ("pmem", "persistent memory"),
        ("nbd", "network block device"),
        ("rbd", "ceph: a disk over the network"),
        ("drbd", "drbd: a disk mirrored over the network"),
        ("xvd", "xen"),
    ):
        if name.startswith(start):
            return kind
    return _transport(path)


def _transport(path: str) -> str:
    """Return what a disk hangs on, from its place in /sys/devices."""
    real = os.path.realpath(f"{path}/device")
    for mark, kind in (
        ("/usb", "usb"),
        ("/ata", "sata"),
        ("/session", "iscsi: a disk over the network"),
        ("/rport-", "fibre channel: a disk over the network"),
        ("/vmbus", "hyper-v"),
        ("/VMBUS", "hyper-v"),
    ):
        if mark in real:
            return kind
    driver = os.path.basename(os.path.realpath(f"{path}/device/driver"))
    if driver == "virtio_blk" or "/virtio" in real:
        return "virtio"
    return driver if driver not in ("driver", "") else "disk"


def disks(layers: Tuple[Layer, ...]) -> Tuple[str, ...]:
    """Return the lowest devices of a stack: whole disks, which count flushes."""
    out = []
    for one in layers:
        path = os.path.realpath(f"/sys/class/block/{one.name}")
        try:
            lower = bool(os.listdir(f"{path}/slaves"))
        except OSError:
            lower = False
        if one.kind != "partition" and not lower:
            out.append(one.name)
    return tuple(out)


def counters(names: Tuple[str, ...]) -> Optional[Dict[str, int]]:
    """Return the sum of the disks' counters since boot, or None where one cannot be read.

    ``flushes`` and ``flush_ms`` are absent on kernels that do not count them.
    """
    total: Dict[str, int] = {}
    for name in names:
        words = (read_text(f"/sys/class/block/{name}/stat") or "").split()
        if len(words) < 11 or not all(word.isdigit() for word in words):
            return None
        for key, word in zip(_STAT, words):
            total[key] = total.get(key, 0) + int(word)
    return total or None


def queue(name: str) -> Dict[str, str]:
    """Return how the kernel treats a disk: scheduler, cache, sizes; "unreadable" where it is."""
    base = f"/sys/class/block/{name}"
    out = {key: _or_unreadable(f"{base}/queue/{key}") for key in _QUEUE}
    chosen = re.search(r"\[([^\]]+)\]", out["scheduler"])
    if chosen:
        out["scheduler"] = chosen.group(1)
    for key, path in (("model", "device/model"), ("firmware", "device/firmware_rev")):
        text = read_text(f"{base}/{path}")
        if text:
            out[key] = text
    out["size_bytes"] = str(512 * int(read_text(f"{base}/size") or 0))
    try:
        out["hardware_queues"] = str(len(os.listdir(f"{base}/mq")))
    except OSError:
        out["hardware_queues"] = UNREADABLE
    return out


def _or_unreadable(path: str) -> str:
    text = read_text(path)
    return UNREADABLE if text is None else text
