"""A machine made of files: what a test may not set on the real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from opslib.node.facts.snapshot import canonical, take

SYSCTLS = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "vm/max_map_count": "262144",
    "vm/swappiness": "10", "vm/dirty_ratio": "10", "vm/dirty_background_ratio": "3",
    "kernel/panic": "10", "kernel/panic_on_oops": "1", "kernel/pid_max": "4194304",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
    "kernel/softlockup_panic": "1", "kernel/numa_balancing": "0", "kernel/osrelease": "6.1.0-18",
    "kernel/version": "#1 SMP", "kernel/hostname": "worker-1", "kernel/threads-max": "127123",
    "fs/inotify/max_user_instances": "8192", "fs/inotify/max_user_watches": "524288",
    "fs/file-max": "2097152", "fs/aio-max-nr": "1048576", "fs/file-nr": "1\t0\t2",
    "net/core/somaxconn": "32768", "net/core/netdev_max_backlog": "16384",
    "net/core/rmem_max": "16777216", "net/core/wmem_max": "16777216",
    "net/ipv4/ip_forward": "1", "net/ipv4/tcp_retries2": "8",
    "net/ipv4/tcp_slow_start_after_idle": "0", "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/neigh/default/gc_thresh1": "8192", "net/ipv4/neigh/default/gc_thresh2": "32768",
    "net/ipv4/neigh/default/gc_thresh3": "65536", "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/eth0/rp_filter": "0", "net/ipv4/conf/lxc1a/rp_filter": "0",
    "net/ipv4/conf/lxc2b/rp_filter": "0", "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1", "net/netfilter/nf_conntrack_max": "131072",
}  # fmt: skip

FILES = {
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet mitigations=auto elevator=none",
    "proc/modules": "overlay 151552 0 - Live 0x0\nbr_netfilter 32768 0 - Live 0x0\n"
    "nf_conntrack 172032 1 - Live 0x0\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/1/mountinfo": "27 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw\n"
    "28 27 254:16 / /var/lib/etcd rw,noatime - xfs /dev/vdb rw\n",
    "proc/1/comm": "systemd",
    "proc/2/comm": "chronyd",
    "proc/pressure/io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1",
    "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "512",
    "sys/kernel/security/lsm": "lockdown,capability,apparmor",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "kvm-clock",
    "sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI",
    "sys/block/vda/size": "20971520",
    "sys/block/vda/queue/scheduler": "[none] mq-deadline",
    "sys/block/vda/queue/write_cache": "write back",
    "sys/block/vda/queue/rotational": "0",
    "sys/block/vda/queue/wbt_lat_usec": "2000",
    "sys/module/nf_conntrack/parameters/hashsize": "65536",
    "lib/modules/6.1.0-18/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/sysctl.d/90-k8s.conf": "# ours\nvm.max_map_count = 262144\nnet.ipv4.ip_forward=1\n",
    "etc/modules-load.d/k8s.conf": "overlay\nbr_netfilter\n",
    "etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet mitigations=auto elevator=none"\n',
    "etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n/dev/vdb /var/lib/etcd xfs noatime 0 2\n",
    "var/lib/kubelet/config.yaml": "apiVersion: kubelet.config.k8s.io/v1beta1\n"
    "kind: KubeletConfiguration\nauthentication:\n  anonymous:\n    enabled: false\n"
    "clusterDNS:\n- 10.96.0.10\nprotectKernelDefaults: true\nserializeImagePulls: true\n",
    "var/lib/dpkg/status": "Package: containerd\nStatus: install ok installed\n"
    "Version: 1.7.27-1\n\nPackage: kubelet\nStatus: install ok installed\nVersion: 1.33.1-1\n\n"
    "Package: runc\nStatus: install ok installed\nVersion: 1.2.5-1\n",
}


class Machine:
    """A folder that looks like a machine's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            self.write(name, text + ("" if text.endswith("\n") else "\n"))
        for name, value in SYSCTLS.items():
            self.write(f"proc/sys/{name}", value + "\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def snapshot(self, name: str = "", pool: str = "workers") -> str:
        return canonical(take(str(self.root), name, pool))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a worker that is as the kit's own baselines have it."""
    return Machine(tmp_path / "machine")


class Git:
    """A repository of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.run("init", "--quiet", "--initial-branch=main")

    def run(self, *words: str) -> str:
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
        }
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words],
            check=True, capture_output=True, text=True, timeout=60, env={**os.environ, **who},
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, message: str, **files: str) -> str:
        """Write files (``__`` in their names is a slash, ``_DOT_`` a dot) and commit all."""
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.run("add", "--all")
        self.run("commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message)
        return self.run("rev-parse", "HEAD")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return an empty repository."""
    return Git(tmp_path / "git")


BASELINE = """\
apiVersion: opslib.dev/v1
kind: NodeBaseline
metadata:
  name: workers
spec:
  extends: [opslib/kubeadm, opslib/host]
  select: {pool: work*}
  rules:
    - key: sysctl/vm.max_map_count
      op: ge
      value: 262144
      owner: sysctl.d
      severity: error
      why: the search needs it
      source: https://example.com/search
    - {key: mount/options:/var/lib/etcd, op: regex, value: noatime, why: less writes, source: us}
    - {key: hugepages/2048kB/nr_hugepages, op: eq, value: 512, why: the database, source: us}
    - {key: cmdline/elevator, op: absent, why: it has no effect since 5.0, source: docs}
  without:
    - {key: time/synchronized, why: this is a folder}
"""
