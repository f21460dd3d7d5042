"""What image pulls do to the log, and how many at once keep the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from opslib.bench import compare, limits
from opslib.bench.compare import Machines, Ratio
from opslib.bench.probe.result import Result
from opslib.bench.stats import Interval, Series, quantile_interval
from opslib.bench.verdict import Answer, against

SETTING = (
    "serializeImagePulls and maxParallelImagePulls of the kubelet: "
    "https://kubernetes.io/docs/concepts/containers/images/#maximum-parallel-image-pulls"
)


@dataclass(frozen=True)
class Beside:
    """The log beside so many pulls: its p99, the verdict on it, its ratio to no pulls."""

    pulls: int
    p99: Interval
    answer: Answer
    uplift: Ratio | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "pulls": self.pulls,
            "p99_ms": self.p99.as_dict(),
            "answer": str(self.answer),
            "uplift": self.uplift.as_dict() if self.uplift else None,
        }


@dataclass(frozen=True)
class Storm:
    """All of it. ``most_pulls``: the most that keep what holds without; None: not even that."""

    levels: tuple[Beside, ...]
    most_pulls: int | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "levels": [one.as_dict() for one in self.levels],
            "max_parallel_image_pulls": self.most_pulls,
            "setting": SETTING,
        }


def judge(run: Result, p99_ms: float = limits.P99.value) -> Storm:
    """Judge a storm: each number of pulls by its own samples, all rounds together."""
    parts = _parts(run)
    calm: Machines = [parts.get(0, [])]
    limit = limits.Limit(**{**limits.P99.__dict__, "value": p99_ms})
    levels = []
    for pulls in sorted(parts):
        series = np.concatenate(parts[pulls])
        p99 = quantile_interval(series, 0.99)
        answer = against(p99, limit, float(len(series))).answer
        levels.append(Beside(pulls, p99, answer, _uplift(calm, parts[pulls], pulls)))
    return Storm(tuple(levels), _most(levels))


def _parts(run: Result) -> dict[int, list[Series]]:
    block = np.asarray(run.columns["block"], dtype=np.int64)
    took = np.asarray(run.columns["sync_ns"], dtype=np.float64) / 1e6
    out: dict[int, list[Series]] = {}
    for number, told in enumerate(run.document["blocks"]):
        mine = took[block == number]
        if len(mine):
            out.setdefault(int(told.get("pulls") or 0), []).append(mine)
    return out


def _uplift(calm: Machines, part: list[Series], pulls: int) -> Ratio | None:
    if not pulls or not calm[0]:
        return None
    return compare.compare_series([part], calm).ratios[-1]


def _most(levels: list[Beside]) -> int | None:
    """Return the most pulls up to which every verdict is at least that without pulls."""
    rank = {Answer.FAIL: 0, Answer.INCONCLUSIVE: 1, Answer.PASS: 2}
    most: int | None = None
    calm = next((one for one in levels if one.pulls == 0), None)
    if calm is None or calm.answer is Answer.FAIL:
        return None
    for one in levels:
        if rank[one.answer] < rank[calm.answer]:
            break
        most = one.pulls
    return most
