"""The form of a review's answers in JupyterLab: one row per difference, and many at once.

Every part is a native field with a label, in the order of reading: Tab goes on, Space selects,
letters and arrows choose. A page has 20 rows whatever the review's size; its widgets are made once.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from opslib.drift.choices import ANSWERS, would
from opslib.drift.model import Disposition, Drift
from opslib.drift.order import WEIGHTS, Group, grouped, kind_of_actor, weight, when, who
from opslib.view import drift as page
from opslib.view.text import clean

ROWS = 20
_OPTIONS = [("open", Disposition.OPEN), *((str(one), one) for one in ANSWERS)]
_STYLE = {"description_width": "initial"}
_DAY = "2027-01-31"


class Form:
    """Shows the differences in pages, and puts what is chosen into the answers."""

    def __init__(self, answers: Any) -> None:
        self.answers = answers
        self.found: list[Group] = []
        self.start = 0
        self.selected: set[str] = set()
        self._texts = {one.id: _words(one) for one in answers.review.drifts}
        self._rows = [_Row(self) for _ in range(min(ROWS, len(answers.review.drifts)))]
        self._said = w.HTML()
        self._find = w.Text(
            description="Find",
            placeholder="words: an object, a field, a person",
            continuous_update=False,
            layout={"width": "24em"},
            style=_STYLE,
        )
        self._find.observe(lambda _: self._search(), names="value")
        self._before = self._button("Page before", lambda: self._turn(-ROWS))
        self._next = self._button("Next page", lambda: self._turn(ROWS))
        self._place = w.HTML()
        self.box = w.VBox([self._head(), *(one.box for one in self._rows), self._foot()])
        self._search()

    def _head(self) -> Any:
        self._many = _Fields("Answer for the selected")
        press = self._button("Answer the selected", self._answer_many)
        every = self._button("Select all that are found", self._select_all)
        text = (
            "<p>Answer row by row, or select several and answer them at once. Nothing happens "
            "before the gate below. Then run the next cell.</p>"
        )
        line = {"flex_flow": "row wrap", "align_items": "center"}
        many = w.HBox([every, *self._many.fields, press], layout=line)
        return w.VBox([w.HTML(page.style() + text), self._find, many, self._said])

    def _foot(self) -> Any:
        return w.HBox([self._before, self._place, self._next], layout={"align_items": "center"})

    @staticmethod
    def _button(name: str, work: Any) -> Any:
        one = w.Button(description=name, layout={"width": "auto"})
        one.on_click(lambda _: work())
        return one

    def _search(self) -> None:
        words = self._find.value.lower().split()
        drifts = [
            one
            for one in self.answers.review.drifts
            if all(word in self._texts[one.id] for word in words)
        ]
        self.found = grouped(drifts, alike_from=page.ALIKE_FROM)
        self.start = 0
        self.draw()

    def _turn(self, rows: int) -> None:
        if 0 <= self.start + rows < len(self.found):
            self.start += rows
            self.draw()

    def _select_all(self) -> None:
        names = {one.first.id for one in self.found}
        self.selected = set() if names <= self.selected else self.selected | names
        self.draw()

    def _answer_many(self) -> None:
        drifts = [d for g in self.found if g.first.id in self.selected for d in g.drifts]
        if not drifts:
            self.say("Nothing is selected.", wrong=True)
            return
        answer, reason, until = self._many.values
        problem = self.answers.answer(drifts, answer, reason=reason, until=until)
        if not problem:
            self.selected.clear()
            self._many.show(Disposition.OPEN, "", "")
        self.draw(problem)

    def draw(self, problem: str = "") -> None:
        """Show the page as it is now, and how the answers stand."""
        part = self.found[self.start : self.start + ROWS]
        for number, row in enumerate(self._rows):
            row.show(part[number] if number < len(part) else None)
        last = self.start + len(part)
        self._place.value = f"{self.start + 1 if part else 0} to {last} of {len(self.found)}"
        self._before.disabled = self.start == 0
        self._next.disabled = last >= len(self.found)
        self.say(problem or f"{self.answers.sentence()}.", wrong=bool(problem))

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Tell how it stands; a screen reader says it when it changes."""
        mark = "Not yet: " if wrong else ""
        self._said.value = f'<p role="status"><b>{html.escape(mark + text)}</b></p>'


class _Fields:
    """The fields of one answer: which, until when, why; the last two only where they count."""

    def __init__(self, name: str) -> None:
        self.answer = w.Dropdown(
            options=_OPTIONS, description=name, style=_STYLE, layout={"width": "auto"}
        )
        text: dict[str, Any] = {"continuous_update": False, "style": _STYLE}
        self.until = w.Text(description="until", placeholder=_DAY, layout={"width": "11em"}, **text)
        self.reason = w.Text(
            description="because", placeholder="a reason", layout={"width": "24em"}, **text
        )
        self.fields = [self.answer, self.until, self.reason]
        self.answer.observe(lambda _: self._fit(), names="value")
        self._fit()

    @property
    def values(self) -> tuple[Disposition, str, str]:
        """Return answer, reason and last day as they stand in the fields."""
        ignore = self.answer.value is Disposition.IGNORE
        return self.answer.value, self.reason.value, self.until.value if ignore else ""

    def show(self, answer: Disposition, reason: str, until: str) -> None:
        self.answer.value, self.reason.value, self.until.value = answer, reason, until

    def _fit(self) -> None:
        answer = self.answer.value
        self.until.layout.display = None if answer is Disposition.IGNORE else "none"
        self.reason.layout.display = "none" if answer is Disposition.OPEN else None


class _Row:
    """One row of the page: a difference or a group of alike ones, and its answer."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.group: Group | None = None
        self._drawing = False
        self.select = w.Checkbox(indent=False, layout={"width": "11em"})
        self.text = w.HTML(layout={"flex": "1 1 30em"})
        self.fields = _Fields("Answer")
        self.does = w.HTML()
        line = {"flex_flow": "row wrap", "align_items": "center"}
        self.box = w.VBox(
            [
                w.HBox([self.select, self.text], layout=line),
                w.HBox([*self.fields.fields, self.does], layout={**line, "margin": "0 0 0 11em"}),
            ],
            layout={"border_top": "1px solid #8888", "padding": "4px 0"},
        )
        self.select.observe(self._selected, names="value")
        for field in self.fields.fields:
            field.observe(self._answered, names="value")

    def show(self, group: Group | None) -> None:
        """Show another group, or nothing."""
        self.group = group
        self.box.layout.display = "none" if group is None else None
        if group is None:
            return
        one = group.first
        told = self.form.answers.of(one)
        self._drawing = True
        try:
            self.select.description = f"select {one.id[:8]}"
            self.select.value = one.id in self.form.selected
            self.text.value = _summary(group)
            self.fields.answer.description = f"Answer {one.id[:8]}"
            self.fields.show(told.disposition, told.reason, told.until)
            self._tell(told.disposition)
        finally:
            self._drawing = False

    def _selected(self, change: Any) -> None:
        if self._drawing or self.group is None:
            return
        name = self.group.first.id
        (self.form.selected.add if change["new"] else self.form.selected.discard)(name)

    def _answered(self, _: Any) -> None:
        if self._drawing or self.group is None:
            return
        answer, reason, until = self.fields.values
        drifts = self.group.drifts
        problem = self.form.answers.answer(drifts, answer, reason=reason, until=until)
        self._tell(answer, problem)
        self.form.say(f"{self.form.answers.sentence()}.")

    def _tell(self, answer: Disposition, problem: str = "") -> None:
        assert self.group is not None  # noqa: S101  # a row without a group is hidden
        does = would(self.group.first, answer)
        many = f" ({len(self.group)} alike)" if len(self.group) > 1 else ""
        text = f"Not yet: {problem}" if problem else f"{does}{many}"
        hidden = answer is Disposition.OPEN and not problem
        self.does.value = "" if hidden else html.escape(clean(text))


def _summary(group: Group) -> str:
    one = group.first
    sides = [f"<code>{page.esc(text)}</code>" for text in page.pair(one.declared, one.live)]
    values = f" &nbsp; {' → '.join(sides)}" if one.path and one.difference != "added" else ""
    told = (
        f"{who(one)}, since {when(one)}" if who(one) != "unknown" else "nobody knows who, or when"
    )
    person = "a person: " if one.attribution.person else ""
    mark = f'<span class="mark">{WEIGHTS[weight(one)]}</span>'
    return (
        f'<div class="drift">{mark} {page.what_html(group)}{values}<br>'
        f"<span class='soft'>{page.esc(person + told)}</span></div>"
    )


def _words(one: Drift) -> str:
    parts: Sequence[str] = (
        *(one.id, str(one.key), one.path, who(one), kind_of_actor(one)),
        *(str(one.difference), WEIGHTS[weight(one)], str(one.plane)),
    )
    return " ".join(parts).lower()
