"""Training i-vector extractors: parts, statistics, stages, resuming, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ivectors_made as made
from voxstrata import load_model
from voxstrata.corpora import load_corpus
from voxstrata.errors import ConfigError, ResultsError, StorageError, UnknownNameError, UsageError
from voxstrata.models.ivector.network import align
from voxstrata.numerics.mixture import Aligner
from voxstrata.report import draw_report
from voxstrata.report.sections.training import training_findings
from voxstrata.report.view import read_view
from voxstrata.results import Results, load_results
from voxstrata.training import kinds
from voxstrata.training.ivector import stages
from voxstrata.training.ivector.job import error_rate, fell, run_ivector_training
from voxstrata.training.ivector.kind import KIND
from voxstrata.training.ivector.prepare import prepare
from voxstrata.training.ivector.speech import Speech, longest, sample
from voxstrata.training.ivector.statistics import StatisticsStore
from voxstrata.training.log import read_log


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_voices(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_voices(tmp_path_factory.mktemp("other"), speakers=4, each=3, seed=9)


def _train(corpus: Path, out: Path, **changes: Any) -> Results:
    return run_ivector_training(KIND.read("ivector-small", made.recipe(corpus, **changes)), out)


@pytest.fixture(scope="module")
def trained(corpus: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    _train(corpus, out, **{"data.valid": {"other": str(other)}})
    return out


def _weights(out: Path) -> dict[str, torch.Tensor]:
    model: Any = load_model(str(out / "model"))
    return dict(model._module.state_dict())


def test_a_run_gives_a_model_a_curve_and_a_record(trained: Path, corpus: Path, other: Path) -> None:
    log = [entry for entry in read_log(trained) if entry["kind"] == "step"]
    assert [entry["step"] for entry in log] == list(range(1, len(log) + 1))
    starts = [entry for entry in log if "ubm_start_log_likelihood" in entry]
    assert [entry["gaussians"] for entry in starts][-1] == 8
    passes = [entry["ubm_log_likelihood"] for entry in log if "ubm_log_likelihood" in entry]
    assert len(passes) == 2
    told = [entry["log_likelihood"] for entry in log if "log_likelihood" in entry]
    assert len(told) == 1 + 3 * 3
    assert np.diff(told).min() > -1e-9
    assert told[-1] > told[0] + 0.05
    record = json.loads((trained / "run.json").read_text())
    assert record["job"] == "train"
    assert record["fell"] == {}
    assert record["corpus"]["utterances"] == 30
    assert record["card"]["family"] == "ivector"
    assert not (trained / "state").exists()
    model = load_model(str(trained / "model"))
    table = {row.measure: row.value for row in load_results(trained).table.itertuples()}
    assert table["other_eer"] == pytest.approx(error_rate(model, load_corpus(other)))
    assert table["other_eer"] < 40
    assert table["log_likelihood"] == told[-1]
    (finding,) = training_findings(read_view(load_results(trained)))
    assert any("rose from" in said and "fell at no step" in said for said in finding["says"])


@pytest.mark.slow
def test_the_page_draws_the_likelihoods(trained: Path) -> None:
    page = draw_report(trained).read_text()
    assert "How did training go?" in page
    assert "Log-likelihood of total variability" in page


def test_the_same_seed_gives_the_same_weights_and_another_others(
    trained: Path, corpus: Path, other: Path, tmp_path: Path
) -> None:
    _train(corpus, tmp_path / "again")
    _train(corpus, tmp_path / "other", **{"run.seed": 5})
    mine, again, others = (_weights(p) for p in (trained, tmp_path / "again", tmp_path / "other"))
    assert all(torch.equal(mine[name], again[name]) for name in mine)
    assert not torch.equal(mine["loading"], others["loading"])


@pytest.mark.parametrize("where", ["speech", "mixture", "statistics", "iteration"])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(
    trained: Path, corpus: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:  # fmt: skip
    changes = {"data.valid": {"other": str(other)}}
    with monkeypatch.context() as patch:
        _stop(patch, where)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            _train(corpus, tmp_path, **changes)
    assert (tmp_path / "state").exists()
    found = _train(corpus, tmp_path, **changes)
    assert found.record["resumed"]
    mine, again = _weights(trained), _weights(tmp_path)
    assert all(torch.equal(mine[name], again[name]) for name in mine)
    whole, resumed = ([e for e in read_log(p) if e["kind"] == "step"] for p in (trained, tmp_path))
    assert resumed == whole


def _stop(patch: pytest.MonkeyPatch, where: str) -> None:
    """Fail in the middle of a stage."""
    calls = {"left": {"speech": 3, "mixture": 2, "statistics": 3, "iteration": 5}[where]}
    target, name = {
        "speech": (Speech, "_made"),
        "mixture": (stages.Stages, "_pass"),
        "statistics": (StatisticsStore, "_align"),
        "iteration": (StatisticsStore, "read"),
    }[where]
    real = getattr(target, name)

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls["left"] -= 1
        if calls["left"] <= 0:
            raise RuntimeError("pulled the plug")
        return real(*args, **kwargs)

    patch.setattr(target, name, failing)


def test_other_settings_are_refused(trained: Path, corpus: Path, other: Path) -> None:
    with pytest.raises(ResultsError, match="other settings"):
        _train(corpus, trained, **{"variability.iterations": 4})


def test_an_unfinished_run_of_other_settings_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stop(patch, "mixture")
        with pytest.raises(RuntimeError, match="pulled the plug"):
            _train(corpus, tmp_path)
    with pytest.raises(StorageError, match="unfinished run of other settings"):
        _train(corpus, tmp_path, **{"model.rank": 3})


def test_features_need_not_be_kept(trained: Path, corpus: Path, tmp_path: Path) -> None:
    _train(corpus, tmp_path, **{"run.keep_features": False})
    mine, again = _weights(trained), _weights(tmp_path)
    assert all(torch.equal(mine[name], again[name]) for name in mine)


def test_full_covariances_with_selection(corpus: Path, other: Path, tmp_path: Path) -> None:
    found = _train(
        corpus, tmp_path,
        **{"model.covariance": "full", "model.select": 4, "data.valid": {"other": str(other)},
           "data.longest": 20, "run.statistics": "float32"},
    )  # fmt: skip
    weights = _weights(tmp_path)
    assert weights["covariances"].shape == (8, 60, 60)
    assert weights["selector_variances"].shape == (8, 60)
    log = [entry for entry in read_log(tmp_path) if "log_likelihood" in entry]
    assert np.diff([entry["log_likelihood"] for entry in log]).min() > -1e-9
    assert [e for e in read_log(tmp_path) if "ubm_log_likelihood" in e][-1]["step"] > 0
    assert found.table.set_index("measure").loc["other_eer", "value"] < 40
    assert any("Full covariances" in text for text in found.record["notices"])


def test_parts_hold_every_frame_of_speech(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(KIND.read("ivector-small", made.recipe(corpus)))
    speech = Speech(prepared.corpus, prepared.features, 12.0, tmp_path)
    assert len(speech.shards) > 2
    first = list(speech.parts())
    seen = {}
    for part in first:
        for member, rows in part.recordings():
            seen[member] = rows
    assert sorted(seen) == list(range(30))
    wave = torch.from_numpy(prepared.corpus.utterances[7].read())
    expected = prepared.features(wave)[prepared.features.speech(wave)]
    torch.testing.assert_close(seen[7], expected.float().double(), rtol=0, atol=0)
    again = list(Speech(prepared.corpus, prepared.features, 12.0, tmp_path).parts())
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    path = tmp_path / "part-00001.npz"
    path.write_bytes(path.read_bytes()[:100])  # damaged: made anew
    mended = list(Speech(prepared.corpus, prepared.features, 12.0, tmp_path).parts())
    assert np.array_equal(mended[1].rows, first[1].rows)


def test_a_sample_is_even_and_seeded(corpus: Path) -> None:
    prepared = prepare(KIND.read("ivector-small", made.recipe(corpus)))
    speech = Speech(prepared.corpus, prepared.features, 12.0, None)
    total = sum(len(part.rows) for part in speech.parts())
    seconds = prepared.corpus.seconds
    wanted = int(20 * seconds)  # a fifth of all frames, pauses among them
    found = sample(speech.parts(), seconds, wanted, 0)
    assert abs(len(found) - total / 5) < 30
    other = Speech(prepared.corpus, prepared.features, 25.0, None)  # parts do not matter
    assert torch.equal(sample(other.parts(), seconds, wanted, 0), found)
    assert not torch.equal(sample(other.parts(), seconds, wanted, 1), found)
    assert len(sample(speech.parts(), seconds, 10**9, 0)) == total


def test_statistics_are_sums_over_frames(trained: Path, corpus: Path, tmp_path: Path) -> None:
    model: Any = load_model(str(trained / "model"))
    aligner = Aligner(model._module.mixture, least=0.025)
    prepared = prepare(KIND.read("ivector-small", made.recipe(corpus)))
    speech = Speech(prepared.corpus, prepared.features, 12.0, None)
    store = StatisticsStore(tmp_path, "x", "float64", "cpu")
    chosen = longest([u.duration_s for u in prepared.corpus.utterances], 11)
    totals = store.build(speech, aligner, chosen)
    assert totals.recordings == len(chosen) == 11
    frames = torch.cat(
        [rows for part in speech.parts() for member, rows in part.recordings() if member in chosen]
    )
    shares, _ = aligner.posteriors(frames)
    torch.testing.assert_close(totals.count, shares.sum(0))
    torch.testing.assert_close(totals.first, shares.T @ frames)
    torch.testing.assert_close(totals.second, shares.T @ frames.square())
    stored = torch.cat([one.first for one in store.read()])
    torch.testing.assert_close(stored.sum(0), totals.first)
    one = next(rows for part in speech.parts() for m, rows in part.recordings() if m in chosen)
    torch.testing.assert_close(stored[0], align(aligner, one).first[0])


def test_bad_recordings_are_left_out_and_listed(tmp_path: Path) -> None:
    import soundfile

    corpus = made.write_voices(tmp_path / "c", speakers=4, each=4)
    soundfile.write(corpus / "s0-0.flac", np.zeros(16000), 16000)  # silence
    (corpus / "s1-1.flac").write_bytes((corpus / "s1-1.flac").read_bytes()[:2000])
    found = _train(corpus, tmp_path / "out", **{"model.gaussians": 4, "model.rank": 2})
    bad = found.record["bad"]
    assert "no speech" in bad["s0-0"]
    assert set(bad) | {one["id"] for one in found.record["corpus"]["skipped"]} == {"s0-0", "s1-1"}


def test_longest() -> None:
    assert longest([1.0, 5.0, 3.0, 5.0], 2) == {1, 3}
    assert longest([1.0, 5.0, 5.0], 2) == {1, 2}
    assert longest([1.0, 2.0], None) == {0, 1}


def test_what_is_too_little_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer frames of speech than Gaussians"):
        _train(corpus, tmp_path / "a", **{"model.gaussians": 100_000})
    with pytest.raises(UsageError, match="no more recordings than dimensions"):
        _train(corpus, tmp_path / "b", **{"model.rank": 30})
    with pytest.raises(ConfigError, match="more Gaussians are looked at"):
        _train(corpus, tmp_path / "c", **{"model.covariance": "full", "model.select": 9})
    with pytest.raises(ConfigError, match="select is for full"):
        _train(corpus, tmp_path / "d", **{"model.select": 2})
    with pytest.raises(ConfigError, match="not normalised"):
        _train(corpus, tmp_path / "e", **{"model.front_end_options.normalise": "mean"})
    config = KIND.read("ivector-small", made.recipe(corpus, **{"model.rank": 8}))
    assert any("A rank of 8 is large for 30 recordings" in n for n in prepare(config).notices)
    config = KIND.read("ivector-small", made.recipe(corpus))
    assert prepare(config).notices == ()
    assert any("30 recordings" in line for line in KIND.plan(prepare(config)))


def test_a_fall_of_the_likelihood_is_told() -> None:
    assert fell({"a": [1.0, 2.0, 1.5], "b": [1.0, 1.0 - 1e-12], "c": [3.0]}) == {"a": -0.5}


def test_recipes_and_kinds(tmp_path: Path) -> None:
    for name in KIND.names():
        assert kinds.find_kind(name) is KIND
        assert KIND.read(name).data.corpora
    assert set(KIND.names()) >= {"ivector-small", "ivector-medium", "ivector-paper"}
    paper = KIND.read("ivector-paper")
    assert (paper.model.gaussians, paper.model.rank, paper.model.covariance) == (2048, 400, "full")
    assert kinds.find_kind("ecapa-small-supervised") is kinds.KINDS.get("network")
    assert {"ivector-small", "melhubert-small"} <= set(kinds.recipes())
    path = tmp_path / "r.yaml"
    path.write_text("kind: ivector\nname: x\nmodel: {gaussians: 4, rank: 2}\ndata: {corpus: c}\n")
    assert kinds.find_kind(path) is KIND
    assert KIND.read(path).model.rank == 2
    path.write_text("kind: ivectors\n")
    with pytest.raises(UnknownNameError, match="kind of training"):
        kinds.find_kind(path)
    with pytest.raises(UnknownNameError, match="training recipe or file"):
        kinds.find_kind("ivector-smal")


def test_the_command_shows_and_plans(corpus: Path) -> None:
    import typer
    from typer.testing import CliRunner

    from voxstrata.cli.commands import attach

    app = typer.Typer()
    attach(app)
    changes = [part for change in made.recipe(corpus) for part in ("-s", change)]
    shown = CliRunner().invoke(app, ["train", "ivector-small", *changes, "--show"])
    assert shown.exit_code == 0
    assert "kind: ivector" in shown.output
    assert "gaussians: 8" in shown.output
    plan = CliRunner().invoke(app, ["train", "ivector-small", *changes, "--dry-run"])
    assert plan.exit_code == 0
    assert "i-vectors of 4 over 8 diagonal Gaussians" in " ".join(plan.output.split())
    listed = CliRunner().invoke(app, ["train", "--list"])
    assert "ivector-paper" in listed.output
