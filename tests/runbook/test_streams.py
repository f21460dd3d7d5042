"""What a cell printed, as the record keeps it."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from opslib.runbook.streams import clean, join


def piece(name: str, text: str) -> dict[str, str]:
    """Return one stream output."""
    return {"output_type": "stream", "name": name, "text": text}


def test_neighbours_are_joined_and_order_is_kept() -> None:
    """Pieces of one stream become one; the order of stdout and stderr stays."""
    found = join([piece("stdout", "a"), piece("stdout", "b\n"), piece("stderr", "c")])
    assert [(one["name"], one["text"]) for one in found] == [("stdout", "ab\n"), ("stderr", "c")]
    other = {"output_type": "display_data", "data": {}}
    assert len(join([piece("stdout", "a"), other, piece("stdout", "b")])) == 3


def test_progress_bars_leave_their_last_state() -> None:
    """Returns overwrite, backspaces take back, line ends of Windows stay."""
    assert clean("10%\r50%\r100%\ndone\r\n") == "100%\ndone\r\n"
    assert clean("ab\b\bc\n\bd") == "c\n\bd".replace("\b", "")


def test_a_long_line_takes_no_time() -> None:
    """Two megabytes on one line are cleaned in linear time."""
    begun = time.process_time()
    clean("x" * 2_000_000 + "\r" + "y" * 2_000_000)
    assert time.process_time() - begun < 1.0


@given(st.text(alphabet="ab \n"))
def test_plain_text_is_not_changed(text: str) -> None:
    """Text without control characters stays as it was printed."""
    assert clean(text) == text
