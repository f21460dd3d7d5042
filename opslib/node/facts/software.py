"""Kernel modules, the kubelet's settings, versions of what matters to a node."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess

from opslib.node.facts.machine import HIDDEN, masked
from opslib.node.facts.root import Root, matches, why

_BUILT_IN = {
    "br_netfilter": "CONFIG_BRIDGE_NETFILTER", "ip_vs": "CONFIG_IP_VS",
    "nf_conntrack": "CONFIG_NF_CONNTRACK", "overlay": "CONFIG_OVERLAY_FS",
    "ip_tables": "CONFIG_IP_NF_IPTABLES", "nf_tables": "CONFIG_NF_TABLES",
    "vxlan": "CONFIG_VXLAN", "wireguard": "CONFIG_WIREGUARD", "ip_vs_rr": "CONFIG_IP_VS_RR",
    "xfs": "CONFIG_XFS_FS", "ext4": "CONFIG_EXT4_FS", "nvme": "CONFIG_BLK_DEV_NVME",
    "dm_crypt": "CONFIG_DM_CRYPT", "nbd": "CONFIG_BLK_DEV_NBD", "tcp_bbr": "CONFIG_TCP_CONG_BBR",
}  # fmt: skip
_PARAMETERS = ("br_netfilter", "nf_conntrack", "ip_vs", "kvm", "kvm_intel", "kvm_amd", "overlay")

KUBELET_FILES = (
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/kubelet/kubelet-config.json",
    "/etc/kubernetes/kubelet.conf.d/kubelet-config.yaml",
    "/home/kubernetes/kubelet-config.yaml",
)
"""Where kubeadm, EKS, GKE and others put it; a running kubelet's own --config comes first."""

_NOTED = (
    "kubelet", "kubeadm", "kubectl", "containerd*", "runc", "crun", "cri-o", "cri-tools",
    "docker-ce", "docker.io", "moby-*", "podman", "kubernetes-cni", "containernetworking-plugins",
    "etcd*", "systemd", "linux-image-*", "kernel", "kernel-core", "linux-aws", "openssl",
    "libc6", "glibc", "iptables", "nftables", "ipvsadm", "conntrack*", "chrony", "ntp", "ntpsec",
    "systemd-timesyncd", "tuned", "multipath-tools", "device-mapper-multipath", "nfs-common",
    "nfs-utils", "open-iscsi", "iscsi-initiator-utils", "amazon-ssm-agent", "qemu-guest-agent",
    "intel-microcode", "amd64-microcode", "microcode_ctl", "firewalld", "ufw", "apparmor",
)  # fmt: skip
_MOST = 64 << 20


def software(root: Root) -> None:
    """Note modules, kubelet and packages."""
    _modules(root)
    _kubelet(root)
    _packages(root)


def _modules(root: Root) -> None:
    for name in _builtin(root):
        root.facts["module/" + name] = "builtin"
    try:
        rows = root.read("/proc/modules").splitlines()
    except OSError as error:
        root.unreadable["module/"] = "no list of loaded modules: " + why(error)
        rows = []
    for row in rows:
        root.facts["module/" + row.split(" ")[0]] = "loaded"
    for name in _PARAMETERS:
        folder = f"/sys/module/{name}/parameters"
        for one in root.names(folder):
            root.take(f"module/{name}/{one}", folder + "/" + one)


def _builtin(root: Root) -> list[str]:
    """Return what is built into the kernel, by its list, else by its configuration."""
    release = root.text("/proc/sys/kernel/osrelease").strip()
    found = []
    for top in ("/lib/modules/", "/usr/lib/modules/"):
        text = root.text(top + release + "/modules.builtin") if release else ""
        if text:
            return [line.split("/")[-1].split(".")[0].replace("-", "_") for line in text.split()]
    text = _configuration(root, release)
    for name, option in _BUILT_IN.items():
        if re.search(f"^{option}=y$", text, re.MULTILINE):
            found.append(name)
    if not text:
        root.unreadable["module-builtin/"] = (
            "neither modules.builtin nor the kernel's configuration"
        )
    if "overlay" not in found and re.search(
        r"\boverlay$", root.text("/proc/filesystems"), re.MULTILINE
    ):
        found.append("overlay")
    return found


def _configuration(root: Root, release: str) -> str:
    text = root.text("/boot/config-" + release) if release else ""
    if text:
        return text
    try:
        with gzip.open(root.path("/proc/config.gz")) as stream:
            return stream.read(1 << 20).decode("ascii", "replace")
    except (OSError, EOFError):
        return ""


def _kubelet(root: Root) -> None:
    """Note the kubelet's configuration as ``kubelet/FIELD``, nested fields with dots."""
    given = _flags(root)
    for name, value in given.items():
        root.facts["kubelet-flag/" + name] = masked(name, value)
    named = given.get("config", "")
    for name in [named] if named else KUBELET_FILES:
        try:
            text = root.read(name)
        except OSError as error:
            root.failed("kubelet/", error)
            continue
        try:
            _fields(root, json.loads(text) if text.lstrip().startswith("{") else text)
        except ValueError as error:
            root.unreadable["kubelet/"] = f"{name}: {error}"
            return
        root.unreadable.pop("kubelet/", None)
        root.facts["kubelet/file"] = name
        return


def _fields(root: Root, given: object) -> None:
    """Note the fields of a configuration; one that is more than plain YAML is unreadable."""
    if not isinstance(given, str):
        for key, value in flattened(given):
            root.facts["kubelet/" + key] = value
        return
    for name, lines in blocks(given):
        try:
            _fields(root, plain_yaml(lines))
        except ValueError as error:
            root.unreadable["kubelet/" + name] = str(error)


def _flags(root: Root) -> dict[str, str]:
    for pid in root.names("/proc"):
        if pid.isdigit() and root.text(f"/proc/{pid}/comm").strip() == "kubelet":
            return flags(root.text(f"/proc/{pid}/cmdline").split("\0")[1:])
    return {}


def flags(words: list[str]) -> dict[str, str]:
    """Read ``--name=value``, ``--name value`` and ``--name``, which is true."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals:
                value = "true" if not following or following.startswith("-") else following
            found[name] = value
    return found


def flattened(value: object, key: str = "") -> list[tuple[str, str]]:
    """Return (key, text) of each leaf; a list of plain values is one text with commas."""
    if isinstance(value, dict):
        found = []
        for name in sorted(value):
            found += flattened(value[name], f"{key}.{name}" if key else str(name))
        return found
    if key.partition(".")[0] == "staticPodURLHeader":
        return [(key, HIDDEN)]
    if isinstance(value, list):
        return [(key, ", ".join(_shown(one) for one in value))]
    return [(key, masked(key.rpartition(".")[2], _shown(value)))]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)


_LINE = re.compile(r"( *)([\w./-]+|\"[^\"]*\"|'[^']*'):(?: +(.*))?$")
_ITEM = re.compile(r" *- +(?![\w\"'][^ ]*: )(.+)$")


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return the lines of each key at the left edge of a YAML text; comments are left out."""
    found: list[tuple[str, list[str]]] = []
    for raw in text.splitlines():
        line = raw.split(" #")[0].rstrip()
        if not line.strip() or line.lstrip().startswith("#") or line in {"---", "..."}:
            continue
        if line[0] in " -" and found:
            found[-1][1].append(line)
        else:
            found.append((line.partition(":")[0].strip("\"'"), [line]))
    return found


def plain_yaml(lines: list[str]) -> dict[str, object]:
    """Read the YAML that kubeadm and its like write: mappings, and lists of plain values.

    Raises ValueError where a text uses more than that.
    """
    top: dict[str, object] = {}
    levels: list[tuple[int, dict[str, object]]] = [(-1, top)]
    last: tuple[dict[str, object], str] | None = None
    for line in lines:
        item = _ITEM.match(line)
        if item and last is not None:
            owner, name = last
            values = owner[name]
            owner[name] = [*(values if isinstance(values, list) else []), _scalar(item.group(1))]
            continue
        found = _LINE.match(line)
        if not found:
            raise ValueError("more than plain YAML")
        while levels[-1][0] >= len(found.group(1)):
            levels.pop()
        here, name = levels[-1][1], found.group(2).strip("\"'")
        if found.group(3):
            here[name] = _scalar(found.group(3))
        else:
            inner: dict[str, object] = {}
            here[name] = inner
            levels.append((len(found.group(1)), inner))
            last = (here, name)
    return top


def _scalar(text: str) -> object:
    text = text.strip()
    if text[:1] in {'"', "'"}:
        return text[1:-1]
    if text[:1] in {"|", ">", "&", "*", "!"} or (text[:1] in {"[", "{"} and ": " in text):
        raise ValueError("a value is more than plain YAML")
    if text[:1] == "[" and text[-1:] == "]":
        return [_scalar(one) for one in text[1:-1].split(",") if one.strip()]
    return {"{}": {}, "null": "null"}.get(text, text)


def _packages(root: Root) -> None:
    text = root.text("/var/lib/dpkg/status", _MOST)
    if text:
        _debian(root, text)
    elif root.text("/lib/apk/db/installed", _MOST):
        for block in root.text("/lib/apk/db/installed", _MOST).split("\n\n"):
            fields = dict(line.split(":", 1) for line in block.splitlines() if line[1:2] == ":")
            _note(root, fields.get("P", ""), fields.get("V", ""))
    elif root.live and shutil.which("rpm"):
        _rpm(root)
    else:
        root.unreadable["pkg/"] = "no list of packages that this reads"


def _debian(root: Root, text: str) -> None:
    for block in text.split("\n\n"):
        name = re.search(r"^Package: (.+)$", block, re.MULTILINE)
        version = re.search(r"^Version: (.+)$", block, re.MULTILINE)
        if name and version and re.search(r"^Status: .* installed$", block, re.MULTILINE):
            _note(root, name.group(1), version.group(1))


def _rpm(root: Root) -> None:
    words = ["rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n"]
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=4, check=True
        )
    except (OSError, subprocess.SubprocessError):
        root.unreadable["pkg/"] = "rpm does not answer"
        return
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        name, _, version = line.partition(" ")
        _note(root, name, version)


def _note(root: Root, name: str, version: str) -> None:
    if version and matches(name, _NOTED):
        key = "pkg/" + name
        before = root.facts.get(key)
        # Several kernels may be installed under one name.
        root.facts[key] = (
            version if before is None else ", ".join(sorted({*before.split(", "), version}))
        )
