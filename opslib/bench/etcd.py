"""A running etcd's own metrics over the time of a probe, laid over what the probe saw.

https://etcd.io/docs/latest/metrics/ . The buckets of wal_fsync start at 1 ms and double: below it
etcd itself knows nothing, and a quantile is known as the bucket that it is in.
"""

from __future__ import annotations

import math
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opslib.core.errors import InputError, OpslibError

WAL = "etcd_disk_wal_fsync_duration_seconds"
BACKEND = "etcd_disk_backend_commit_duration_seconds"
_COUNTERS = {
    "leader_changes": "etcd_server_leader_changes_seen_total",
    "heartbeat_failures": "etcd_server_heartbeat_send_failures_total",
    "slow_applies": "etcd_server_slow_apply_total",
    "wal_bytes": "etcd_disk_wal_write_bytes_total",
}
_LINE = re.compile(r"^(etcd_\w+)(?:\{([^}]*)\})? ([0-9.eE+-]+|\+Inf|NaN)$", re.MULTILINE)
_MOST = 16 << 20


@dataclass(frozen=True)
class Histogram:
    """Cumulative counts at upper bounds in seconds, the sum in seconds, and the count."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float
    count: float

    def minus(self, before: Histogram) -> Histogram:
        """Return what was added since ``before``. Raises OpslibError where etcd began anew."""
        if self.bounds != before.bounds or self.count < before.count:
            raise OpslibError("etcd was restarted meanwhile: its counters began anew", where=WAL)
        counts = tuple(a - b for a, b in zip(self.counts, before.counts, strict=True))
        return Histogram(self.bounds, counts, self.total - before.total, self.count - before.count)

    @property
    def mean(self) -> float:
        """The mean in seconds, NaN where nothing was counted."""
        return self.total / self.count if self.count else math.nan

    def within(self, quantile: float) -> tuple[float, float]:
        """Return the bounds in seconds of the bucket that a quantile is in."""
        if not self.count:
            return math.nan, math.nan
        lower = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= quantile * self.count:
                return lower, bound
            lower = bound
        return lower, math.inf


@dataclass(frozen=True)
class Metrics:
    """One reading of an etcd."""

    wal: Histogram
    backend: Histogram
    counters: Mapping[str, float]

    def minus(self, before: Metrics) -> Metrics:
        counted = {k: v - before.counters.get(k, 0) for k, v in self.counters.items()}
        return Metrics(self.wal.minus(before.wal), self.backend.minus(before.backend), counted)

    @property
    def record_bytes(self) -> int | None:
        """Bytes that each sync of this etcd wrote: what the probe's records should have."""
        written = self.counters.get("wal_bytes", 0)
        return round(written / self.wal.count) if self.wal.count and written else None


def fetch(url: str, *, ca: str = "", cert: str = "", key: str = "") -> Metrics:
    """Read the metrics of an etcd, such as http://127.0.0.1:2381/metrics.

    ``ca``, ``cert``, ``key``: PEM files for TLS. Raises InputError for an address that is none,
    does not answer, or is no etcd's.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError("not an address of metrics", where=url, expected="http:// or https://")
    try:
        context = _tls(ca, cert, key) if url.startswith("https://") else None
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:  # noqa: S310  # checked above
            text = answer.read(_MOST).decode("utf-8", "replace")
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise InputError(f"the metrics cannot be read: {error}", where=url) from None
    return read_metrics(text, url)


def _tls(ca: str, cert: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca or None)
    if cert:
        context.load_cert_chain(cert, key or None)
    return context


def read_metrics(text: str, where: str = "metrics") -> Metrics:
    """Read the text form of Prometheus. Raises InputError where it has no etcd's WAL in it."""
    found = [(name, labels, float(value)) for name, labels, value in _LINE.findall(text)]
    plain = {name: value for name, labels, value in found if not labels}
    if f"{WAL}_count" not in plain:
        raise InputError(f"no {WAL} in it: not an etcd's metrics", where=where)
    counters = {k: plain[name] for k, name in _COUNTERS.items() if name in plain}
    return Metrics(_histogram(found, plain, WAL), _histogram(found, plain, BACKEND), counters)


def _histogram(
    found: list[tuple[str, str, float]], plain: Mapping[str, float], name: str
) -> Histogram:
    pairs = []
    for metric, labels, value in found:
        bound = re.search(r'le="([^"]+)"', labels)
        if metric == f"{name}_bucket" and bound and bound.group(1) != "+Inf":
            pairs.append((float(bound.group(1)), value))
    pairs.sort()
    return Histogram(
        tuple(bound for bound, _ in pairs),
        tuple(count for _, count in pairs),
        plain.get(f"{name}_sum", 0.0),
        plain.get(f"{name}_count", 0.0),
    )


@dataclass(frozen=True)
class Overlay:
    """A probe beside an etcd: share of syncs up to each bound, the largest gap, the means."""

    bounds_ms: tuple[float, ...]
    probe: tuple[float, ...]
    etcd: tuple[float, ...]
    largest_gap: float
    mean_ratio: float
    fsyncs: int

    def as_dict(self) -> dict[str, Any]:
        rows = zip(self.bounds_ms, self.probe, self.etcd, strict=True)
        return {
            "fsyncs_of_etcd": self.fsyncs,
            "largest_gap_points": round(100 * self.largest_gap, 2),
            "mean_ratio": round(self.mean_ratio, 4),
            "buckets": [
                {"ms": bound, "probe": round(a, 4), "etcd": round(b, 4)} for bound, a, b in rows
            ],
        }


def overlay(latencies_ms: npt.ArrayLike, wal: Histogram) -> Overlay:
    """Lay the probe's latencies (ms) over an etcd's histogram of the same time, at its buckets."""
    took = np.asarray(latencies_ms, dtype=np.float64)
    if not len(took) or not wal.count:
        raise InputError("nothing to lay over each other: no samples on one side", where=WAL)
    bounds = tuple(1000 * bound for bound in wal.bounds)
    probe = tuple(float(np.mean(took <= bound)) for bound in bounds)
    etcd = tuple(count / wal.count for count in wal.counts)
    gap = max(abs(a - b) for a, b in zip(probe, etcd, strict=True))
    ratio = float(took.mean()) / (1000 * wal.mean)
    return Overlay(bounds, probe, etcd, gap, ratio, int(wal.count))
