"""One process that plans the same app again and again, as a loop does after each fetch.

``python -m tests.bench.passes REPO APP``: for each line on standard input it plans once and
writes the seconds and its peak memory in MB; before the first it plans once to warm up.
"""

from __future__ import annotations

import resource
import sys
import time

from opslib.kube.client import connect
from opslib.reconcile.session import open_session
from opslib.source.mirror import Source


def main(repo: str, app: str) -> None:
    """Serve until standard input ends."""
    session = open_session(connect(), Source(repo, "", "app"), app=app)
    revision = session.fetch()
    session.plan(revision)
    for _ in sys.stdin:
        started = time.perf_counter()
        session.discovery.refresh()
        planned = session.plan(revision)
        seconds = time.perf_counter() - started
        if not planned.prepared.plan.empty:
            raise SystemExit(f"not a no-op: {planned.prepared.plan.counts}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        sys.stdout.write(f"{seconds} {peak}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
