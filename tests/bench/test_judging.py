"""Statistics and verdicts on series whose truth is known."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opslib.bench import arrivals, changes, compare, etcd, fio, special, stats, verdict
from opslib.bench.probe import honesty, result, run, wal
from opslib.bench.probe.result import Result
from opslib.bench.verdict import Answer
from opslib.cli.main import run as cli
from opslib.core.errors import InputError, OpslibError

from . import disk as bench

WHERE = {"filesystem": "ext4", "layers": [{"name": "vda", "kind": "virtio"}], "disks": ["vda"]}
QUEUE = {"queue": {"vda": {"write_cache": "write back"}}}


def a_run(ms: Any, *, seconds: float = 60.0, where: Any = None, **told: Any) -> Result:
    """Return a result of such latencies, in one block; by default the disk saw every sync."""
    took = array("q", [int(one * 1e6) for one in ms])
    starts = array("q", np.cumsum(np.asarray(took) + 1000).tolist())
    made = result.Maker("wal", wal.COLUMNS)
    made.note(started=run.stamp(), settings={}, place=where or WHERE, facts=QUEUE)
    count = len(took)
    seen = {"disk_flushes": count, "disk_writes": 2 * count, **told}
    zeros = array("q", bytes(8 * count))
    made.block(count, run.stamp(), {"seconds": seconds, **seen}, [starts, zeros, took, zeros])
    return made.done()


def test_intervals_cover_where_the_naive_bootstrap_fails() -> None:
    """On autocorrelated series the 95 % interval has the truth in it in at least 90 %."""
    found = bench.coverage(series=40, count=3000)
    print(found)
    assert found["covered"] >= 0.9
    assert found["wrong_passes"] <= 0.05
    assert found["naive_covered"] < 0.75


def test_a_side_against_itself_is_no_difference() -> None:
    """Two sides of one kind show none in nearly all pairs; one 1.5 times slower is found."""
    found = bench.against_itself(pairs=16, count=800)
    print(found)
    assert found["no_difference"] >= 15
    assert found["slower"] >= 15


def test_equal_is_said_only_within_the_margin() -> None:
    """Much data of one kind is equal within the margin; little is "no difference shown"."""
    rng = np.random.default_rng(4)
    many = [[[np.exp(0.3 * rng.standard_normal(8000))] for _ in range(3)] for _ in range(2)]
    assert compare.compare_series(*many).ratios[0].said is compare.Said.EQUAL
    few = [[[np.exp(rng.standard_normal(30))]] for _ in range(2)]
    assert compare.compare_series(*few).ratios[1].said is compare.Said.OPEN
    with pytest.raises(InputError, match="margin"):
        compare.compare_series(*few, margin=1.0)


def test_exact_intervals_are_the_published_ones() -> None:
    """Clopper-Pearson 10 of 100 and 0 of 30, Garwood 0 and 10 events."""
    assert special.proportion(10, 100, 0.95) == pytest.approx((0.0490, 0.1762), abs=1e-4)
    assert special.proportion(0, 30, 0.95) == pytest.approx((0, 0.1157), abs=1e-4)
    assert special.rate(0, 0.95) == pytest.approx((0, 3.6889), abs=1e-3)
    assert special.rate(10, 0.95) == pytest.approx((4.7954, 18.3904), abs=1e-3)
    assert stats.enough(0.99, 0.90) == pytest.approx(298, abs=1)


def test_three_verdicts() -> None:
    """Far below passes, far above fails, at the limit is inconclusive with no end in sight."""
    rng = np.random.default_rng(1)
    base = np.exp(0.5 * rng.standard_normal(6000))
    at = base * 10 / np.quantile(base, 0.99)
    for factor, answer in ((0.3, Answer.PASS), (3, Answer.FAIL), (1, Answer.INCONCLUSIVE)):
        found = verdict.judge([a_run(at * factor)])
        assert found.answer is answer, found
    open_ = verdict.judge([a_run(at * 0.995)]).numbers[0]
    print(open_)
    assert open_.answer is Answer.INCONCLUSIVE
    assert open_.more_seconds is None or open_.more_seconds > 0


def test_nothing_measured_is_inconclusive() -> None:
    """Zero samples: no verdict, no division by zero, JSON without NaN."""
    found = verdict.judge([a_run([], seconds=0)])
    assert found.answer is Answer.INCONCLUSIVE
    json.dumps(found.as_dict(), allow_nan=False)
    with pytest.raises(InputError, match="side A has no samples"):
        compare.compare([a_run([])], [a_run([1.0])])


def test_stalls_fail_by_their_own_limits() -> None:
    """Two stalls of 1.2 s in an hour are an election risk although the p99 is fine."""
    took = np.full(60_000, 1.0)
    took[[1000, 40_000]] = 1200.0
    found = verdict.judge([a_run(took, seconds=3600)])
    late, election = found.numbers[1:]
    assert found.numbers[0].answer is Answer.PASS
    assert election.answer is Answer.FAIL
    assert found.answer is Answer.FAIL
    assert late.point == pytest.approx(2)
    assert all("http" in one.limit.source for one in found.numbers)
    assert "not the point where an election starts" in found.as_dict()["guideline"]


FAST = np.exp(0.2 * np.random.default_rng(2).standard_normal(3000))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"where": {**WHERE, "filesystem": "tmpfs"}}, "memory"),
        ({"where": {**WHERE, "filesystem": "overlay", "mount_options": ["volatile"]}}, "overlay"),
        ({"where": {**WHERE, "mount_options": ["rw", "nobarrier"]}}, "no-barrier"),
        ({"disk_flushes": 3}, "swallowed"),
        ({"disk_writes": 3}, "swallowed"),
        ({"factor": 0.001}, "implausible"),
        ({"factor": 0.04}, "host-cache"),
    ],
)
def test_what_is_too_good_never_passes(changed: dict[str, Any], code: str) -> None:
    """Each sign is named and keeps the verdict from passing; without it the same run passes."""
    told = dict(changed)
    factor = told.pop("factor", 1.0)
    found = verdict.judge([a_run(FAST * factor, **told)])
    assert code in [one.code for one in found.findings if one.grave]
    assert found.answer is Answer.INCONCLUSIVE
    assert "not believed" in found.why
    assert verdict.judge([a_run(FAST)]).answer is Answer.PASS


def test_counters_that_are_unreadable_are_no_proof() -> None:
    """Without counters the run is not accused, and it is said that nothing is proven."""
    found = honesty.findings(a_run(FAST, disk_flushes=None, disk_writes=None))
    assert [(one.code, one.grave) for one in found] == [("unproven", False)]


def test_group_commit_at_a_rate() -> None:
    """A constant service time: 1 to 2 of it under load, never the queue of a plain FIFO."""
    slow = arrivals.replay(np.full(20_000, 5.0), 400)
    assert slow
    assert 9.5 < slow.p99 <= 10
    assert slow.per_sync > 1.8
    idle = arrivals.replay(np.full(20_000, 5.0), 1)
    assert idle
    assert idle.p50 == pytest.approx(5)
    assert arrivals.replay([], 100) is None


def a_watch(levels: Any, **moved: Any) -> Result:
    """Return a watch of windows with such medians (ms); ``moved`` are counters in slow windows."""
    rng = np.random.default_rng(7)
    made = result.Maker("watch", wal.COLUMNS)
    made.note(started=run.stamp(), settings={}, place=WHERE, facts={})
    calm = {"steal_percent": 0.1, "pressure_cpu": 5.0, "own_written": 4096 * 100}
    calm |= {"disk_write_sectors": 1000, "disk_read_sectors": 0, "disk_writes": 120}
    calm |= {"disk_reads": 0, "seconds": 10.0}
    for level in levels:
        told = {**calm, **(moved if level > min(levels) else {})}
        took = level * np.exp(0.4 * rng.standard_normal(100) + 0.1 * rng.standard_normal())
        part = array("q", (took * 1e6).astype(np.int64).tolist())
        made.block(100, run.stamp(), told, [part, part, part, array("q", bytes(800))])
    return made.done()


@pytest.mark.parametrize(
    ("moved", "cause"),
    [
        ({}, changes.STORAGE),
        ({"steal_percent": 30.0}, changes.CPU),
        ({"disk_write_sectors": 2_000_000, "disk_writes": 9000}, changes.SELF),
        ({"pressure_cpu": 90.0}, changes.SELF),
        ({"steal_percent": 30.0, "pressure_cpu": 90.0}, changes.OPEN),
        ({"steal_percent": None}, changes.OPEN),
    ],
)
def test_slow_times_are_found_and_attributed(moved: dict[str, Any], cause: str) -> None:
    """Five bursts in half an hour: each found at its window, with the cause that moved with it."""
    levels = [1.0] * 180
    bursts = (20, 60, 95, 130, 160)
    for at in bursts:
        levels[at : at + 4] = [3.0] * 4
    found = changes.episodes(a_watch(levels, **moved))
    near = [min(abs(one.onset / 10 - at) for one in found) for at in bursts]
    print([one.as_dict() for one in found[:1]], near)
    assert max(near) <= 2
    assert len(found) <= 6
    assert {one.cause for one in found} == {cause}
    assert len(changes.episodes(a_watch([1.0] * 180))) <= 1


FIO = """fio: a warning before the results
{"fio version": "fio-3.33", "jobs": [{"jobname": "x", "error": 0, "job options": {"bs": "2300"},
 "read": {"total_ios": 0, "lat_ns": {"N": 0}},
 "write": {"total_ios": 2000, "iops": 900.5, "bw_bytes": 2071150,
  "lat_ns": {"N": 2000, "mean": 9000},
  "clat_ns": {"N": 2000, "percentile": {"99.000000": 12000}}},
 "sync": {"total_ios": 0, "lat_ns": {"N": 1990, "min": 100000, "max": 9000000, "mean": 300000.0,
  "percentile": {"50.000000": 250000, "99.000000": 1122304}, "bins": {"250000": 1990}}}}]}"""


def test_fios_json_is_read_in_full() -> None:
    """The sync block counts by N, has percentiles and bins; warnings before it do no harm."""
    (job,) = fio.read_jobs(FIO)
    assert set(job.directions) == {"write", "sync"}
    sync = job.directions["sync"]
    assert sync.count == 1990
    assert sync.percentiles[99.0] == pytest.approx(1.122304)
    assert sync.bins == {250000: 1990}
    assert job.directions["write"].percentiles[99.0] == pytest.approx(0.012)


@pytest.mark.parametrize(
    "text", ["", "fio: no", FIO[:400], '{"jobs": []}', FIO.replace('0, "job o', '28, "job o')]
)
def test_fio_that_fails_half_way_is_named(text: str) -> None:
    """Cut-off output and a job with an error are failures, not empty results."""
    with pytest.raises(OpslibError, match="fio"):
        fio.read_jobs(text)


def test_the_knee_is_where_depth_buys_latency_only() -> None:
    """Throughput doubles up to 16 and stands still from there."""
    points = []
    for depth in fio.DEPTHS:
        lat = fio.Latency(1, 10_000.0 * min(depth, 16), 0, 0, 0, 0, {}, {})
        points.append(fio.Point(depth, "randread", lat))
    assert fio.knee(points) == 16


METRICS = """# HELP etcd_disk_wal_fsync_duration_seconds x
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 50
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 90
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 100
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 100
etcd_disk_wal_fsync_duration_seconds_sum 0.12
etcd_disk_wal_fsync_duration_seconds_count 100
etcd_disk_wal_write_bytes_total 27500
etcd_server_leader_changes_seen_total 1
"""


def test_an_etcds_metrics_are_laid_over_the_probe() -> None:
    """Shares at etcd's own buckets, the size of its records, and a restart that is noticed."""
    told = etcd.read_metrics(METRICS)
    assert told.record_bytes == 275
    assert told.wal.within(0.99) == (0.002, 0.004)
    laid = etcd.overlay([0.5] * 60 + [1.5] * 40, told.wal)
    assert laid.largest_gap == pytest.approx(0.1)
    assert laid.mean_ratio == pytest.approx(0.9 / 1.2)
    with pytest.raises(OpslibError, match="restarted"):
        etcd.read_metrics(METRICS.replace("count 100", "count 5")).minus(told)
    with pytest.raises(InputError, match="not an etcd's metrics"):
        etcd.read_metrics("up 1\n")


def test_memory_of_a_series() -> None:
    """White noise is worth its length; AR(1) of 0.9 about a nineteenth."""
    rng = np.random.default_rng(3)
    assert stats.memory(rng.standard_normal(20_000)) < 1.3
    slow = stats.memory(bench.autoregressive(50_000, 0.9, rng))
    print(slow)
    assert 15 < slow < 23
    assert math.isinf(stats.quantile_interval(rng.standard_normal(50), 0.99).high)


def test_the_notebook_answers_from_files(tmp_path: Path) -> None:
    """One result and another: a record with the verdict, the plots and the comparison."""
    rng = np.random.default_rng(5)
    for name, factor in (("a", 1.0), ("b", 2.0)):
        took = factor * np.exp(0.4 * rng.standard_normal(2000))
        result.write(str(tmp_path / f"{name}.parquet"), a_run(took))
    given = [("results", "a"), ("other", "b")]
    words = [x for k, v in given for x in ("-p", k, json.dumps([str(tmp_path / f"{v}.parquet")]))]
    assert cli(["run", "io-benchmark", *words, "--out", str(tmp_path / "out")]) == 0
    (page,) = (tmp_path / "out").glob("*/*/record.html")
    text = page.read_text()
    assert "PASS" in text
    assert "A is faster at p50" in text
    assert "How long a sync takes" in text


def test_a_result_without_a_folder_to_write_to(tmp_path: Path) -> None:
    """It is said before anything is measured."""
    with pytest.raises(InputError, match="cannot be written there"):
        result.writable(str(tmp_path / "none" / "x.parquet"))
