"""Facts are what the machine's own programs say, twice the same, without root, and soon."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.node.facts.snapshot import canonical, take
from opslib.node.onefile import one_file

from .conftest import Machine

Dict = dict[str, Any]


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


# The modules first: the Python of the tests may lie where nobody may read.
_DROPPED = """
import __future__, argparse, ctypes, encodings.idna, errno, fnmatch, gzip, json, os, re
import shutil, stat, subprocess, sys, tempfile, typing
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.chdir("/")
sys.argv = sys.argv[1:]
exec(compile(sys.stdin.read(), "node_facts.py", "exec"), {"__name__": "__main__"})
"""


def _as_nobody(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the one file without root: as nobody where the tests are root."""
    words = [sys.executable, "-I", "-S", "-c", _DROPPED, "node_facts.py", *options]
    return subprocess.run(
        words, input=one_file(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def here() -> Dict:
    """Return the snapshot of this machine."""
    return take()


def test_equal_sysctl(here: Dict) -> None:
    """Every key that sysctl -a has too has its value, to the character."""
    assert shutil.which("sysctl", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"), "install procps"
    told = _run("/usr/sbin/sysctl", "-a") or _run("/sbin/sysctl", "-a")
    rows = [line.split(" = ", 1) for line in told.splitlines() if " = " in line]
    several = {row[0] for row in rows if sum(row[0] == other[0] for other in rows) > 1}
    now: Dict = take()
    again = now["running"]
    shared = wrong = 0
    for name, value in rows:
        key = f"sysctl/{name}"
        mine = here["running"].get(key)
        if name in several or mine is None or mine != again.get(key):
            continue  # of several lines, left out on purpose, or changed meanwhile
        shared += 1
        wrong += mine.rstrip() != value.rstrip()
    print(f"{shared} of {len(rows)} keys of sysctl -a shared, {wrong} differ")
    assert shared > 500
    assert wrong == 0


def test_equal_lsblk(here: Dict) -> None:
    """Every disk that lsblk lists has its size, scheduler and kind."""
    names = "NAME,SIZE,ROTA,SCHED,RO,RM,LOG-SEC,PHY-SEC,RQ-SIZE,TYPE"
    disks = json.loads(_run("lsblk", "--bytes", "--json", "--output", names))["blockdevices"]
    pairs = {
        "size": "size", "rota": "rotational", "sched": "scheduler", "ro": "ro", "rm": "removable",
        "log-sec": "logical_block_size", "phy-sec": "physical_block_size", "rq-size": "nr_requests",
    }  # fmt: skip
    shared = 0
    for disk in disks:
        for theirs, ours in pairs.items():
            mine = here["running"].get(f"block/{disk['name']}/{ours}")
            if mine is None or disk[theirs] is None:
                continue
            value = disk[theirs]
            assert mine == (str(int(value)) if isinstance(value, bool) else str(value)), (
                disk,
                ours,
            )
            shared += 1
    print(f"{shared} values of lsblk shared")
    assert shared >= 8


def test_equal_systemd_detect_virt(here: Dict) -> None:
    """Machine, container and the innermost of both are what systemd says."""
    assert shutil.which("systemd-detect-virt"), "install systemd"
    for key, options in (("vm", ["--vm"]), ("container", ["--container"]), ("innermost", [])):
        told = _run("systemd-detect-virt", *options).strip()
        assert here["running"][f"virt/{key}"] == told


def test_the_guess_without_systemd() -> None:
    """Without the program the files say that this is a machine, or a virtual one."""
    from opslib.node.facts.root import Root
    from opslib.node.facts.virtual import _vm

    told = _run("systemd-detect-virt", "--vm").strip()
    assert (_vm(Root()) == "none") == (told == "none")


def test_the_same_bytes_twice(here: Dict) -> None:
    """Nothing of a second snapshot differs while nothing changes; keys are sorted, one a line."""
    first, second = canonical(here), canonical(take())
    assert first == second
    rows = [line.partition('": ')[0] for line in first.splitlines() if line.startswith('  "')]
    keys = [row.strip(' "') for row in rows]
    assert keys == [
        key for part in ("persisted", "running", "unreadable") for key in sorted(here[part])
    ]
    assert json.loads(first) == here


def test_one_file_without_root_and_without_anything() -> None:
    """As nobody, isolated, with the standard library alone: 60 facts and more in 5 s."""
    begun = time.monotonic()
    done = _as_nobody()
    took = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{len(found['running'])} facts in {took:.2f} s, without root")
    assert len(found["running"]) >= 60
    assert took < 5
    kinds = {key.partition("/")[0] for key in found["running"]}
    assert kinds >= {"sysctl", "block", "thp", "cpu", "clock", "mount", "virt", "kernel", "limit"}


def test_one_file_is_the_same_program(machine: Machine, tmp_path: Path) -> None:
    """It says of an image what the package says; it is Python 3.8; no name is there twice."""
    text = one_file()
    program = tmp_path / "node_facts.py"
    program.write_text(text)
    out = tmp_path / "out.json"
    words = (
        sys.executable,
        "-I",
        "-S",
        str(program),
        "--root",
        str(machine.root),
        "--pool",
        "workers",
    )
    assert _run(*words) == machine.snapshot()
    subprocess.run([*words, "--out", str(out)], check=True, timeout=60)
    assert out.read_text() == machine.snapshot()
    tree = ast.parse(text, feature_version=(3, 8))
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [
                one.id
                for target in node.targets
                for one in ast.walk(target)
                if isinstance(one, ast.Name)
            ]
    assert sorted(names) == sorted(set(names))
    assert "opslib.node" not in text.replace("opslib node", "")


def test_unreadable_is_said(machine: Machine) -> None:
    """A file that may not be read is in ``unreadable`` with the reason, and in no other place."""
    path = machine.root / "proc/sys/net/core/bpf_jit_limit"
    path.write_text("1")
    # As root the file is another's, as anybody else it is of a mode that its owner cannot read.
    path.chmod(0o600 if os.geteuid() == 0 else 0o040)
    for folder in (machine.root, *machine.root.parents[:4]):
        folder.chmod(folder.stat().st_mode | 0o055)
    found = json.loads(_as_nobody("--root", str(machine.root)).stdout)
    assert found["unreadable"]["sysctl/net.core.bpf_jit_limit"] == "permission denied"
    assert "sysctl/net.core.bpf_jit_limit" not in found["running"]


def _loop(root: Path) -> None:
    (root / "etc/sysctl.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/sysctl.d/a.conf").symlink_to("b.conf")
    (root / "etc/sysctl.d/b.conf").symlink_to("a.conf")


def _fifo(root: Path) -> None:
    (root / "etc/fstab").unlink()
    os.mkfifo(root / "etc/fstab")
    os.mkfifo(root / "etc/sysctl.d/p.conf")


def _outside(root: Path) -> None:
    (root / "etc/os-release").unlink()
    (root / "etc/os-release").symlink_to("/secret")
    (root / "etc/default/grub").unlink()
    (root / "etc/default/grub").symlink_to("../../../../../../../../secret")


def _large(root: Path) -> None:
    with (root / "proc/cmdline").open("wb") as stream:
        stream.truncate(1 << 40)
    (root / "etc/sysctl.d/l.conf").write_bytes(b"vm.x=1\n" * 140_000)


def _binary(root: Path) -> None:
    (root / "proc/modules").write_bytes(bytes(range(256)) * 20)
    (root / "etc/sysctl.d/b.conf").write_bytes(b"\xff\xfe=\x00\n=\n[[[=1\n-=\n")
    (root / "proc/1/mountinfo").write_bytes(b"\x00 - \n a b c d e f - x y z\n" * 10)
    (root / "var/lib/kubelet/config.yaml").write_text("a: &x [1]\nb: |\n  x\n")


@pytest.mark.parametrize("spoil", [_loop, _fifo, _outside, _large, _binary])
def test_hostile_images(machine: Machine, spoil: Callable[[Path], None]) -> None:
    """Loops, pipes, links to the outside, huge and broken files: read on, nothing of the host."""
    spoil(machine.root)
    begun = time.process_time()
    found = json.loads(machine.snapshot())
    assert time.process_time() - begun < 5
    assert len(found["running"]) > 60
    assert found["running"]["thp/enabled"] == "madvise"


SECRETS: Sequence[tuple[str, str]] = (
    (
        "proc/cmdline",
        "ro rd.iscsi.password=geheim1 ds=nocloud;s=http://u:geheim2@h/ luks.key=geheim3",
    ),
    ("etc/default/grub", 'GRUB_CMDLINE_LINUX="rd.iscsi.password=geheim4"'),
    ("etc/fstab", "//nas/x /mnt cifs username=geheim5,password=geheim6,ro 0 0"),
    ("proc/1/mountinfo", "1 2 0:1 / /mnt ro - cifs //u:p@nas ro,username=geheim7,password=geheim8"),
    ("proc/sys/net/ipv6/conf/all/stable_secret", "geheim9"),
    ("proc/sys/net/ipv4/tcp_fastopen_key", "geheim10"),
    ("etc/sysctl.d/s.conf", "net.ipv6.conf.all.stable_secret = geheim11"),
    ("etc/modprobe.d/s.conf", "options x password=geheim12"),
    (
        "var/lib/kubelet/config.yaml",
        "staticPodURLHeader:\n  Authorization:\n  - geheim13\nx:\n  token: geheim14",
    ),
)


def test_no_secret_is_told(machine: Machine) -> None:
    """Passwords of command lines, mounts and modules, and the kernel's own keys, stay out."""
    for name, text in SECRETS:
        machine.write(name, text + "\n")
    text = machine.snapshot()
    assert [n for n in range(1, 15) if f'geheim{n}"' in text or f"geheim{n}" in text] == []
    assert '"cmdline/rd.iscsi.password": "(hidden)"' in text


def test_a_machine_without_proc_is_an_image(tmp_path: Path) -> None:
    """An image has files only: what runs is unreadable, never absent."""
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "etc/sysctl.d/a.conf").write_text("vm.swappiness=1\n")
    found: Dict = take(str(tmp_path))
    assert found["persisted"]["sysctl/vm.swappiness"][0] == "1"
    assert {"sysctl/", "module/", "mount/", "thp/", "block/"} <= set(found["unreadable"])


KUBEADM = """\
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook: {cacheTTL: 0s}
clusterDNS:
- 10.96.0.10
- "fd00::10"
containerRuntimeEndpoint: ""
crashLoopBackOff: {}
evictionHard:
  imagefs.available: 15%   # by hand
featureGates: {}
kind: KubeletConfiguration
logging:
  options:
    json:
      infoBufferSize: "0"
  verbosity: 0
registerWithTaints:
- effect: NoSchedule
  key: node-role
serializeImagePulls: false
maxParallelImagePulls: 5
staticPodURLHeader:
  Authorization:
    - geheim
tlsCipherSuites: [TLS_A, TLS_B]
"""


def test_the_kubelets_configuration_without_a_yaml_library(machine: Machine) -> None:
    """What kubeadm writes is read as YAML is; a field that is more than that is unreadable."""
    machine.write("var/lib/kubelet/config.yaml", KUBEADM)
    found: Dict = take(str(machine.root))
    fields = {k[8:]: v for k, v in found["running"].items() if k.startswith("kubelet/")}
    whole = yaml.safe_load(KUBEADM)
    assert fields["clusterDNS"] == ", ".join(whole["clusterDNS"])
    assert fields["evictionHard.imagefs.available"] == "15%"
    assert fields["logging.options.json.infoBufferSize"] == "0"
    assert (fields["serializeImagePulls"], fields["maxParallelImagePulls"]) == ("false", "5")
    assert fields["tlsCipherSuites"] == "TLS_A, TLS_B"
    assert fields["containerRuntimeEndpoint"] == ""
    unreadable = {key for key in found["unreadable"] if key.startswith("kubelet/")}
    assert unreadable == {"kubelet/authentication", "kubelet/registerWithTaints"}
    assert "geheim" not in canonical(found)
    machine.write("var/lib/kubelet/config.yaml", json.dumps(whole))
    as_json: Dict = take(str(machine.root))
    assert {k: as_json["running"][f"kubelet/{k}"] for k in fields} == fields
    assert as_json["running"]["kubelet/authentication.webhook.cacheTTL"] == "0s"
