"""The pace of requests: a rule that settles, halves on refusals, and keeps its bounds."""

from __future__ import annotations

import contextlib
import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from opslib.kube.pace import (
    LEAST,
    LOOK_EVERY,
    MOST,
    START,
    Climb,
    Pace,
    Pacer,
    learned,
    refused,
    workers,
    worth,
)

rates = some.floats(0.001, 1e5)
LOOKS = some.sampled_from([Climb.UP, Climb.DOWN])
steps = some.lists(some.one_of(rates, some.none()), max_size=60)


@given(steps=steps)
def test_the_pace_keeps_its_bounds(steps: list[float | None]) -> None:
    """Whatever is measured or refused, between one and MOST requests may be under way."""
    pace = Pace()
    for rate in steps:
        pace = refused(pace) if rate is None else learned(pace, rate)
        assert LEAST <= pace.width <= MOST
        assert LEAST <= pace.limit <= MOST
        assert LEAST <= pace.held <= MOST


@given(rates=some.tuples(rates, rates, rates), held=some.floats(3, MOST / 2), looked=LOOKS)
def test_a_look_around_is_held_against_both_sides(
    rates: tuple[float, float, float], held: float, looked: Climb
) -> None:
    """Fewer at once stays only where it beat the windows before and after, more where one."""
    before, trial, after = rates
    tried = held * 1.5 if looked is Climb.UP else held / 1.5
    pace = Pace(tried, looked, rate=before, held=held, looked=looked)
    back = learned(pace, trial)
    assert (back.limit, back.climb) == (held, Climb.TOP)
    ended = learned(back, after)
    gains = [worth(trial, tried) >= worth(rate, held) for rate in (before, after)]
    moved = all(gains) if looked is Climb.DOWN else any(gains)
    assert ended.held == (tried if moved else held)
    assert ended.climb is Climb.TOP or moved


def test_the_way_up_ends_only_where_much_is_lost() -> None:
    """A window that was a little worse by chance does not end it at a quarter of the best."""
    pace = learned(learned(Pace(), 300.0), 280.0)
    assert (pace.limit, pace.climb) == (min(MOST, 4 * START), Climb.RISING)
    back = learned(learned(Pace(), 300.0), 200.0)
    assert (back.limit, back.climb) == (START, Climb.TOP)


def test_noise_does_not_lead_it_astray() -> None:
    """Rates that scatter by a half, of a server for which many at once are cheaper: many it is."""
    widths = []
    for seed in range(100):
        chance, pace = random.Random(seed), Pace()  # noqa: S311  # the same noise each time
        for _ in range(60):
            rate = 1000 / (6 + 48 / pace.width) * chance.lognormvariate(0.0, 0.5)
            pace = learned(pace, rate)
            widths.append(pace.width)
    tenth = sorted(widths)[len(widths) // 10]
    print(f"on average {sum(widths) / len(widths):.0f} at once, nine of ten times {tenth} or more")
    assert tenth >= START
    assert sum(widths) / len(widths) > MOST / 2


@given(limit=some.floats(LEAST, MOST), climb=some.sampled_from(Climb), rate=rates)
def test_a_refusal_halves(limit: float, climb: Climb, rate: float) -> None:
    """And what was measured before counts no more."""
    after = refused(Pace(limit, climb, rate))
    assert after.limit == after.held == max(LEAST, limit / 2)
    assert after.climb is Climb.TOP
    assert not after.rate


class Server:
    """A server by arithmetic: so many requests are worked on at once, the others wait.

    ``together`` are requests whose work is done at one blow, as etcd's fsync is.
    """

    def __init__(self, cores: int, latency: float, work: float, together: float = 0.0) -> None:
        self.cores, self.latency, self.work, self.together = cores, latency, work, together

    def rate(self, under_way: int) -> float:
        """Return the answers a second with so many requests under way."""
        alone = self.latency + self.work + self.together
        return min(under_way / alone, self.cores / self.work)


@pytest.mark.parametrize(
    ("server", "low", "high"),
    [
        (Server(cores=2, latency=0.0, work=0.010), 2, 3),
        (Server(cores=8, latency=0.002, work=0.010), 8, 13),
        (Server(cores=64, latency=0.030, work=0.005), MOST, MOST),
        (Server(cores=1, latency=0.0, work=0.050), 1, 2),
        (Server(cores=2, latency=0.0, work=0.002, together=0.030), 30, 45),
    ],
    ids=["two cores near", "eight cores", "far and large", "one core", "a slow disk"],
)
def test_it_settles_where_more_at_once_gains_nothing(server: Server, low: int, high: int) -> None:
    """Within 60 windows it is where all is done that can be, and stays but for a look around."""
    pace, widths, rates = Pace(), [], []
    for _ in range(120):
        rates.append(server.rate(pace.width))
        pace = learned(pace, rates[-1])
        widths.append(pace.width)
    usual = sorted(widths[60:])[30]
    best = max(server.rate(n) for n in range(1, MOST + 1))
    print(f"{server.cores} cores: {widths[:14]} … {usual}, {rates[-1]:.0f} of {best:.0f} a second")
    assert low <= usual <= high
    assert sum(rates[60:]) / 60 >= 0.95 * best


def test_it_looks_around_now_and_then() -> None:
    """A server that grew is found: from a top of two to the most."""
    pace = Pace()
    for _ in range(40):
        pace = learned(pace, Server(cores=2, latency=0.0, work=0.010).rate(pace.width))
    small = pace.width
    for _ in range(20 * LOOK_EVERY):
        pace = learned(pace, Server(cores=64, latency=0.030, work=0.005).rate(pace.width))
    print(f"from {small} at once to {pace.width}")
    assert small <= 3
    assert pace.width > MOST / 2


def _refusing(pacer: Pacer, times: int) -> None:
    for _ in range(times):
        with pacer.turn() as turn:
            turn.status = 429


def test_requests_refused_together_count_once() -> None:
    """Ten that were under way when the server refused are one reason to slow down, not ten."""
    pacer = Pacer(Pace(16.0))
    turns = [pacer._begin() for _ in range(10)]
    for turn in turns:
        turn.status = 429
        pacer._end(turn)
    assert pacer.pace.width == 8
    _refusing(pacer, 1)
    assert pacer.pace.width == 4


def test_no_answer_is_a_refusal() -> None:
    """A request that ends with an error slows the next ones down."""
    pacer = Pacer()
    with pytest.raises(TimeoutError), pacer.turn():
        raise TimeoutError
    assert pacer.pace.width == START // 2


def test_retry_after_holds_everybody_back() -> None:
    """Nothing is sent for as long as the server asks."""
    now = [100.0]
    pacer = Pacer(clock=lambda: now[0])
    with pacer.turn() as turn:
        turn.status, turn.retry_after = 429, 3.0
    assert pacer._quiet_until == 103.0
    now[0] = 103.5
    with pacer.turn() as turn:
        turn.status = 200


def test_errors_in_requests_teach_nothing() -> None:
    """A conflict is answered sooner than work is done: it is no measure."""
    pacer = Pacer()
    for _ in range(50):
        with pacer.turn() as turn:
            turn.status = 409
    assert pacer.pace == Pace()


def test_requests_one_by_one_teach_nothing() -> None:
    """Where fewer are sent than may be, the rate says nothing about the server."""
    pacer = Pacer()
    for _ in range(200):
        with pacer.turn() as turn:
            turn.status = 200
    assert pacer.pace == Pace()


def test_no_more_are_under_way_than_may_be() -> None:
    """Counted in the requests themselves, from all threads, while the pace moves."""
    pacer, lock = Pacer(), threading.Lock()
    under_way = most = over = 0

    def one() -> None:
        nonlocal under_way, most, over
        with pacer.turn() as turn:
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
