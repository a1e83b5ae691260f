"""Figures that stand inside the page as pictures, the same as the files for print."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = 140
"""Of the screen, an inch of print: type of 6 points is read at 12 pixels."""


def inline(draw: Callable[[], Figure], alt: str, caption: str = "") -> dict[str, str]:
    """A figure as the macro ``drawn`` of the templates wants it.

    Args:
        draw: makes the figure.
        alt: what it shows, for those who do not see it.
        caption: stands below it.
    """
    from matplotlib import style

    from voxstrata.report.figures import STYLE, drawn_box

    buffer = io.BytesIO()
    with style.context(["default", STYLE]):
        figure = draw()
        # Browsers set text wider than matplotlib measures it.
        box = drawn_box(figure).padded(0.12)
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches=box)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {
        "address": f"data:image/svg+xml;base64,{data}",
        "alt": alt,
        "caption": caption,
        "width": f"{box.width * PIXELS:.0f}",
    }
