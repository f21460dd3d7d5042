"""The machine and its kernel: release, command line, processors, memory, clock, isolation."""

from __future__ import annotations

import ctypes
import os
import re

from opslib.node.facts.root import Root

HIDDEN = "(hidden)"
_SECRET = re.compile(
    r"pass(word|wd|phrase)?|secret|token|credential|(^|[._-])key($|[._-])|auth", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_CPUS = "/sys/devices/system/cpu"
_STA_UNSYNC, _TIME_ERROR = 0x40, 5
_TIMES = ("chronyd", "systemd-timesyn", "ntpd", "ntpsec", "openntpd", "phc2sys", "ptp4l")
_LIMITED = ("containerd", "crio", "dockerd", "kubelet")


def masked(name: str, value: str) -> str:
    """Return a setting's value without what is secret: passwords by name, users in addresses."""
    if _SECRET.search(name):
        return HIDDEN
    return _USERINFO.sub("", value)


def words(text: str) -> list[str]:
    """Take a kernel command line apart, quotes kept together; what follows ``--`` is init's.

    https://docs.kernel.org/admin-guide/kernel-parameters.html
    """
    found = re.findall(r'(?:[^\s"]|"[^"]*"?)+', text)
    return found[: found.index("--")] if "--" in found else found


def parameters(text: str) -> dict[str, str]:
    """Return the parameters of a command line; one that is there twice has both values."""
    found: dict[str, list[str]] = {}
    for word in words(text):
        name, _, value = word.replace('"', "").partition("=")
        if name:
            # The kernel takes - and _ in names for the same, except where it hands them on.
            found.setdefault(name, []).append(masked(name, value))
    return {name: " ".join(values) for name, values in found.items()}


def machine(root: Root) -> None:
    """Note all of this module."""
    _kernel(root)
    for part in (_processors, _memory, _clock, _isolation, _cgroups, _limits):
        part(root)


def _kernel(root: Root) -> None:
    for key, name in (
        ("kernel/release", "/proc/sys/kernel/osrelease"),
        ("kernel/build", "/proc/sys/kernel/version"),
    ):
        root.take(key, name)
    if root.live:
        root.facts["kernel/machine"] = os.uname().machine
    for line in root.text("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name in {"ID", "VERSION_ID", "PRETTY_NAME", "VARIANT_ID", "IMAGE_VERSION"}:
            root.facts["os/" + name.lower()] = value.strip().strip("\"'")
    try:
        for name, value in parameters(root.read("/proc/cmdline")).items():
            root.facts["cmdline/" + name] = value
    except OSError as error:
        root.unreadable["cmdline/"] = str(error.strerror or error).lower()


def _processors(root: Root) -> None:
    _model(root)
    for name in ("sys_vendor", "product_name", "bios_version"):
        root.take("hardware/" + name, "/sys/class/dmi/id/" + name)
    for key, name in (
        ("cpu/online", "online"),
        ("cpu/isolated", "isolated"),
        ("cpu/nohz_full", "nohz_full"),
        ("cpu/smt", "smt/control"),
        ("cpu/idle_driver", "cpuidle/current_driver"),
        ("cpu/idle_governor", "cpuidle/current_governor"),
        ("cpu/frequency_driver", "cpu0/cpufreq/scaling_driver"),
        ("cpu/microcode", "cpu0/microcode/version"),
    ):
        root.take(key, _CPUS + "/" + name)
    for name in root.names(_CPUS + "/vulnerabilities"):
        root.take("cpu/mitigation/" + name, _CPUS + "/vulnerabilities/" + name)
    governors = {
        root.text(f"{_CPUS}/{name}/cpufreq/scaling_governor").strip()
        for name in root.names(_CPUS)
        if re.fullmatch(r"cpu\d+", name)
    } - {""}
    if governors:
        root.facts["cpu/governor"] = ", ".join(sorted(governors))


def _model(root: Root) -> None:
    text = root.text("/proc/cpuinfo", 16 << 20)
    count = len(re.findall(r"^processor\s*:", text, re.MULTILINE))
    if count:
        root.facts["cpu/count"] = str(count)
    for key, pattern in (
        ("cpu/model", r"^(?:model name|Model)\s*:\s*(.+)$"),
        ("cpu/vendor", r"^(?:vendor_id|CPU implementer)\s*:\s*(.+)$"),
    ):
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            root.facts[key] = found.group(1).strip()


def _memory(root: Root) -> None:
    huge = "/sys/kernel/mm/hugepages"
    _totals(root, bool(root.names(huge)))
    for name in root.names(huge):
        for what in ("nr_hugepages", "nr_overcommit_hugepages"):
            key = "hugepages/{}/{}".format(name.replace("hugepages-", ""), what)
            root.take(key, f"{huge}/{name}/{what}")
    nodes = [n for n in root.names("/sys/devices/system/node") if re.fullmatch(r"node\d+", n)]
    if nodes:
        root.facts["numa/nodes"] = str(len(nodes))
    for node in nodes if len(nodes) > 1 else ():
        folder = f"/sys/devices/system/node/{node}/hugepages"
        for name in root.names(folder):
            key = "hugepages/{}/{}/nr_hugepages".format(name.replace("hugepages-", ""), node)
            root.take(key, folder + "/" + name + "/nr_hugepages")
    for name in ("enabled", "defrag", "shmem_enabled", "use_zero_page", "khugepaged/defrag"):
        _choice(root, "thp/" + name, "/sys/kernel/mm/transparent_hugepage/" + name)
    for key, name in (
        ("memory/ksm", "/sys/kernel/mm/ksm/run"),
        ("memory/zswap", "/sys/module/zswap/parameters/enabled"),
        ("memory/lru_gen", "/sys/kernel/mm/lru_gen/enabled"),
    ):
        root.take(key, name)


def _totals(root: Root, sized: bool) -> None:
    """Note the memory in GiB (its last MiB vary), and huge pages where /sys has none."""
    rows = dict(re.findall(r"^(\w+):\s+(\d+)", root.text("/proc/meminfo"), re.MULTILINE))
    if "MemTotal" in rows:
        root.facts["memory/total_gib"] = str(round(int(rows["MemTotal"]) / (1 << 20)))
    if not sized and {"Hugepagesize", "HugePages_Total"} <= set(rows):
        key = f"hugepages/{rows['Hugepagesize']}kB/nr_hugepages"
        root.facts[key] = rows["HugePages_Total"]


def _choice(root: Root, key: str, name: str) -> None:
    """Note the chosen word of a file that lists all: ``always [madvise] never``."""
    value = root.take(key, name)
    if value:
        root.facts[key] = chosen(value)


def chosen(text: str) -> str:
    found = re.search(r"\[([^\]]*)\]", text)
    return found.group(1) if found else text.strip()


def _clock(root: Root) -> None:
    folder = "/sys/devices/system/clocksource/clocksource0/"
    root.take("clock/source", folder + "current_clocksource")
    available = root.text(folder + "available_clocksource").split()
    if available:
        root.facts["clock/available"] = " ".join(available)
    running = _running(root)
    if running:
        found = sorted(name for name in running if name in _TIMES)
        root.facts["time/daemon"] = ", ".join(found) or "none"
    if not root.live:
        root.unreadable["time/synchronized"] = "only the running kernel says it"
        return
    try:
        root.facts["time/synchronized"] = _synchronized()
    except (OSError, AttributeError):  # another system's C library
        root.unreadable["time/synchronized"] = "adjtimex is not there"


class _Timex(ctypes.Structure):
    """The head of struct timex, and more room than the rest needs (adjtimex(2))."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 64),
    ]


def _synchronized() -> str:
    """Ask the kernel whether somebody disciplines its clock; with modes = 0 nothing is set."""
    libc = ctypes.CDLL(None, use_errno=True)
    told = _Timex()
    state = libc.adjtimex(ctypes.byref(told))
    if state < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return "no" if state == _TIME_ERROR or told.status & _STA_UNSYNC else "yes"


def _isolation(root: Root) -> None:
    root.take("lsm/list", "/sys/kernel/security/lsm")
    root.take("lsm/lockdown", "/sys/kernel/security/lockdown")
    if "lsm/lockdown" in root.facts:
        root.facts["lsm/lockdown"] = chosen(root.facts["lsm/lockdown"])
    if root.names("/sys"):
        enforcing = root.text("/sys/fs/selinux/enforce").strip()
        root.facts["lsm/selinux"] = {"1": "enforcing", "0": "permissive"}.get(enforcing, "disabled")
        apparmor = root.text("/sys/module/apparmor/parameters/enabled").strip()
        root.facts["lsm/apparmor"] = "enabled" if apparmor == "Y" else "disabled"
    if root.names("/proc"):
        pressure = bool(root.text("/proc/pressure/io"))
        root.facts["kernel/pressure"] = "on" if pressure else "off"
    tuned = root.text("/etc/tuned/active_profile").strip()
    root.facts["tuned/profile"] = tuned or "none"


def _cgroups(root: Root) -> None:
    """Say which cgroups rule: 2, 1, or 1 with an empty 2 beside it (hybrid).

    https://systemd.io/CGROUP_DELEGATION/
    """
    if root.exists("/sys/fs/cgroup/cgroup.controllers"):
        root.facts["cgroup/version"] = "2"
        root.take("cgroup/controllers", "/sys/fs/cgroup/cgroup.controllers")
        return
    names = root.names("/sys/fs/cgroup")
    if names:
        root.facts["cgroup/version"] = "hybrid" if "unified" in names else "1"
        root.facts["cgroup/controllers"] = " ".join(n for n in names if n != "unified")


def _running(root: Root) -> dict[str, str]:
    """Return the names of running programs with one process id of each."""
    found: dict[str, str] = {}
    for pid in root.names("/proc"):
        if pid.isdigit():
            name = root.text(f"/proc/{pid}/comm").strip()
            if name:
                found.setdefault(name, pid)
    return found


def _limits(root: Root) -> None:
    """Note limits of what runs containers: those of this process would be of its own shell."""
    running = _running(root)
    wanted = [("init", "1"), *((name, running[name]) for name in _LIMITED if name in running)]
    for name, pid in wanted:
        for line in root.text(f"/proc/{pid}/limits").splitlines():
            found = re.match(r"Max (open files|processes|locked memory)\s+(\S+)\s+(\S+)", line)
            if found:
                what = found.group(1).replace(" ", "_")
                root.facts[f"limit/{name}/{what}"] = "{} {}".format(*found.group(2, 3))
