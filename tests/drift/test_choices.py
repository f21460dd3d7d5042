"""Decisions as they are typed, or held by a file; everything wrong is told at once."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from opslib.core.clock import now
from opslib.core.errors import InputError, Problems
from opslib.drift.choices import ANSWERS, decide, would
from opslib.drift.model import Disposition

from .made import ADMIN, ALL, GONE, IMAGE, OWNER, REPLICAS

DAY = str(now().date() + timedelta(days=60))


def _answers(text: str) -> dict[str, str]:
    found = decide(text, ALL, by="ada")
    assert all(one.by == "ada" and one.at for one in found.values())
    return {name: str(one.disposition) for name, one in found.items()}


def test_a_text_of_decisions() -> None:
    """By id or its beginning, by object, by a pattern, for people's or all; the last one counts."""
    text = f"{REPLICAS.id}=revert, {OWNER.id[:5]} = Ignore until {DAY} because a, b=c; and d"
    found = decide(text, ALL, by="ada")
    assert found[REPLICAS.id].disposition is Disposition.REVERT
    assert (found[OWNER.id].until, found[OWNER.id].reason) == (DAY, "a, b=c; and d")
    both = {REPLICAS.id: "adopt", IMAGE.id: "adopt", OWNER.id: "adopt"}
    for name in ("Deployment production/api", "Deployment.apps production/a*"):
        assert _answers(f"{name}=adopt") == both
    assert set(_answers("people=revert")) == {REPLICAS.id, IMAGE.id, ADMIN.id}
    assert _answers(f"all=escalate; {GONE.id}=open; {ADMIN.id}=revert") == {
        **dict.fromkeys((REPLICAS.id, IMAGE.id, OWNER.id), "escalate"),
        ADMIN.id: "revert",
    }
    assert _answers("  ") == {}


def test_a_file_of_decisions(tmp_path: Path) -> None:
    """Lines with comments, or JSON: the same answers."""
    lines = tmp_path / "answers.txt"
    lines.write_text(f"# at night\n{REPLICAS.id}=revert\n{OWNER.id}=ignore until {DAY}: x\n")
    table = {
        REPLICAS.id: "revert",
        OWNER.id: {"disposition": "ignore", "until": DAY, "reason": "x"},
    }
    document = tmp_path / "answers.json"
    document.write_text(json.dumps(table))
    expected = {REPLICAS.id: "revert", OWNER.id: "ignore"}
    assert _answers(str(lines)) == _answers(str(document)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zzzz=revert", "no difference here is 'zzzz'"),
        ("Deployment production/apj=revert", "did you mean Deployment.apps production/api"),
        ("nonsense", "neither a decision nor a file"),
        ("all=ignore", "needs a reason"),
        ("all=ignore because x", "needs a last day"),
        ("all=ignore until 2020-01-01 because x", "2020-01-01 is over"),
        ("all=ignore until soon because x", "'soon' is no day"),
        ("all=revert until 2099-01-01", "revert has no last day"),
        ("all=revert now", "'now' is not understood"),
        ("x, all=revert", "'x' is no decision"),
        (f"all=revert because {'x' * 600}", "the reason has 600 characters"),
        ('{"all": "undo"}', "cannot be 'undo'"),
        ('{"all": ["revert"]}', "cannot be"),
        ('{"all"', "this is no JSON"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    """No decision is taken where one cannot be read or is about nothing."""
    with pytest.raises(InputError, match=words):
        decide(text, ALL, by="ada")


def test_everything_wrong_is_told_at_once() -> None:
    """A person mends the whole text in one go."""
    with pytest.raises(Problems) as caught:
        decide("zzzz=revert, all=ignore", ALL, by="ada")
    assert len(caught.value.problems) == 2


def test_each_answer_says_what_it_does() -> None:
    """One sentence each, that names the value, the object or the file."""
    told = {(one.id, answer): would(one, answer) for one in ALL for answer in ANSWERS}
    assert told[REPLICAS.id, Disposition.REVERT] == "the field goes back to 3"
    assert told[ADMIN.id, Disposition.REVERT] == "ClusterRoleBinding temporary-admin is deleted"
    assert told[GONE.id, Disposition.REVERT] == "Service production/api is created again"
    assert "puts 5 into production/api.yaml:7" in told[REPLICAS.id, Disposition.ADOPT]
    assert "takes the object out of production/service.yaml:1" in told[GONE.id, Disposition.ADOPT]
    assert all(told.values())
