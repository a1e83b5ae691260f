"""Pictures inside the page: small, and the same drawing."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from report_reading import HOSTILE
from voxstrata.report.inline import inline, slim


def drawn() -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0.123456, 0.5, 0.25], label=HOSTILE)
    axes.set_xticks([0, 1], ["0.12345", '0.5 d="1.23456"'])
    axes.legend()
    return figure


def test_a_picture_is_well_formed_and_keeps_its_words() -> None:
    made = inline(drawn, "alt", "caption")
    assert (made["alt"], made["caption"]) == ("alt", "caption")
    text = base64.b64decode(made["address"].partition(",")[2]).decode("utf-8")
    tree = ElementTree.fromstring(text)
    words = {"".join(e.itertext()) for e in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"0.12345", HOSTILE} <= words
    assert "Lucida" not in text
    assert "<metadata" not in text


def test_places_are_rounded_and_nothing_else() -> None:
    svg = (
        '<svg><metadata>\n<a/></metadata>\n <path d="M 1.23456 -0.00123 L 10.5 2" '
        'transform="scale(0.00123)" style="stroke-width: 0.123456"/>'
        '<text x="3.14159">1.23456</text>'
        "</svg>"
    )
    assert slim(svg) == (
        '<svg><path d="M 1.23 -0 L 10.5 2" transform="scale(0.00123)" '
        'style="stroke-width: 0.123456"/><text x="3.14">1.23456</text></svg>'
    )


def test_places_move_less_than_can_be_seen() -> None:
    long = '<svg><path d="M 63.507812 42.915 L 86.0893 -45.0749 Z"/></svg>'
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", long)]
    short = [float(n) for n in re.findall(r"-?\d+\.\d+", slim(long))]
    assert len(short) == len(numbers)
    assert all(abs(a - b) <= 0.00501 for a, b in zip(numbers, short, strict=True))


def test_styles_that_stand_twice_become_classes_and_groups_lose_their_names() -> None:
    svg = (
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "y"><svg ><defs><style>*{a: b}</style>'
        '<path id="m1"/></defs><g id="axes_1"><path style="fill: red" d="M 0 0\nL 1 1\n"/>'
        '<path style="fill: red"/><text style="fill: blue" transform="rotate(-0 1.5 2.5)">M 0\n1'
        '</text><use href="#m1"/></g></svg>'
    )
    assert slim(svg) == (
        '<svg ><defs><style>*{a: b}.s0{fill: red}</style><path id="m1"/></defs><g>'
        '<path class="s0" d="M 0 0 L 1 1"/><path class="s0"/><text style="fill: blue">M 0\n1</text>'
        '<use href="#m1"/></g></svg>'
    )
