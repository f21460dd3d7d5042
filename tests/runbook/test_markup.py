"""Text of a notebook as HTML: what a picture in Markdown may be."""

from __future__ import annotations

import base64
from pathlib import Path

from opslib.runbook import markup

DOT = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
    )
).decode()


def test_a_picture_comes_from_the_cells_attachments() -> None:
    """An attachment is in the page itself; one that is missing shows the words, not an error."""
    attached = {"dot.png": {"image/png": DOT}}
    page = markup.markdown("![a dot](attachment:dot.png)", attached)
    assert f"data:image/png;base64,{DOT}" in page
    words = markup.markdown("before <b> ![a dot](attachment:gone.png)", attached)
    assert words == "<pre>before &lt;b&gt; ![a dot](attachment:gone.png)</pre>"


def test_no_file_of_the_machine_comes_into_the_page(tmp_path: Path) -> None:
    """What a cell puts out may name any file: the name is shown as it is, its content is not."""
    path = tmp_path / "dot.png"
    path.write_bytes(base64.b64decode(DOT))
    for name in (str(path), path.as_uri(), "../dot.png"):
        page = markup.markdown(f"![a dot]({name})")
        assert DOT not in page
        assert "base64" not in page
