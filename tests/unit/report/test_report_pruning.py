"""The page of a pruning run: costs, layers and steps as the record has them."""

from __future__ import annotations

from pathlib import Path

from report_made_pruning import AFTER, pruned
from report_reading import HOSTILE, Page, table_rows
from voxstrata.report.page import page_html
from voxstrata.report.sections.pruning import pruning_findings, pruning_lead, pruning_title


def test_the_page_tells_costs_layers_and_steps(tmp_path: Path) -> None:
    view = pruned(tmp_path)
    text = page_html(view)
    page = Page(text)
    assert pruning_title(view) == "m, pruned"
    assert pruning_lead(view) == (
        "Neurons of the feed-forward parts of m went, chosen by the score l1: half of it."
    )
    rows = table_rows(text)
    assert ["parameters", "2,000", "1,000", "50.0 %"] in rows
    assert ["parameters that are not zero", "2,000", "900", "45.0 %"] in rows
    assert ["billion operations a second of audio", "4", "1", "25.0 %"] in rows
    assert ["milliseconds a second of audio", "4", "3", "75.0 %"] in rows
    assert ["block.1.ffn.inner", "30", "10", "7"] in rows
    assert ["block.2.ffn.inner", "40", "20", ""] in rows
    assert ["1", "39 neurons went from 2 layers", "1,000", "1", ""] in rows
    assert ["1", "trained on for 500 steps", "", "", "masked loss 3.250"] in rows
    assert "45 %of the parameters left25 %of the operations left75 %of the time left" in page.words
    says = pruning_findings(view)[0]["says"]
    assert says[0].startswith("7 neurons were protected, in 1 layer,")
    assert says[1] == "After pruning it was trained on for 500 steps in all."
    assert not page.with_id("protection")
    assert (
        pruning_title(pruned(tmp_path / "trained", model="/x/base/model")) == "base/model, pruned"
    )


def test_blocks_that_are_gone_and_numbers_that_are_missing(tmp_path: Path) -> None:
    fewer = {**AFTER, "feed_forward": [30], "heads": [4], "latency_s": None}
    view = pruned(
        tmp_path, after=fewer, protected=None, summary=None, config={"what": "layers"},
        steps=[{"step": 1, "what": "layers", "amount": 1}],
    )  # fmt: skip
    rows = table_rows(page_html(view))
    assert ["block.1.ffn.inner", "30", "30"] in rows
    assert ["block.2.ffn.inner", "40", "gone"] in rows
    assert ["milliseconds a second of audio", "4", "", ""] in rows
    assert ["1", "layers: 1", "", "", ""] in rows
    assert pruning_lead(view) == "The first blocks of m were kept."
    assert pruning_findings(view)[0]["says"][0].startswith("It was not trained on")
    bare = pruned(tmp_path / "bare", before=None, after=AFTER, steps=None, config=None)
    assert Page(page_html(bare)).with_id("pruning")
    other = pruned(tmp_path / "other", job="other")
    assert not Page(page_html(other)).with_id("pruning")


def test_names_are_escaped(tmp_path: Path) -> None:
    view = pruned(
        tmp_path, model=HOSTILE, summary=HOSTILE, protected={HOSTILE: 1},
        config={"what": HOSTILE, "score": HOSTILE}, pruned={"folder": HOSTILE},
        steps=[{"step": HOSTILE, "what": HOSTILE, "amount": {HOSTILE: HOSTILE}}],
    )  # fmt: skip
    page = Page(page_html(view))
    assert len(page.scripts) == 3
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.words.count(HOSTILE) > 4
