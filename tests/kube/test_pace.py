"""The pace of requests: a rule that settles, halves on refusals, and keeps its bounds."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from opslib.kube.pace import FEW, LEAST, MANY, MOST, START, Pace, Pacer, learned, refused, workers

paces = some.builds(Pace, some.floats(LEAST, MOST), some.booleans())
seconds = some.floats(0, 1e4, allow_nan=False)


@given(pace=paces, worked=seconds, took=seconds, used=some.booleans(), refusals=some.integers(0, 9))
def test_the_pace_keeps_its_bounds(
    pace: Pace, worked: float, took: float, used: bool, refusals: int
) -> None:
    """Whatever is measured, between one and MOST requests may be under way."""
    pace = learned(pace, worked, took, used=used)
    for _ in range(refusals):
        pace = refused(pace)
    assert LEAST <= pace.width <= MOST
    assert LEAST <= pace.limit <= MOST


@given(pace=paces, worked=seconds, took=some.floats(0.001, 1e4), used=some.booleans())
def test_the_pace_follows_the_queue(pace: Pace, worked: float, took: float, used: bool) -> None:
    """It never rises over a long queue, never sinks over a short one, and not unless tried out."""
    after = learned(pace, worked, took, used=used)
    queue = pace.width * (1 - min(1.0, worked / took))
    if queue > MANY:
        assert after.limit < pace.limit or pace.limit == LEAST
    elif queue < FEW:
        assert after.limit >= pace.limit
        assert used or after.limit == pace.limit
    else:
        assert after.limit == pace.limit


@given(pace=paces)
def test_a_refusal_halves(pace: Pace) -> None:
    """And the pace rises slowly from then on."""
    after = refused(pace)
    assert after.limit == max(LEAST, pace.limit / 2)
    assert not after.rising


class Server:
    """A server by arithmetic: so many requests are worked on at once, the others wait."""

    def __init__(self, cores: int, latency: float, work: float) -> None:
        self.cores, self.latency, self.work = cores, latency, work

    def took(self, under_way: float) -> float:
        """Return the seconds of one answer with so many requests under way."""
        bound = self.work * under_way / self.cores
        return max(self.latency + self.work, bound)


@pytest.mark.parametrize(
    ("server", "low", "high"),
    [
        (Server(cores=2, latency=0.0, work=0.010), 3, 7),
        (Server(cores=8, latency=0.002, work=0.010), 9, 15),
        (Server(cores=64, latency=0.030, work=0.005), MOST, MOST),
        (Server(cores=1, latency=0.0, work=0.050), 2, 5),
    ],
    ids=["two cores near", "eight cores", "far and large", "one core"],
)
def test_it_settles_where_the_server_has_a_short_queue(server: Server, low: int, high: int) -> None:
    """Within 40 windows it is where all cores work and few requests wait, and stays."""
    pace, widths = Pace(), []
    least = server.latency + server.work
    for _ in range(60):
        pace = learned(pace, least, server.took(pace.width), used=True)
        widths.append(pace.width)
    print(f"{server.cores} cores: {widths[:12]} … settled at {widths[-1]}")
    assert all(low <= width <= high for width in widths[40:])


def _refusing(pacer: Pacer, times: int) -> None:
    for _ in range(times):
        with pacer.turn("x") as turn:
            turn.status = 429


def test_requests_refused_together_count_once() -> None:
    """Ten that were under way when the server refused are one reason to slow down, not ten."""
    pacer = Pacer(Pace(16.0))
    turns = [pacer._begin() for _ in range(10)]
    for turn in turns:
        turn.status = 429
        pacer._end(turn, "x")
    assert pacer.pace.width == 8
    _refusing(pacer, 1)
    assert pacer.pace.width == 4


def test_no_answer_is_a_refusal() -> None:
    """A request that ends with an error slows the next ones down."""
    pacer = Pacer()
    with pytest.raises(TimeoutError), pacer.turn("x"):
        raise TimeoutError
    assert pacer.pace.width == START // 2


def test_retry_after_holds_everybody_back() -> None:
    """Nothing is sent for as long as the server asks."""
    now = [100.0]
    pacer = Pacer(clock=lambda: now[0])
    with pacer.turn("x") as turn:
        turn.status, turn.retry_after = 429, 3.0
    assert pacer._quiet_until == 103.0
    now[0] = 103.5
    with pacer.turn("x") as turn:
        turn.status = 200


def test_errors_in_requests_teach_nothing() -> None:
    """A conflict is answered sooner than work is done: it is no measure."""
    pacer = Pacer()
    for _ in range(50):
        with pacer.turn("x") as turn:
            turn.status = 409
    assert pacer.pace == Pace()
    assert not pacer._least


def test_answers_that_compare_with_nothing_teach_nothing() -> None:
    """The first requests of a plan are each of another sort: they do not raise the pace."""
    pacer = Pacer()
    for number in range(50):
        with pacer.turn(f"GET {number}") as turn:
            turn.status = 200
    assert pacer.pace == Pace()


def test_no_more_are_under_way_than_may_be() -> None:
    """Counted in the requests themselves, from 32 threads, while the pace moves."""
    pacer, lock = Pacer(), threading.Lock()
    under_way = most = over = 0

    def one() -> None:
        nonlocal under_way, most, over
        with pacer.turn("x") as turn:
            with lock:
                under_way += 1
                most = max(most, under_way)
                over += under_way > MOST
            time.sleep(0.002)
            turn.status = 200
            with lock:
                under_way -= 1

    with workers() as pool:
        for job in [pool.submit(one) for _ in range(600)]:
            job.result()
    assert not over
    assert most <= pacer.highest
    print(f"most at once {most}, settled at {pacer.pace.width}")


@pytest.mark.parametrize("interrupted", [True, False])
def test_interrupted_workers_begin_nothing_more(interrupted: bool) -> None:
    """Of 500 jobs only those that were begun are ended; without an error all are done."""
    release, done = threading.Event(), list[int]()

    def one(number: int) -> None:
        release.wait(60)
        done.append(number)

    def all_of_them() -> None:
        with workers() as pool:
            for number in range(500):
                pool.submit(one, number)
            threading.Timer(1.0, release.set).start()
            if interrupted:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
        all_of_them()
    assert len(done) == (MOST if interrupted else 500)
