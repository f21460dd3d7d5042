"""What the machine runs in: a hypervisor, a container, both, or neither."""

from __future__ import annotations

import re
import shutil
import subprocess

from opslib.node.facts.root import Root


def virtualization(root: Root) -> None:
    """Note what the machine runs in, by systemd-detect-virt where there is one, else by files."""
    if not root.names("/sys"):
        return
    program = shutil.which("systemd-detect-virt") if root.live else None
    for key, option, guess in (
        ("virt/vm", "--vm", _vm),
        ("virt/container", "--container", _container),
    ):
        told = _asked(program, option) if program else ""
        root.facts[key] = told or guess(root)
    inner = root.facts["virt/container"]
    root.facts["virt/innermost"] = inner if inner != "none" else root.facts["virt/vm"]


def _asked(program: str, option: str) -> str:
    try:
        done = subprocess.run(
            [program, option],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("ascii", "replace").strip()


_VENDORS = (
    ("KVM", "kvm"), ("OpenStack", "kvm"), ("KubeVirt", "kvm"), ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"), ("VMware", "vmware"), ("VMW", "vmware"), ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"), ("Oracle Corporation", "oracle"), ("Xen", "xen"),
    ("Bochs", "bochs"), ("Parallels", "parallels"), ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"), ("Apple Virtualization", "apple"), ("Google", "google"),
)  # fmt: skip


def _vm(root: Root) -> str:
    """Guess the hypervisor from DMI and the kernel's own files.

    The order of https://www.freedesktop.org/software/systemd/man/systemd-detect-virt.html but
    for CPUID, which Python cannot ask.
    """
    for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"):
        text = root.text("/sys/class/dmi/id/" + name)
        for prefix, word in _VENDORS:
            if text.startswith(prefix):
                return word
    kind = root.text("/sys/hypervisor/type").strip()
    if kind or root.exists("/proc/xen"):
        return kind or "xen"
    clock = root.text("/sys/devices/system/clocksource/clocksource0/available_clocksource")
    if "kvm" in root.text("/proc/device-tree/hypervisor/compatible") + clock:
        return "kvm"
    if "hyperv" in clock:
        return "microsoft"
    flags_of = re.search(r"^flags\s*:(.*)$", root.text("/proc/cpuinfo"), re.MULTILINE)
    return "vm-other" if flags_of and " hypervisor" in flags_of.group(1) else "none"


def _container(root: Root) -> str:
    """Guess the container: OpenVZ has /proc/vz without /proc/bc; others leave their marks."""
    if root.exists("/proc/vz") and not root.exists("/proc/bc"):
        return "openvz"
    if "Microsoft" in root.text("/proc/sys/kernel/osrelease"):
        return "wsl"
    named = (
        root.text("/run/systemd/container").strip()
        or root.text("/run/host/container-manager").strip()
    )
    if named:
        return named
    if root.exists("/run/.containerenv"):
        return "podman"
    return "docker" if root.exists("/.dockerenv") else "none"
