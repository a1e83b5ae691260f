"""Word segmentation: curves, counts, R-value, the held-out choice."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import find_peaks
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.properties.property import TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.segmentation import (
    PROMINENCES,
    WINDOWS,
    change,
    column_scale,
    count,
    curve_peaks,
    grid,
    match,
    quality,
    smooth,
    zscore,
)
from voxstrata.properties.tasks.segmentation_property import (
    EVEN,
    RANDOM,
    hand_labelled,
    word_segmentation,
)
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import FrameGrid, LayerInfo, Segment, Utterance

GRID = FrameGrid(320, 400)
LAYER = StackLayer(0, "m", LayerInfo("1", 6, "frame", GRID))


def settings(**given: object) -> PropertiesConfig:
    given.setdefault("corpus", "c")
    return PropertiesConfig(models=("m",), **given)  # type: ignore[arg-type]


def test_scale_over_recordings() -> None:
    rng = np.random.default_rng(0)
    parts = [(1e4 + rng.standard_normal((n, 3)) * [1, 5, 0]).astype(np.float32) for n in (5, 9)]
    whole = np.concatenate(parts).astype(np.float64)
    scale = column_scale(parts)
    got = np.concatenate([zscore(p, scale) for p in parts])
    assert got[:, :2] == pytest.approx(
        ((whole - whole.mean(0)) / np.where(whole.std(0), whole.std(0), 1))[:, :2], abs=1e-9
    )
    assert (got[:, 2] == 0).all()
    with pytest.raises(NumericsError):
        column_scale([np.full((3, 2), np.nan)])
    with pytest.raises(ShapeError):
        column_scale([])


def test_curves() -> None:
    x = np.array([[1.0, 0], [1.0, 0], [0.0, 2], [0.0, 4]])
    assert change(x, "euclidean") == pytest.approx([0, math.sqrt(5), 2])
    assert change(x, "cosine") == pytest.approx([0, 1, 0])
    assert smooth(np.array([1.0, 2, 3, 6]), 2).tolist() == [1.5, 2.5, 4.5]
    assert len(smooth(np.ones(3), 4)) == 0
    with pytest.raises(UsageError):
        smooth(np.ones(3), 0)


def test_one_search_serves_every_threshold() -> None:
    curve = np.random.default_rng(0).random(300)
    ((peak, height),) = curve_peaks([curve], 4)
    for prominence in PROMINENCES:
        expected = find_peaks(smooth(curve, 4), prominence=prominence)[0]
        assert peak[height >= prominence].tolist() == expected.tolist()
    assert len(grid()) == 15 * 2 * 6 == len(set(grid()))


def test_one_to_one_hits_are_as_many_as_can_be() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = np.sort(rng.random(rng.integers(0, 15))), np.sort(rng.random(rng.integers(1, 15)))
        near = csr_matrix(np.abs(a[:, None] - b) <= 0.05) if len(a) else None
        best = int((maximum_bipartite_matching(near) >= 0).sum()) if near is not None else 0
        assert match(a, b, 0.05) == best


def test_counts_by_hand() -> None:
    words = [(0.0, 0.5), (0.5, 0.9), (1.2, 1.6)]
    predicted = np.array([0.49, 0.52, 0.9, 1.3, 1.61])
    found = count(predicted, words, 2.0)
    # Gold: 0.5, 0.9, 1.2, 1.6 (0 is the recording's own end); 0.52 finds 0.5 taken.
    assert (found.hits, found.predicted, found.gold, found.missed) == (3, 5, 4, 1)
    # Stretches 0-.49 (right), .49-.52, .52-.9 (right), .9-1.3 (a pause), 1.3-1.61, 1.61-2 (pause).
    assert (found.tokens, found.predicted_tokens, found.gold_tokens) == (2, 4, 3)
    loose = count(predicted, words, 2.0, matching="pasad")
    assert (loose.hits, loose.predicted, loose.gold, loose.missed) == (4, 5, 5, 2)
    q = quality(loose.array(), "pasad")
    assert (q.precision, q.recall) == (pytest.approx(4 / 5), pytest.approx(4 / 6))
    edge = count(np.array([0.52]), [(0.1, 0.5), (0.5, 0.9)], 1.0)
    assert edge.hits == 1  # exactly at the tolerance
    with pytest.raises(UsageError):
        count(predicted, words, 2.0, matching="other")  # type: ignore[arg-type]


def test_r_value() -> None:
    def r(hits: float, predicted: float, gold: float) -> float:
        return quality(np.array([hits, predicted, gold, gold - hits, 0, 0, 0])).r_value

    assert r(10, 10, 10) == 1
    # Räsänen et al. 2009: distance to the point (OS 0, HR 1) and to the line HR = 1 + OS.
    hr, os = 0.7, 0.25
    r1 = math.dist((os, hr), (0, 1))
    r2 = abs(hr - os - 1) / math.sqrt(2)
    assert r(70, 125, 100) == pytest.approx(1 - (r1 + r2) / 2)
    assert r(100, 400, 100) < 0 < r(75, 100, 100)  # finding all by saying "everywhere" is bad
    assert quality(np.zeros(7)).f1 == 0
    with pytest.raises(ShapeError):
        quality(np.zeros(3))


def talk(
    recordings: int = 12, seed: int = 0, noise: float = 0.1
) -> tuple[dict[str, Utterance], Sample]:
    """Words are constant stretches of frames; boundaries lie between frame centres."""
    rng = np.random.default_rng(seed)
    utterances, rows, names, centres = {}, [], [], []
    for r in range(recordings):
        lengths = rng.integers(6, 20, 15)
        total = int(lengths.sum())
        cuts = np.concatenate([[0], np.cumsum(lengths)])
        centre = np.array([GRID.centre_s(i) for i in range(total)])
        edges = centre[0] - 0.01 + 0.02 * cuts
        words = tuple(Segment(float(a), float(b), "w") for a, b in itertools.pairwise(edges))
        name = f"u{r}"
        utterances[name] = Utterance(name, float(edges[-1]) + 0.0025, {"words": words})
        x = np.repeat(rng.standard_normal((15, 6)), lengths, axis=0)
        rows.append(x + noise * rng.standard_normal((total, 6)))
        names += [name] * total
        centres += list(centre)
    sample = sample_of(
        [np.concatenate(rows)],
        layers=[LAYER],
        utterances=utterances,
        utterance=names,
        fold=[int(n[1:]) % 6 for n in names],
        start_s=np.array(centres) - 0.01,
        end_s=np.array(centres) + 0.01,
        unit="sequence",
    )
    return utterances, sample


def test_planted_boundaries_are_found() -> None:
    _, sample = talk()
    draw = word_segmentation("").draw(sample, settings(), seed=0)
    scores = {(s.measure, s.control): s for s in draw.score(sample.read(0), LAYER)}
    assert scores["boundary-f1", ""].value > 0.95
    assert scores["token-f1", ""].value > 0.9
    assert scores["r-value", ""].value > 0.9
    assert scores["boundary-f1", ""].error is not None
    for control in (EVEN, RANDOM):
        assert scores["boundary-f1", control].value < 0.5
        assert scores["token-f1", control].value < 0.2
    assert scores["boundary-f1", ""].estimator == "held-out"
    chosen = draw.facts["chosen"]["m/1"]
    assert 1 <= len(chosen) <= 2
    assert all(c["window"] in WINDOWS for c in chosen)


def test_boundaries_are_placed_between_frames() -> None:
    """A jump between frames 20 and 21 lies half way between their centres, whatever the window."""
    _, sample = talk(2)
    draw = word_segmentation("").draw(sample, settings(), seed=0)
    recording = draw.recordings[0]
    for window in (1, 2, 4, 6):
        curve = np.zeros(40)
        curve[20] = 1.0
        # Every average that covers the step is 1 / window: the plateau's middle is the peak.
        (peak,) = find_peaks(smooth(curve, window))[0]
        (time,) = draw._times(recording, np.array([peak]), window)
        middle = (recording.centres_s[20] + recording.centres_s[21]) / 2
        assert abs(time - middle) <= 0.01 + 1e-9


def test_the_choice_does_not_look_at_what_it_is_scored_on() -> None:
    _, sample = talk(noise=0.6)
    draw = word_segmentation("").draw(sample, settings(), seed=1)
    candidates = draw._candidates(sample.read(0))
    before = draw._choose(draw._counts(candidates))
    # Spoil the labels of one half: only the choice for the other half may change.
    draw.recordings = [
        replace(r, words=((0.031, 0.047), (1.111, 1.153))) if half == 0 else r
        for r, half in zip(draw.recordings, draw.half, strict=True)
    ]
    after = draw._choose(draw._counts(candidates))
    assert (before[draw.half == 0] == after[draw.half == 0]).all()
    assert (before[draw.half == 1] != after[draw.half == 1]).all()
    folds = np.array([r.fold for r in draw.recordings])
    assert not set(folds[draw.half == 0]) & set(folds[draw.half == 1])


def test_counts_are_those_of_every_point_alone() -> None:
    _, sample = talk(4, noise=0.8)
    draw = word_segmentation("").draw(sample, settings(), seed=0)
    candidates = draw._candidates(sample.read(0))
    table = draw._counts(candidates)
    for g in range(0, len(candidates), 7):
        for r, recording in enumerate(draw.recordings):
            alone = count(candidates[g][r], recording.words, recording.duration_s)
            assert table[g, r].tolist() == alone.array().tolist()


def test_the_published_choice_is_made_on_what_is_scored() -> None:
    _, sample = talk(noise=0.6)
    draw = word_segmentation("").draw(sample, settings(preset="pasad2023"), seed=0)
    scores = {(s.measure, s.control): s for s in draw.score(sample.read(0), LAYER)}
    totals = draw._counts(draw._candidates(sample.read(0))).sum(axis=1)
    best = max(quality(t, "pasad").f1 for t in totals)
    assert scores["boundary-f1", ""].value == pytest.approx(best)
    assert scores["boundary-f1", ""].estimator == "in-sample"
    times = draw._times(draw.recordings[0], np.array([10, 20]), 4)
    assert times == pytest.approx([0.24, 0.44])


def test_notices_and_refusals() -> None:
    _, sample = talk(3)
    assert word_segmentation("").draw(sample, settings(), seed=0).notices
    draw = word_segmentation("").draw(sample, settings(corpus="synthetic:demo"), seed=0)
    assert not draw.notices
    assert hand_labelled("timit:/data/timit/test", sample)
    assert not hand_labelled("librispeech:/data/dev-clean", sample)
    _, lone = talk(1)
    with pytest.raises(TooFewError, match="half"):
        word_segmentation("").draw(lone, settings(), seed=0)
