"""Backends: what the steps do to embeddings, that they help where they must, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import planted
from voxstrata.corpora import load_corpus
from voxstrata.errors import ConfigError, LabelError, ShapeError, UnknownNameError, UsageError
from voxstrata.metrics.eer import eer
from voxstrata.models import load_model
from voxstrata.numerics.two_covariance import by_speaker
from voxstrata.report import draw_report
from voxstrata.verification.backend import BACKENDS, BackendSettings, learn
from voxstrata.verification.embed import embed
from voxstrata.verification.job import verify
from voxstrata.verification.pairs import all_pairs
from voxstrata.verification.score import cosine

D, HIDDEN = 12, 3


def _embeddings(
    speakers: int, each: int, seed: int, noise: float = 4.0
) -> tuple[np.ndarray, list[str]]:
    """Speakers in three directions; large noise of every recording in the others."""
    mix = np.random.default_rng(99).standard_normal((D, D))
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(speakers), each)
    voices = np.zeros((speakers, D))
    voices[:, :HIDDEN] = rng.standard_normal((speakers, HIDDEN))
    scale = np.concatenate([np.full(HIDDEN, 0.4), np.full(D - HIDDEN, noise)])
    rows = voices[codes] + scale * rng.standard_normal((len(codes), D))
    return rows @ mix.T + 3.0, [f"s{code}" for code in codes]


def _error(scores: np.ndarray, names: list[str]) -> float:
    first, second = np.triu_indices(len(names), 1)
    target = np.array(names)[first] == np.array(names)[second]
    return eer(scores[target], scores[~target])


@pytest.mark.parametrize("name", ["lda", "wccn", "lda-wccn", "plda", "lda-plda"])
def test_speakers_under_noise_are_told_apart(name: str) -> None:
    test, names = _embeddings(20, 5, seed=1)
    first, second = np.triu_indices(len(test), 1)
    plain = _error(cosine(test, first, second, mean=test.mean(0)), names)
    settings = BackendSettings(dimensions=HIDDEN)
    backend = learn(name, *_embeddings(150, 6, seed=2), settings=settings)
    found = _error(backend.score(test, first, second), names)
    assert plain > 0.3
    assert found < 0.75 * plain if name == "wccn" else found < 0.5 * plain
    assert backend.facts()["recordings"] == 900
    assert backend.facts()["speakers"] == 150
    shuffled = list(np.random.default_rng(0).permutation(_embeddings(150, 6, seed=2)[1]))
    control = learn(name, _embeddings(150, 6, seed=2)[0], shuffled, settings)
    assert _error(control.score(test, first, second), names) > found + 0.05


def test_scores_do_not_depend_on_the_sides_or_on_other_trials() -> None:
    backend = learn("lda-plda", *_embeddings(60, 4, seed=3))
    test, _ = _embeddings(4, 3, seed=4)
    first, second = np.triu_indices(len(test), 1)
    scores = backend.score(test, first, second)
    np.testing.assert_allclose(backend.score(test, second, first), scores, rtol=1e-9)
    one = backend.score(test[[0, 5]], np.array([0]), np.array([1]))
    at = np.flatnonzero((first == 0) & (second == 5))
    np.testing.assert_allclose(one, scores[at], rtol=1e-9)


def test_lda_gives_unit_covariance_within_speakers() -> None:
    rows, names = _embeddings(100, 5, seed=5)
    backend = learn("lda", rows, names)
    assert backend.facts()["lda_dimensions"] == D
    codes = np.unique(names, return_inverse=True)[1]
    within = by_speaker(backend.transform(rows), torch.from_numpy(codes)).scaled()
    np.testing.assert_allclose(within.numpy(), np.eye(D), atol=1e-8)
    fewer = learn("lda", rows, names, BackendSettings(dimensions=2))
    assert fewer.transform(rows).shape == (500, 2)


def test_plda_iterations_raise_the_likelihood() -> None:
    backend = learn("plda", *_embeddings(60, 4, seed=6), BackendSettings(iterations=15))
    told = backend.facts()["plda_log_likelihoods"]
    assert len(told) == 16
    assert np.diff(told).min() > -1e-9
    assert told[-1] > told[0]


def test_every_registered_backend_loads() -> None:
    assert set(BACKENDS.names()) >= {"lda", "wccn", "lda-wccn", "plda", "lda-plda"}
    for name in BACKENDS.names():
        assert BACKENDS.get(name).scorer is not None


def test_what_is_refused() -> None:
    rows, names = _embeddings(4, 3, seed=7)
    with pytest.raises(UnknownNameError, match="backend"):
        learn("pdla", rows, names)
    with pytest.raises(UsageError, match="telling speakers apart"):
        learn("plda", rows, ["one"] * len(rows))
    with pytest.raises(UsageError, match="LDA gives fewer dimensions"):
        learn("lda", rows, names, BackendSettings(dimensions=4))
    with pytest.raises(ShapeError, match="a speaker for every embedding"):
        learn("plda", rows, names[:-1])
    backend = learn("plda", *_embeddings(30, 4, seed=8))
    with pytest.raises(ShapeError, match="do not fit the backend"):
        backend.score(rows[:, :3], np.array([0]), np.array([1]))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Trials and what backends are learned from."""
    folder = tmp_path_factory.mktemp("corpora")
    return (
        planted.write_corpus(folder / "test", recordings=16, speakers=4),
        planted.write_corpus(folder / "train", recordings=60, speakers=6),
    )


def test_a_run_with_backends(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    test, train = corpora
    settings = {"baselines": False, "replicates": 0, "keep_scores": True}
    found = verify(
        "mfcc", str(test), out=tmp_path, backend=("lda", "lda-plda"), backend_from=str(train),
        lda_dim=3, plda_iterations=4, **settings,
    )  # fmt: skip
    model = load_model("mfcc")
    rows, others = embed(model, load_corpus(test)), load_corpus(train)
    trials = all_pairs(load_corpus(test).utterances)
    speakers = [str(u.tiers["speaker"]) for u in others.utterances]
    kept = pd.read_parquet(tmp_path / "scores.parquet")
    for name in ("lda", "lda-plda"):
        backend = learn(
            name, embed(model, others).vectors, speakers, BackendSettings(3, iterations=4)
        )
        expected = backend.score(rows.of(trials.ids).vectors, trials.first, trials.second)
        np.testing.assert_allclose(kept[f"mfcc|{name}"], expected, rtol=1e-6, atol=1e-6)
        (row,) = found.table[
            (found.table["estimator"] == name) & (found.table["measure"] == "eer-interpolated")
        ].to_dict("records")
        assert row["value"] == pytest.approx(eer(expected[trials.target], expected[~trials.target]))
    facts = found.record["backend"]
    assert facts["recordings"] == 60
    assert facts["learned"]["mfcc|lda-plda"]["lda_dimensions"] == 3
    assert len(facts["learned"]["mfcc|lda-plda"]["plda_log_likelihoods"]) == 5
    assert any("the backend is learned from" in text for text in found.record["notices"])
    page = draw_report(tmp_path).read_text()
    assert f"PLDA after LDA and length normalisation, learned from {train}" in page


def test_a_backend_that_cannot_be_learned_is_told_and_the_others_are_scored(
    corpora: tuple[Path, Path], tmp_path: Path
) -> None:
    """WCCN of 40 dimensions from 12 recordings of 6 speakers has no inverse; LDA has."""
    test, _ = corpora
    few = planted.write_corpus(tmp_path / "few", recordings=12, speakers=6)
    found = verify(
        "mfcc", str(test), out=tmp_path / "o", backend=("wccn", "lda"), backend_from=str(few),
        baselines=False, replicates=0,
    )  # fmt: skip
    assert set(found.table["estimator"]) == {"cosine", "cosine-centred", "lda"}
    assert any("not scored by wccn" in text for text in found.record["notices"])


def test_runs_that_are_refused(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    test, train = corpora
    with pytest.raises(ConfigError, match="go together"):
        verify("mfcc", str(test), out=tmp_path, backend="plda")
    with pytest.raises(UnknownNameError, match="backend"):
        verify("mfcc", str(test), out=tmp_path, backend="pdla", backend_from=str(train))
    one = planted.write_corpus(tmp_path / "one", recordings=4, speakers=1)
    with pytest.raises(UsageError, match="backends cannot be learned"):
        verify("mfcc", str(test), out=tmp_path, backend="plda", backend_from=str(one))
    manifest = one / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"speaker"', '"voice"', 1))
    with pytest.raises(LabelError, match="backends are learned from the speakers") as caught:
        verify("mfcc", str(test), out=tmp_path, backend="plda", backend_from=str(one))
    assert "--backend-from" in caught.value.fix
