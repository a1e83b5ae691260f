"""One page of every kind, made once, and a browser that lets no request out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browser.kinds import draw

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

BROWSERS = ("chromium", "chromium-browser")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
CHECKS = Path(__file__).parent / "checks.js"
READY = "document.documentElement.dataset.drawn === 'yes' || !document.querySelector('.chart')"


@dataclass
class Opened:
    """A page in a tab, and what went wrong in it.

    Attributes:
        tab: the tab.
        folder: results folder of the page.
        console: warnings and errors of the console, and errors that nobody caught.
        requests: what the page asked for beyond itself.
    """

    tab: Tab
    folder: Path
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def drawn(self) -> None:
        """Wait until no figure is being drawn."""
        self.tab.wait_for_function(READY)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Chromium of the system: Playwright's own would have to be downloaded."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(BROWSERS)})")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a kind, drawn when it is first asked for."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind) / "out"
            made[kind] = draw(kind, folder)
        return made[kind]

    return of


@pytest.fixture
def visit(chromium: Browser, pages: Callable[[str], Path]) -> Iterator[Callable[..., Opened]]:
    """Open the page of a kind from its file; further words go to the browser's context."""
    with _contexts(chromium) as context:

        def open_page(kind: str, **options: Any) -> Opened:
            page = pages(kind)
            held = context(viewport={"width": 1280, "height": 900}, **options)
            opened = Opened(held.new_page(), page.parent)
            tab = opened.tab
            tab.on("console", lambda said: _heard(opened, said))
            tab.on("pageerror", lambda error: opened.console.append(str(error)))

            def routed(route: Any) -> None:
                address = route.request.url
                if address == page.as_uri():
                    route.continue_()
                else:
                    opened.requests.append(address)
                    route.abort()

            tab.add_init_script(path=CHECKS)
            tab.route("**/*", routed)
            tab.goto(page.as_uri())
            opened.drawn()
            return opened

        yield open_page


def _heard(opened: Opened, said: Any) -> None:
    if said.type in ("error", "warning"):
        opened.console.append(f"{said.type}: {said.text}")


@contextmanager
def _contexts(browser: Browser) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def context(**options: Any) -> Any:
        made.append(browser.new_context(**options))
        return made[-1]

    yield context
    for one in made:
        one.close()
