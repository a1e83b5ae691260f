"""``voxstrata layers`` on made results folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from voxstrata.cli.layers import layers
from voxstrata.errors import ResultsError, UsageError
from voxstrata.results import Row, write_results

PEAKS = {"model-a": 4, "model-b": 1}
APP = typer.Typer()
APP.command()(layers)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def made(folder: Path, *, folds: bool = True, group: str = "speaker") -> Path:
    g = np.random.default_rng(0)
    rows, lines = [], []
    for model, peak in PEAKS.items():
        for k in range(7):
            scores = 0.6 - 0.05 * abs(k - peak) + g.normal(scale=0.002, size=8)
            value = float(scores.mean())
            for control, x in (("", value), ("shuffled-rows", 0.1)):
                rows.append(
                    Row("s", model, str(k), "", "", "cca-word", "pwcca", "word", x, x - 0.01,
                        x + 0.01, 100, 8, 16, 50, "held-out", 0, control)
                )  # fmt: skip
            lines += [("cca-word", model, str(k), "pwcca", 0, f, s) for f, s in enumerate(scores)]
    write_results(folder, rows, {"config": {"group": group}})
    if folds:
        columns = ["property", "model", "layer", "measure", "draw", "fold", "score"]
        pd.DataFrame(lines, columns=columns).to_parquet(folder / "folds.parquet")
    return folder


def said(*arguments: str) -> str:
    """What the command prints; models that cannot be loaded are not tried."""
    if "--measure-cost" not in arguments:
        arguments = (*arguments, "--no-measure-cost")
    result = CliRunner().invoke(APP, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return " ".join(result.output.split())


def test_recommendation_and_check_are_printed(tmp_path: Path) -> None:
    text = said(str(made(tmp_path)))
    assert "speech recognition" in text
    line = next(part for part in text.split("│ model-a")[1:])
    cells = [cell.strip() for cell in line.split("│")]
    assert cells[1] == "4"
    assert cells[2].startswith("0.6")
    below, above = (float(x) for x in cells[3].split(", "))
    assert below == pytest.approx(-0.05, abs=0.005)
    assert above == pytest.approx(-0.05, abs=0.005)
    assert cells[4].endswith("(3)")
    assert "Chosen on half of the speakers" in text
    assert "4 (100%)" in text
    assert "1 (100%)" in text
    assert "--no-measure-cost" in text


def test_without_fold_scores_it_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    text = said(str(made(tmp_path, folds=False)))
    assert "No check on held-out speakers" in text
    assert "--group speaker" in text
    assert "Chosen on half" not in text


def test_folds_of_recordings_are_not_sold_as_speakers(tmp_path: Path) -> None:
    text = said(str(made(tmp_path, group="utterance")))
    assert "grouped by utterance" in text
    assert "says nothing about new speakers" in text


def test_scores_are_correlated(tmp_path: Path) -> None:
    file = tmp_path / "wer.csv"
    worse = {k: 10 + abs(k - 4) for k in range(7)}
    lines = [f"model-a,{k},{v},ASR,low" for k, v in worse.items()]
    file.write_text("\n".join(["model,layer,score,task,better", *lines, "other,0,1,ASR,low"]))
    text = said(str(made(tmp_path / "out")), "--scores", str(file))
    assert "Scores of models that the results lack: other" in text
    row = text.split("Do property curves")[1]
    spearman = float(row.split("│ ASR │ 7 │")[1].split()[0])
    assert spearman > 0.9


def test_wrong_scores_are_told_before_anything_else(tmp_path: Path) -> None:
    file = tmp_path / "wer.csv"
    file.write_text("model,layer,scores\nmodel-a,1,3\n")
    arguments = [str(made(tmp_path / "out")), "--no-measure-cost", "--scores"]
    for path, about in ((file, "lacks columns"), (tmp_path / "none.csv", "No such file")):
        result = CliRunner().invoke(APP, [*arguments, str(path)])
        assert about in str(result.exception)
        assert result.output == ""


def test_a_reason_is_told_once_for_all_properties(tmp_path: Path) -> None:
    file = tmp_path / "wer.csv"
    file.write_text("model,layer,score\nmodel-a,1,3\nmodel-a,2,4\n")
    text = said(str(made(tmp_path / "out")), "--scores", str(file))
    assert text.count("needs four layers") == 1
    assert "got 2 layers in common" in text


def test_a_narrow_terminal_keeps_every_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(made(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    wide = said(folder)
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(APP, [folder, "--no-measure-cost"])
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.rstrip().endswith("│") for line in lines if line.startswith("│"))
    changes = [cell.strip() for cell in wide.split("│ model-a")[1].split("│")][3:6]
    narrow = " ".join(result.output.split())
    told = zip(("layer below, above", "middle", "random"), changes, strict=True)
    assert "; ".join(f"{name}: {change}" for name, change in told) in narrow


def test_changes_are_explained_only_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "Changes are against" in said(str(made(tmp_path / "layers")))
    row = Row("s", "mfcc", "mfcc", "", "", "cca-word", "pwcca", "word", 0.3, 0.2, 0.4,
              100, 8, 16, 50, "held-out", 0, "")  # fmt: skip
    write_results(tmp_path / "one", [row], {"config": {"group": "speaker"}})
    text = said(str(tmp_path / "one"))
    assert "one layer only" in text
    assert "Changes are against" not in text


def test_uses_are_listed_and_bad_input_is_refused(tmp_path: Path) -> None:
    assert "keyword spotting" in said("--list")
    with pytest.raises(UsageError, match="no results folder"):
        said()
    with pytest.raises(UsageError, match="downstream use"):
        said(str(made(tmp_path)), "--for", "astrology")
    with pytest.raises(ResultsError, match="emotion"):
        said(str(tmp_path), "--for", "emotion")
    (tmp_path / "folds.parquet").write_bytes(b"no parquet")
    with pytest.raises(ResultsError, match="damaged"):
        said(str(tmp_path))


def test_cost_is_measured_on_what_can_be_loaded(tmp_path: Path) -> None:
    rows = [
        Row("s", "random:ecapa,channels=16,mfa=24,embed=8,se=8,attention=8", layer, "", "",
            "cca-word", "pwcca", "word", value, None, None, 9, 3, 16, 5, "held-out", 0)
        for layer, value in (("block1", 0.2), ("block2", 0.5), ("block3", 0.3))
    ]  # fmt: skip
    rows += [
        Row("s", "log-mel", "mel", "", "", "cca-word", "pwcca", "word", 0.1, None, None, 9, 3,
            16, 5, "held-out", 0)
    ]  # fmt: skip
    write_results(tmp_path, rows, {"config": {}})
    text = said(str(tmp_path), "--measure-cost")
    assert "random:ecapa@block2,channels=16" in text
    assert "for 4 s of noise" in text
    assert "fewer operations" in text
    assert "one layer only, nothing to choose: log-mel." in text
