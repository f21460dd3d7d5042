"""The probes on a real disk, and what they refuse; the same in one file without this package."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from pathlib import Path

import pytest

from opslib.bench import changes, pack
from opslib.bench import network as trips
from opslib.bench.probe import (
    counters,
    device,
    facts,
    network,
    place,
    result,
    run,
    storm,
    wal,
    watch,
)
from opslib.core.errors import InputError, LockBusy

MEMORY = "/dev/shm"  # noqa: S108  # the one folder that is memory everywhere
SHORT = wal.Settings(seconds=0.6, warmup_seconds=0.1, block_seconds=0.2)
SMALL = wal.Settings(seconds=1.0, warmup_seconds=0.1, block_seconds=0.5, record=4000, segment=40000)


def test_writes_segments_as_etcd_does(disk: Path) -> None:
    """Records are one fdatasync each; a full segment is cut, its syncs are kept and marked."""
    made = run.disk(str(disk), SMALL)
    kinds = list(made.columns["kind"])
    print(f"{made.samples} samples, {made.document['cuts']} cuts")
    assert made.complete
    assert made.document["preallocated"] == "fallocate"
    assert made.document["cuts"] >= 1
    assert kinds.count(wal.CUT_SYNC) % 2 == 0
    assert kinds.count(wal.CUT_SYNC) <= 2 * made.document["cuts"]
    assert min(made.columns["sync_ns"]) > 0
    starts = list(made.columns["start_ns"])
    assert starts == sorted(starts)
    assert not list(disk.iterdir())


def test_syscalls_are_those_of_the_log(disk: Path) -> None:
    """A segment is allocated ahead, cut to what was used, and the next one is there already."""
    log = wal.Log(str(disk), 2300, 1_000_000)
    assert os.stat(log.path).st_size == 1_000_000
    assert log.left == 435
    rows = wal.Rows(600)
    wal.burst(log, rows, time.perf_counter_ns() + 60_000_000_000, [2**63 - 1])
    log.close()
    segments = sorted(disk.glob("*.wal"))
    assert segments[0].stat().st_size == 435 * 2300
    assert rows.count == 598
    assert len(list(disk.glob("*.tmp"))) == 1


def test_a_result_goes_to_a_file_and_back(disk: Path, tmp_path: Path) -> None:
    """What is read is what was measured, bit by bit, with the facts beside it."""
    made = run.disk(str(disk), SHORT)
    path = str(tmp_path / "a.parquet")
    result.write(path, made)
    again = result.read(path)
    assert again.columns == made.columns
    assert again.document == json.loads(json.dumps(made.document))
    assert again.document["facts"]["queue"]
    assert sum(one["samples"] for one in again.document["blocks"]) == again.samples


def test_files_that_are_no_results_are_named(disk: Path, tmp_path: Path) -> None:
    """Foreign, empty, cut-off and altered files are refused with the reason, never a stack."""
    made = run.disk(str(disk), SHORT)
    good = tmp_path / "good.parquet"
    result.write(str(good), made)
    data = good.read_bytes()
    assert b"above zero" not in data
    bad = tmp_path / "bad.parquet"
    tried = 0
    for cut in [0, 3, 8, 11, *range(20, len(data), max(1, len(data) // 150))]:
        bad.write_bytes(data[:cut])
        with pytest.raises(InputError, match="not a result of a probe"):
            result.read(str(bad))
        tried += 1
    for at in range(4, len(data), max(1, len(data) // 400)):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            result.read(str(bad))
        except InputError:
            tried += 1
    print(f"{tried} bad files refused")
    with pytest.raises(InputError, match="cannot read"):
        result.read(str(tmp_path / "none.parquet"))


def test_a_clock_that_went_backwards_is_named(tmp_path: Path) -> None:
    """A time below zero is no latency: the file is refused and says so."""
    made = result.Maker("wal", wal.COLUMNS)
    made.note(started=run.stamp(), settings={}, place={})
    one = array("q", [5])
    made.block(1, run.stamp(), {}, [one, one, array("q", [-5]), array("q", [0])])
    path = str(tmp_path / "back.parquet")
    result.write(path, made.done())
    with pytest.raises(InputError, match="the clock went backwards"):
        result.read(path)


def test_memory_is_refused_and_the_amount_of_space_is_said(disk: Path) -> None:
    """A folder on tmpfs, one that is none, and too little space: exit 2 and nothing written."""
    with pytest.raises(InputError, match="tmpfs: it is memory"):
        run.disk(MEMORY, SHORT)
    with pytest.raises(InputError, match="does not exist"):
        run.disk(str(disk / "none"), SHORT)
    huge = wal.Settings(segment=1 << 50)
    with pytest.raises(InputError, match=r"[\d,]+ MB are free, [\d,]+ MB are needed"):
        run.disk(str(disk), huge)
    assert not list(disk.iterdir())


def test_a_folder_that_takes_no_writes_is_refused(disk: Path) -> None:
    """Read-only as a mount, or for this user: exit 2, by whatever this user can bring about."""
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        disk.chmod(0o500)
    try:
        with pytest.raises(InputError, match="mounted read-only" if mounted else "written to"):
            run.disk(str(disk), SHORT, any_filesystem=True)
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)
        disk.chmod(0o700)


def test_the_second_probe_on_a_disk_is_told_who_has_it(disk: Path) -> None:
    """Another folder of the same disk is locked too, by a name that dies with its process."""
    other = disk / "other"
    other.mkdir()
    where = place.look(str(other))
    with place.alone(place.look(str(disk))), pytest.raises(LockBusy, match=str(os.getpid())):
        run.disk(str(other), SHORT)
    with place.alone(where):
        pass


def test_ctrl_c_leaves_a_partial_result_and_no_files(disk: Path, tmp_path: Path) -> None:
    """The files are gone, what was measured is kept and says that it is partial; exit 130."""
    out = tmp_path / "part.parquet"
    words = ["disk", "--dir", str(disk), "--seconds", "600", "--warmup", "0", "--block", "1"]
    started = subprocess.Popen(
        [sys.executable, "-m", "opslib.bench.probe", *words, "--out", str(out)]
    )
    end = time.monotonic() + 60
    while not list(disk.glob("opslib-bench-*/*.wal")):
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.5)  # some samples
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=60) == 130
    made = result.read(str(out))
    assert not made.complete
    assert "SIGINT" in made.document["why"]
    assert made.samples > 0
    assert not list(disk.iterdir())


def test_what_a_killed_probe_left_is_removed_by_the_next(disk: Path) -> None:
    """A folder with the probe's name and a process id goes; anything else stays."""
    (disk / "opslib-bench-1").mkdir()
    (disk / "opslib-bench-1" / "0.tmp").write_bytes(b"x")
    (disk / "opslib-bench-mine").mkdir()
    run.disk(str(disk), SHORT)
    assert [one.name for one in disk.iterdir()] == ["opslib-bench-mine"]


def test_one_file_runs_with_the_standard_library_alone(disk: Path, tmp_path: Path) -> None:
    """The portable file: no site packages, no environment, another folder; the same bytes again."""
    file, out = tmp_path / "probe.pyz", tmp_path / "carried.parquet"
    pack.write(file)
    assert file.read_bytes() == pack.portable()
    words = ["disk", "--dir", str(disk), "--seconds", "0.5", "--warmup", "0.1", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", str(file), *words],
        env={},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "carry the file home" in done.stdout
    assert result.read(str(out)).samples > 0
    bad = subprocess.run(
        [sys.executable, "-I", "-S", str(file), "disk", "--dir", MEMORY, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode == 2
    assert "memory, not a disk" in bad.stderr


def test_the_portable_part_is_written_for_an_old_python() -> None:
    """Its syntax is that of Python 3.8, and it imports the standard library and the errors only."""
    files = sorted(Path(run.__file__).parent.glob("*.py"))
    for file in files:
        tree = ast.parse(file.read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                top = (node.module or "").split(".")[0]
                if top == "opslib":
                    assert (node.module or "").startswith(
                        ("opslib.bench.probe", "opslib.core.errors")
                    )
                else:
                    assert top in sys.stdlib_module_names
            if isinstance(node, ast.Import):
                assert all(one.name.split(".")[0] in sys.stdlib_module_names for one in node.names)
    print(f"{len(files)} files")


def test_facts_are_the_machines_own() -> None:
    """What is told equals what the system's own tools say, and nothing unreadable reads as fine."""
    told = facts.read(place.look("/"))
    assert told["kernel"] == os.uname().release
    assert told["cpu"]["allowed"]
    assert told["clock"]["source"] in told["clock"]["available"]
    assert told["memory"]["MemTotal"] > 0
    assert told["virtualization"]["vm"]
    id_ = Path("/etc/machine-id")
    assert not id_.exists() or id_.read_text().strip() not in json.dumps(told)
    assert device.queue("no-such-disk")["scheduler"] == "unreadable"
    assert device.counters(("no-such-disk",)) is None


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,nobarrier
30 22 0:40 / /data rw - tmpfs tmpfs rw,size=1k
31 30 0:41 / /data/with\\040space rw - overlay overlay rw,lowerdir=/a,upperdir=/b,volatile
"""


def test_mounts_are_read_as_the_kernel_writes_them() -> None:
    """The longest mount point wins, escapes are undone, options of mount and file system joined."""
    table = device.mounts(MOUNTS)
    assert [one.kind for one in table] == ["ext4", "tmpfs", "overlay"]
    found = device.mount_of("/data/with space/x", table)
    assert found
    assert found.kind == "overlay"
    assert "volatile" in found.all_options
    other = device.mount_of("/database", table)
    assert other
    assert other.kind == "ext4"


def test_round_trips_agree_with_the_kernels_own() -> None:
    """A connect takes what TCP_INFO says plus the calls around it; a refusal is no loss."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        names = [f"127.0.0.1:{one.getsockname()[1]}" for one in (server, closed)]
        made = network.measure(names, network.Settings(count=20, interval=0.005))
    open_, shut = trips.summaries(made)
    print(open_, shut)
    assert open_.lost == shut.lost == 0
    assert shut.refused == 20
    assert 0 <= open_.p50 - open_.kernel_p50 < 5
    assert open_.heartbeat_ms == 100
    with pytest.raises(InputError, match="not a target"):
        network.resolve("nowhere")


def test_pulls_run_beside_the_log_and_leave_nothing(disk: Path) -> None:
    """Each phase says how many pulls there were; their files and processes are gone after it."""
    settings = storm.Settings((2,), phase_seconds=0.6, rounds=1, layer=1 << 20, segment=1 << 20)
    made = storm.storm(str(disk), settings)
    assert sorted(one["pulls"] for one in made.document["blocks"]) == [0, 2]
    assert all(one["samples"] for one in made.document["blocks"])
    assert not list(disk.iterdir())


def test_a_watch_is_no_load_of_its_own(disk: Path) -> None:
    """A few records a second cost little CPU, and each window has the machine's counters."""
    made = watch.watch(str(disk), watch.Settings(seconds=3, rate=10, window=1, segment=1 << 20))
    cost = changes.own_cpu(made)
    print(f"{made.samples} samples, {cost} % of one CPU")
    assert len(made.document["blocks"]) == 3
    assert 15 <= made.samples <= 45
    assert cost is not None
    assert cost <= 1
    assert all("steal_percent" in one for one in made.document["blocks"])


def test_counters_that_cannot_be_read_stay_unknown() -> None:
    """Between two snapshots an unreadable counter is None, never 0."""
    first = {**counters.snapshot(()), "cpu": None, "pressure_io": None}
    told = counters.between(first, counters.snapshot(()))
    assert told["steal_percent"] is None
    assert told["pressure_io"] is None
    assert told["disk_flushes"] is None
