"""The page in a real browser: every figure is drawn, and the console stays empty."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from report_made import MADE, made_record, made_rows, made_view
from report_made_joined import joined
from report_made_training import made_training
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


def test_a_joined_page_draws_both_parts(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(page_html(joined(tmp_path / "made")), "utf-8")
    document, console = open_page(browser, page, tmp_path / "profile")
    assert console == []
    assert 'data-drawn="yes"' in document
    body = re.sub(r"<script.*?</script>", "", document, flags=re.S)
    assert "could not be drawn" not in body
    # the matrix, best matches of the three models, three properties small and large
    assert body.count("<canvas") == 1 + 3 + 3 + 3
    assert "untrained twin of a and b" in body


USE = """
<script>
(async () => {
  const root = document.documentElement;
  const drawn = async () => {
    while (root.dataset.drawn !== "yes") await new Promise((go) => setTimeout(go, 50));
  };
  const say = (key, value) => { root.dataset[key] = JSON.stringify(value); };
  await drawn();
  const measure = document.getElementById("measure");
  measure.value = "CKA, biased";
  measure.dispatchEvent(new Event("change"));
  await drawn();
  const unit = document.querySelector("input[value=utterance]");
  unit.click();
  await drawn();
  const chart = document.querySelector("[data-chart=matrix]");
  const figure = chart.querySelector("[role=application]");
  figure.focus();
  ["ArrowRight", "ArrowDown", "ArrowDown", "Home"].forEach((key) => {
    figure.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  });
  say("read", chart.querySelector("[aria-live]").textContent);
  say("tip", [...document.querySelectorAll("#tip div")].map((line) => line.textContent));
  say("now", document.querySelector("[data-now]").textContent);
  say("shown", [...document.querySelectorAll("#opening [data-facet]:not([hidden])")].length);
  figure.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  say("gone", document.getElementById("tip").hidden);
  const canvas = chart.querySelector("canvas");
  const box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new PointerEvent("pointermove", {
    clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true,
  }));
  canvas.dispatchEvent(new MouseEvent("mousemove", {
    clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true,
  }));
  await new Promise((go) => setTimeout(go, 300));
  say("hover", [...document.querySelectorAll("#tip:not([hidden]) div")].map((e) => e.textContent));
  root.dataset.done = "yes";
})();
</script>
"""


def test_switch_keyboard_and_pointer(browser: str, tmp_path: Path) -> None:
    view = made_view(tmp_path / "made")
    before, end, after = page_html(view).rpartition("</body>")
    text = before + USE + end + after
    # The page's policy would (rightly) not run the script added here.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    page = tmp_path / "use.html"
    page.write_text(text, "utf-8")
    document, console = open_page(browser, page, tmp_path / "profile")
    assert console == []
    head = document[:5000]
    found = {
        key: json.loads(html.unescape(value))
        for key, value in re.findall(r'data-(read|tip|now|shown|gone|hover)="([^"]*)"', head)
    }
    assert 'data-done="yes"' in head
    facet = view.facets[3]
    assert (facet.estimator, facet.unit) == ("biased", "utterance")
    assert found["now"] == "CKA, biased, one row per utterance"
    assert found["shown"] == 1
    assert found["tip"] == [
        "hubert-base-ls960/2 (768 wide)",
        "hubert-base-ls960/1 (768 wide)",
        f"CKA, biased: {facet.value[2, 1]:.2f}",
        f"95 % interval {facet.low[2, 1]:.2f} to {facet.high[2, 1]:.2f}",
        "n = 32 utterances in 32 groups",
    ]
    assert found["read"] == "; ".join(found["tip"])
    assert found["gone"] is True
    assert len(found["hover"]) == 5
    assert found["hover"][2].startswith("CKA, biased: ")


def test_curves_of_training_are_drawn_without_complaint(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "training.html"
    page.write_text(page_html(made_training(tmp_path / "made")), "utf-8")
    document, console = open_page(browser, page, tmp_path / "profile")
    assert console == []
    assert 'data-drawn="yes"' in document
    body = re.sub(r"<script.*?</script>", "", document, flags=re.S)
    assert "could not be drawn" not in body
    assert body.count("<canvas") == 8
