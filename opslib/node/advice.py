"""What to do about a difference: one sentence, by what sets the key and which plane is wrong."""

from __future__ import annotations

from opslib.node.baseline import OWNERS
from opslib.node.values import plain

_FILE = "/etc/sysctl.d/90-opslib.conf"


def fix(key: str, owner: str, value: str, *, saved_at: str = "", saved_right: bool = False) -> str:
    """Return what brings a key to a value. ``saved_at`` is the file that sets it already.

    ``saved_right`` says that the file is right and only the kernel is not.
    """
    kind, _, name = key.partition("/")
    if owner in _BY_OWNER:
        return _BY_OWNER[owner].format(name=name, value=value)
    if saved_right:
        return f"{saved_at} is right: {_applied(kind, name)}; then find out what overrode it"
    if saved_at:
        return f"change it in {saved_at} to {value}, then {_applied(kind, name)}"
    if kind in _BY_KIND:
        return _BY_KIND[kind].format(name=name, value=value, file=_FILE)
    return f"{owner or OWNERS.get(kind, 'its owner')} sets {name}: have it be {value}"


def drop(key: str, saved_at: str) -> str:
    """Return what takes a key away that should not be there."""
    kind, _, name = key.partition("/")
    where = saved_at or f"what brings it ({OWNERS.get(kind, 'its owner')})"
    return f"take {name} out of {where}, then {_undone(kind, name)}"


_BY_OWNER = {
    "kubelet": "the kubelet sets {name} at its start: set it to {value} in the kubelet's"
    " configuration where it is one of its fields, and restart the kubelet",
    "kube-proxy": "kube-proxy sets {name}: have conntrack in its configuration give {value},"
    " and restart it",
    "cni": "the CNI sets {name}: have it be {value}, and restart its agent on the node",
    "hardware": "{name} comes from the machine or its host: {value} is asked of the provider",
    "packages": "bring {name} to {value} by the package manager, node by node",
    "tuned": "have the tuned profile set {name} to {value}",
    "time service": "look at chronyc tracking or timedatectl: no time source is followed",
}

_BY_KIND = {
    "sysctl": "put {name} = {value} into {file}, then sysctl --system",
    "hugepages": "set vm.nr_hugepages to {value} in {file}, then reboot: memory is in pieces",
    "module": "put {name} into /etc/modules-load.d/opslib.conf, then modprobe {name}",
    "cmdline": "set {name} to {value} on the kernel's command line, then reboot",
    "thp": "put {value} into /sys/kernel/mm/transparent_hugepage/{name}, and"
    " transparent_hugepage={value} on the kernel's command line where it is enabled",
    "block": "write {value} to it below /sys/block, and a udev rule for the next boot",
    "mount": "change the options in /etc/fstab, then mount -o remount",
    "swap": "swapoff -a, and take the line out of /etc/fstab",
    "clock": "put clocksource=tsc on the kernel's command line if the machine has it",
    "cgroup": "boot with systemd.unified_cgroup_hierarchy=1",
    "limit": "set it in the unit (LimitNOFILE= and its like), then restart the service",
}


def _applied(kind: str, name: str) -> str:
    if kind == "sysctl":
        return "sysctl --system"
    if kind == "module":
        return (
            f"modprobe {name.partition('/')[0]}"
            if "/" not in name
            else "reload the module or reboot"
        )
    return {"mount": "mount -o remount", "swap": "swapon -a or swapoff"}.get(kind, "reboot")


def _undone(kind: str, name: str) -> str:
    words = {"module": f"modprobe -r {name}", "swap": "swapoff -a", "mount": "umount it"}
    return words.get(kind, "restart the kubelet" if kind.startswith("kubelet") else "reboot")


def unsaved(key: str, running: str | None, saved: str, at: str) -> str:
    """Return what to do where files and kernel disagree and no rule says who is right."""
    kind, _, name = key.partition("/")
    if kind == "sysctl" and running is None:
        return f"load the module that brings {name}, or take it out of {at}"
    if saved == "blacklisted":
        return f"{at} forbids what is loaded: unload it, or take the line out"
    return f"decide which is meant: {_applied(kind, name)} brings {plain(saved)}; else change {at}"


def unlike(peers: str) -> str:
    """Return what to do where a node is not as its peers."""
    return f"bring it to {plain(peers)} as its peers, or declare the difference in a baseline"


def moved() -> str:
    """Return what to do where a node is not as its snapshot in Git."""
    return "undo it, or commit a new snapshot: opslib node facts --out"
