"""The loop at rest: what an hour costs while nothing moves. Writes outputs/bench/rest.json.

``python -m tests.bench.rest [OBJECTS] [POLLS]`` (default: 5000 objects, 36 polls). A real loop
polls every 5 s instead of every 5 minutes, so that hours pass in minutes. What it costs is
counted where it arises, and each part is scaled by how often it happens in a real hour:

- a poll (Git, the served kinds, admission, the status) and, every twelfth, the full dry run of
  every object: 12 polls an hour, so CPU of the measured polls x 12 / polls;
- what goes by the clock and not by polls (renewals of the lease, the ticks of the wait, the
  watches): 3,600 s an hour. It is measured by itself, as the CPU of a stretch without a poll,
  and taken off the polls' share, so that it is not counted twice.

CPU is user and system time of the process and of the git processes that it waited for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opslib.kube.client import connect
from opslib.reconcile.app import App
from opslib.reconcile.status import LoopStatus, read_status
from opslib.sandbox import cluster

from . import load
from .measure import PROJECT, write

NAME = "bench-rest"
INTERVAL = 5
REAL_INTERVAL = 300
STRETCH = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Reading:
    """The loop's process at one moment: seconds of wall and CPU, MB (10^6 bytes) resident."""

    wall: float
    cpu: float
    children: float
    rss: float

    @classmethod
    def of(cls, pid: int) -> Reading:
        """Read /proc (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)."""
        row = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own, waited = int(row[11]) + int(row[12]), int(row[13]) + int(row[14])
        return cls(time.monotonic(), own / TICKS, waited / TICKS, int(row[21]) * PAGE / 1e6)

    @property
    def all_cpu(self) -> float:
        return self.cpu + self.children


class Resting:
    """A loop over many objects in a process of its own, with a status to read."""

    def __init__(self, place: Path, objects: int, interval: int) -> None:
        self.env = {**os.environ, **cluster.environment(NAME)}
        self.app = App(f"rest-{objects}")
        self.api = connect(self.env["KUBECONFIG"])
        repo = place / f"load-{objects}"
        if not repo.exists():
            load.make(repo, objects)
        words = ["--repo", str(repo), "--path", "app", "--app", self.app.name]
        words += ["--interval", f"{interval}s", "--health-timeout", "30m"]
        self.log = place / f"said-{interval}"
        with open(self.log, "ab") as said:
            command = [sys.executable, "-m", "opslib", "watch", *words]
            self.process = subprocess.Popen(command, env=self.env, stderr=said)
        self.since = time.time()

    def status(self) -> LoopStatus | None:
        try:
            return read_status(self.api, self.app)
        except Exception as error:  # noqa: BLE001  # no status yet, or a server that is busy
            del error
            return None

    def until(self, condition: Callable[[LoopStatus], Any], seconds: float) -> LoopStatus:
        """Wait until the status is as asked."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            one = self.status()
            if one and condition(one):
                return one
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        text = self.log.read_text(errors="replace")[-1500:]
        raise SystemExit(f"the loop did not get there within {seconds:g} s: {text}")

    def polled(self, number: int) -> None:
        """Wait for the end of so many polls."""
        for _ in range(number):
            one = self.status()
            before = one.next_poll if one else ""
            self.until(lambda s, before=before: s.next_poll != before, 600)  # type: ignore[misc]  # bound per poll

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        self.api.close()


def measure(place: Path, objects: int, polls: int) -> dict[str, Any]:
    """Measure one loop: polls close together, then a stretch without any."""
    cluster.make_namespace(NAME, load.NAMESPACE)
    loop = Resting(place, objects, INTERVAL)
    loop.until(lambda s: s.phase == "synced", 3600)
    loop.polled(14)  # the watches begin, what was written is looked at, and one full dry run
    start = Reading.of(loop.process.pid)
    loop.polled(polls)
    end = Reading.of(loop.process.pid)
    loop.end()
    quiet = Resting(place, objects, 3600)
    quiet.until(lambda s: s.phase == "synced" and not s.unhealthy and bool(s.next_poll), 600)
    time.sleep(20)  # the watches begin, and everything is looked at once
    before = Reading.of(quiet.process.pid)
    time.sleep(STRETCH)
    after = Reading.of(quiet.process.pid)
    quiet.end()
    return report(objects, polls, (start, end), (before, after))


def report(
    objects: int, polls: int, busy: tuple[Reading, Reading], idle: tuple[Reading, Reading]
) -> dict[str, Any]:
    """Scale what was measured to a real hour."""
    by_clock = (idle[1].all_cpu - idle[0].all_cpu) / (idle[1].wall - idle[0].wall)
    wall = busy[1].wall - busy[0].wall
    cpu = busy[1].all_cpu - busy[0].all_cpu
    by_poll = max(0.0, cpu - by_clock * wall) / polls
    hour = by_poll * 3600 / REAL_INTERVAL + by_clock * 3600
    return {
        "objects": objects,
        "polls": polls,
        "simulated_hours": polls * REAL_INTERVAL / 3600,
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 2),
        "of_which_git": round(busy[1].children - busy[0].children, 2),
        "cpu_seconds_per_poll": round(by_poll, 4),
        "cpu_seconds_per_second_without_polls": round(by_clock, 6),
        "cpu_seconds_per_hour": round(hour, 2),
        "percent_of_one_core": round(100 * hour / 3600, 3),
        "rss_mb_start": round(busy[0].rss, 1),
        "rss_mb_end": round(busy[1].rss, 1),
        "readings": [asdict(one) for one in (*busy, *idle)],
    }


def main(objects: int, polls: int) -> None:
    """Measure on a control plane of its own, and write the result."""
    cluster.up(NAME)
    try:
        with tempfile.TemporaryDirectory() as place:
            result = measure(Path(place), objects, polls)
    finally:
        cluster.down(NAME)
    path = write("rest", {"interval_seconds": REAL_INTERVAL, "result": result})
    shown = {name: value for name, value in result.items() if name != "readings"}
    print(json.dumps(shown, indent=1))
    print(f"written: {path.relative_to(PROJECT)}")


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:]]
    main(*[*sizes, *(5000, 36)[len(sizes) :]][:2])
