"""The page of a pruning run: costs, layers and steps as the record has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report_reading import HOSTILE, Page, table_rows
from voxstrata.report.page import page_html
from voxstrata.report.sections.pruning import pruning_findings, pruning_lead, pruning_title
from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

BEFORE: dict[str, Any] = {
    "parameters": 2000, "nonzero": 2000, "flops": 4e9, "latency_s": 0.004,
    "feed_forward": [30, 40], "heads": [4, 4],
}  # fmt: skip
AFTER: dict[str, Any] = {
    **BEFORE, "parameters": 1000, "nonzero": 900, "flops": 1e9, "latency_s": 0.003,
    "feed_forward": [10, 20],
}  # fmt: skip
STEPS: list[dict[str, Any]] = [
    {"step": 1, "what": "rows", "amount": [20, 20], "cost": {"parameters": 1000, "flops": 1e9},
     "removed": {"block.1.ffn.inner": list(range(20)), "block.2.ffn.inner": list(range(19))}},
    {"step": 1, "tuned": 500, "valid": {"masked_loss": 3.25}},
]  # fmt: skip


def pruned(folder: Path, model: str = "m", after: dict[str, Any] = AFTER, **record: Any) -> View:
    """A folder of ``voxstrata prune``, read and arranged."""
    rows = []
    for name, cost in ((model, BEFORE), ("pruned", after)):
        rows += [_row(name, "", "parameters", cost["parameters"])]
        for at, n in enumerate(cost["feed_forward"], 1):
            rows.append(_row(name, f"block.{at}.ffn.inner", "neurons", n))
        rows += [_row(name, str(at), "heads", n) for at, n in enumerate(cost["heads"], 1)]
    told = {
        "job": "prune",
        "study": "made",
        "config": {"what": "rows", "score": "l1"},
        "model": {"spec": model, "fingerprint": "f"},
        "pruned": {"folder": "model", "fingerprint": "g"},
        "before": BEFORE,
        "after": after,
        "summary": "half of it",
        "protected": {"block.1.ffn.inner": 7},
        "steps": STEPS,
        **record,
    }
    write_results(folder, rows, told)
    return read_view(load_results(folder))


def _row(model: str, layer: str, measure: str, value: float) -> Row:
    return Row(
        study="made", model=model, layer=layer, other_model="", other_layer="",
        property="pruning", measure=measure, unit="", value=float(value), ci_low=None,
        ci_high=None, n=0, groups=0, d=0, other_d=0, estimator="", seed=0,
    )  # fmt: skip


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
