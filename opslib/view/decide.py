"""The answers to a review: a form in JupyterLab, a parameter elsewhere, the same table in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from opslib.core.errors import InputError
from opslib.drift.choices import ANSWERS, decide, decided, would
from opslib.drift.model import UNDECIDED, Decision, Disposition, Drift, Review
from opslib.drift.order import Group, ordered
from opslib.runbook import facts
from opslib.runbook.gates import person
from opslib.view import show
from opslib.view.drift import display, esc, groups_of, paged, what_html
from opslib.view.text import clean

if TYPE_CHECKING:
    from opslib.drift.carry import Acts

_MOST_DIFF = 20_000
_HEAD = {"id": 11, "what": 33, "revert": 28, "adopt": 28}


class Answers:
    """What is decided about the differences of one review, while somebody decides."""

    def __init__(self, review: Review, given: str = "", by: str = "") -> None:
        """``given`` is a text of decisions or the file of one; raises Problems for a bad one."""
        self.review = review
        self.by = by or person()
        self.decisions: dict[str, Decision] = decide(given, review.drifts, by=self.by)

    def of(self, one: Drift) -> Decision:
        """Return the decision about a difference: of now, else UNDECIDED."""
        return self.decisions.get(one.id, UNDECIDED)

    def answer(
        self, drifts: Iterable[Drift], answer: Disposition, *, reason: str = "", until: str = ""
    ) -> str:
        """Answer some differences alike; return why that cannot be, or ""."""
        ids = [one.id for one in drifts]
        for name in ids:
            self.decisions.pop(name, None)
        if answer is Disposition.OPEN:
            return ""
        try:
            decision = decided(answer, by=self.by, reason=reason, until=until.strip())
        except InputError as error:
            return f"{error.what}; expected {error.expected}"
        self.decisions.update(dict.fromkeys(ids, decision))
        return ""

    @property
    def drifts(self) -> list[Drift]:
        """Return the differences that are decided, with their decisions, in order."""
        chosen = (one for one in self.review.drifts if one.id in self.decisions)
        return [replace(one, decision=self.decisions[one.id]) for one in ordered(chosen)]

    def ids(self, answer: Disposition) -> list[str]:
        """Return the ids that have one answer, in the review's order."""
        return [one.id for one in self.drifts if one.decision.disposition is answer]

    def sentence(self) -> str:
        """Count the answers: 2 to revert, 1 to adopt, 11 open."""
        counts = Counter(one.disposition for one in self.decisions.values())
        parts = [f"{counts[one]} to {one}" for one in ANSWERS if counts[one]]
        left = len(self.review.drifts) - len(self.decisions)
        return ", ".join([*parts, f"{left} open"])


def form(answers: Answers) -> None:
    """Ask for an answer to each difference; where nobody can answer, show what each would do."""
    if not answers.review.drifts:
        show.say("There is nothing to decide.", "good")
        return
    groups = groups_of(answers.review.drifts)
    others = (
        f"<p><b>{each}</b>: {would(answers.review.drifts[0], each)}.</p>"
        for each in (Disposition.IGNORE, Disposition.ESCALATE)
    )
    page = "".join(others) + paged(
        groups, {"id": 11, "what": 33, "revert": 28, "adopt": 28}, _choices, "answers"
    )
    plain = "\n".join(f"{one.first.id[:8]} {clean(str(one.first.key))}" for one in groups[:50])
    if facts.context().interactive:
        from opslib.view.decideform import Form  # noqa: PLC0415  # 0.2 s that only JupyterLab pays
        from opslib.view.drift import style  # noqa: PLC0415  # beside its only use

        show.widget(Form(answers).box, f'{style()}<div class="drift">{page}</div>')
    else:
        display(page, plain)


def _choices(group: Group) -> str:
    one = group.first
    many = f"<br><span class='soft'>{len(group)} alike</span>" if len(group) > 1 else ""
    return (
        f"<tr><td><code>{one.id[:8]}</code></td><td>{what_html(group)}{many}</td>"
        f"<td>{esc(would(one, Disposition.REVERT))}</td>"
        f"<td>{esc(would(one, Disposition.ADOPT))}</td></tr>"
    )


def preview(answers: Answers, acts: Acts) -> None:
    """Show what is decided, by whom and why, what it will do, and what cannot be done."""
    show.say(f"Decided: {answers.sentence()}.", "note" if acts.decided else "bad")
    if not acts.decided:
        return
    head = {"answer": 16, "what": 32, "because": 20, "what it does": 32}
    rows = [Group((one,)) for one in acts.decided]
    page = paged(rows, head, partial(_decided, acts), "decisions")
    diff = acts.proposal.diff if acts.proposal else ""
    if diff:
        cut = diff if len(diff) <= _MOST_DIFF else f"{diff[:_MOST_DIFF]}\n… more"
        page += f"<p>The commit that adopts:</p><pre>{esc(cut)}</pre>"
    said = [_sentence(same) for same in acts.alike]
    plain = [*said, *acts.consequences, diff]
    display("".join(f"<p>{esc(line)}</p>" for line in said) + page, clean("\n".join(plain)))
    for line in acts.proposal.warnings if acts.proposal else ():
        show.say(clean(f"Adopting: {line}"), "bad")


def _sentence(same: list[Drift]) -> str:
    """Say one answer with its reason, and of how many differences it is."""
    told = same[0].decision
    until = f" until {told.until}" if told.until else ""
    why = f": {told.reason}" if told.reason else ""
    return f"{len(same)} to {told.disposition}{until}, by {told.by}{why}"


def _decided(acts: Acts, group: Group) -> str:
    one = group.first
    told = one.decision
    until = f"<br>until {esc(told.until)}" if told.until else ""
    does = acts.problems.get(one.id) or would(one, told.disposition)
    cells = [
        f"<td><b>{told.disposition}</b>{until}<br><code>{one.id[:8]}</code></td>",
        f"<td>{what_html(group)}</td>",
        f"<td>{esc(told.reason)}<br><span class='soft'>{esc(told.by)}</span></td>",
        f"<td>{esc(does)}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def done(name: str, result: Mapping[str, Any]) -> None:
    """Tell what an answer did, and what a person does next."""
    made = f"committed to {result['branch']}; next: " if result.get("branch") else ""
    text = f"{name}: {made}{result.get('next') or ''}"
    show.say(clean(text), "good" if result.get("ok", True) else "bad")
    for line in result.get("warnings") or ():
        show.say(clean(line), "bad")
    for row in result.get("refused") or ():
        show.say(clean(f"{row['object']} {row['path']}: {row['why']}"), "bad")
    for row in result.get("failures") or ():
        show.say(clean(f"{row['object']}: {row['what']}"), "bad")


def verified(found: Mapping[str, Any] | None) -> None:
    """Tell what the cluster says after a revert."""
    if found is None:
        show.say("Nothing was written to the cluster, so there is nothing to look at again.")
    else:
        show.say(clean(f"{found['sentence']}."), "good" if found["ok"] else "bad")
