"""What is claimed of the measuring, on real parts and small; `tests.bench.disk` does it in full."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from opslib.bench import fio, verdict
from opslib.cli.main import run as cli
from opslib.core.errors import InputError

from . import disk as bench


def test_the_probe_times_what_was_injected(shim: Path, disk: Path, tmp_path: Path) -> None:
    """p50, p95 and p99 are within 2 % of the times that the changed fdatasync really took."""
    truth = tmp_path / "truth"
    env = bench.shimmed(shim, "delay", SHIM_US="4000", SHIM_TRUTH=str(truth))
    words = ["disk", "--dir", str(disk), "--seconds", "2", "--warmup", "0.05", "--block", "2"]
    made = bench.probe(words, tmp_path / "r.parquet", env)
    found = bench.beside_truth(bench.quantiles(made), truth, made.samples)
    print(found)
    assert made.samples > 50
    assert all(abs(one - 1) <= 0.02 for one in found["to_truth"])


def test_swallowed_syncs_are_named_and_the_disk_is_not(
    shim: Path, disk: Path, tmp_path: Path
) -> None:
    """tmpfs, a volatile overlay and a no-op fdatasync are flagged each time, the disk never."""
    scratch = disk / "scratch"
    scratch.mkdir()
    found = bench.fsync_honesty(shim, disk, scratch, runs=2, seconds=0.4)
    print(found)
    flagged = found["flagged"]
    assert flagged["tmpfs"] == flagged["no-op fdatasync"] == 2
    assert flagged["disk"] == 0
    assert flagged["overlay volatile"] == (2 if "overlay volatile" in found["places"] else 0)
    assert found["passes_of_flagged"] == 0


def test_a_real_etcd_is_laid_over_the_probe(disk: Path) -> None:
    """Its fsyncs are counted, its records measured, and both sides are at its own buckets."""
    found = bench.real_etcd(disk, rounds=3, seconds=0.7)
    print(found)
    assert found["fsyncs_of_etcd"] >= 50
    assert 2000 <= found["record"] <= 2400
    assert found["samples"] >= 50
    assert found["buckets"][-1]["probe"] == 1


def test_fio_is_used_where_it_is_and_asked_for_where_not(
    disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A sweep has a point for each depth; without fio it is said how to get it."""
    assert shutil.which("fio"), "install fio"
    found = fio.sweep(str(disk), depths=(1, 8), seconds=1, size=8 << 20)
    print(found.as_dict())
    assert [one.depth for one in found.points] == [1, 8]
    assert found.knee in {1, 8}
    assert all(one.latency.percentiles[99.0] > 0 for one in found.points)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="fio is needed") as caught:
        fio.sweep(str(disk), depths=(1,))
    assert "apt-get install fio" in str(caught.value)
    assert not list(disk.iterdir())


def test_the_verbs_say_it(disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """disk, report and compare: one JSON document each, and the codes of the house."""
    files = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    short = ["--seconds", "0.5", "--warmup", "100ms", "--block", "200ms", "--json"]
    for file in files:
        assert cli(["bench", "disk", "--dir", str(disk), *short, "--out", file]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["verdict"]["answer"] in set(verdict.Answer)
    assert cli(["bench", "report", *files]) == 0
    text = capsys.readouterr().out
    assert "how many an hour are too many no source says" in text
    assert cli(["bench", "compare", files[0], "--with", files[1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["margin"] == 1.25
    out = str(tmp_path / "turns")
    turns = ["--rounds", "2", "--seconds", "0.3", "--out", out, "--json"]
    assert cli(["bench", "alternate", str(disk), str(disk), *turns]) == 0
    assert len(list((tmp_path / "turns").iterdir())) == 4
    capsys.readouterr()
    assert cli(["bench", "report", os.devnull]) == 2
    assert cli(["bench", "disk", "--dir", str(disk), "--seconds", "soon"]) == 2
    assert cli(["bench", "report", "--check", "--p99-ms", "0.001", *files]) == 1
