"""Every kind of page in Chromium: quiet, self-contained, reached by keyboard, dark, on paper."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from browser.kinds import KINDS

if TYPE_CHECKING:
    from browser.conftest import Opened

Visit = Callable[..., "Opened"]

PAPER = 718
"""Pixels of A4 between margins of 1 cm."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_quiet_named_and_reached_by_keyboard(visit: Visit, kind: str) -> None:
    opened = visit(kind)
    tab = opened.tab
    levels = tab.evaluate("checks.headings()")
    assert levels[0][0] == 1
    assert sum(level == 1 for level, _ in levels) == 1
    assert [b for a, b in pairwise(levels) if b[0] > a[0] + 1] == [], levels
    assert all(text for _, text in levels)
    assert tab.evaluate("checks.nameless()") == []

    stops = tab.evaluate("checks.stops()")
    for _ in range(len(stops) + 10):
        tab.keyboard.press("Tab")
    reached = tab.evaluate("window.reached")
    order = list(dict.fromkeys(at for at, _ in reached))
    assert [stops[at] for at in range(len(stops)) if at not in order] == []
    assert order == sorted(order)
    assert [stops[at] for at, ringed in reached if not ringed] == []

    assert opened.console == []
    assert opened.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_follows_the_system_and_prints_whole(visit: Visit, kind: str) -> None:
    opened = visit(kind, color_scheme="dark")
    tab = opened.tab
    assert tab.evaluate("checks.luminance('backgroundColor')") < 0.2
    assert tab.evaluate("checks.luminance('color')") > 0.7
    tab.emulate_media(color_scheme="light")
    opened.drawn()
    assert tab.evaluate("checks.luminance('backgroundColor')") > 0.9
    assert tab.evaluate("checks.luminance('color')") < 0.3

    tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    # Paper tells the scripts nothing of its width: what is drawn must shrink.
    tab.evaluate("addEventListener('resize', (e) => e.stopImmediatePropagation(), true)")
    tab.emulate_media(media="print", color_scheme="dark")
    tab.set_viewport_size({"width": PAPER, "height": 1000})
    assert tab.evaluate("checks.luminance('backgroundColor')") > 0.9
    assert tab.evaluate("checks.luminance('color')") < 0.3
    assert tab.evaluate("checks.visible('.bar, .tools, .skip, #tip')") == []
    assert tab.evaluate("checks.cut()") == []
    assert opened.console == []
    assert opened.requests == []


def test_a_hostile_name_does_nothing(visit: Visit) -> None:
    opened = visit("hostile")
    tab = opened.tab
    assert tab.evaluate("window.owned") is None
    assert "<b>x</b>" in tab.locator("main").inner_text()
    assert tab.locator("main b:text-is('x')").count() == 0
    assert opened.console == []
    assert opened.requests == []


def test_what_is_wrong_would_be_found(visit: Visit) -> None:
    opened = visit("pruning")
    tab = opened.tab
    assert tab.evaluate("checks.nameless().length + checks.cut().length") == 0
    tab.evaluate(
        """document.querySelector("main").insertAdjacentHTML("beforeend", `<canvas></canvas>
        <img src="data:,"><button></button><table></table><div style="width: 9000px">wide</div>
        <div style="overflow: hidden; height: 5px">cut<br>below</div>`)"""
    )
    assert len(tab.evaluate("checks.nameless()")) == 4
    assert any("beyond the edge" in line for line in tab.evaluate("checks.cut()"))
    assert any("cut below" in line for line in tab.evaluate("checks.cut()"))
    tab.add_style_tag(content="* { outline: none !important; }")
    tab.evaluate("checks.stops()")
    tab.keyboard.press("Tab")
    assert tab.evaluate("window.reached") == [[0, False]]


def test_requests_and_complaints_would_be_seen(visit: Visit) -> None:
    opened = visit("pruning")
    opened.tab.evaluate("console.error('made'); setTimeout(() => { throw Error('thrown'); })")
    opened.tab.evaluate("document.body.append(Object.assign(new Image(), { src: 'a.png' }))")
    opened.tab.wait_for_timeout(100)
    assert "error: made" in opened.console
    assert any("thrown" in line for line in opened.console)
    # The page's own policy stops it before it becomes a request.
    assert any("Content Security Policy" in line for line in opened.console)
    assert opened.requests == []
