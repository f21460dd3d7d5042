"""A loop at rest keeps nothing of a poll: counted, not timed."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from opslib.core.heap import give_back
from opslib.reconcile.follow import Follower
from opslib.reconcile.reconciler import FULL_EVERY, Reconciler
from opslib.reconcile.reporter import Reporter
from opslib.reconcile.session import open_session
from opslib.reconcile.status import LoopStatus
from opslib.source.mirror import Source

from .conftest import Workbench, config_map
from .loops import Repository, wait

OBJECTS = 60
CYCLES = 3


@dataclass(frozen=True)
class Kept:
    """What a process holds: the kit's own objects by class, all objects, and traced bytes."""

    own: Counter[str]
    objects: Counter[str]
    size: int

    @classmethod
    def now(cls) -> Kept:
        for _ in range(3):  # what a finalizer frees may free more
            gc.collect()
        found = [type(one) for one in gc.get_objects()]
        own = Counter(
            c.__qualname__
            for c in found
            if str(c.__module__).startswith("opslib.") and not issubclass(c, HTTPConnection)
        )
        return cls(own, Counter(c.__qualname__ for c in found), tracemalloc.get_traced_memory()[0])


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace allocations during a test."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_polls_leave_nothing_behind(bench: Workbench, repository: Repository) -> None:
    """Three cycles of polls, each with one full dry run of everything, keep no object more.

    None of the kit's own classes; of all others less than one of each object of a full pass
    (what threads and connections come and go with is a few dozens, however many polls).
    """
    maps = {f"app/{n}.yaml": config_map(f"rest-{n}", a=str(n)) for n in range(OBJECTS)}
    repository.commit({**maps})
    source = Source(str(repository.folder), "", "app")
    session = open_session(bench.server, source, app=bench.app.name, namespace=bench.namespace)
    status = LoopStatus(session.app.name, session.mirror.url, "", "app", "correct", 1.0, "test")
    said: list[str] = []
    reporter = Reporter(session, status, said.append)
    follower = Follower(session.cluster)
    reconciler = Reconciler(
        session, reporter, follower, mode="correct", pass_seconds=60, health_timeout=60
    )

    def poll() -> None:
        assert reconciler.poll(lambda: True), said
        reporter.write()

    try:
        with session.holding():
            poll()
            wait(lambda: follower.sound)
            for _ in range(FULL_EVERY + 1):
                poll()
            before = Kept.now()
            for _ in range(CYCLES * FULL_EVERY):
                poll()
            after = Kept.now()
    finally:
        follower.close()
    grown = after.objects - before.objects
    more, size = grown.total(), after.size - before.size
    print(f"\n{CYCLES * FULL_EVERY} polls of {OBJECTS} objects: {more:+} objects, {size:+} bytes")
    print(grown.most_common(5))
    assert after.own - before.own == Counter()
    assert more < CYCLES * OBJECTS
    assert size < 100_000


def test_what_is_free_is_given_back() -> None:
    """Memory that was freed under something that is kept goes back to the system."""

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    blocks = [bytes(4000) for _ in range(25_000)]
    kept = blocks[::1000]
    kept.append(blocks[-1])
    del blocks
    before = resident()
    assert give_back()
    freed = before - resident()
    print(f"\n{freed:.0f} of {before:.0f} MB given back")
    assert freed > 50
    assert len(kept) == 26
