"""Figures that stand inside the page as pictures, the same as the files for print."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = {"font.sans-serif": ["DejaVu Sans", "Verdana"]}
"""Matplotlib's own list of eleven stands in every word of a figure: half of its bytes."""

_PLACES = re.compile(r' (d|x|y|points)="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")

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
    with style.context(["default", STYLE, FONTS]):
        figure = draw()
        # Browsers set text wider than matplotlib measures it.
        box = drawn_box(figure).padded(0.12)
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches=box)
    text = slim(buffer.getvalue().decode("utf-8"))
    data = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return {
        "address": f"data:image/svg+xml;base64,{data}",
        "alt": alt,
        "caption": caption,
        "width": f"{box.width * PIXELS:.0f}",
    }


def slim(svg: str) -> str:
    """The same drawing in fewer bytes: places to 1/100 point, no metadata, no line ends."""

    def short(found: re.Match[str]) -> str:
        return f' {found[1]}="{_LONG.sub(_rounded, found[2])}"'

    text = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r">\s+<", "><", _PLACES.sub(short, text))


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
