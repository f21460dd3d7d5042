"""A review starts from the last one: what is new, what is gone, what was decided."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opslib.core.clock import stamp
from opslib.drift.find import Found
from opslib.drift.model import Decision, Disposition, Drift
from opslib.drift.order import is_decided
from opslib.drift.remember import decided, remember, resolved
from opslib.drift.review import Taken

from .made import ADMIN, IMAGE, OWNER, REPLICAS, review


def _taken(app: str, *drifts: Drift) -> Taken:
    """Return a review of now as it is taken; its plan is not looked at here."""
    planned: Any = SimpleNamespace()
    return Taken(review(*drifts, app=app, taken_at=stamp()), planned, Found(drifts))


def test_the_next_review_starts_from_the_last() -> None:
    """New, still there and gone are told; a decision is found again; what came back is open."""
    app = f"remember-{uuid.uuid4().hex[:8]}"
    first = remember(_taken(app, REPLICAS, IMAGE, OWNER))
    assert first.sentences()[0] == "This is the first review of this app from here."
    answer = Decision(Disposition.ADOPT, "ada", stamp(), "it is right")
    decided(app, "uid", [replace(IMAGE, decision=answer)])
    back = Decision(Disposition.REVERT, "ada", stamp())
    decided(app, "uid", [replace(REPLICAS, decision=back)])
    resolved(app, "uid", [REPLICAS], stamp())
    second = remember(_taken(app, REPLICAS, IMAGE, ADMIN))
    assert second.last is not None
    assert (len(second.last.new), len(second.last.still)) == (2, 1)
    assert second.gone == (f"{OWNER.key} {OWNER.path}: gone",)
    found = {one.id: one for one in second.taken.review.drifts}
    assert found[IMAGE.id].decision == answer
    assert "adopt was decided" in found[IMAGE.id].note
    assert found[IMAGE.id].first_seen < second.taken.review.taken_at
    assert [is_decided(found[one.id]) for one in (IMAGE, REPLICAS, ADMIN)] == [True, False, False]
    assert "2 new, 1 still there, 1 gone" in second.sentences()[0]
    assert "settled after" in second.sentences()[1]


def test_a_review_of_another_commit_is_not_noted() -> None:
    """What is pending at a newer commit would else look like drift that came and went."""
    app = f"remember-{uuid.uuid4().hex[:8]}"
    remember(_taken(app, REPLICAS))
    other = remember(_taken(app, IMAGE), note=False)
    assert other.last is None
    third = remember(_taken(app, REPLICAS))
    assert third.last is not None
    assert (third.last.new, third.last.gone) == ((), ())


def test_a_review_goes_on_without_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state folder that cannot be written is a warning, before and after what was decided."""
    (tmp_path / "drift").write_text("not a folder")
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path))
    found = remember(_taken("remember", REPLICAS))
    assert [one.id for one in found.taken.review.drifts] == [REPLICAS.id]
    assert "cannot be kept" in found.warnings[0]
    answer = Decision(Disposition.REVERT, "ada", stamp())
    assert "cannot be kept" in decided("remember", "uid", [replace(IMAGE, decision=answer)])[0]
    assert "cannot be kept" in resolved("remember", "uid", [IMAGE], stamp())[0]
