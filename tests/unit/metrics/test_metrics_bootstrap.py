"""Intervals over speakers: exact against copied trials, right on planted scores, fast."""

from __future__ import annotations

import time

import numpy as np
import pytest

from voxstrata.errors import ShapeError, UsageError
from voxstrata.metrics.bootstrap import (
    SpeakerBootstrap,
    percentile_interval,
    relative_difference,
)
from voxstrata.metrics.dcf import DetectionCost, min_dcf
from voxstrata.metrics.eer import DEFINITIONS, eer, equal_error


def _rate(curve) -> float:
    return equal_error(curve).value


def _planted(seed: int, speakers: int, each: int = 6, spread: float = 0.8):
    """Scores of all pairs of embeddings around speakers' own places."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(speakers, 8))
    who = np.repeat(np.arange(speakers), each)
    rows = places[who] + spread * rng.normal(size=(len(who), 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = np.triu_indices(len(who), 1)
    scores = np.einsum("nd,nd->n", rows[first], rows[second])
    return who[first], who[second], scores, who[first] == who[second]


@pytest.mark.parametrize("ties", [False, True])
def test_every_draw_equals_copied_trials(ties: bool) -> None:
    first, second, scores, target = _planted(0, 5, 4)
    scores = np.round(scores, 1) if ties else scores
    bootstrap = SpeakerBootstrap(first, second, replicates=20, seed=3)
    statistics = [lambda c, d=d: equal_error(c, d).value for d in DEFINITIONS]
    statistics.append(lambda c: DetectionCost(0.05).least(c)[0])
    found = bootstrap.replicates(scores, target, statistics)
    for number, counts in enumerate(bootstrap.counts):
        times = [
            counts[a] if a == b else counts[a] * counts[b]
            for a, b in zip(first, second, strict=True)
        ]
        np.testing.assert_array_equal(bootstrap.weights(number), times)
        copied, kind = np.repeat(scores, times), np.repeat(target, times)
        if kind.all() or not kind.any():
            assert np.isnan(found[number]).all()
            continue
        expected = [eer(copied[kind], copied[~kind], d) for d in DEFINITIONS]
        expected.append(min_dcf(copied[kind], copied[~kind], 0.05))
        np.testing.assert_allclose(found[number], expected, atol=1e-12)


def test_draws_are_of_speakers_and_seeded() -> None:
    first, second, _, _ = _planted(0, 7)
    one = SpeakerBootstrap(first, second, replicates=50, seed=1)
    assert one.speakers == 7
    assert (one.counts.sum(axis=1) == 7).all()
    again = SpeakerBootstrap(first, second, replicates=50, seed=1)
    other = SpeakerBootstrap(first, second, replicates=50, seed=2)
    np.testing.assert_array_equal(one.counts, again.counts)
    assert (one.counts != other.counts).any()
    names = SpeakerBootstrap([f"s{n}" for n in first], [f"s{n}" for n in second], replicates=5)
    assert names.speakers == 7


def test_intervals_cover_the_planted_error() -> None:
    """Speakers differ in how well they are recognised; the truth is the error of very many."""
    *_, scores, target = _planted(999, 700, 4)
    truth = eer(scores[target], scores[~target])
    inside = wide = narrow = 0
    for seed in range(60):
        first, second, scores, target = _planted(seed, 25, 4)
        bootstrap = SpeakerBootstrap(first, second, replicates=120, seed=seed)
        found = bootstrap.replicates(scores, target, [_rate])[:, 0]
        interval = bootstrap.interval(eer(scores[target], scores[~target]), found)
        assert interval.low is not None
        assert interval.high is not None
        inside += interval.low <= truth <= interval.high
        rng = np.random.default_rng(seed)  # the naive way, for contrast: trials drawn alone
        naive = []
        for _ in range(40):
            drawn = rng.integers(0, len(scores), len(scores))
            naive.append(eer(scores[drawn][target[drawn]], scores[drawn][~target[drawn]]))
        wide += interval.high - interval.low
        narrow += 2 * 1.96 * np.std(naive)
    assert 50 <= inside <= 60, inside
    assert wide > 1.2 * narrow


def test_two_systems_are_compared_within_draws() -> None:
    first, second, scores, target = _planted(4, 20, 5)
    noisy = scores + np.random.default_rng(0).normal(0, 0.05, len(scores))
    bootstrap = SpeakerBootstrap(first, second, replicates=300)
    a, b = (bootstrap.replicates(s, target, [_rate])[:, 0] for s in (noisy, scores))
    values = [eer(s[target], s[~target]) for s in (noisy, scores)]
    found = relative_difference(*values, a, b, speakers=bootstrap.speakers)
    assert found.value == pytest.approx(values[0] / values[1] - 1)
    assert found.low < found.value < found.high
    shuffled = relative_difference(*values, a, b[::-1].copy(), speakers=bootstrap.speakers)
    assert found.high - found.low < 0.5 * (shuffled.high - shuffled.low)
    itself = relative_difference(values[0], values[0], a, a, speakers=20)
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)
    assert relative_difference(0.1, 0.0, a, a).low is None


def test_few_speakers_have_no_interval() -> None:
    first, second, scores, target = _planted(0, 2, 5)
    bootstrap = SpeakerBootstrap(first, second, replicates=50)
    found = bootstrap.replicates(scores, target, [_rate])[:, 0]
    assert np.isnan(found).sum() == (bootstrap.counts.max(axis=1) == 2).sum() > 0
    assert bootstrap.interval(0.1, found).low is None
    assert percentile_interval(0.5, np.linspace(0, 1, 101), 0.9).low == pytest.approx(0.05)


def test_a_thousand_draws_of_thirty_thousand_trials_are_quick() -> None:
    first, second, scores, target = _planted(1, 20, 12)
    assert len(scores) == 28680
    bootstrap = SpeakerBootstrap(first, second)
    begun = time.process_time()
    bootstrap.replicates(scores, target, [_rate, lambda c: DetectionCost().least(c)[0]])
    assert time.process_time() - begun < 5


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError):
        SpeakerBootstrap(["a"], ["a", "b"])
    with pytest.raises(UsageError):
        SpeakerBootstrap([], [])
    bootstrap = SpeakerBootstrap(["a", "a"], ["a", "b"], replicates=3)
    with pytest.raises(ShapeError):
        bootstrap.replicates([1.0, 2.0, 3.0], [True, False, False], [_rate])
    with pytest.raises(ShapeError):
        relative_difference(0.1, 0.2, np.zeros(3), np.zeros(4))
    with pytest.raises(UsageError, match="level"):
        percentile_interval(0.5, np.zeros(4), 1.0)
