"""Measure the measuring: what `opslib bench` claims of itself, each as a ratio or count in one run.

``python -m tests.bench.disk [DIR [PART …]]`` writes outputs/bench/disk.json; DIR is a folder on a
real disk, else the one for temporary files. The tests run the same parts, smaller. Who compares
needs a quiet machine: each part says the load that it began under.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from opslib.bench import changes, compare, etcd, fio, stats, verdict
from opslib.bench.probe import honesty, result, run, wal, watch
from opslib.bench.probe.result import Result
from opslib.core.errors import InputError
from opslib.sandbox.binaries import resolve

PROJECT = Path(__file__).parents[2]
SHIM = Path(__file__).with_name("shim.c")
QUANTILES = (0.5, 0.95, 0.99)
T_95 = {5: 2.571, 7: 2.365, 9: 2.262, 11: 2.201}
_COMPARED = ("timing truth", "fio agreement", "real etcd")
Array = npt.NDArray[np.float64]


def build_shim(folder: Path) -> Path:
    """Compile the library that changes fdatasync; needs the system's cc."""
    path = folder / "shim.so"
    words = ["cc", "-shared", "-fPIC", "-O2", "-o", str(path), str(SHIM), "-ldl", "-lm"]
    subprocess.run(words, check=True, capture_output=True)
    return path


def shimmed(shim: Path, mode: str, **more: str) -> dict[str, str]:
    """Return an environment in which fdatasync is changed."""
    return {**os.environ, "LD_PRELOAD": str(shim), "SHIM_MODE": mode, **more}


def probe(
    words: Sequence[str], out: Path, env: Mapping[str, str] | None = None, *, code: int = 0
) -> Result:
    """Run a probe as a process of its own and read what it wrote."""
    whole = [sys.executable, "-m", "opslib.bench.probe", *words, "--out", str(out)]
    done = subprocess.run(whole, env=env, capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    return result.read(str(out))


@contextmanager
def undisturbed() -> Iterator[bool]:
    """Run this process and its children before ordinary ones, where that is permitted.

    Who waits for a CPU differs from program to program; here disks and clocks are compared.
    """
    try:
        with run.scheduled(realtime=True):
            yield True
    except InputError:
        yield False


def timing_truth(shim: Path, disk: Path, scratch: Path, *, us: int, seconds: float) -> Any:
    """Compare probe and fio with the time that was really injected, and with each other."""
    found: dict[str, Any] = {}
    truths = {name: scratch / f"{name}.truth" for name in ("probe", "fio")}
    env = {
        name: shimmed(shim, "delay", SHIM_US=str(us), SHIM_TRUTH=str(path))
        for name, path in truths.items()
    }
    words = ["disk", "--dir", str(disk), "--seconds", str(seconds), "--warmup", "0.05"]
    made = probe([*words, "--block", str(seconds)], scratch / "truth.parquet", env["probe"])
    took = np.asarray(made.columns["sync_ns"], dtype=np.float64)
    found["probe"] = beside_truth(_at(took), truths["probe"], len(took))
    job = {"rw": "write", "ioengine": "sync", "fdatasync": 1, "bs": 2300, "unlink": 1}
    job |= {"size": "22m", "runtime": seconds, "percentile_list": "50:95:99"}
    done = fio.run_job(job, str(disk), seconds=seconds, env=env["fio"]).directions["sync"]
    told = [done.percentiles[100 * level] * 1e6 for level in QUANTILES]
    found["fio"] = beside_truth(told, truths["fio"], done.count)
    found["probe_to_fio"] = [
        round(a / b, 5) for a, b in zip(found["probe"]["ns"], found["fio"]["ns"], strict=True)
    ]
    return found


def _at(took: Array) -> list[float]:
    return [float(one) for one in np.quantile(took, QUANTILES)]


def quantiles(made: Result) -> list[float]:
    """Return p50, p95 and p99 of the fdatasync times of a run, in ns."""
    return _at(np.asarray(made.columns["sync_ns"], dtype=np.float64))


def beside_truth(ns: Sequence[float], truth: Path, count: int) -> dict[str, Any]:
    """Return quantiles (ns) as ratios to those of the times that the shim wrote down."""
    true = np.fromfile(truth, dtype=np.int64)[-count:].astype(np.float64)
    ratios = [round(a / b, 5) for a, b in zip(ns, _at(true), strict=True)]
    return {"count": count, "ns": [round(one) for one in ns], "to_truth": ratios}


def fio_agreement(disk: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Alternate probe and fio on fresh files of one kind; ratios per round, with t intervals."""
    logs: dict[float, list[float]] = {0.5: [], 0.99: []}
    for number in range(rounds):
        pair: dict[str, fio.Latency | Array] = {}
        for name in ("probe", "fio") if number % 2 else ("fio", "probe"):
            pair[name] = _one_probe(disk, seconds) if name == "probe" else _one_fio(disk, seconds)
        for level, held in logs.items():
            told = pair["fio"]
            assert isinstance(told, fio.Latency)
            ours = float(np.quantile(np.asarray(pair["probe"]), level)) / 1e6
            held.append(math.log(ours / told.percentiles[100 * level]))
    return {f"p{100 * level:g}_ratio": paired(held) for level, held in logs.items()}


def _one_probe(disk: Path, seconds: float) -> Array:
    settings = wal.Settings(seconds, warmup_seconds=1, block_seconds=seconds)
    return np.asarray(run.disk(str(disk), settings).columns["sync_ns"], dtype=np.float64)


def _one_fio(disk: Path, seconds: float) -> fio.Latency:
    job = {"rw": "write", "ioengine": "sync", "fdatasync": 1, "bs": 2300, "unlink": 1}
    job |= {"size": wal.SEGMENT, "runtime": seconds, "ramp_time": 1, "percentile_list": "50:99"}
    return fio.run_job(job, str(disk), seconds=seconds).directions["sync"]


def paired(logs: Sequence[float]) -> dict[str, Any]:
    """Return the ratio of pairs and its 95 % t interval, from their logarithms."""
    middle = statistics.mean(logs)
    half = T_95[len(logs) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    interval = [round(math.exp(middle - half), 3), round(math.exp(middle + half), 3)]
    return {"ratio": round(math.exp(middle), 3), "interval": interval, "rounds": len(logs)}


@contextmanager
def running_etcd(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a real etcd with its data in ``folder``; yield host and client port."""
    ports = [_free_port() for _ in range(2)]
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    words = [str(resolve().etcd), "--data-dir", str(folder / "etcd"), "--name", "b"]
    words += ["--listen-client-urls", client, "--advertise-client-urls", client]
    words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    words += ["--initial-cluster", f"b={peer}", "--log-level", "error"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_it_answers(ports[0])
        yield "127.0.0.1", ports[0]
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder / "etcd", ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _until_it_answers(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as link:
                put(link, b"v")
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def put(link: http.client.HTTPConnection, value: bytes) -> None:
    """Write one key through etcd's JSON gateway."""
    body = {"key": b64encode(b"bench").decode(), "value": b64encode(value).decode()}
    link.request("POST", "/v3/kv/put", json.dumps(body))
    answer = link.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise OSError(told.decode()[:200])


def real_etcd(disk: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Alternate a real etcd's writes with the probe's, at the size of record that etcd has.

    Both keep one log open over all rounds: a new file's allocation is in neither. The probe
    writes as many records a second as etcd did: where CPUs are short, who runs without a pause
    waits for them longer.
    """
    value = os.urandom(2000)
    took: list[Array] = []
    with (
        running_etcd(disk) as (host, port),
        closing(http.client.HTTPConnection(host, port, timeout=60)) as link,
    ):
        url = f"http://{host}:{port}/metrics"
        first = _written(url, link, value, seconds)
        (disk / "probe").mkdir()
        log = wal.Log(str(disk / "probe"), first.record_bytes or wal.RECORD, wal.SEGMENT)
        rows = wal.Rows(wal.capacity(wal.Settings(block_seconds=seconds)))
        whole: etcd.Histogram | None = None
        for number in range(rounds + 1):
            during = _written(url, link, value, seconds).wal
            _paced(log, rows, int(during.count), seconds)
            if number:  # the first round is the warm-up
                took.append(np.asarray(rows.sync[: rows.count], dtype=np.float64) / 1e6)
                whole = _added(whole, during) if whole else during
        log.close()
        shutil.rmtree(disk / "probe")
    assert whole is not None
    laid = etcd.overlay(np.concatenate(took), whole).as_dict()
    return {**laid, "samples": sum(map(len, took)), "record": first.record_bytes}


def _paced(log: wal.Log, rows: wal.Rows, count: int, seconds: float) -> None:
    rows.count = 0
    began = time.perf_counter()
    with wal.quiet():
        for number in range(count):
            left = began + number * seconds / count - time.perf_counter()
            if left < -seconds:
                return
            time.sleep(max(0.0, left))
            watch.one(log, rows)


def _written(
    url: str, link: http.client.HTTPConnection, value: bytes, seconds: float
) -> etcd.Metrics:
    """Let etcd write for so long and return what its metrics counted."""
    before = etcd.fetch(url)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        put(link, value)
    return etcd.fetch(url).minus(before)


def _added(one: etcd.Histogram, other: etcd.Histogram) -> etcd.Histogram:
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return etcd.Histogram(one.bounds, counts, one.total + other.total, one.count + other.count)


def autoregressive(
    count: int, memory: float, rng: np.random.Generator, *, white: float = 0.0
) -> Array:
    """Return a stationary Gaussian series of variance 1: AR(1), with white noise in it."""
    steps = rng.standard_normal(count + 2000) * math.sqrt(1 - memory**2)
    out, value = np.empty(count + 2000), 0.0
    for number, step in enumerate(steps.tolist()):
        value = memory * value + step
        out[number] = value
    return math.sqrt(1 - white) * out[2000:] + math.sqrt(white) * rng.standard_normal(count)


def coverage(*, series: int, count: int, seed: int = 1) -> dict[str, Any]:
    """Count how often the interval has the true p99 in it, and the naive one beside it.

    Log-normal series with five kinds of memory. The limit is set so that the truth is 1.2 times
    as much: to pass it is wrong.
    """
    rng = np.random.default_rng(seed)
    true = math.exp(0.8 * statistics.NormalDist().inv_cdf(0.99))
    kinds = ((0.5, 0.0), (0.9, 0.0), (0.95, 0.0), (0.97, 0.28), (0.98, 0.5))
    covered = wrong = naive_covered = naive_wrong = unknown = 0
    for number in range(series):
        memory, white = kinds[number % len(kinds)]
        values = np.exp(0.8 * autoregressive(count, memory, rng, white=white))
        found = stats.quantile_interval(values, 0.99, seed=number)
        low, high = stats.naive_interval(values, 0.99, seed=number)
        covered += found.low <= true <= found.high
        unknown += math.isinf(found.high)
        wrong += found.high < true / 1.2
        naive_covered += low <= true <= high
        naive_wrong += high < true / 1.2
    return {
        "series": series,
        "samples_each": count,
        "covered": covered / series,
        "wrong_passes": wrong / series,
        "upper_end_not_known": unknown / series,
        "naive_covered": naive_covered / series,
        "naive_wrong_passes": naive_wrong / series,
    }


def against_itself(*, pairs: int, count: int, seed: int = 2) -> dict[str, Any]:
    """Count what a comparison says of two sides of one kind, and of one 1.5 times slower."""
    rng = np.random.default_rng(seed)
    same = found = 0
    for number in range(pairs):
        sides = [_side(count, rng) for _ in range(3)]
        same += not compare.compare_series(sides[0], sides[1], seed=number).difference
        slower = [[1.5 * one for one in machine] for machine in sides[2]]
        ratios = compare.compare_series(slower, sides[0], seed=number)
        found += any(one.said is compare.Said.SLOWER for one in ratios.ratios)
    return {"pairs": pairs, "samples_each": 4 * count, "no_difference": same, "slower": found}


def _side(count: int, rng: np.random.Generator) -> compare.Machines:
    """Return two machines of two runs each, as log-normal series with memory."""
    return [
        [np.exp(0.6 * autoregressive(count, 0.9, rng, white=0.3)) for _ in range(2)]
        for _ in range(2)
    ]


def flags(made: Result) -> list[str]:
    """Return the codes of what makes a run unbelievable."""
    return [one.code for one in honesty.findings(made) if one.grave]


def fsync_honesty(
    shim: Path, disk: Path, scratch: Path, *, runs: int, seconds: float = 0.6
) -> dict[str, Any]:
    """Probe memory, a volatile overlay, a no-op fdatasync and the real disk, so often each."""
    short = ["--seconds", str(seconds), "--warmup", "0.1", "--block", "0.2", "--any-filesystem"]
    out = scratch / "honest.parquet"
    noop = shimmed(shim, "noop")
    real = {"disk": (disk, None), "no-op fdatasync": (disk, noop)}
    counted = dict.fromkeys(("tmpfs", "overlay volatile", *real), 0)
    passes = 0
    with mounted(scratch) as mounts:
        places: dict[str, tuple[Path, dict[str, str] | None]] = {
            **{name: (path, None) for name, path in mounts.items()},
            **real,
        }
        for _ in range(runs):
            for name, (folder, env) in places.items():
                made = probe(["disk", "--dir", str(folder), *short], out, env)
                flagged = bool(flags(made))
                counted[name] += flagged
                judged = verdict.judge([made], 1e9, rates=())
                passes += flagged and judged.answer is verdict.Answer.PASS
    return {"runs": runs, "flagged": counted, "passes_of_flagged": passes, "places": list(places)}


@contextmanager
def mounted(scratch: Path) -> Iterator[dict[str, Path]]:
    """Mount a tmpfs and a volatile overlay, where this process may (CAP_SYS_ADMIN)."""
    done: dict[str, Path] = {}
    memory, over = scratch / "tmpfs", scratch / "overlay"
    parts = {name: scratch / name for name in ("lower", "upper", "work")}
    for path in (memory, over, *parts.values()):
        path.mkdir(exist_ok=True)
    layers = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
    wanted = {
        "tmpfs": (["-t", "tmpfs", "tmpfs", str(memory)], memory),
        "overlay volatile": (
            ["-t", "overlay", "overlay", "-o", f"{layers},volatile", str(over)],
            over,
        ),
    }
    try:
        for name, (words, path) in wanted.items():
            if subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0:
                done[name] = path
        if "tmpfs" not in done:
            done["tmpfs"] = Path(tempfile.mkdtemp(dir="/dev/shm"))
        yield done
    finally:
        for path in done.values():
            if subprocess.run(["umount", path], capture_output=True, check=False).returncode:
                shutil.rmtree(path, ignore_errors=True)


def neighbour(
    shim: Path, disk: Path, scratch: Path, *, window: float, bursts: int, calm: int, long: int
) -> dict[str, Any]:
    """Inject bursts into a watch and count which are found; all lengths are in windows.

    ``window`` seconds instead of 10 is compressed time: it is said in the result.
    """
    switch = scratch / "switch"
    env = shimmed(shim, "switch", SHIM_SWITCH=str(switch), SHIM_US="20000")
    whole = window * (bursts * (calm + long) + calm)
    out = scratch / "watch.parquet"
    script = (
        "import sys\nfrom opslib.bench.probe import result, watch\n"
        "s = watch.Settings(seconds=float(sys.argv[2]), window=float(sys.argv[3]), "
        "rate=100 / float(sys.argv[3]) if float(sys.argv[3]) >= 10 else 20)\n"
        "result.write(sys.argv[4], watch.watch(sys.argv[1], s))\n"
    )
    words = [sys.executable, "-c", script, str(disk), str(whole), str(window), str(out)]
    process = subprocess.Popen(words, env=env)
    began = _when_it_writes(disk, process)
    onsets = []
    for number in range(bursts):
        _sleep_until(began + window * (calm + number * (calm + long)))
        switch.touch()
        onsets.append(time.time())
        _sleep_until(began + window * (number + 1) * (calm + long))
        switch.unlink()
    assert process.wait(timeout=whole + 120) == 0
    return _found(result.read(str(out)), onsets, window)


def _when_it_writes(disk: Path, process: subprocess.Popen[bytes]) -> float:
    end = time.monotonic() + 60
    while not list(disk.glob("opslib-bench-*/*.wal")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    return time.time()


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _found(made: Result, onsets: Sequence[float], window: float) -> dict[str, Any]:
    from datetime import datetime

    seen = [
        (datetime.fromisoformat(one.onset_utc).timestamp(), one.cause)
        for one in changes.episodes(made)
    ]
    late = [min((abs(at - onset) for at, _ in seen), default=math.inf) / window for onset in onsets]
    hit = [one for one in late if one <= 2]
    false = [at for at, _ in seen if min(abs(at - onset) for onset in onsets) > 2 * window]
    return {
        "windows": len(made.document["blocks"]),
        "window_seconds": window,
        "compressed": round(10 / window, 1),
        "bursts": len(onsets),
        "found_within_2_windows": len(hit),
        "onset_error_windows": [round(one, 2) for one in late],
        "false_alarms": len(false),
        "causes": sorted({cause for _, cause in seen}),
        "own_cpu_percent": changes.own_cpu(made),
    }


def main(where: str | None = None, *only: str) -> None:
    """Measure all of it, or the parts that are named, and write outputs/bench/disk.json."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = PROJECT / "outputs" / "bench" / "disk.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = json.loads(path.read_text()) if only and path.exists() else {}
    with tempfile.TemporaryDirectory(dir=where, prefix="bench-disk-") as held:
        scratch, disk = Path(held), Path(held) / "disk"
        disk.mkdir()
        shim = build_shim(scratch)
        parts: dict[str, Any] = {
            "timing truth": lambda: timing_truth(shim, disk, scratch, us=5000, seconds=20),
            "fio agreement": lambda: fio_agreement(disk, rounds=6, seconds=4),
            "real etcd": lambda: real_etcd(disk, rounds=20, seconds=1),
            "coverage": lambda: coverage(series=200, count=8000),
            "fsync honesty": lambda: fsync_honesty(shim, disk, scratch, runs=20),
            "neighbour": lambda: neighbour(
                shim, disk, scratch, window=1, bursts=5, calm=25, long=6
            ),
            "against itself": lambda: against_itself(pairs=100, count=1500),
        }
        for name in only or parts:
            started, load = time.monotonic(), os.getloadavg()[0]
            with undisturbed() if name in _COMPARED else nullcontext(enter_result=False) as first:
                document[name] = {**parts[name](), "load": load, "realtime": first}
            document[name]["took_seconds"] = round(time.monotonic() - started, 1)
            print(name, json.dumps(document[name]))
            path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
