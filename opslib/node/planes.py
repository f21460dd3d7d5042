"""How two planes of one key are compared: files with the kernel, a node with its pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import NamedTuple

from opslib.node import values
from opslib.node.model import Kept, Snapshot

_OWN = (
    "block/*/model", "block/*/size", "block/*/firmware_rev", "kernel/build", "mount/source:*",
    "sysctl/kernel.domainname", "sysctl/kernel.hostname", "sysctl/kernel.random.*",
    "cmdline/BOOT_IMAGE", "cmdline/root", "cmdline/initrd", "cmdline/ip", "kubelet/providerID",
    "kubelet-flag/hostname-override", "kubelet-flag/node-ip", "kubelet-flag/node-labels",
    "kubelet-flag/provider-id", "cpu/microcode", "swap/device:*",
)  # fmt: skip
"""What each machine has of its own: no peer is asked about it."""

_DERIVED = (
    "sysctl/fs.epoll.max_user_watches", "sysctl/fs.file-max", "sysctl/fs.inotify.max_user_watches",
    "sysctl/kernel.threads-max", "sysctl/net.ipv4.tcp_max_orphans", "sysctl/net.ipv4.tcp_mem",
    "sysctl/net.ipv4.udp_mem", "sysctl/net.sctp.sctp_mem", "sysctl/user.max_*",
    "sysctl/vm.admin_reserve_kbytes", "sysctl/vm.min_free_kbytes", "sysctl/vm.user_reserve_kbytes",
    "limit/*/processes", "sysctl/net.ipv4.tcp_max_tw_buckets", "sysctl/net.ipv4.ipfrag_high_thresh",
)  # fmt: skip
"""What the kernel makes of the memory it found at boot: within a twentieth it is the same."""

_SLACK = 20
_SILENT = (
    "defaults",
    "auto",
    "noauto",
    "nofail",
    "user",
    "users",
    "nouser",
    "owner",
    "group",
    "_netdev",
)
_BOOT_ONLY = ("ro", "rw", "root", "quiet", "splash", "initrd", "BOOT_IMAGE")


def alike(key: str, one: str, two: str) -> bool:
    """Tell whether two machines, or one at two times, have the same of a key."""
    if values.same(one, two):
        return True
    if not any(fnmatchcase(key, pattern) for pattern in _DERIVED):
        return False
    left, right = values.numbers(one), values.numbers(two)
    if left is None or right is None or len(left) != len(right):
        return False
    return all(abs(a - b) * _SLACK <= max(abs(a), abs(b)) for a, b in zip(left, right, strict=True))


def applied(key: str, saved: Kept, running: str | None) -> bool:
    """Tell whether the kernel has what a file sets."""
    kind = key.partition("/")[0]
    if saved.value == "blacklisted":
        return running != "loaded"
    if running is None:
        return saved.may_fail or _unseen(key)
    if saved.value == "loaded" or kind == "swap":
        return True
    if kind == "sysctl":
        return _sysctl(saved.value, running)
    if kind == "mount":
        return _mounted(saved.value, running) if "options:" in key else _typed(saved.value, running)
    return values.same(saved.value, running) or _flag(saved.value) == _flag(running) != ""


def _unseen(key: str) -> bool:
    """Tell whether a saved key that the kernel lacks says nothing.

    Options of a module that is not loaded, and of a mount whose type tells it; a swap device
    that is named by what only the device itself has.
    """
    kind, _, name = key.partition("/")
    if kind == "module":
        return "/" in name
    return key.startswith("mount/options:") or (kind == "swap" and "=" in name.partition("/")[0])


def _typed(saved: str, running: str) -> bool:
    return saved in {"auto", "none", running} or running.startswith("fuse")


def _sysctl(saved: str, running: str) -> bool:
    """Compare as the kernel reads: 0x10 and 010 are numbers too, and fewer values are the first.

    https://docs.kernel.org/core-api/kernel-api.html (proc_dointvec)
    """
    left, right = saved.split(), running.split()
    if len(left) < len(right) and left and all(_whole(word) is not None for word in right):
        right = right[: len(left)]
    if len(left) != len(right):
        return False
    return all(
        a == b or _whole(a) == _whole(b) is not None for a, b in zip(left, right, strict=True)
    )


def _whole(word: str) -> int | None:
    try:
        octal = len(word) > 1 and word[0] == "0" and word.isdigit()
        return int(word, 8 if octal else 0) if len(word) <= 40 else None
    except ValueError:
        return None


def _mounted(saved: str, running: str) -> bool:
    """Tell whether each option of a line of fstab that the kernel shows is there."""
    has = running.split(",")
    for one in saved.split(","):
        name, _, value = one.partition("=")
        if not one or name in _SILENT or name.startswith(("x-", "comment")) or one in has:
            continue
        if name in {"uid", "gid", "mode", "size", "errors", "data", "subvol"} and value:
            if any(other.startswith(name + "=") for other in has):
                return False
            continue
        if name in {
            "noatime",
            "nodiratime",
            "nodev",
            "nosuid",
            "noexec",
            "ro",
            "discard",
            "nobarrier",
            "sync",
        }:
            return False
    return "ro" not in has or "ro" in saved.split(",") or "rw" not in saved.split(",")


def _flag(text: str) -> str:
    return {"y": "y", "1": "y", "on": "y", "n": "n", "0": "n", "off": "n"}.get(text.lower(), "")


def boots(key: str) -> bool:
    """Tell whether a parameter of the saved command line counts: the boot loader adds some."""
    return key.partition("/")[2] not in _BOOT_ONLY


class Pool:
    """The machines that should be alike, and what most of them have of a key."""

    def __init__(self, members: Sequence[Snapshot]) -> None:
        self.members = tuple(members)
        self._found: dict[str, Majority | None] = {}

    @cached_property
    def keys(self) -> frozenset[str]:
        """Return every key that some machine has."""
        return frozenset(key for one in self.members for key in one.running)

    def most(self, key: str) -> Majority | None:
        """Return what more than half of those have that could read a key; None where none do.

        Nor is anybody asked about what each machine has of its own.
        """
        if key not in self._found:
            own = any(fnmatchcase(key, pattern) for pattern in _OWN)
            self._found[key] = None if own else self._counted(key)
        return self._found[key]

    def _counted(self, key: str) -> Majority | None:
        votes: Counter[str | None] = Counter()
        for one in self.members:
            if not one.unknown(key):
                votes[_same_as(key, votes, one.running.get(key))] += 1
        total = sum(votes.values())
        value, count = max(
            votes.items(), key=lambda pair: (pair[1], str(pair[0])), default=(None, 0)
        )
        return Majority(value, count, total) if count * 2 > total and count >= ENOUGH else None


ENOUGH = 2
"""Machines that a majority has at least, besides the one that is looked at."""


class Majority(NamedTuple):
    """A value that more than half of a pool has (None: nothing), how many, and of how many."""

    value: str | None
    have: int
    total: int


def _same_as(key: str, votes: Counter[str | None], value: str | None) -> str | None:
    """Return the vote that a value counts to: one that is alike, else itself."""
    if value is None or value in votes:
        return value
    near = (one for one in votes if one is not None and alike(key, one, value))
    return next(near, value)
