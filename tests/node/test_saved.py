"""What the files say of the next boot is what systemd itself makes of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslib.node.facts.root import Root
from opslib.node.facts.saved import Saved, path_of
from opslib.node.facts.sysctls import sysctl_name

from .conftest import Machine

PROGRAM = Path("/usr/lib/systemd/systemd-sysctl")
FOLDERS = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d")
NAMES = ("10-a.conf", "50-b.conf", "90-c.conf", "a.conf", "Z.conf", ".hidden.conf", "x.txt")
PATHS = (
    "vm/swappiness", "vm/max_map_count", "kernel/panic", "fs/file-max",
    "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter",
    "net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/eth0.5/rp_filter",
    "net/ipv4/conf/lxc1/rp_filter", "net/ipv4/conf/eth0/forwarding", "net/ipv4/ip_forward",
)  # fmt: skip
SPELLED = (
    "vm.swappiness", "vm/swappiness", "vm.max_map_count", "kernel.panic", "fs.file-max",
    "net.ipv4.conf.*.rp_filter", "net/ipv4/conf/*/rp_filter", "net.ipv4.conf.eth0.rp_filter",
    "net.ipv4.conf.eth0/5.rp_filter", "net/ipv4/conf/eth0.5/rp_filter",
    "net.ipv4.conf.eth?.rp_filter", "net.ipv4.conf.[a-e]*.rp_filter", "net.ipv4.conf.eth0.*",
    "net.ipv4.conf.all.rp_filter", "net.ipv4.ip_forward", "vm.nothing", "net.ipv4.conf.veth*.x",
)  # fmt: skip

ASSIGNED = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "", "", "-", " ", "- "]),
    st.sampled_from(SPELLED),
    st.sampled_from(["=", " = ", "= ", "\t=\t"]),
    st.integers(10, 99),  # of one length: systemd writes over plain files without cutting them
    st.sampled_from(["", "", " "]),
)
LINES = st.one_of(
    ASSIGNED,
    ASSIGNED,
    st.sampled_from(SPELLED).map("-{}".format),
    st.sampled_from(["", "# vm.swappiness=3", "; vm.swappiness=3", "vm.swappiness", "=5"]),
)
CONTENTS = st.one_of(st.lists(LINES, max_size=6).map("\n".join), st.just(None))
TREES = st.dictionaries(
    st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)), CONTENTS, max_size=7
)


def _planted(root: Path, tree: dict[tuple[str, str], str | None]) -> None:
    """Write the files; None is a link to /dev/null, which masks."""
    for path in PATHS:
        (root / "proc/sys" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "proc/sys" / path).write_text("")
    for (folder, name), text in tree.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        if text is None:
            (root / folder / name).symlink_to("/dev/null")
        else:
            (root / folder / name).write_text(text + "\n")


ORACLE = """
set -e
for name in lib lib64 bin; do mkdir -p "$1/$name"; mount --rbind "/$name" "$1/$name"; done
mkdir -p "$1/usr/lib/systemd" "$1/usr/lib/sysctl.d" "$1/dev"
mount --rbind /dev "$1/dev"
mount --bind /usr/lib/systemd "$1/usr/lib/systemd"
for one in /usr/lib/*-linux-gnu; do mkdir -p "$1$one"; mount --bind "$one" "$1$one"; done
mount --bind "$1/usr/lib/sysctl.d" "$1/lib/sysctl.d" 2>/dev/null || true
exec chroot "$1" /usr/lib/systemd/systemd-sysctl
"""


def _by_systemd(root: Path) -> dict[str, str]:
    """Let the real systemd-sysctl set plain files below ``root``/proc/sys, and read them."""
    for options in (["--user", "--map-root-user", "--mount"], ["--mount"]):
        words = ["unshare", *options, "sh", "-c", ORACLE, "sh", str(root)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if not done.stderr.startswith(
            "unshare:"
        ):  # user namespaces may be forbidden: root needs none
            break
    read = {path: (root / "proc/sys" / path).read_text().strip() for path in PATHS}
    return {path: value for path, value in read.items() if value}


def _by_opslib(root: Path) -> dict[str, str]:
    saved = Saved(Root(str(root))).all().settings
    named = {sysctl_name(path): path for path in PATHS}
    found = {key.partition("/")[2]: one.value for key, one in saved.items()}
    return {named[name]: value for name, value in found.items() if name in named and value}


def test_the_oracle_works(tmp_path: Path) -> None:
    """The real systemd-sysctl is here, and sets files in a root of its own."""
    assert PROGRAM.exists(), "systemd is the oracle of these tests: install it"
    assert shutil.which("unshare"), "util-linux has unshare"
    _planted(tmp_path, {("etc/sysctl.d", "a.conf"): "vm.swappiness = 4"})
    assert _by_systemd(tmp_path) == {"vm/swappiness": "4"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES)
def test_sysctl_d_is_read_as_systemd_reads_it(tree: dict[tuple[str, str], str | None]) -> None:
    """Any files in the four folders: the values are those that systemd-sysctl sets.

    With masks, patterns, exclusions, a leading - and both spellings of names.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        _planted(root, tree)
        ours = _by_opslib(root)
        theirs = _by_systemd(root)
        assert ours == theirs


def test_names_go_both_ways() -> None:
    """The first separator tells a dot of a name from one between names, as sysctl(8) prints it."""
    for spelled, path, shown in (
        (
            "net.ipv4.conf.eth0/5.rp_filter",
            "net/ipv4/conf/eth0.5/rp_filter",
            "net.ipv4.conf.eth0/5.rp_filter",
        ),
        (
            "net/ipv4/conf/eth0.5/rp_filter",
            "net/ipv4/conf/eth0.5/rp_filter",
            "net.ipv4.conf.eth0/5.rp_filter",
        ),
        ("/vm//swappiness", "vm/swappiness", "vm.swappiness"),
    ):
        assert path_of(spelled) == path
        assert sysctl_name(path) == shown


def test_where_a_value_stands_is_told(machine: Machine) -> None:
    """File and line of the line that wins; what lost is not told; a note for /etc/sysctl.conf."""
    machine.write("run/sysctl.d/95-z.conf", "\n-vm.max_map_count = 5\nno assignment\n")
    machine.write("etc/sysctl.conf", "vm.swappiness = 1\n")
    saved = Saved(Root(str(machine.root))).all()
    one = saved.settings["sysctl/vm.max_map_count"]
    assert (one.value, one.at, one.may_fail) == ("5", "/run/sysctl.d/95-z.conf:2", True)
    assert any("/etc/sysctl.conf has settings" in note for note in saved.notes)
    assert any("95-z.conf:3 is no assignment" in note for note in saved.notes)
    (machine.root / "etc/sysctl.d/99-sysctl.conf").symlink_to("/etc/sysctl.conf")
    saved = Saved(Root(str(machine.root))).all()
    assert saved.settings["sysctl/vm.swappiness"].at == "/etc/sysctl.d/99-sysctl.conf:1"
    assert not any("/etc/sysctl.conf has settings" in note for note in saved.notes)


FSTAB = """\
# c
/dev/vdb /srv/a\\040b xfs noatime,nofail 0 0
proc /proc proc defaults
/dev/vdc none swap sw
//nas/x /mnt/x cifs user=me,password=geheim,ro 0 0
"""


def test_modules_command_line_and_fstab(machine: Machine) -> None:
    """modules-load.d with its masks, modprobe's options, grub with its drop-ins, fstab."""
    machine.write("usr/lib/modules-load.d/k8s.conf", "never_loaded\n")
    machine.write("etc/modprobe.d/x.conf", "options nvme-core io_timeout=42\nblacklist floppy\n")
    machine.write("etc/default/grub.d/50-x.cfg",
                  'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT audit=1"\n')  # fmt: skip
    machine.write("etc/fstab", FSTAB)
    found = {key: one.value for key, one in Saved(Root(str(machine.root))).all().settings.items()}
    assert "module/never_loaded" not in found
    assert found["module/br_netfilter"] == "loaded"
    assert found["module/nvme_core/io_timeout"] == "42"
    assert found["module/floppy"] == "blacklisted"
    assert (found["cmdline/audit"], found["cmdline/mitigations"]) == ("1", "auto")
    assert found["mount/options:/srv/a b"] == "noatime,nofail"
    assert "mount/type:/proc" not in found
    assert found["swap/device:/dev/vdc"] == "swap"
    assert "geheim" not in str(found)


def test_a_running_parameter_of_the_command_line_counts_first(machine: Machine) -> None:
    """sysctl.NAME=VALUE is set by the kernel before any file; a file wins."""
    machine.write("proc/cmdline", "ro sysctl.vm.swappiness=3 sysctl.vm.max_map_count=9\n")
    found = Saved(Root(str(machine.root))).all().settings
    assert found["sysctl/vm.swappiness"].value == "3"
    assert found["sysctl/vm.max_map_count"].value == "262144"
