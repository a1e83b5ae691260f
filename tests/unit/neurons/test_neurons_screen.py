"""Effects, tests and q values of neurons: scipy, scikit-learn, enumeration and planted truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import mutual_info_score

from neurons_counted import counted
from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.statistics.design import by_rows, by_units
from voxstrata.neurons.statistics.effects import (
    area,
    information,
    log_odds,
    mean_difference,
    ranks,
    unit_rates,
    unit_totals,
)
from voxstrata.neurons.statistics.null import selection_null
from voxstrata.neurons.statistics.screen import screen
from voxstrata.neurons.statistics.significance import (
    false_discovery,
    family_p,
    normal_p,
    permuted,
    standardise,
)
from voxstrata.neurons.statistics.thin import frames_needed, least_frames, thin_rows, verdict

LAYER = "block.1.ffn.inner"


def test_areas_and_normal_p_are_mann_whitney() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, (23, 8)).astype(float)
    labels = rng.integers(0, 3, 23)
    rank = ranks(x)
    z = standardise(rank, labels, 3, np.zeros(23, int)).z
    auc = area(rank, labels, 3)
    for g in range(3):
        for d in range(8):
            a, b = x[labels == g, d], x[labels != g, d]
            test = mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
            assert auc[g, d] == pytest.approx(test.statistic / (len(a) * len(b)))
            assert normal_p(z)[g, d] == pytest.approx(test.pvalue)


def test_moments_and_p_are_those_of_every_labelling() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((9, 4))
    x[:, 3] = 0.7
    strata = np.array([0] * 5 + [1] * 4)
    labels = np.array([1, 1, 0, 0, 0, 1, 0, 0, 0])
    every = []
    for first in combinations(range(5), 2):
        every += [x[[*first, one]].sum(axis=0) for one in range(5, 9)]
    sums = np.array(every)
    own = standardise(x, labels, 2, strata)
    assert own.mean[1] == pytest.approx(sums.mean(axis=0))
    assert own.deviation[1] == pytest.approx(sums.std(axis=0))
    assert own.z[:, 3].tolist() == [0.0, 0.0]
    far = np.abs(sums - own.mean[1]) >= np.abs(x[labels == 1].sum(axis=0) - own.mean[1]) - 1e-12
    drawn = permuted(x, labels, 2, strata, draws=4000, seed=0)
    assert drawn.p[1] == pytest.approx(far.mean(axis=0), abs=0.025)
    assert drawn.p[0] == pytest.approx(drawn.p[1])
    assert drawn.p[:, 3].tolist() == [1.0, 1.0]


def test_family_p_counts_the_largest_of_each_draw() -> None:
    z, largest = np.array([0.5, -2.0, 3.5]), np.array([1.0, 2.0, 3.0, 2.5])
    assert family_p(z, largest).tolist() == [1.0, 4 / 5, 1 / 5]


def test_frame_effects() -> None:
    active, seen = np.array([[30, 0, 7], [10, 0, 14]]), np.array([100, 200])
    a, b, c, d = 30.5, 70.5, 10.5, 190.5
    assert log_odds(active, seen)[0, 0] == pytest.approx(np.log(a * d / (b * c)))
    assert log_odds(active, seen)[:, 2] == pytest.approx([0, 0], abs=0.05)
    group = np.repeat([0, 1], seen)
    for d_, column in enumerate(active.T):
        on = np.concatenate([np.arange(n) < k for n, k in zip(seen, column, strict=True)])
        bits = mutual_info_score(group, on) / np.log(2)
        assert information(active, seen)[d_] == pytest.approx(bits, abs=1e-12)
    with pytest.raises(UsageError, match="more frames than there are"):
        log_odds(np.array([[3]]), np.array([2]))


def test_false_discovery_rates_by_their_definition() -> None:
    rng = np.random.default_rng(3)
    p = {"a": rng.random((2, 5)) ** 3, "b": np.array([np.nan, 0.2, 1e-4])}
    flat = np.concatenate([p["a"].reshape(-1), p["b"][1:]])
    m = len(flat)
    order = np.argsort(flat)
    bh = np.empty(m)
    bh[order] = np.minimum.accumulate((flat[order] * m / np.arange(1, m + 1))[::-1])[::-1]
    by = np.minimum(bh * (1 / np.arange(1, m + 1)).sum(), 1)
    for control, truth in (("bh", np.minimum(bh, 1)), ("by", by)):
        q = false_discovery(p, control)  # type: ignore[arg-type]
        assert q["a"].reshape(-1) == pytest.approx(truth[:10])
        assert np.isnan(q["b"][0])
        assert q["b"][1:] == pytest.approx(truth[10:])
    with pytest.raises(UsageError):
        false_discovery({"a": np.array([1.2])})
    with pytest.raises(UsageError):
        false_discovery({"a": np.array([0.2])}, "holm")  # type: ignore[arg-type]


def test_rates_given_rows_do_not_see_who_says_what() -> None:
    """Two groups of units say different phones; no neuron knows the group itself."""
    rng = np.random.default_rng(4)
    P, C, D = 40, 4, 50
    labels = np.arange(P) % 2
    seen = rng.poisson(np.where(labels[:, None] == 0, [300, 100, 50, 20], [20, 50, 100, 300]))
    probability = rng.choice([0.01, 0.3], (1, C, D))
    counts = counted(probability, seen, seed=5, base=0.02)
    design = by_units(counts, labels, ["a", "b"])
    naive = screen(counts, design).found(0.05)[LAYER].sum()
    told = screen(counts, design, given_rows=True).found(0.05)[LAYER].sum()
    assert naive > 25
    assert told <= 5
    totals, frames = unit_totals(counts, LAYER, design.rows)
    assert (frames == seen.sum(axis=1)).all()
    dense = counts.active[LAYER].toarray().reshape(P, C, D)
    assert (totals == dense.sum(axis=1)).all()
    expected = np.einsum("pc,cd->pd", seen, dense.sum(axis=0) / seen.sum(axis=0)[:, None])
    rates = unit_rates(counts, LAYER, design.rows, given_rows=True)
    assert rates == pytest.approx((totals - expected) / frames[:, None], abs=1e-11)
    assert mean_difference(rates, labels, 2)[0] == pytest.approx(
        rates[labels == 0].mean(axis=0) - rates[labels == 1].mean(axis=0)
    )


def planted(seed: int, effect: float = 2.0, spread: float = 0.15, per: int = 3) -> tuple:  # type: ignore[type-arg]
    """40 speakers, two groups; neurons 0 to 29 carry group 1; each neuron varies by speaker."""
    rng = np.random.default_rng(seed)
    speakers, C, D = 40, 4, 300
    group = np.arange(speakers) % 2
    plain = rng.choice([0.003, 0.02, 0.1], (1, C, D), p=[0.5, 0.25, 0.25])
    plain[:, :, :30] = rng.uniform(0.012, 0.018, (1, C, 30))
    level = np.exp(spread * rng.standard_normal((speakers, 1, D)))
    level[:, :, :30] *= np.where(group == 1, effect, 1 / effect)[:, None, None]
    chance = np.minimum(np.repeat(plain * level, per, axis=0), 1.0)
    seen = rng.integers(50, 200, (speakers * per, C))
    counts = counted(chance, seen, seed=seed + 1, base=0.015)
    names = np.repeat([f"s{k:02d}" for k in range(speakers)], per)
    return counts, np.repeat(group, per), names


def test_planted_neurons_are_found() -> None:
    counts, labels, speakers = planted(0)
    design = by_units(counts, labels, ["0", "1"])
    published = property_neurons(design.counts(counts), LAYER, 0.8)
    assert published[1, :30].mean() >= 0.9
    null = selection_null(counts, design, clusters=speakers, draws=200).layers[LAYER]
    # Dealt labels split 30 strong neurons unevenly all at once, so the null is wide here.
    assert null.total.p < 0.05
    assert null.total.mean < 0.7 * null.total.observed
    assert null.group(1).p < 0.02
    assert null.chosen[:, 30:].max() < 100
    result = screen(counts, design, clusters=speakers)
    assert result.units == 40
    assert result.tests == 300
    sizes = result.layers[LAYER].effects
    assert sizes.log_odds[1, :30].mean() == pytest.approx(np.log(4), abs=0.15)
    assert sizes.auc[1, :30].min() > 0.9
    assert (sizes.difference[1, :30] > 0).all()
    assert sizes.information[:30].min() > np.quantile(sizes.information[30:], 0.9)


@pytest.mark.parametrize(
    "options", [{}, {"statistic": "difference"}, {"given_rows": True}], ids=["auc", "mean", "rows"]
)
def test_planted_neurons_are_found_at_the_stated_rate(options: dict[str, str]) -> None:
    recall, false = [], []
    for seed in range(12):
        counts, labels, speakers = planted(100 + 2 * seed)
        design = by_units(counts, labels, ["0", "1"])
        found = screen(counts, design, clusters=speakers, **options).found(0.05)[LAYER]  # type: ignore[arg-type]
        recall.append(found[1, :30].mean())
        false.append((found[:, 30:].sum() + found[0, :30].sum()) / found.sum())
    assert min(recall) > 0.9
    # 0.05 x 270 / 300 is expected; the mean of 12 has a deviation of 0.01
    assert np.mean(false) < 0.08


def test_shuffled_labels_find_nothing_beyond_the_rate() -> None:
    counts, _, speakers = planted(2)
    any_found, largest = 0, []
    rng = np.random.default_rng(0)
    for _ in range(60):
        of = dict(zip(np.unique(speakers), rng.permutation(np.arange(40) % 2), strict=True))
        shuffled = np.array([of[name] for name in speakers])
        result = screen(counts, by_units(counts, shuffled, ["0", "1"]), clusters=speakers)
        any_found += bool(result.found(0.05)[LAYER].any())
        largest.append((result.layers[LAYER].p[0] < 0.05).mean())
    # With nothing to find, the false discovery rate is the chance of any discovery: 5 % of 60 is
    # 3; more than 9 has a probability below 0.1 %. (Planted neurons are correlated: one event.)
    assert any_found <= 9
    assert np.mean(largest) == pytest.approx(0.05, abs=0.02)


def test_recordings_of_a_speaker_are_not_independent() -> None:
    """Without clusters, speakers that differ by chance look like an effect of the group."""
    counts, labels, speakers = planted(5, effect=1.0, spread=0.6, per=4)
    design = by_units(counts, labels, ["0", "1"])
    honest = screen(counts, design, clusters=speakers).layers[LAYER]
    naive = screen(counts, design).layers[LAYER]
    assert (honest.p[0] < 0.05).mean() < 0.1
    assert (naive.p[0] < 0.05).mean() > 0.2
    assert screen(counts, design, clusters=speakers).found()[LAYER].sum() <= 2


def test_draws_agree_with_the_normal_approximation() -> None:
    counts, labels, speakers = planted(7)
    design = by_units(counts, labels, ["0", "1"])
    drawn = screen(counts, design, clusters=speakers, method="permutation", draws=2000)
    close = screen(counts, design, clusters=speakers).layers[LAYER]
    one = drawn.layers[LAYER]
    clear = close.p > 0.01
    assert np.abs(one.p - close.p)[clear].max() < 0.05
    assert one.family is not None
    assert (one.family >= one.p - 1e-12).all()
    assert (one.family[1, :30] < 0.05).mean() > 0.8
    assert (one.family[:, 30:] < 0.05).sum() <= 2
    assert drawn.table().shape == (600, 13)
    assert one.q_bh[0] == pytest.approx(one.q_bh[1])


def test_strata_hold_gender_fixed() -> None:
    """Groups that are mostly genders: neurons of gender are none of the group within gender."""
    rng = np.random.default_rng(8)
    P = 60
    gender = np.arange(P) % 2
    group = np.where(rng.random(P) < 0.8, gender, 1 - gender)
    chance = np.full((P, 1, 40), 0.02)
    chance[:, :, :20] *= np.where(gender == 1, 2.0, 1.0)[:, None, None]
    counts = counted(chance, np.full((P, 1), 400), seed=9, base=0.02)
    design = by_units(counts, group, ["0", "1"])
    assert screen(counts, design).found()[LAYER][:, :20].sum() >= 15
    assert screen(counts, design, strata=gender).found()[LAYER].sum() <= 1


def test_several_groups_and_groups_without_units() -> None:
    counts, labels, _ = planted(0)
    three = np.where(np.arange(len(labels)) % 5 == 0, 2, labels)
    result = screen(counts, by_units(counts, three, ["0", "1", "2", "nobody"]))
    one = result.layers[LAYER]
    assert result.tests == 900
    assert np.isnan(one.p[3]).all()
    assert np.isnan(one.q_by[3]).all()
    assert one.q_bh[:3] == pytest.approx(false_discovery({"x": one.p[:3]})["x"])
    assert (one.q_by[:3] >= one.q_bh[:3]).all()
    assert not result.found()[LAYER][3].any()


def test_thin_rows_leave_neurons_undetermined() -> None:
    seen = np.array([[1000, 1000, 50, 1000], [1000, 1000, 1000, 1000]])
    probability = np.zeros((2, 4, 4))
    probability[0, :, 0] = [0.9, 0.9, 0.9, 0.9]  # in group 0 in any case? only if row 2 counts
    probability[0, :, 1] = [0.9, 0.9, 0.0, 0.9]
    probability[:, :, 2] = 0.9  # in both: no property neuron
    probability[1, :, 3] = 0.9  # in group 1 for sure
    counts = counted(probability, seen, base=0.25, top=1)
    both = by_units(counts, [0, 1], ["a", "b"]).counts(counts)
    found = verdict(both, LAYER, 100, 1.0)
    assert found.sure.astype(int).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]
    # neurons 0 and 1 hang on the thin row; neuron 2 may be in group 1 alone
    assert found.undetermined.astype(int).tolist() == [[1, 1, 0, 0], [0, 0, 1, 0]]
    assert found.changed.astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert verdict(both, LAYER, 100, 0.7).sure.astype(int).tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]
    assert [(row.row, row.seen) for row in thin_rows(both, 100)] == [("a | r2", 50)]
    assert least_frames(both, LAYER) == 4


def test_fewest_frames_of_the_published_rule() -> None:
    counts = counted(np.full((1, 1, 3072), 0.0), np.ones((2, 1), int), base=31 / 3072, top=31)
    one = by_rows(counts).counts(counts)
    assert least_frames(one, LAYER) == 100
    assert frames_needed(one) == 100
    assert 31 * 99 < 1 * 3072 <= 31 * 100


def test_fewest_frames_where_chance_is_a_rate() -> None:
    """1 / 49 has no exact float; of neurons with different rates, one at their mean is meant."""
    counts = counted(np.zeros((1, 1, 2)), np.ones((2, 1), int), base=0.5, top=1)
    one = by_rows(counts).counts(counts)
    for n in range(1, 200):
        alike = replace(one, base={LAYER: np.full(2, 1 / n)}, top={LAYER: None})
        assert least_frames(alike, LAYER) == frames_needed(alike) == n
    mixed = replace(one, base={LAYER: np.array([0.001, 0.199])}, top={LAYER: None})
    assert (least_frames(mixed, LAYER), frames_needed(mixed)) == (1000, 10)
    never = replace(one, base={LAYER: np.zeros(2)}, top={LAYER: None})
    assert frames_needed(never) == 1


def test_what_cannot_be_tested_is_refused() -> None:
    counts, labels, _ = planted(0)
    with pytest.raises(UsageError, match="rows cannot be screened"):
        screen(counts, by_rows(counts))
    design = by_units(counts, labels, ["0", "1"])
    with pytest.raises(UsageError, match="unknown statistic"):
        screen(counts, design, statistic="t")  # type: ignore[arg-type]
    with pytest.raises(NumericsError):
        standardise(np.array([[np.nan], [1.0]]), np.array([0, 1]), 2, np.zeros(2, int))
    with pytest.raises(ShapeError):
        standardise(np.zeros((3, 1)), np.array([0, 1]), 2, np.zeros(2, int))
    with pytest.raises(UsageError, match="1 or more"):
        thin_rows(design.counts(counts), 0)
