"""One process that plans or reviews an app once: ``python -m tests.bench.look WHAT REPO APP``.

``WHAT`` is ``plan`` or ``review``. It ends with 1 where the number of differences is not the one
that is given as a fourth argument.
"""

from __future__ import annotations

import sys

from opslib.drift.review import take
from opslib.kube.client import connect
from opslib.reconcile.session import open_session
from opslib.source.mirror import Source


def main(what: str, repo: str, app: str, expected: str) -> int:
    """Look once, and compare with what is expected."""
    session = open_session(connect(), Source(repo, "", "app"), app=app)
    if what == "plan":
        found = len(session.plan(session.fetch()).prepared.plan.writes)
    else:
        review = take(session)
        found = len(review.drifts)
    sys.stdout.write(f"{found} differences\n")
    return 0 if found == int(expected) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
