"""Whose machine this is: which hypervisor, which container, or neither.

The order is systemd-detect-virt's (src/basic/virt.c), which is asked where it is installed: for
the machine and the container apart, since without an option it names the inner one only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Dict, Optional, Sequence

from opslib.bench.probe.device import read_text

_VENDORS = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Virtual Machine", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
    ("Google", "google"),
    ("DigitalOcean", "kvm"),
    ("Hetzner", "kvm"),
    ("Alibaba Cloud", "kvm"),
)


def detect() -> Dict[str, str]:
    """Return ``vm`` and ``container``, each a name, "none", or "unreadable"."""
    return {"vm": _vm(), "container": _container()}


def _asked(words: Sequence[str]) -> Optional[str]:
    program = shutil.which(words[0])
    if not program:
        return None
    try:
        done = subprocess.run(
            [program, *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


def _vm() -> str:
    told = _asked(["systemd-detect-virt", "--vm"])
    if told:
        return told
    if "control_d" in (read_text("/proc/xen/capabilities") or ""):
        return "none"  # Xen's own first domain runs on the bare machine
    return _by_files() or _by_processor()


def _by_files() -> Optional[str]:
    if read_text("/sys/hypervisor/type") == "xen":
        return "xen"
    hypervised = _flag()
    for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor"):
        text = read_text(f"/sys/class/dmi/id/{name}") or ""
        for mark, vendor in _VENDORS:
            # A cloud's bare machine carries the same name, and no hypervisor.
            if mark in text and hypervised is not False:
                return vendor
    return None


def _flag() -> Optional[bool]:
    """Tell whether the processor says that a hypervisor is there; None: it has no such word."""
    text = read_text("/proc/cpuinfo") or ""
    found = re.search(r"^flags\s*:(.*)", text, re.M)
    return None if not found else " hypervisor" in found.group(1)


def _by_processor() -> str:
    hypervised = _flag()
    clocks = read_text("/sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    for mark, vendor in (("kvm-clock", "kvm"), ("hyperv", "microsoft"), ("xen", "xen")):
        if mark in clocks:
            return vendor
    told = re.search(r"^Hypervisor vendor:\s*(.+)", _asked(["lscpu"]) or "", re.M)
    if told:
        return told.group(1).strip().lower()
    if hypervised is None:
        return "unreadable"
    return "unknown hypervisor" if hypervised else "none"


def _container() -> str:
    if os.path.exists("/proc/vz") and not os.path.exists("/proc/bc"):
        return "openvz"
    release = read_text("/proc/sys/kernel/osrelease") or ""
    if "microsoft" in release.lower():
        return "wsl"
    told = read_text("/run/systemd/container") or _init_says()
    pod = "KUBERNETES_SERVICE_HOST" in os.environ or "kubepods" in (
        read_text("/proc/self/cgroup") or ""
    )
    if pod:
        return "kubernetes"
    if told:
        return told
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if os.path.exists(path):
            return name
    return _asked(["systemd-detect-virt", "--container"]) or _by_cgroup()


def _init_says() -> str:
    """Return the variable `container` of the first process, where it may be read."""
    for entry in (read_text("/proc/1/environ") or "").split("\0"):
        if entry.startswith("container="):
            return entry.partition("=")[2]
    return ""


def _by_cgroup() -> str:
    for name in ("docker", "containerd", "lxc", "libpod", "crio"):
        if name in (read_text("/proc/1/cgroup") or ""):
            return name
    return "none"
