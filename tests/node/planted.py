"""Drifts to plant on a machine of files: each in a plane of its own."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import Machine

MM, DEVICES = "sys/kernel/mm", "sys/devices/system"
BOOT = "root=/dev/vda1 ro quiet elevator=none"
MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw
28 27 254:16 / /var/lib/etcd rw,relatime - xfs /dev/vdb rw"""
PACKAGES = "\n\n".join(
    f"Package: {name}\nStatus: install ok installed\nVersion: {version}"
    for name, version in (("containerd", "1.7.27-1"), ("kubelet", "1.33.1-1"), ("runc", "1.1.5-1"))
)
KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
clusterDNS:
- 10.96.0.10
protectKernelDefaults: false
serializeImagePulls: true"""

Plant = tuple[str, str, Callable[[Machine], None]]


def _set(name: str, text: str) -> Callable[[Machine], None]:
    return lambda machine: machine.write(name, text + "\n")


def _gone(name: str) -> Callable[[Machine], None]:
    return lambda machine: machine.remove(name)


PLANTED: list[Plant] = [
    ("sysctl/vm.max_map_count", "running", _set("proc/sys/vm/max_map_count", "65530")),
    ("sysctl/vm.overcommit_memory", "running", _set("proc/sys/vm/overcommit_memory", "0")),
    ("sysctl/kernel.panic", "running", _set("proc/sys/kernel/panic", "0")),
    (
        "sysctl/net.ipv4.ip_forward",
        "persisted",
        _set("etc/sysctl.d/99-z.conf", "net.ipv4.ip_forward=0"),
    ),
    ("sysctl/fs.file-max", "persisted", _set("run/sysctl.d/10-a.conf", "fs.file-max=4000000")),
    (
        "sysctl/net.ipv4.conf.eth0.rp_filter",
        "snapshot",
        _set("proc/sys/net/ipv4/conf/eth0/rp_filter", "1"),
    ),
    (
        "sysctl/net.ipv4.conf.lxc*.rp_filter",
        "running",
        _set("proc/sys/net/ipv4/conf/lxc2b/rp_filter", "1"),
    ),
    (
        "sysctl/net.bridge.bridge-nf-call-iptables",
        "running",
        _set("proc/sys/net/bridge/bridge-nf-call-iptables", "0"),
    ),
    (
        "module/br_netfilter",
        "running",
        _set("proc/modules", "overlay 1 0 - Live 0x0\nnf_conntrack 1 1 - Live 0x0"),
    ),
    (
        "module/nf_conntrack/hashsize",
        "running",
        _set("sys/module/nf_conntrack/parameters/hashsize", "1024"),
    ),
    ("cmdline/mitigations", "running", _set("proc/cmdline", f"{BOOT} mitigations=off")),
    (
        "cmdline/audit",
        "persisted",
        _set(
            "etc/default/grub", 'GRUB_CMDLINE_LINUX="quiet mitigations=auto elevator=none audit=1"'
        ),
    ),
    (
        "hugepages/2048kB/nr_hugepages",
        "running",
        _set(f"{MM}/hugepages/hugepages-2048kB/nr_hugepages", "500"),
    ),
    (
        "thp/enabled",
        "running",
        _set(f"{MM}/transparent_hugepage/enabled", "[always] madvise never"),
    ),
    (
        "block/vda/scheduler",
        "running",
        _set("sys/block/vda/queue/scheduler", "none mq-deadline [bfq]"),
    ),
    ("block/vda/write_cache", "snapshot", _set("sys/block/vda/queue/write_cache", "write through")),
    (
        "swap/count",
        "running",
        _set("proc/swaps", "Filename Type Size Used Priority\n/dev/vdc partition 1 0 -2"),
    ),
    (
        "clock/source",
        "running",
        _set(f"{DEVICES}/clocksource/clocksource0/current_clocksource", "hpet"),
    ),
    ("mount/options:/var/lib/etcd", "running", _set("proc/1/mountinfo", MOUNTS)),
    ("pkg/runc", "running", _set("var/lib/dpkg/status", PACKAGES)),
    (
        "cpu/mitigation/meltdown",
        "snapshot",
        _set(f"{DEVICES}/cpu/vulnerabilities/meltdown", "Vulnerable"),
    ),
    ("kubelet/protectKernelDefaults", "running", _set("var/lib/kubelet/config.yaml", KUBELET)),
    ("cgroup/version", "running", _gone("sys/fs/cgroup/cgroup.controllers")),
]
"""Each in a plane of its own: the key, the plane that has to show it, and how it comes about."""
