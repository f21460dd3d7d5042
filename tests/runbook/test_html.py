"""record.html in a real browser: it asks nobody for anything, logs nothing, and draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.runbook.outcome import RunResult

from .conftest import LOAD, code, parameters, text, write

HOSTILE = """from IPython.display import display
display({"text/html": "<b id=bold>safe</b><img src='https://example.invalid/x.png'>"}, raw=True)
display({"text/html": "<script>document.title = 'taken over'</script>",
         "text/plain": "the text of it"}, raw=True)
display({"application/javascript": "document.title = 'taken over'", "text/plain": "js"}, raw=True)
display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"},
         "text/html": "<p>Chosen: revert</p>"}, raw=True)
print("\\x1b[31mred\\x1b[0m </pre><script>document.title = 'taken over'</script>")"""
FIGURES = """import plotly.graph_objects as go
go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="</script><b>"), layout={"title": "</script>"})"""
TABLED = """trace = {"type": "bar", "x": [1], "y": [2]}
table = "<table><tr><td>two</td></tr></table>"
bundle = {"application/vnd.plotly.v1+json": {"data": [trace], "layout": {}}, "text/html": table}
display(bundle, raw=True)"""


def assets() -> str:
    """Return plotly.min.js, as the view room does."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Run one notebook with everything that is hard to show."""
    path = write(
        tmp_path_factory.mktemp("html") / "notebooks" / "page.ipynb",
        text("# Page & <i>title</i>\n\nWords."),
        parameters("image: str = 'a'\nother: int = 2"),
        LOAD,
        text("## Output"),
        code(HOSTILE),
        text("## Figures"),
        code(FIGURES),
        code(TABLED),
        code("runbook.report(revision='4f2a', cluster='<kind>')"),
        text("## Failure"),
        code("raise ValueError('it broke <here>')"),
        code("1"),
    )
    return runbook.run(path, {"image": "<b>1.10</b>"}, html_assets=assets)


class Page:
    """A loaded page with what it asked for and logged."""

    def __init__(self, chromium: Any, path: Path, scheme: str = "light") -> None:
        self.context = chromium.new_context(color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.messages: list[str] = []
        # What the page's policy stops is announced as a request too, but never finishes.
        self.page.on("requestfinished", lambda one: self.requests.append(one.url))
        self.page.on("requestfailed", self._failed)
        self.page.on("console", lambda one: self.messages.append(one.text))
        self.page.on("pageerror", lambda one: self.messages.append(str(one)))
        self.page.goto(path.as_uri())

    def _failed(self, request: Any) -> None:
        if request.failure != "csp":
            self.requests.append(request.url)

    def foreign(self) -> list[str]:
        """Return the requests that left the file."""
        return [one for one in self.requests if not one.startswith(("file:", "data:", "blob:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_draws_offline_without_a_word(chromium: Any, done: RunResult, scheme: str) -> None:
    """Figures are drawn, nothing is fetched, no script of a cell runs."""
    page = Page(chromium, done.html, scheme)
    page.page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(one => one.dataset.drawn === 'yes')"
    )
    assert page.page.locator(".plot .main-svg").count() >= 2
    assert page.foreign() == []
    blocked = [one for one in page.messages if "example.invalid" in one]
    assert page.messages == blocked, "only the planted image may be refused, by the page's policy"
    assert len(blocked) == 1
    assert page.page.title() == "Page & <i>title</i> · failed"
    assert page.page.locator("#bold").inner_text() == "safe"


def test_figures_fit_the_paper_and_the_window(chromium: Any, done: RunResult) -> None:
    """Before printing figures shrink to the paper's width; in a window they keep their height."""
    page = Page(chromium, done.html).page
    page.wait_for_selector(".plot[data-drawn]")
    sizes = "[...document.querySelectorAll('.plot')].map(one => [one.querySelector('.main-svg')"
    sizes += ".getBoundingClientRect().width, one.getBoundingClientRect().height])"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert all(width <= 680 for width, _ in page.evaluate(sizes))
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert all(width > 680 and height >= 300 for width, height in page.evaluate(sizes))


def test_results_come_first_and_failures_are_linked(chromium: Any, done: RunResult) -> None:
    """The head of the page says how it ended, where, with what values."""
    page = Page(chromium, done.html).page
    head = page.locator(".summary").inner_text()
    assert "failed" in head
    assert "it broke <here>" in head
    assert "7 of 9 cells ok" in head
    assert page.locator(".failure a").first.get_attribute("href") == "#cell-12"
    assert "“Failure”" in head
    values = page.locator(".pairs").all_inner_texts()
    assert any("<b>1.10</b>" in one for one in values)
    assert any("<kind>" in one for one in values)
    body = page.locator(".notebook").inner_text()
    for words in ("the text of it", "Chosen: revert", "red </pre><script>"):
        assert words in body
    assert page.locator("details.source[open]").count() == 0


def test_a_clean_page_has_no_message_and_no_address(chromium: Any, tmp_path: Path) -> None:
    """Without figures no script is there at all; no file of another host is named."""
    path = write(tmp_path / "notebooks" / "plain.ipynb", text("# Plain"), code("print('x')"))
    html = runbook.run(path, {}, html_assets=assets).html
    page = Page(chromium, html)
    assert (page.messages, page.foreign()) == ([], [])
    content = html.read_text(encoding="utf-8")
    assert "<script" not in content
    assert not re.findall(r"(?:src|href)=['\"]?(?:https?:)?//", content)
    assert len(content) < 40_000


def test_a_secret_that_is_a_word_of_plotly_costs_no_figure(chromium: Any, tmp_path: Path) -> None:
    """Masked is what the run put out; a script that everybody has is left as it is, and runs."""
    noted = "from opslib.core import secrecy\nsecrecy.note('second', 'key/password')"
    path = write(
        tmp_path / "notebooks" / "x.ipynb", code(noted), code(FIGURES), code("print('a second')")
    )
    done = runbook.run(path, {}, html_assets=assets)
    page = Page(chromium, done.html).page
    page.wait_for_selector(".plot[data-drawn=yes]")
    assert "a second" not in page.locator("body").inner_text()
    assert "a second" not in done.record.read_text(encoding="utf-8")


def test_without_plotly_a_figure_is_its_table(done: RunResult) -> None:
    """When no plotly.js is at hand the values are shown instead."""
    from nbformat.v4 import reads

    from opslib.runbook.html import to_html
    from opslib.runbook.manifest import surroundings

    nb = reads(done.record.read_text(encoding="utf-8"))
    content = to_html(nb, done.result, surroundings(done.record, done.folder)).text
    assert "<td>two</td>" in content
    assert "A figure that was not drawn." in content
    assert "Plotly.newPlot" not in content


def test_the_same_record_gives_the_same_page(done: RunResult) -> None:
    """Nothing random is in the page."""
    from nbformat.v4 import reads

    from opslib.runbook.html import to_html
    from opslib.runbook.manifest import surroundings

    nb = reads(done.record.read_text(encoding="utf-8"))
    around = surroundings(done.record, done.folder)
    assert to_html(nb, done.result, around, assets) == to_html(nb, done.result, around, assets)


def test_a_page_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A failing source of plotly.js costs the page, never the record."""

    def broken() -> str:
        raise OSError("no such file")

    path = write(
        tmp_path / "notebooks" / "x.ipynb",
        code("from IPython.display import display"),
        code(TABLED),
    )
    done = runbook.run(path, {}, html_assets=broken)
    assert done.outcome == "ok"
    assert "could not be made" in done.html.read_text(encoding="utf-8")
