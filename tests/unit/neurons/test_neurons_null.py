"""The permutation null against the published selection, one labelling after another."""

from __future__ import annotations

import numpy as np
import pytest

from neurons_counted import counted
from voxstrata.errors import ShapeError, UsageError, VoxstrataWarning
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.selection import above, exclusive, property_neurons, share_above
from voxstrata.neurons.statistics import sweep
from voxstrata.neurons.statistics.design import by_rows, by_units
from voxstrata.neurons.statistics.draws import (
    exchangeable,
    halved,
    shuffled,
    whole_arrangements,
    whole_dealt,
)
from voxstrata.neurons.statistics.null import band, selection_null
from voxstrata.neurons.statistics.screen import screen

LAYER = "block.1.ffn.inner"


def made(seed: int = 0, P: int = 24, C: int = 5, D: int = 60, **options: object) -> UnitCounts:
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 40, (P, C))
    probability = rng.choice([0.0, 0.04, 0.055, 0.2], (1, C, D), p=[0.6, 0.2, 0.1, 0.1])
    return counted(probability, seen, seed=seed, base=3 / D, top=3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("dense", [0.0, 2.0])
@pytest.mark.parametrize("block", [1 << 23, 400])
def test_every_draw_is_the_published_selection(
    groups: int, dense: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "DENSE_FROM", dense)
    monkeypatch.setattr(sweep, "BLOCK", block)
    counts = made(layers=("a", "b"))
    labels = np.random.default_rng(1).integers(-1, groups, len(counts.units))
    names = [str(g) for g in range(groups)]
    design = by_units(counts, labels, names, leave_out=["r1"], sigma=0.7)
    null = selection_null(counts, design, draws=12, seed=3)
    kept = labels >= 0
    dealt = shuffled(labels[kept], 12, 3)
    for layer in counts.layers:
        chosen = np.zeros((groups, 60), dtype=int)
        for b, draw in enumerate(dealt):
            anew = by_units(counts.only(kept), draw, names, leave_out=["r1"], sigma=0.7)
            slow = property_neurons(anew.counts(counts.only(kept)), layer, 0.7)
            assert (null.layers[layer].draws[b] == slow.sum(axis=1)).all()
            chosen += slow
        assert (null.layers[layer].chosen == chosen).all()
        assert chosen.any()
        published = property_neurons(design.counts(counts), layer, 0.7)
        assert (null.layers[layer].found == published).all()


def test_a_base_for_every_neuron_is_compared_as_published() -> None:
    counts = made()
    base = np.random.default_rng(5).uniform(0.0, 0.2, 60)
    other = UnitCounts(
        "m", counts.rows, counts.units, counts.seen, counts.active, {LAYER: base}, {LAYER: None}
    )
    labels = np.arange(24) % 2
    design = by_units(other, labels, ["a", "b"])
    null = selection_null(other, design, draws=4)
    assert (null.layers[LAYER].found == property_neurons(design.counts(other), LAYER, 0.8)).all()
    for b, draw in enumerate(shuffled(labels, 4)):
        slow = property_neurons(by_units(other, draw, ["a", "b"]).counts(other), LAYER, 0.8)
        assert (null.layers[LAYER].draws[b] == slow.sum(axis=1)).all()


def test_labels_of_a_cluster_move_together() -> None:
    counts = made()
    speaker = np.repeat([f"s{k}" for k in range(8)], 3)
    gender = np.repeat([0, 1, 0, 1, 0, 1, 0, 1], 3)
    units = exchangeable(counts, gender, 2, clusters=speaker)
    assert units.counts.units == tuple(f"s{k}" for k in range(8))
    assert units.labels.tolist() == [0, 1] * 4
    assert units.arrangements() == 70
    assert (units.counts.seen.sum(0) == counts.seen.sum(0)).all()
    with pytest.raises(UsageError, match="do not share one label"):
        exchangeable(counts, np.arange(24) % 2, 2, clusters=speaker)
    with pytest.raises(UsageError, match="do not share one stratum"):
        exchangeable(counts, gender, 2, clusters=speaker, strata=np.arange(24) % 2)


def test_labels_are_exchanged_within_strata_only() -> None:
    labels = np.array([0, 0, 1, 1, -1, 2, 3, 3])
    strata = np.array(list("aaaabbbb"))
    dealt = shuffled(labels, 200, seed=4, strata=strata)
    assert (np.sort(dealt[:, :4], axis=1) == [0, 0, 1, 1]).all()
    assert (dealt[:, 4] == -1).all()
    assert (np.sort(dealt[:, 5:], axis=1) == [2, 3, 3]).all()
    assert len(np.unique(dealt, axis=0)) == 6 * 3
    few = counted(np.full((1, 1, 2), 0.1), np.ones((8, 1), int))
    with pytest.warns(VoxstrataWarning, match="only 18 labellings"):
        units = exchangeable(few, labels, 4, strata=strata)
    assert units.arrangements() == 18


def test_halves_split_every_label_evenly() -> None:
    labels = np.array([0] * 6 + [1] * 5 + [-1])
    parts = halved(labels, 300, seed=0)
    assert (parts[:, 11] == -1).all()
    assert ((parts[:, :6] == 0).sum(axis=1) == 3).all()
    over = (parts[:, 6:11] == 0).sum(axis=1)
    assert set(over.tolist()) == {2, 3}
    assert 100 < (over == 2).sum() < 200
    assert 0.4 < parts[:, 0].mean() < 0.6


@pytest.mark.parametrize("dense", [0.0, 2.0])
def test_rows_dealt_anew_are_the_published_selection_of_dealt_rows(
    dense: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "DENSE_FROM", dense)
    monkeypatch.setattr(sweep, "BLOCK", 5 * 60 * 2)
    counts = made(seed=2)
    rows = np.array([0, 1, -1, 1, 0])
    names = ["x", "y", "nobody"]
    design = by_rows(counts, rows, names, sigma=1.0, row_strata=np.zeros(5, int))
    null = selection_null(counts, design, draws=5, seed=9)
    published = property_neurons(counts.by_row(rows, ["x", "y", "nobody"]), LAYER, 1.0)
    assert (null.layers[LAYER].found == published).all()
    dense_counts = counts.active[LAYER].toarray().reshape(24, 5, 60)
    for draw in range(5):
        keys = np.random.default_rng([9, 2, draw]).random((24, 5))
        seen, active = np.zeros_like(counts.seen), np.zeros_like(dense_counts)
        for p in range(24):
            there = [c for c in range(5) if counts.seen[p, c] and rows[c] >= 0]
            for old, new in zip(there, sorted(there, key=lambda c: keys[p, c]), strict=True):
                seen[p, new], active[p, new] = counts.seen[p, old], dense_counts[p, old]
        assert (seen.sum(1) == np.where(rows >= 0, counts.seen, 0).sum(1)).all()
        dealt = counted(np.zeros((1, 5, 60)), seen, base=3 / 60, top=3)
        object.__setattr__(
            dealt, "active", {LAYER: type(counts.active[LAYER])(active.reshape(120, 60))}
        )
        slow = property_neurons(dealt.by_row(rows, ["x", "y", "nobody"]), LAYER, 1.0)
        assert (null.layers[LAYER].draws[draw] == slow.sum(axis=1)).all()


def test_rows_are_dealt_within_strata_of_rows() -> None:
    """Thirds of pitch within phones: what differs is the phone, and pitch has nothing to find."""
    P, pitches, phones = 30, 2, 4
    chance = np.full((1, pitches, phones, 50), 0.001)
    for phone in range(phones):
        chance[:, :, phone, 10 * phone : 10 * phone + 10] = 0.2
    seen = np.random.default_rng(0).integers(20, 60, (P, pitches * phones))
    counts = counted(chance.reshape(1, -1, 50), seen, seed=1, base=0.05)
    pitch = np.repeat(np.arange(pitches), phones)
    phone = np.tile(np.arange(phones), pitches)
    design = by_rows(counts, pitch, ["low", "high"], sigma=0.25, row_strata=phone)
    held = selection_null(counts, design, draws=20).layers[LAYER]
    assert held.draws.sum() == held.found.sum() == 0
    lost = by_rows(counts, phone, counts.rows[:4], sigma=1.0, row_strata=phone)
    kept = selection_null(counts, lost, draws=20).layers[LAYER]
    assert kept.found.sum() == 40
    assert (kept.draws.sum(axis=1) == 40).all()
    gone = selection_null(counts, by_rows(counts, phone, counts.rows[:4], sigma=1.0), draws=20)
    assert gone.layers[LAYER].draws.sum(axis=1).max() < 40
    with pytest.raises(ShapeError):
        by_rows(counts, pitch, ["low", "high"], row_strata=[0, 1])


def test_a_band_is_what_it_says() -> None:
    draws = np.arange(99)
    found = band(95, draws)
    assert found.p == pytest.approx((1 + 4) / 100)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert band(200, draws).p == 1 / 100


def test_published_rule_finds_gender_neurons_where_there_are_none(shared: object) -> None:
    """Spec 7.1: the probabilities drawn in the paper, no gender effect, sizes as in dev-clean."""
    profile = np.load(shared / "golden/neurons/published/match_prob.npy")[0].astype(float)  # type: ignore[operator]
    # 39 phones with 184,000 middle frames, falling off so that the rarest has about 50 of a gender
    share = 0.9 ** np.arange(39)
    frames = np.maximum(184_000 * share / share.sum(), 84).astype(int)
    P = 40
    seen = np.random.default_rng(0).multinomial(frames, np.full(P, 1 / P)).T
    counts = counted(profile[None, None], seen, seed=1, base=31 / 3072, top=31)
    design = by_units(counts, np.arange(P) % 2, ["F", "M"])
    null = selection_null(counts, design, draws=60, seed=0)
    one = null.layers[LAYER].total
    assert 8 <= one.mean <= 50, one
    assert one.low <= one.observed <= one.high
    assert null.layers[LAYER].draws.sum(axis=1).min() > 0


def test_p_of_the_number_is_uniform_where_there_is_nothing() -> None:
    small = 0
    for seed in range(80):
        counts = made(seed, P=16, D=100)
        design = by_units(counts, np.arange(16) % 2, ["F", "M"])
        small += selection_null(counts, design, draws=60, seed=seed).total().p <= 0.1
    # 8 expected of 80 at most (ties make it fewer); 17 or more has a probability below 0.2 %
    assert small < 17


def test_table_and_totals() -> None:
    counts = made(layers=("a", "b"))
    null = selection_null(counts, by_units(counts, np.arange(24) % 2, ["F", "M"]), draws=30)
    table = null.table()
    assert table.layer.tolist() == ["a"] * 3 + ["b"] * 3 + ["all"]
    assert table.group.tolist() == ["all", "F", "M"] * 2 + ["all"]
    both = table[(table.group == "all") & (table.layer != "all")]
    assert both.observed.sum() == table.observed.iloc[-1]
    assert both["mean"].sum() == pytest.approx(table["mean"].iloc[-1])
    again = selection_null(counts, by_units(counts, np.arange(24) % 2, ["F", "M"]), draws=30)
    assert table.equals(again.table())


def test_what_cannot_be_shuffled_is_refused() -> None:
    counts = made()
    with pytest.raises(ShapeError):
        by_units(counts, [0, 1], ["a", "b"])
    with pytest.raises(UsageError, match="none of the groups"):
        by_units(counts, np.full(24, 2), ["a", "b"])
    with pytest.raises(UsageError, match="not there"):
        by_units(counts, np.zeros(24, int), ["a"], leave_out=["SIL"])
    with pytest.raises(UsageError, match="no row is left"):
        by_rows(counts, [-1] * 5, ["a"])
    with pytest.raises(UsageError, match="at least two groups"):
        selection_null(counts, by_units(counts, np.zeros(24, int), ["a", "b"]))
    with pytest.raises(UsageError, match="changes nothing"):
        selection_null(counts, by_units(counts, np.arange(24), counts.units))
    with pytest.raises(UsageError, match="at least one draw"):
        selection_null(counts, by_rows(counts), draws=0)
    with pytest.raises(UsageError, match="strata"):
        selection_null(counts, by_rows(counts), strata=np.zeros(24))
    labels = np.where(np.arange(24) < 4, np.arange(24) % 2, -1)
    with pytest.warns(VoxstrataWarning, match="only 6 labellings"):
        selection_null(counts, by_units(counts, labels, ["a", "b"]), draws=2)


def test_rows_of_groups_stay_whole_and_are_dealt_to_groups_of_the_same_sizes() -> None:
    """Classes of phones: which phones make a class is what the null asks about."""
    counts = made(seed=4)
    rows = np.array([0, 1, -1, 1, 0])
    null = selection_null(counts, by_rows(counts, rows, ["x", "y"]), draws=30, seed=2)
    assert null.how == "groups"
    assert null.units == 4
    whole = counts.by_row(rows, ["x", "y"])
    over = above(whole, LAYER)
    rng = np.random.default_rng([2, 5])
    used = np.flatnonzero(rows >= 0)
    for draw in range(30):
        dealt = rows.copy()
        dealt[used] = rng.permutation(rows[used])
        assert dealt[2] == -1
        slow = exclusive(share_above(over, dealt, 2, 0.8))
        assert (null.layers[LAYER].draws[draw] == slow.sum(axis=1)).all()


def test_labels_that_differ_within_speakers_are_dealt_as_wholes() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1, 1, 1, 1])
    speakers = np.array(["a", "a", "b", "b", "c", "c", "d", "d", "d"])
    draws = whole_dealt(labels, speakers, 400, seed=1)
    given = [labels[speakers == name].sum() for name in "abc"]
    for row in draws:
        two = [row[speakers == name].sum() for name in "abc"]
        # d has three labels 1, so whoever gets them has 1 everywhere, and d may get anybody's.
        assert all(n in (0, 1, 2) for n in two)
        assert row[speakers == "d"].sum() in (0, 1, 2, 3)
    assert given == [0, 2, 1]
    # c's labels differ, and their order is dealt as well.
    where = (draws[:, 4:6].sum(axis=1) == 1).nonzero()[0]
    assert 0.35 < draws[where, 4].mean() < 0.65
    assert whole_arrangements(labels, speakers) == 24


def speaking(seed: int, planted: int = 0) -> tuple[UnitCounts, np.ndarray, np.ndarray]:
    """Recordings of 30 speakers, each with activity of its own and a label that is its own to a
    degree, as clusters of i-vectors are; planted neurons follow the label."""
    rng = np.random.default_rng(seed)
    S, R, D = 30, 12, 120
    own = np.exp(rng.normal(0, 0.5, (S, 1, D)))
    labels = (rng.random((S, R)) < rng.random((S, 1))).astype(int).reshape(-1)
    rate = np.repeat(0.02 * own, R, axis=1).reshape(-1, 1, D)
    rate[:, :, :planted] *= np.where(labels == 1, 2.5, 1.0)[:, None, None]
    seen = np.full((S * R, 1), 200)
    counts = counted(np.minimum(rate, 0.9), seen, seed=seed, base=0.02)
    return counts, labels, np.repeat([f"s{k}" for k in range(S)], R)


def test_speakers_that_differ_are_no_evidence_for_labels_of_recordings() -> None:
    """Dealt one by one, labels that mean nothing look like something; dealt as wholes they do
    not."""
    small, wrong, found = 0, 0, 0
    for seed in range(12):
        counts, labels, speakers = speaking(seed)
        design = by_units(counts, labels, ["0", "1"])
        small += selection_null(counts, design, draws=40, together=speakers).total().p < 0.05
        result = screen(counts, design, together=speakers, draws=300)
        found += int(result.found()[LAYER].sum())
        wrong += int(screen(counts, design).found()[LAYER].sum())
    assert small <= 3
    assert found <= 6
    assert wrong > 40
    counts, labels, speakers = speaking(50, planted=15)
    result = screen(counts, by_units(counts, labels, ["0", "1"]), together=speakers)
    hits = result.found()[LAYER].any(axis=0)
    assert hits[:15].all()
    assert hits[15:].sum() <= 4
