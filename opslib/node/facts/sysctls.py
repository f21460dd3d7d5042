"""Every kernel parameter below /proc/sys, but for what counts by itself or is secret."""

from __future__ import annotations

import errno
import os
import stat
from fnmatch import fnmatchcase

from opslib.node.facts.root import Root, matches

VOLATILE = (
    "fs.aio-nr", "fs.binfmt_misc.*", "fs.dentry-state", "fs.file-nr", "fs.inode-nr",
    "fs.inode-state", "fs.nfs.*_nr", "fs.quota.*", "kernel.ns_last_pid", "kernel.pty.nr",
    "kernel.random.boot_id", "kernel.random.entropy_avail", "kernel.random.uuid",
    "kernel.perf_event_max_sample_rate", "net.netfilter.nf_conntrack_count",
    "net.core.netdev_rss_key", "vm.stat_refresh",
)  # fmt: skip
"""What changes though nobody changed it: counters, random values, the kernel's own tuning."""

SECRET = ("*.stable_secret", "net.ipv4.tcp_fastopen_key", "net.ipv6.tcp_fastopen_key")
"""Keys that the kernel derives addresses and cookies from."""

PASSING = (
    "veth*", "lxc*", "cali*", "cni*", "tap*", "tun*", "vnet*", "br-*", "docker*", "flannel*",
    "cilium_*", "kube-*", "nodelocaldns*", "dummy*", "eni*", "gke*", "azv*", "vxlan*",
)  # fmt: skip
"""Network interfaces that come and go with pods: their settings are told once per kind."""

_PER_INTERFACE = (
    "net/ipv4/conf/", "net/ipv6/conf/", "net/ipv4/neigh/", "net/ipv6/neigh/", "net/mpls/conf/",
)  # fmt: skip
MOST = 200_000


def sysctl_name(path: str) -> str:
    """Return the name of a path below /proc/sys as sysctl(8) prints it.

    Slashes become dots, and a dot within a name (of an interface) a slash.
    """
    return path.translate(str.maketrans("/.", "./"))


def running_sysctls(root: Root) -> None:
    """Note ``sysctl/NAME`` for each parameter that can be read."""
    top = root.path("/proc/sys")
    folded: dict[str, set[str]] = {}
    seen = 0
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > MOST:
                root.unreadable["sysctl/"] = f"more than {MOST} files"
                return
            _one(root, os.path.join(folder, name)[len(top) + 1 :], folded)
    for key, values in folded.items():
        root.facts[key] = ", ".join(sorted(values))
    if not seen:
        root.unreadable["sysctl/"] = "no /proc/sys here"


def _one(root: Root, path: str, folded: dict[str, set[str]]) -> None:
    name = sysctl_name(path)
    if matches(name, VOLATILE) or matches(name, SECRET):
        return
    try:
        if not os.stat(root.path("/proc/sys/" + path)).st_mode & (
            stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
        ):
            return  # a trigger: it takes a value and has none
        value = root.read("/proc/sys/" + path).rstrip("\n")
    except OSError as error:
        if error.errno != errno.EIO:  # a parameter without a value, as the kernel says it
            root.failed("sysctl/" + name, error)
        return
    kind = _kind(path)
    if kind:
        folded.setdefault("sysctl/" + sysctl_name(kind), set()).add(value)
    else:
        root.facts["sysctl/" + name] = value


def _kind(path: str) -> str:
    """Return the path of a passing interface's parameter with its kind (``lxc*``), else ""."""
    for prefix in _PER_INTERFACE:
        if path.startswith(prefix):
            interface, _, rest = path[len(prefix) :].partition("/")
            for pattern in PASSING:
                if fnmatchcase(interface, pattern):
                    return prefix + pattern + "/" + rest
    return ""
