"""The verification job: numbers, controls, what is left out, what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import fakes
import planted
from voxstrata.augmentation.channel import random_channel
from voxstrata.corpora import load_corpus
from voxstrata.errors import (
    ConfigError,
    LabelError,
    ResultsError,
    RunInterruptedError,
    UsageError,
)
from voxstrata.metrics.curve import SortedTrials
from voxstrata.metrics.dcf import min_dcf
from voxstrata.metrics.eer import eer
from voxstrata.models import load_model
from voxstrata.results import Results
from voxstrata.verification import prepare as preparing
from voxstrata.verification.channels import ChannelsOf
from voxstrata.verification.drawn import drawn
from voxstrata.verification.embed import embed
from voxstrata.verification.job import verify
from voxstrata.verification.pairs import all_pairs
from voxstrata.verification.score import as_norm, cohort_of, cosine
from voxstrata.verification.trials import read_trials, save_trials


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("planted"), recordings=30, speakers=5)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("others"), recordings=12, speakers=4)


def _value(results: Results, measure: str, scoring: str = "cosine", **where: Any) -> Any:
    table = results.table
    keep = (table["measure"] == measure) & (table["estimator"] == scoring)
    for name, wanted in {"model": "mfcc", "other_model": "", **where}.items():
        keep &= table[name] == wanted
    (row,) = table[keep].to_dict("records")
    return row


def _quick(models: Any, corpus: Path, out: Path, **settings: Any) -> Results:
    return verify(models, str(corpus), out=out, **{"replicates": 50, **settings})


def test_numbers_are_those_of_the_parts(recordings: Path, others: Path, tmp_path: Path) -> None:
    found = _quick("mfcc", recordings, tmp_path / "o", mean_from=str(others), as_norm=str(others),
                   baselines=False, top=3, keep_scores=True)  # fmt: skip
    corpus, model = load_corpus(recordings), load_model("mfcc")
    rows, trials = embed(model, corpus).vectors, all_pairs(corpus.utterances)
    away = embed(model, load_corpus(others))
    mean = away.vectors.mean(axis=0, dtype=np.float64)
    speakers = [str(u.tiers["speaker"]) for u in load_corpus(others)]
    pair = trials.first, trials.second
    scores = {"cosine": cosine(rows, *pair), "cosine-centred": cosine(rows, *pair, mean=mean)}
    scores["as-norm"] = as_norm(
        scores["cosine-centred"], rows, cohort_of(away.vectors, speakers), *pair, top=3, mean=mean
    )
    kept = pd.read_parquet(tmp_path / "o" / "scores.parquet")
    assert list(kept["target"]) == list(trials.target)
    for scoring, values in scores.items():
        np.testing.assert_allclose(kept[f"mfcc|{scoring}"], values, atol=1e-10)
        same, other = values[trials.target], values[~trials.target]
        for definition in ("interpolated", "max", "mean"):
            row = _value(found, f"eer-{definition}", scoring)
            assert row["value"] == pytest.approx(eer(same, other, definition))
        for p in (0.01, 0.05):
            row = _value(found, f"mindcf-{p:g}", scoring)
            assert row["value"] == pytest.approx(min_dcf(same, other, p))
            assert row["ci_low"] <= row["ci_high"]
        row = _value(found, "eer-interpolated", scoring)
        assert (row["n"], row["groups"], row["d"], row["unit"]) == (435, 5, 40, "trial")
        assert row["ci_low"] <= row["value"] + 0.05
    assert found.record["cohort"]["members"] == 4
    assert found.record["cohort"]["top"] == 3
    assert found.record["mean_from"] == str(others)
    assert any("speakers of the trials are among" in text for text in found.record["notices"])


class _Trained(planted.PlantedModel):
    """Layer "2" is clean; the untrained one drowns in noise."""


def _load(name: str, **_: Any) -> Any:
    if name in ("mfcc", "log-mel"):
        return load_model(name)
    noise = (9.0, 9.0, 9.0, 9.0) if name.startswith("random:") else (6.0, 2.0, 0.0, 0.05)
    return _Trained(name, noise, details={"random": name.startswith("random:"), "parameters": 9})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "load_model", _load)
    monkeypatch.setattr(preparing, "find_family", lambda spec: None)


def test_a_model_stands_beside_its_twin_and_baselines(
    recordings: Path, tmp_path: Path, trained: None
) -> None:
    found = _quick("good", recordings, tmp_path / "o", definition="mean")
    assert found.record["twins"] == {"good": "random:good"}
    roles = {entry["spec"]: entry["role"] for entry in found.record["models"]}
    assert roles == {
        "good": "model", "random:good": "twin", "log-mel": "baseline", "mfcc": "baseline",
    }  # fmt: skip
    for scoring in ("cosine", "cosine-centred"):
        mine = _value(found, "eer-mean", scoring, model="good")
        twin = _value(found, "eer-mean", scoring, model="random:good")
        assert mine["ci_high"] == mine["ci_high"]
        assert np.isnan(_value(found, "eer-max", scoring, model="good")["ci_low"])
        assert mine["value"] < twin["value"]
        beside = _value(found, "eer-relative", scoring, model="good", other_model="random:good")
        assert beside["value"] == pytest.approx(mine["value"] / twin["value"] - 1)
        assert beside["ci_low"] <= beside["value"] <= beside["ci_high"]
        assert _value(found, "eer-relative", scoring, model="good", other_model="mfcc")["n"] == 435
    alone = _quick("good", recordings, tmp_path / "p", twins=False, baselines=False)
    assert set(alone.table["model"]) == {"good"}
    layered = _quick("good", recordings, tmp_path / "q", layer="0", twins=False)
    assert set(layered.table["layer"]) == {"0", "logmel", "mfcc"}


def test_a_trial_list_is_followed(recordings: Path, tmp_path: Path) -> None:
    lines = ["1 wav/r00.wav r05.wav", "0 r00 r01", "0 r05 r01", "1 r01 r06"]
    listed = tmp_path / "list"
    listed.write_text("\n".join(lines))
    found = _quick("mfcc", recordings, tmp_path / "o", trials=str(listed), baselines=False)
    assert found.record["trials"]["trials"] == 4
    assert found.record["trials"]["recordings"] == 4
    assert found.record["corpus"]["utterances"] == 4, "no others are embedded"
    again = read_trials(tmp_path / "o" / "trials.txt")
    assert again.ids == ("r00", "r05", "r01", "r06")
    listed.write_text("\n".join([*lines, "0 r02 zz", "1 r02 yy.wav"]))
    with pytest.raises(LabelError) as caught:
        _quick("mfcc", recordings, tmp_path / "p", trials=str(listed))
    said = str(caught.value)
    assert "2 of 9 ids (2 of 6 trials): zz, yy.wav" in said
    assert "--missing skip" in said
    assert not (tmp_path / "p").exists()
    fewer = _quick(
        "mfcc", recordings, tmp_path / "q", trials=str(listed), missing="skip", baselines=False
    )
    assert fewer.record["trials"]["trials"] == 4
    assert any(text.startswith("2 of 6 trials are left out") for text in fewer.record["notices"])
    listed.write_text("1 r00 r05\n1 r01 r06\n")
    with pytest.raises(UsageError, match="both kinds"):
        _quick("mfcc", recordings, tmp_path / "r", trials=str(listed))
    listed.write_text("0 r00 r05\n1 r01 r06\n1 r01 r11")
    wrong = _quick("mfcc", recordings, tmp_path / "s", trials=str(listed), baselines=False)
    assert any("1 of 3 labels" in text for text in wrong.record["notices"])


def test_corpora_without_trials_are_refused(recordings: Path, tmp_path: Path) -> None:
    lines = [json.loads(x) for x in (recordings / "manifest.jsonl").read_text().splitlines()]
    for entry in lines:
        entry["file"] = str(recordings / entry["file"])
    one = tmp_path / "one.jsonl"
    one.write_text("\n".join(json.dumps({**entry, "speaker": "s"}) for entry in lines))
    with pytest.raises(UsageError, match="both kinds") as caught:
        _quick("mfcc", one, tmp_path / "o")
    assert "two speakers" in str(caught.value)
    nobody = tmp_path / "nobody.jsonl"
    bare = [{k: v for k, v in entry.items() if k != "speaker"} for entry in lines]
    nobody.write_text("\n".join(json.dumps(entry) for entry in bare))
    with pytest.raises(LabelError, match="speaker"):
        _quick("mfcc", nobody, tmp_path / "o")
    listed = save_trials(all_pairs(load_corpus(recordings).utterances), tmp_path / "list")
    found = _quick("mfcc", nobody, tmp_path / "p", trials=str(listed), baselines=False)
    row = _value(found, "eer-interpolated")
    assert np.isnan(row["ci_low"])
    assert row["groups"] == 0
    assert any(text.startswith("No intervals") for text in found.record["notices"])


def test_recordings_that_fail_take_their_trials_along(recordings: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "c"
    shutil.copytree(recordings, copy)
    whole = copy / "r03.wav"
    whole.write_bytes(whole.read_bytes()[:-20_000])
    (copy / "r04.wav").unlink()
    found = _quick("mfcc", copy, tmp_path / "o", baselines=False)
    gone = {item["id"] for item in found.record["corpus"]["skipped"]}
    assert gone == {"r03", "r04"}
    assert found.record["trials"]["trials"] == 28 * 27 // 2
    listed = save_trials(all_pairs(load_corpus(recordings).utterances), tmp_path / "list")
    again = _quick("mfcc", copy, tmp_path / "p", trials=str(listed), baselines=False)
    assert again.record["trials"]["trials"] == 28 * 27 // 2
    assert _value(again, "eer-interpolated")["value"] == pytest.approx(
        _value(found, "eer-interpolated")["value"]
    )


def test_channels_are_listed_and_change_the_numbers(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(name: str) -> Any:
        return lambda wave: wave + fakes.noise(len(wave), int(name[1:]))

    made = ChannelsOf("random:3", of, lambda name: {"noise": int(name[1:])})
    plain = _quick("mfcc", recordings, tmp_path / "o", baselines=False)
    monkeypatch.setattr(preparing, "channels", lambda kind, seed: made)
    found = _quick("mfcc", recordings, tmp_path / "p", baselines=False, channel="random")
    lines = (tmp_path / "p" / "channels.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines[:2]] == [
        {"id": "r00", "noise": 0}, {"id": "r01", "noise": 1},
    ]  # fmt: skip
    assert len(lines) == 30
    assert found.record["channels"] == "random:3"
    assert _value(found, "eer-threshold")["value"] != _value(plain, "eer-threshold")["value"]


def test_random_channels_depend_on_seed_and_recording_alone(
    recordings: Path, tmp_path: Path
) -> None:
    settings = {"channel": "random", "baselines": False, "replicates": 0, "keep_scores": True}
    plain = _quick("mfcc", recordings, tmp_path / "plain", baselines=False, replicates=0)
    _quick("mfcc", recordings, tmp_path / "a", **settings, batch_s=3.0)
    _quick("mfcc", recordings, tmp_path / "b", **settings)
    _quick("mfcc", recordings, tmp_path / "c", **settings, channel_seed=1)
    first, again, other = (
        pd.read_parquet(tmp_path / name / "scores.parquet")["mfcc|cosine"] for name in "abc"
    )
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert np.abs(first - other).max() > 0.01
    lists = [(tmp_path / name / "channels.jsonl").read_text() for name in "abc"]
    assert lists[0] == lists[1] != lists[2]
    entries = [json.loads(line) for line in lists[0].splitlines()]
    assert [entry["id"] for entry in entries] == [f"r{n:02d}" for n in range(30)]
    assert len({json.dumps(entry["equaliser_hz_db"]) for entry in entries}) == 30
    corpus = load_corpus(recordings)
    heard = [
        replace(u, read=lambda u=u: random_channel(1, u.id)(u.read())) for u in corpus.utterances
    ]
    rows, trials = embed(load_model("mfcc"), heard).vectors, all_pairs(corpus.utterances)
    np.testing.assert_allclose(cosine(rows, trials.first, trials.second), other, atol=1e-6)
    assert not (tmp_path / "plain" / "channels.jsonl").exists()
    assert plain.record["channels"] is None


def test_a_finished_run_is_kept_and_embeddings_outlive_it(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: None
) -> None:
    first = _quick("good", recordings, tmp_path / "o", baselines=False)
    again = _quick("good", recordings, tmp_path / "o", baselines=False)
    assert again.record["finished"] == first.record["finished"]
    with pytest.raises(ResultsError, match="other settings"):
        _quick("good", recordings, tmp_path / "o", baselines=False, seed=1)

    def refuse(*_: Any) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(_Trained, "encode", refuse)
    more = _quick(
        "good", recordings, tmp_path / "o", baselines=False, overwrite="always",
        p_targets=(0.1,), replicates=0,
    )  # fmt: skip
    kept, rescored = (
        _value(found, "eer-interpolated", model="good")["value"] for found in (first, more)
    )
    assert kept == rescored
    assert np.isnan(_value(more, "mindcf-0.1", model="good")["ci_low"])


def test_what_figures_are_drawn_from(recordings: Path, tmp_path: Path) -> None:
    _quick("mfcc", recordings, tmp_path / "o", crops=True)
    held = json.loads((tmp_path / "o" / "verification.json").read_text())
    assert {(e["model"], e["scoring"]) for e in held["systems"]} == {
        (model, scoring + crops)
        for model in ("mfcc", "log-mel")
        for scoring in ("cosine", "cosine-centred")
        for crops in ("", "-crops")
    }
    for entry in held["systems"]:
        width = np.diff(entry["edges"])
        for kind in ("target", "nontarget"):
            assert np.sum(width * entry[kind]) == pytest.approx(1, abs=1e-3)
        assert (entry["miss"][0], entry["false_alarm"][0]) == (0, 1)
        crossing = np.interp(entry["eer"], entry["miss"], entry["false_alarm"])
        assert crossing == pytest.approx(entry["eer"], abs=0.05)


@pytest.mark.parametrize("rounding", [0.0, 1e-16])
def test_scores_that_are_all_alike_can_be_drawn(rounding: float) -> None:
    """As of silent recordings, or of a collapsed model."""
    scores = np.array([1.0, 1.0, 1.0 - rounding, 1.0])
    target = np.array([True, True, False, False])
    found = drawn(scores, target, SortedTrials(scores, target).curve())
    width = np.diff(found["edges"])
    assert np.all(width > 0)
    for kind in ("target", "nontarget"):
        assert np.sum(width * found[kind]) == pytest.approx(1, abs=1e-3)


def test_a_cohort_of_speakers_needs_speakers(recordings: Path, tmp_path: Path) -> None:
    others = planted.write_corpus(tmp_path / "others", recordings=4, speakers=2)
    manifest = others / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"speaker"', '"voice"', 1))
    with pytest.raises(LabelError, match="AS-norm takes the mean embedding") as caught:
        _quick("mfcc", recordings, tmp_path / "o", as_norm=str(others))
    assert "1 of 4 recordings" in str(caught.value)
    assert "--as-norm" in caught.value.fix


def test_settings_that_contradict_each_other(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no trial list"):
        _quick("mfcc", recordings, tmp_path / "o", trials="list", same_gender=True)
    with pytest.raises(ConfigError, match="twice"):
        _quick(["mfcc", "mfcc"], recordings, tmp_path / "o")
    with pytest.raises(ConfigError, match="p_targets"):
        _quick("mfcc", recordings, tmp_path / "o", p_targets=(1.5,))
    with pytest.raises(UsageError, match="nosuch"):
        _quick("mfcc", recordings, tmp_path / "o", layer="nosuch")


def test_a_collapsed_model_is_told_and_does_not_cost_the_run(
    recordings: Path, tmp_path: Path, trained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapsed(self: Any, audio: Any, layers: Any) -> Any:
        return [{name: torch.ones(4, 12) for name in layers} for _ in audio]

    monkeypatch.setattr(_Trained, "encode", collapsed)
    found = _quick("good", recordings, tmp_path / "o", twins=False)
    assert any("good is not scored to the end" in text for text in found.record["notices"])
    assert _value(found, "eer-interpolated", model="good")["value"] == pytest.approx(0.5)
    assert "mfcc" in set(found.table["model"])
    assert not len(found.table.query("model == 'good' and estimator == 'cosine-centred'"))


def test_a_stopped_run_goes_on_where_it_stopped(
    recordings: Path, tmp_path: Path, trained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxstrata.verification.embed.PART_S", 8.0)
    whole = _quick("good", recordings, tmp_path / "o", twins=False, baselines=False)
    encode, calls = _Trained.encode, []

    def stopping(self: Any, audio: Any, layers: Any) -> Any:
        calls.append(len(audio))
        if sum(calls) > 20:
            raise KeyboardInterrupt
        return encode(self, audio, layers)

    monkeypatch.setattr(_Trained, "encode", stopping)
    with pytest.raises(RunInterruptedError, match="same command"):
        _quick("good", recordings, tmp_path / "p", twins=False, baselines=False)
    before = sum(calls)
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(_Trained, "encode", lambda *a: (calls.append(len(a[1])), encode(*a))[1])
        found = _quick("good", recordings, tmp_path / "p", twins=False, baselines=False)
    assert 0 < sum(calls) < 30
    assert before > 20
    assert found.record["resumed"]
    pd.testing.assert_frame_equal(found.table, whole.table)
