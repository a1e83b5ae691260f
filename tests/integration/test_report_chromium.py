"""The page in a real browser: every figure is drawn, and the console stays empty."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from report_made import MADE, made_record, made_rows, made_view
from voxstrata.report.page import page_html

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(BROWSERS)})")
    return found


def open_page(browser: str, page: Path, profile: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what they wrote to the console."""
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--no-first-run"),
            *(f"--user-data-dir={profile}", "--window-size=1400,3000"),
            *("--virtual-time-budget=20000", "--enable-logging=stderr", "--v=0"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


HOSTILE: list[tuple[str, int, int, list[str] | None]] = [
    ("</script><script>document.title='owned'</script>", 2, 4, ["<b>x</b>", "'\"&"]),
    ("<img src=x onerror=document.title='owned'>", 3, 4, None),
]


@pytest.mark.parametrize(
    ("name", "models", "charts"),
    [
        # one matrix, one a model of two or more layers, one a pair, one a model, one profile
        ("typical", MADE, 1 + 4 + 10 + 5 + 1),
        ("one-model", MADE[:1], 1 + 1 + 1),
        ("one-layer", MADE[4:], 1),
        ("hostile", HOSTILE, 1 + 2 + 1 + 2 + 1),
    ],
)
def test_figures_are_drawn_without_complaint(
    browser: str, tmp_path: Path, name: str, models: list, charts: int
) -> None:
    rows = made_rows(models)
    rows[0] = replace(rows[0], ci_low=None, ci_high=None)
    rows[-1] = replace(rows[-1], value=float("nan"), ci_low=None, ci_high=None)
    page = tmp_path / f"{name}.html"
    page.write_text(page_html(made_view(tmp_path / "made", rows, made_record(models))), "utf-8")
    document, console = open_page(browser, page, tmp_path / "profile")
    assert console == []
    assert 'data-drawn="yes"' in document
    body = re.sub(r"<script.*?</script>", "", document, flags=re.S)
    assert "could not be drawn" not in body
    assert body.count("<canvas") == charts
    assert "<title>owned" not in document
