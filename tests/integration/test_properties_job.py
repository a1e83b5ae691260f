"""The properties job whole: planted layers are found, runs resume, what is left out is said."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import killable
import planted
from voxstrata.corpora import load_corpus
from voxstrata.errors import ResultsError, UnknownNameError, UsageError
from voxstrata.models import twins
from voxstrata.properties import prepare
from voxstrata.properties.job import run_properties
from voxstrata.properties.settings import PropertiesConfig

CHOSEN = ("variance-shares", "phone-gap")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("planted"))


def config(recordings: Path, **changes: object) -> PropertiesConfig:
    values: dict[str, object] = {
        "models": ("log-mel", "mfcc"),
        "corpus": str(recordings),
        "properties": CHOSEN,
        "scale": "small",
        "folds": 4,
    }
    return PropertiesConfig.model_validate(values | changes)


def test_the_planted_layer_is_found(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "find_family", lambda _spec: None)
    monkeypatch.setattr(prepare, "load_model", planted.load)
    settings = config(recordings, models=("planted",), draws=2, twins=False)
    table = run_properties(settings, tmp_path).table
    shares = table[(table["measure"] == "share-phone-corrected") & (table["control"] == "")]
    assert len(shares) == 4
    assert shares.set_index("layer")["value"].idxmax() == "2"
    best = shares.set_index("layer").loc["2"]
    assert best["ci_low"] <= best["value"] <= best["ci_high"]
    others = shares[shares["layer"] != "2"]
    assert (others["value"] < best["ci_low"]).all()
    control = table[(table["measure"] == "share-phone-corrected") & (table["control"] != "")]
    assert (control["value"].abs() < 0.1).all()


def test_columns_of_a_table_and_draws_do_not_share_their_scores(
    recordings: Path, tmp_path: Path
) -> None:
    """Names with a dot: what is after it must not be lost from the file of the scores."""
    corpus = load_corpus(str(recordings))
    table = pd.DataFrame({"utterance": [u.id for u in corpus.utterances]})
    values = np.random.default_rng(0).normal(size=(len(table), 2))
    table["first"], table["second"] = values.T
    table.to_csv(tmp_path / "t.csv", index=False)
    names = ("cca-table:t.first", "cca-table:t.second")
    settings = config(
        recordings,
        models=("mfcc",),
        properties=names,
        tables={"t": str(tmp_path / "t.csv")},
        draws=2,
    )
    found = run_properties(settings, tmp_path / "out").table
    for control in ("", "shuffled-rows"):
        pw = found[(found["measure"] == "pwcca") & (found["control"] == control)]
        a, b = (pw[pw["property"] == name]["value"].to_numpy() for name in names)
        assert len(a) == len(b) > 0
        assert (a != b).all()
    folds = pd.read_parquet(tmp_path / "out" / "folds.parquet")
    assert set(folds["draw"]) == {0, 1}


def test_left_out_and_refused_are_listed(recordings: Path, tmp_path: Path) -> None:
    settings = config(recordings, properties=("all",), scale="published")
    record = run_properties(settings, tmp_path).record
    reasons = {item["name"]: item["reason"] for item in record["left_out"]}
    assert "cca-glove" in reasons
    assert "glove" in reasons["cca-glove"]
    refused = {item["name"]: item["reason"] for item in record["refused"]}
    assert refused, "a corpus of a minute is too small for something at published sizes"
    assert all("expected" in reason for reason in refused.values())
    measured = {item["name"] for item in record["properties"]}
    assert not measured & (set(reasons) | set(refused))


def test_unknown_property_is_told_before_work(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="variance-shares"):
        run_properties(config(recordings, properties=("variance-share",)), tmp_path)
    with pytest.raises(UsageError, match="takes no argument"):
        run_properties(config(recordings, properties=("variance-shares:x",)), tmp_path)


def test_nothing_measurable_is_an_error_with_reasons(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    for number in range(3):
        soundfile.write(tmp_path / f"a{number}.wav", 0.1 * np.ones(16000), 16000)
    settings = PropertiesConfig(models=("mfcc",), corpus=str(tmp_path), properties=CHOSEN)
    with pytest.raises(UsageError, match="tier 'phones'"):
        run_properties(settings, tmp_path / "out")


def test_results_of_other_settings_are_kept(recordings: Path, tmp_path: Path) -> None:
    first = run_properties(config(recordings), tmp_path).table
    again = run_properties(config(recordings), tmp_path).table
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    with pytest.raises(ResultsError, match="other settings"):
        run_properties(config(recordings, seed=5), tmp_path)


def test_killed_and_resumed(recordings: Path, tmp_path: Path) -> None:
    settings = config(recordings)
    want = run_properties(settings, tmp_path / "whole").table
    out = tmp_path / "broken"
    context = multiprocessing.get_context("spawn")
    child = context.Process(
        target=killable.run_slow_properties,
        args=(settings.model_dump(mode="json"), str(out), 2.0),
    )
    child.start()
    until = time.monotonic() + 60
    while not list(out.glob("state/scores/*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert list(out.glob("state/scores/*.json"))
    assert not (out / "run.json").exists()
    got = run_properties(settings, out)
    assert got.record["resumed"] is True
    pd.testing.assert_frame_equal(want, got.table, check_exact=True)


def test_the_untrained_twin_runs_beside_a_trained_model(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "find_family", lambda _spec: None)
    monkeypatch.setattr(prepare, "load_model", planted.load)
    monkeypatch.setattr(twins, "load_model", planted.load)
    settings = config(recordings, models=("planted",))
    result = run_properties(settings, tmp_path / "out")
    assert result.record["twins"] == {"planted": "random:planted"}
    shares = result.table[
        (result.table["measure"] == "share-phone-corrected") & (result.table["control"] == "")
    ]
    best = shares.groupby("model")["value"].max()
    assert best["planted"] > 2 * best["random:planted"]
    alone = run_properties(settings.model_copy(update={"twins": False}), tmp_path / "alone")
    assert set(alone.table["model"]) == {"planted"}
