"""The section on training: drawn from train.jsonl and run.json alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from report_made_training import log_entries, made_training
from voxstrata.report import draw_report
from voxstrata.report.page import page_html
from voxstrata.report.sections.training import training, training_findings
from voxstrata.report.training_view import MOST, read_training, smoothed


def test_panels_are_grouped_and_hold_what_was_logged(tmp_path: Path) -> None:
    view = made_training(tmp_path)
    log = read_training(view)
    assert [(p.group, p.key) for p in log.panels] == [
        ("What is learned", "loss"),
        ("What is learned", "accuracy"),
        ("What is learned", "margin"),
        ("Evaluation while training", "made-eer"),
        ("Optimisation", "gradient_norm"),
        ("Optimisation", "lr"),
        ("Speed", "audio_s_per_s"),
        ("Speed", "waiting"),
    ]
    of = {panel.key: panel for panel in log.panels}
    loss = of["loss"].lines[0]
    logged = [e for e in log_entries() if e["kind"] == "step"]
    assert loss.steps.tolist() == [e["step"] for e in logged]
    assert loss.values.tolist() == [e["loss"] for e in logged]
    rough = np.diff(loss.values).std()
    assert np.diff(loss.smooth).std() < 0.4 * rough
    assert np.abs(loss.smooth[100:] - np.median(loss.values[100:])).max() < 0.6
    assert [line.label for line in of["made-eer"].lines] == ["mean subtracted", "plain cosine"]
    assert of["made-eer"].lines[0].few
    assert of["made-eer"].lines[0].smooth is of["made-eer"].lines[0].values
    assert of["waiting"].lines[0].values.tolist() == pytest.approx([14.0] * 200)
    assert [p.key for p in log.panels if p.log] == ["gradient_norm", "lr"]
    assert of["lr"].lines[0].smooth is of["lr"].lines[0].values  # it has no noise to smooth
    assert log.per_epoch == pytest.approx(130)


def test_long_logs_are_thinned_to_means_of_neighbours(tmp_path: Path) -> None:
    entries = [{"kind": "step", "step": k, "loss": float(k % 2)} for k in range(1, 10 * MOST + 1)]
    loss = read_training(made_training(tmp_path, entries)).panels[0].lines[0]
    assert len(loss.steps) == MOST
    assert loss.values.tolist() == [0.5] * MOST
    assert loss.steps[0] == 5.5


def test_smoothing_takes_noise_away_and_nothing_else() -> None:
    noise = np.random.default_rng(0).standard_normal(400)
    line = np.linspace(1, 9, 400)
    assert smoothed(line, log=False) is line  # there is nothing to smooth
    assert smoothed(line[:5] + noise[:5], log=False).tolist() == (line[:5] + noise[:5]).tolist()
    soft = smoothed(line + noise, log=False)
    assert np.abs(soft - line)[20:-20].max() < 0.75
    powers = 10 ** (np.linspace(-5, 2, 400) + 0.3 * noise)
    soft = smoothed(powers, log=True)
    assert np.abs(np.log10(soft) - np.linspace(-5, 2, 400))[20:-20].max() < 0.3
    assert np.all(soft > 0)


def test_the_opening_says_how_it_went(tmp_path: Path) -> None:
    said = " ".join(training_findings(made_training(tmp_path))[0]["says"])
    assert "The loss fell from" in said
    valid = [e for e in log_entries() if e["kind"] == "valid"]
    assert f"Equal error rate on made: {valid[-1]['made_eer']:.2f} % at step 4,000" in said
    assert f"it was best, {valid[-2]['made_eer']:.2f} %, at step 3,500" in said
    assert "14.0 % of the time" in said
    assert "data.workers" in said
    entries = [
        *({"kind": "step", "step": k, "loss": 1.0 + k} for k in range(1, 30)),
        {"kind": "end", "step": 29, "averaged": 2, "made_eer": 3.25},
        {"kind": "valid", "step": 29, "made_eer": 3.5},
    ]
    said = " ".join(training_findings(made_training(tmp_path / "b", entries))[0]["says"])
    assert "The loss rose" in said
    assert "look at the learning rate" in said
    assert "3.25 % for the mean of the last epochs' weights" in said


def test_the_page_and_the_figures_of_a_folder(tmp_path: Path) -> None:
    made_training(tmp_path)
    page = draw_report(tmp_path).read_text("utf-8")
    for said in (
        "Training of toy", "How did training go?", "What is learned", "Learning rate",
        "Equal error rate on made (%)", "recording skipped", "2 recordings", "is empty (0)",
        "too quiet", "channels: 16", "30.8", "12 min 34 s", 'data-panel="7"', "the recipe with",
    ):  # fmt: skip
        assert said in page, said
    assert "no similarity" not in page
    assert "Intervals are" not in page
    assert "tensorboard</dt><dd>no" in page
    found = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {f"training-{k}.{e}" for k in (1, 2, 3, 4) for e in ("pdf", "svg", "png")} == found
    svg = (tmp_path / "figures" / "training-2.svg").read_text()
    assert "Equal error rate on made" in svg
    assert "plain cosine" in svg


def test_a_folder_without_a_log_or_without_numbers_still_has_a_page(tmp_path: Path) -> None:
    view = made_training(tmp_path, [])
    assert "no curves to draw" in page_html(view)
    (tmp_path / "train.jsonl").unlink()
    assert "no curves to draw" in page_html(view)
    draw_report(tmp_path)
    bare = made_training(tmp_path / "bare", [{"kind": "step", "step": 5, "loss": None}], card=None)
    assert "no curves to draw" in page_html(bare)


def test_broken_lines_and_missing_numbers_are_left_out(tmp_path: Path) -> None:
    view = made_training(tmp_path)
    path = tmp_path / "train.jsonl"
    path.write_text(path.read_text() + '[1]\n{"kind": "step"}\n{"kind": "step", "step": 4020, "lo')
    assert len(read_training(view).panels[0].lines[0].steps) == 200
    entries = log_entries()
    entries[5]["loss"] = None
    assert (
        len(read_training(made_training(tmp_path / "b", entries)).panels[0].lines[0].steps) == 199
    )


def test_names_from_anywhere_are_escaped(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>"
    entries = [{"kind": "step", "step": k, "loss": 1.0, bad: 2.0} for k in (1, 2)]
    view = made_training(
        tmp_path, entries, bad={bad: bad}, study=bad, config={"run": {bad: bad}}, card={bad: bad}
    )
    page = page_html(view)
    assert bad not in page
    assert "&lt;img" in page


def test_other_jobs_have_no_such_section(tmp_path: Path) -> None:
    view = made_training(tmp_path, job="verify", trials={})
    assert training(view) is None
    assert read_training(view).panels == ()
    assert training_findings(view) == []
