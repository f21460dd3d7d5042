"""Latency of requests at a rate, from the service times that a closed loop measured.

A closed loop asks again only when it was answered, so its p99 leaves out who would have waited
("coordinated omission"). Requests come when they like (Poisson), and etcd commits in groups: who
comes while an fdatasync runs waits for its end and shares the next one
(etcd, server/etcdserver/raft.go: all proposals of one Ready are saved by one sync).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opslib.bench.stats import Series, finite

RATES = (50.0, 100.0, 200.0, 400.0)
_REQUESTS = 100_000


@dataclass(frozen=True)
class AtRate:
    """Requests at a rate (per second): quantiles of their latency in the unit of the input."""

    rate: float
    p50: float
    p99: float
    longest: float
    requests: int
    per_sync: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "request_p50_ms": finite(self.p50),
            "request_p99_ms": finite(self.p99),
            "request_max_ms": finite(self.longest),
            "requests": self.requests,
            "requests_per_sync": round(self.per_sync, 2),
        }


def replay(service: npt.ArrayLike, rate: float, *, seed: int = 0) -> AtRate | None:
    """Replay service times (ms, in order, each used once) under Poisson arrivals at ``rate``.

    None for an empty series or a rate of 0. Time without requests uses no service times.
    """
    times = np.asarray(service, dtype=np.float64).ravel()
    if not len(times) or rate <= 0:
        return None
    rng = np.random.default_rng(seed)
    # So many as come while all syncs run; where syncs are far faster than requests, one for each.
    wanted = min(_REQUESTS, max(len(times), int(rate * float(times.sum()) / 1000)))
    arrivals = np.cumsum(rng.exponential(1000 / rate, wanted))
    latencies, syncs = _served(arrivals, times)
    done = latencies[: int(np.count_nonzero(latencies >= 0))]
    p50, p99 = (float(one) for one in np.quantile(done, [0.5, 0.99]))
    return AtRate(rate, p50, p99, float(done.max()), len(done), len(done) / syncs)


def _served(arrivals: Series, times: Series) -> tuple[Series, int]:
    """Return each request's latency (-1: the service times were used up) and the syncs."""
    latencies = np.full(len(arrivals), -1.0)
    first = syncs = 0
    free = 0.0
    for took in times.tolist():
        if first >= len(arrivals):
            break
        start = max(free, float(arrivals[first]))
        last = int(np.searchsorted(arrivals, start, side="right"))
        free = start + took
        latencies[first:last] = free - arrivals[first:last]
        first, syncs = last, syncs + 1
    return latencies, max(syncs, 1)
