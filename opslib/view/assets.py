"""What a record needs to be read without a network."""

from __future__ import annotations


def plotly_js() -> str:
    """Return the source of plotly.min.js, which the plotly package brings (about 4.5 MB)."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  # 0.1 s that only records pay

    return str(get_plotlyjs())
