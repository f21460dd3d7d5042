"""What etcd needs of a disk: three numbers, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass

GUIDELINE = (
    "10 ms is a guideline for capacity, not the point where an election starts: etcd's own "
    "default needs a leader to be silent for about 1 s"
)


@dataclass(frozen=True)
class Limit:
    """One number: its unit, what happens beyond it, and who says so."""

    name: str
    value: float
    unit: str
    meaning: str
    source: str


P99 = Limit(
    "fsync p99",
    10.0,
    "ms",
    "a log that is slower takes fewer than 100 batches of writes a second",
    "etcd FAQ, wal_fsync_duration_seconds: https://etcd.io/docs/latest/faq/",
)
LATE_NS = 200_000_000
LATE = Limit(
    "stalls over 200 ms",
    12.0,
    "per hour",
    "a heartbeat is late: two intervals of 100 ms pass, etcd warns and counts it",
    "length: etcd, server/etcdserver/raft.go and tuning guide https://etcd.io/docs/latest/tuning/; "
    "how many an hour are too many no source says: one in 5 minutes is this kit's choice",
)
ELECTION_NS = 1_000_000_000
ELECTION = Limit(
    "stalls of 1 s and more",
    1.0,
    "per day",
    "followers hear nothing for the election timeout of 1000 ms and may elect another leader",
    "length: etcd's election timeout https://etcd.io/docs/latest/tuning/ and etcd-io/raft, "
    "raft.go (1.0 to 1.9 s at random); how many a day are too many is this kit's choice",
)
BACKEND = Limit(
    "backend commit p99",
    25.0,
    "ms",
    "the database behind the log falls behind it",
    "etcd FAQ, backend_commit_duration_seconds: https://etcd.io/docs/latest/faq/",
)
