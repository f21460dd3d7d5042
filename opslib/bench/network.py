"""What round trips mean: for etcd's heartbeat and election, and for each transaction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from opslib.bench.probe import network
from opslib.bench.probe.result import Result
from opslib.bench.stats import finite

SOURCE = (
    "heartbeat 0.5 to 1.5 round trips, election at least 10 round trips and 5 heartbeats: "
    "https://etcd.io/docs/latest/tuning/"
)
HEARTBEAT_MS, ELECTION_MS = 100.0, 1000.0
_TRIPS = 6
"""Round trips of a database transaction: BEGIN, four statements, COMMIT."""


@dataclass(frozen=True)
class Trips:
    """Round trips to one target in ms. ``kernel_p50`` is TCP_INFO's; NaN where it told nothing."""

    target: str
    address: str
    count: int
    lost: int
    refused: int
    shortest: float
    p50: float
    p99: float
    jitter: float
    kernel_p50: float

    @property
    def heartbeat_ms(self) -> float:
        """The heartbeat interval that this target asks for, at least etcd's default."""
        return max(HEARTBEAT_MS, 10 * math.ceil(1.5 * self.p99 / 10))

    @property
    def election_ms(self) -> float:
        """The election timeout: ten round trips, ten heartbeats as in etcd's default."""
        return max(ELECTION_MS, 10 * self.heartbeat_ms, 100 * math.ceil(10 * self.p99 / 100))

    def as_dict(self) -> dict[str, Any]:
        known = self.count > self.lost
        return {
            "target": self.target,
            "address": self.address,
            "connects": self.count,
            "lost": self.lost,
            "loss_percent": round(100 * self.lost / self.count, 2) if self.count else None,
            "refused": self.refused,
            "min_ms": finite(self.shortest),
            "p50_ms": finite(self.p50),
            "p99_ms": finite(self.p99),
            "jitter_ms": finite(self.jitter),
            "kernel_p50_ms": finite(self.kernel_p50),
            "heartbeat_ms": self.heartbeat_ms if known else None,
            "election_ms": self.election_ms if known else None,
            "transaction_ms": finite(_TRIPS * self.p50),
            "source": SOURCE,
        }


def summaries(run: Result) -> list[Trips]:
    """Return the round trips of each target of a network result.

    ``jitter`` is the mean difference between one round trip and the next (as in RFC 3550, 6.4.1).
    """
    columns = {name: np.asarray(values, dtype=np.int64) for name, values in run.columns.items()}
    out = []
    for number, told in enumerate(run.document.get("targets") or ()):
        mine = columns["target"] == number
        came = mine & (columns["lost"] != network.LOST)
        took = columns["connect_ns"][came] / 1e6
        kernel = columns["kernel_us"][came & (columns["kernel_us"] >= 0)] / 1000
        p50, p99 = np.quantile(took, [0.5, 0.99]) if len(took) else (math.nan, math.nan)
        out.append(
            Trips(
                str(told.get("name")),
                str(told.get("address")),
                int(mine.sum()),
                int((columns["lost"][mine] == network.LOST).sum()),
                int((columns["lost"][mine] == network.REFUSED).sum()),
                float(took.min()) if len(took) else math.nan,
                float(p50),
                float(p99),
                float(np.abs(np.diff(took)).mean()) if len(took) > 1 else math.nan,
                float(np.median(kernel)) if len(kernel) else math.nan,
            )
        )
    return out
