"""Block devices, file systems and swap."""

from __future__ import annotations

import re

from opslib.node.facts.machine import chosen, masked
from opslib.node.facts.root import Root, matches

_QUEUE = (
    "scheduler", "rotational", "write_cache", "fua", "nr_requests", "nomerges", "io_poll",
    "wbt_lat_usec", "logical_block_size", "physical_block_size", "max_sectors_kb",
    "read_ahead_kb", "discard_granularity", "discard_max_bytes", "rq_affinity", "stable_writes",
    "zoned", "dax",
)  # fmt: skip
_DEVICE = ("size", "ro", "removable", "device/model", "device/firmware_rev", "dm/name", "md/level")
_EMPTY = ("loop*", "ram*", "nbd*", "sr*", "fd*")

PSEUDO = {
    "autofs", "binfmt_misc", "bpf", "cgroup", "configfs", "debugfs", "devpts", "devtmpfs",
    "efivarfs", "fusectl", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs",
    "securityfs", "selinuxfs", "sysfs", "tracefs",
}  # fmt: skip
PASSING_MOUNTS = (
    "/var/lib/kubelet/pods/*", "/var/lib/kubelet/plugins/*", "/var/lib/docker/*",
    "/var/lib/containers/*", "/run/containerd/*", "/var/lib/containerd/*", "/run/netns/*",
    "/run/docker/*", "/run/user/*", "/run/credentials/*", "/var/lib/rancher/*/agent/*",
    "/run/k3s/*", "/tmp/*", "/snap/*", "/media/*", "/proc/*", "/sys/*", "/dev/*",  # noqa: S108  # a pattern
)  # fmt: skip
"""Mounts that come and go with containers, users and sessions."""

_PRIVATE = re.compile(r"\b((?:pass(?:word|wd)?|secret|token|user(?:name)?|key\w*)=)[^,]*")
_ESCAPE = re.compile(r"\\([0-7]{3})")
KIND, PLACE = "mount/type:", "mount/options:"


def storage(root: Root) -> None:
    """Note block devices, mounts and swap."""
    _devices(root)
    _mounts(root)
    _swap(root)
    for name in ("nvme_core", "scsi_mod", "dm_multipath"):
        folder = f"/sys/module/{name}/parameters"
        for one in root.names(folder):
            root.take(f"module/{name}/{one}", folder + "/" + one)


def _devices(root: Root) -> None:
    for name in root.names("/sys/block"):
        folder = "/sys/block/" + name
        if root.text(folder + "/size").strip() == "0" and matches(name, _EMPTY):
            continue
        for what in _DEVICE:
            root.take("block/{}/{}".format(name, what.split("/")[-1]), folder + "/" + what)
        for what in _QUEUE:
            root.take(f"block/{name}/{what}", folder + "/queue/" + what)
        _plain(root, "block/" + name)
        under = root.names(folder + "/slaves")
        if under:
            root.facts[f"block/{name}/under"] = " ".join(under)
        root.facts[f"block/{name}/transport"] = _transport(root, folder)
        for part in root.names(folder):
            if part.startswith(name):
                root.take(f"block/{part}/size", f"{folder}/{part}/size")
                _plain(root, "block/" + part)


def _plain(root: Root, key: str) -> None:
    """Tell sizes in bytes (the kernel counts sectors of 512) and the chosen scheduler alone."""
    sectors = root.facts.get(key + "/size", "")
    if sectors.isdigit():
        root.facts[key + "/size"] = str(int(sectors) * 512)
    for what in ("scheduler", "model", "firmware_rev"):
        value = root.facts.get(f"{key}/{what}")
        if value is not None:
            root.facts[f"{key}/{what}"] = chosen(value) if what == "scheduler" else value.strip()


def _transport(root: Root, folder: str) -> str:
    """Say by what a device is attached, from where it stands below /sys/devices."""
    place = root.inner(folder)
    for mark in ("/virtio", "/nvme", "/usb", "/ata", "/xen", "/vbd-", "/mmc", "/session", "/vmbus"):
        if mark in place:
            word = mark.strip("/-")
            return {"session": "iscsi", "vbd": "xen", "vmbus": "hyperv"}.get(word, word)
    return "virtual" if "/virtual/" in place else "other"


def _mounts(root: Root) -> None:
    """Note type, source and options of what is mounted: /proc/self/mountinfo, proc(5)."""
    name = "/proc/1/mountinfo" if root.text("/proc/1/mountinfo") else "/proc/self/mountinfo"
    try:
        lines = root.read(name, 16 << 20).splitlines()
    except OSError:
        lines = _old(root)
        if not lines:
            root.unreadable["mount/"] = "no list of mounts here"
    for line in lines:
        head, dash, tail = line.partition(" - ")
        words, rest = head.split(" "), tail.split(" ")
        if not dash or len(words) < 6 or len(rest) < 3:
            continue
        place, kind = unescaped(words[4]), rest[0]
        if kind in PSEUDO or matches(place, PASSING_MOUNTS):
            continue
        options = merged(words[5], rest[2])
        root.facts[KIND + place] = kind
        root.facts["mount/source:" + place] = private(unescaped(rest[1]))
        root.facts[PLACE + place] = private(options) if kind != "overlay" else words[5]


def _old(root: Root) -> list[str]:
    """Return /proc/mounts in the form of mountinfo: some images and pods have that alone."""
    found = []
    for line in root.text("/proc/mounts").splitlines():
        words = line.split(" ")
        if len(words) >= 4:
            found.append(
                "0 0 0:0 / {} {} - {} {} {}".format(words[1], words[3], words[2], words[0], "")
            )
    return found


def merged(mount: str, superblock: str) -> str:
    """Return the options of a mount and of its file system, each once."""
    found = [one for one in mount.split(",") if one]
    ro = "ro" in found
    for one in superblock.split(","):
        if one and one not in found and not (one == "rw" and ro):
            found.append(one)
    if "ro" in found and "rw" in found:
        found.remove("rw")
    return ",".join(found)


def private(text: str) -> str:
    """Return options without passwords, users and keys."""
    return masked("", _PRIVATE.sub(r"\1(hidden)", text))


def unescaped(text: str) -> str:
    r"""Take the octal escapes of mountinfo and fstab back: ``\040`` is a space."""
    return _ESCAPE.sub(lambda found: chr(int(found.group(1), 8)), text)


def _swap(root: Root) -> None:
    try:
        rows = root.read("/proc/swaps").splitlines()[1:]
    except OSError as error:
        root.failed("swap/count", error)
        return
    root.facts["swap/count"] = str(len(rows))
    for row in rows:
        words = row.split()
        if len(words) >= 2:
            root.facts["swap/device:" + unescaped(words[0])] = words[1]
