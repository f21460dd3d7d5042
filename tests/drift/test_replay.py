"""Attributions over made-up histories and logs in every state; nothing certain is ever wrong."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from opslib.core.model import Manifest
from opslib.drift.attribute import attribute
from opslib.drift.model import Confidence, Difference, Drift, Plane

from .histories import FIELDS, KEY, History, spoiled


def _drifts(live: Manifest | None) -> list[Drift]:
    if live is None:
        return [Drift(Plane.OBJECTS, Difference.MISSING, KEY)]
    found = []
    for name in FIELDS:
        value = live["data"].get(name)
        how = Difference.REMOVED if value is None else Difference.CHANGED
        place: tuple[Any, ...] = ("data", name)
        found.append(
            Drift(Plane.OBJECTS, how, KEY, f"data.{name}", "plain", value, None, "v1", place=place)
        )
    return found


def _truth(history: History) -> list[tuple[str, str]]:
    if history.live is None:
        return [history.deleted]
    return [history.truth[name] for name in FIELDS]


def _judge(told: Drift, truth: tuple[str, str]) -> str:
    found = told.attribution
    if found.actor is None:
        return "nobody"
    right = (found.actor.user, found.actor.audit_id) == truth
    if found.confidence is Confidence.CERTAIN:
        return "certain" if right else "WRONG CERTAIN"
    return "likely" if found.actor.user == truth[0] else "wrong likely"


def _histories(number: int, folder: Path, *, spoil: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in range(number):
        chance = random.Random(seed)  # noqa: S311  # to be had again
        history = History(chance)
        history.run(chance.randrange(3, 25))
        live = history.object()
        read_at = history.read()
        place = Path(tempfile.mkdtemp(dir=folder))
        if spoil:
            log = spoiled(history.lines, place, chance)
        else:
            log = place / "audit.log"
            log.write_bytes(b"".join(one + b"\n" for one in history.lines))
        lives = {} if live is None else {KEY: live}
        told, text = attribute(
            _drifts(live), lives, app_manager="opslib-shop", log=log, read_at=read_at
        )
        for one, truth in zip(told, _truth(history), strict=True):
            verdict = _judge(one, truth)
            counts[verdict] += 1
            if verdict == "WRONG CERTAIN":
                print(f"seed {seed}: {one.path} {one.attribution} but {truth}; {text}")
        shutil.rmtree(place)
    return counts


def test_a_whole_log(tmp_path: Path) -> None:
    """With a whole log nearly everything is certain, and all of that is right."""
    counts = _histories(300, tmp_path, spoil=False)
    print(f"\nwhole logs: {dict(counts)}")
    assert not counts["WRONG CERTAIN"]
    assert counts["certain"] > 0.9 * counts.total()


def test_spoiled_logs(tmp_path: Path) -> None:
    """However a log is cut, torn, rotated, doubled or out of order: nothing certain is wrong."""
    counts = _histories(1200, tmp_path, spoil=True)
    print(f"\nspoiled logs: {dict(counts)}")
    assert not counts["WRONG CERTAIN"]
    assert counts["certain"] > 0.2 * counts.total()
