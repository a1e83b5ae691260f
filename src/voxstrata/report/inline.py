"""Figures that stand inside the page as pictures, the same as the files for print."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
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

    from voxstrata.report.figures import STYLE, drawn_box, drawn_once

    buffer = io.BytesIO()
    with style.context(["default", STYLE, FONTS]):
        figure = draw()
        # Browsers set text wider than matplotlib measures it.
        box = drawn_box(figure).padded(0.12)
        with drawn_once(figure):
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
    """The same drawing in fewer bytes.

    Places are rounded to 1/100 point; metadata, line ends and names of groups go; styles that stand
    there several times become classes.
    """

    def short(found: re.Match[str]) -> str:
        return f' {found[1]}="{_LONG.sub(_rounded, found[2])}"'

    text = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    text = re.sub(r"^.*?(?=<svg )", "", text, flags=re.DOTALL)  # prolog and document type
    text = re.sub(r">\s+<", "><", _PLACES.sub(short, text))
    text = re.sub(r'(?<= d=")[^"]*', lambda found: " ".join(found[0].split()), text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' transform="rotate\(-?0(?:\.0+)? [^)]*\)"', "", text)
    return _classes(text)


def _classes(svg: str) -> str:
    """Styles of single elements that stand there several times, as classes."""
    counts = Counter(re.findall(r' style="([^"]*)"', svg))
    names = {style: f"s{i}" for i, (style, n) in enumerate(counts.items()) if n > 1}
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())

    def named(found: re.Match[str]) -> str:
        name = names.get(found[1])
        return found[0] if name is None else f' class="{name}"'

    return re.sub(r' style="([^"]*)"', named, svg.replace("</style>", f"{rules}</style>", 1))


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
