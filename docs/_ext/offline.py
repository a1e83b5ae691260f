"""Every built page is searched for what a browser would fetch from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# `href` of these is only followed when a reader clicks or a program asks.
LINKS = {"a", "area"}
LINK_RELATIONS = {"canonical", "author", "license", "next", "prev", "index", "search", "help"}
FETCHING = {"src", "srcset", "href", "data", "poster", "action", "xlink:href", "background"}
ELSEWHERE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        given = {name: value or "" for name, value in attrs}
        self.found += styles(given.get("style", ""))
        if tag in LINKS or (tag == "link" and set(given.get("rel", "").split()) & LINK_RELATIONS):
            return
        for name in FETCHING & set(given):
            parts = given[name].split(",") if name == "srcset" else [given[name]]
            self.found += [part.strip() for part in parts if ELSEWHERE.match(part)]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += styles(data)


def styles(text: str) -> list[str]:
    """Addresses elsewhere that a style sheet would fetch."""
    named = (a or b for a, b in IN_STYLE.findall(text))
    return [address for address in named if ELSEWHERE.match(address)]


def outside(page: str) -> list[str]:
    """Addresses elsewhere that a page of HTML would fetch by being opened.

    Args:
        page: the HTML.

    Returns:
        the addresses, in order of appearance; links that a reader may follow are none of them.
    """
    parser = _Page()
    parser.feed(page)
    parser.close()
    return parser.found


def check(app: Sphinx, error: Exception | None) -> None:
    """Warn of every page and style sheet that would fetch something from elsewhere."""
    if error is not None or app.builder.format != "html":
        return
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    for file in sorted(Path(app.outdir).rglob("*")):
        search = {".html": outside, ".css": styles}.get(file.suffix)
        for address in search(file.read_text("utf-8")) if search else ():
            logger.warning("%s fetches %s", file.relative_to(app.outdir), address)


def setup(app: Sphinx) -> dict[str, bool]:
    """Check when a build is done; called by Sphinx."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
